//! Lists the blocks.

use comfy_table::Table;
use jiff::tz::TimeZone;
use phonegate::store::Block;

use super::{BlockRecord, FOREVER, extent};
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::StoreReader;
use crate::time;

pub(super) fn run(reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    let blocks = reader.block_on(reader.store.blocks())?;
    if json {
        blocks.iter().for_each(|block| output::json_line(&BlockRecord::of("block", block)));
    } else if blocks.is_empty() {
        output::note("No number is blocked.");
    } else {
        output::print_cut_table(&table(&blocks));
        output::print("To remove a block: phonegate blocks remove HASH");
    }
    Ok(Exit::Done)
}

/// Returns the list as a table. The reason is the last column, because a narrow terminal cuts it.
fn table(blocks: &[Block]) -> Table {
    let zone = TimeZone::system();
    let mut table = output::table(["NUMBER", "BLOCKED", "SINCE", "UNTIL", "HASH", "REASON"]);
    for block in blocks {
        table.add_row([
            &*block.masked,
            extent(block),
            &time::local(block.since, &zone),
            &block.until.map_or_else(|| FOREVER.to_owned(), |until| time::local(until, &zone)),
            &block.number.to_string(),
            &block.reason,
        ]);
    }
    table
}

//! Lists the numbers that have a PIN.

use comfy_table::Table;
use jiff::tz::TimeZone;
use phonegate::store::StoredPin;

use super::PinRecord;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::StoreReader;
use crate::time;

pub(super) fn run(reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    let mut pins = reader.block_on(reader.store.pins())?;
    pins.sort_by_key(|pin| std::cmp::Reverse(pin.set_at));
    if json {
        pins.iter().for_each(|pin| output::json_line(&PinRecord::of("pin", pin)));
    } else if pins.is_empty() {
        output::note("No PIN is set.");
    } else {
        output::print_table(&table(&pins));
    }
    Ok(Exit::Done)
}

fn table(pins: &[StoredPin]) -> Table {
    let zone = TimeZone::system();
    let mut table = output::table(["NUMBER", "SET", "FAILURES", "LOCKED UNTIL", "HASH"]);
    for pin in pins {
        table.add_row([
            &*pin.masked,
            &time::local(pin.set_at, &zone),
            &pin.failures.to_string(),
            &pin.locked_until.map_or_else(|| "-".to_owned(), |until| time::local(until, &zone)),
            &pin.number.to_string(),
        ]);
    }
    table
}

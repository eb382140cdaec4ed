//! The list, for people and for programs.

use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use phonegate::store::Block;

use super::{FOR_EVER, List, Record, extent};
use crate::exit::{Exit, Trouble};
use crate::output;
use crate::store::Opened;
use crate::when;

pub(super) fn run(arguments: &List, opened: &Opened) -> Result<Exit, Trouble> {
    let blocks = opened.ask(opened.store.blocks())?;
    if arguments.json {
        blocks.iter().for_each(|block| output::record(&Record::of("block", block)));
    } else if blocks.is_empty() {
        output::remark("No number is blocked.");
    } else {
        lines(&blocks, output::columns()).iter().for_each(|line| output::result(line));
        output::result("To lift a block: phonegate blocks remove KEY");
    }
    Ok(Exit::Done)
}

/// The list as lines, which a terminal of so many columns does not break.
fn lines(blocks: &[Block], columns: Option<usize>) -> Vec<String> {
    let zone = TimeZone::system();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NUMBER", "BLOCKED", "SINCE", "UNTIL", "KEY", "REASON"]);
    for block in blocks {
        table.add_row([
            &*block.masked,
            extent(block),
            &when::local(block.since, &zone),
            &block.until.map_or_else(|| FOR_EVER.to_owned(), |until| when::local(until, &zone)),
            &block.number.to_string(),
            &block.reason,
        ]);
    }
    let whole = |line: String| line.trim_end().to_owned();
    // What is cut is the reason, since it stands last.
    table
        .lines()
        .map(whole)
        .map(|line| columns.map_or(line.clone(), |most| output::fitted(&line, most).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::SystemTime;

    use phonegate::call::NumberKey;
    use phonegate::store::BlockScope;

    use super::*;

    #[test]
    fn a_reason_is_cut_where_the_terminal_ends_and_no_line_ends_in_blanks() {
        let block = |reason: &str| Block {
            number: NumberKey::parse(&"0".repeat(32)).unwrap(),
            scope: BlockScope::Line,
            masked: "+1******1212".into(),
            reason: reason.into(),
            since: SystemTime::UNIX_EPOCH,
            until: None,
        };
        let blocks = [block("left"), block(&"for a long story ".repeat(20))];
        let whole = lines(&blocks, None);
        assert!(whole.len() == 3 && whole.iter().all(|line| line.trim_end() == line), "{whole:?}");
        assert!(whole.last().unwrap().ends_with("a long story"), "{whole:?}");
        let cut = lines(&blocks, Some(120));
        assert_eq!(cut.get(1), whole.get(1));
        assert_eq!(cut.last().unwrap().chars().count(), 120);
        assert!(cut.last().unwrap().ends_with('…'), "{cut:?}");
    }
}

//! The numbers that have a PIN.

use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use phonegate::store::StoredPin;

use super::{List, Record};
use crate::exit::{Exit, Trouble};
use crate::output;
use crate::store::Opened;
use crate::when;

pub(super) fn run(arguments: &List, opened: &Opened) -> Result<Exit, Trouble> {
    let mut pins = opened.ask(opened.store.pins())?;
    pins.sort_by_key(|pin| std::cmp::Reverse(pin.set_at));
    if arguments.json {
        pins.iter().for_each(|pin| output::record(&Record::of("pin", pin)));
    } else if pins.is_empty() {
        output::remark("No PIN is set.");
    } else {
        table(&pins).lines().for_each(|line| output::result(line.trim_end()));
    }
    Ok(Exit::Done)
}

fn table(pins: &[StoredPin]) -> Table {
    let zone = TimeZone::system();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NUMBER", "SET", "FAILURES", "LOCKED UNTIL", "KEY"]);
    for pin in pins {
        table.add_row([
            &*pin.masked,
            &when::local(pin.set_at, &zone),
            &pin.failures.to_string(),
            &pin.locked_until.map_or_else(|| "-".to_owned(), |until| when::local(until, &zone)),
            &pin.number.to_string(),
        ]);
    }
    table
}

//! The names that scripts, databases and dashboards depend on stay as they are. The list is `frozen_names.txt`; that of
//! the command line is in `cli/tests`.

#[path = "support/frozen.rs"]
mod frozen;
mod support;

use std::collections::BTreeSet;

use phonegate::call::{CallEvent, CallLimit, FailureReason, GateEvent};
use phonegate::store::SqliteStore;
use phonegate::telemetry::{CallCounts, Metrics};
use rusqlite::Connection;
use support::project_folder;

#[test]
fn persisted_and_printed_names_are_those_of_the_list() {
    let gate_events = GateEvent::ALL.iter().map(|event| event.name().to_owned()).collect();
    let reasons = FailureReason::ALL.iter().map(|reason| reason.to_string()).collect();
    let sections = [
        ("events of calls, and steps in the store", CallEvent::ALL.iter().map(|e| e.name().to_owned()).collect()),
        ("events of the gate", gate_events),
        ("fields of a line of the log", log_fields()),
        ("failure reasons", reasons),
        ("limits", CallLimit::ALL.iter().map(|limit| limit.name().to_owned()).collect()),
        ("metrics", metrics()),
        ("SQLite tables and columns", sqlite_columns()),
        ("Redis keys", redis_keys()),
    ];
    frozen::compare(&project_folder().join("tests/frozen_names.txt"), &sections);
}

#[test]
fn each_event_has_a_name_of_its_own() {
    let calls = CallEvent::ALL.iter().map(|event| event.name());
    let names: Vec<_> = calls.chain(GateEvent::ALL.iter().map(|event| event.name())).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    for event in CallEvent::ALL {
        assert_eq!(CallEvent::from_name(event.name()), Some(*event));
    }
    assert_eq!(CallEvent::from_name("taken_up"), Some(CallEvent::Claimed), "its name before 0.1.0");
}

fn log_fields() -> Vec<String> {
    let of_calls = CallEvent::ALL.iter().flat_map(|event| event.fields());
    let of_gate = GateEvent::ALL.iter().flat_map(|event| event.fields());
    let fields = ["time", "level", "event"].iter().chain(of_calls).chain(of_gate);
    fields.map(|field| (*field).to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The names of the metrics, each with its labels.
fn metrics() -> Vec<String> {
    let metrics = Metrics::new(["trunk"]).unwrap().to_text(CallCounts { known: 0, pending: 0 }).unwrap();
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let labels = |name: &str| -> BTreeSet<String> {
        let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
        let labels = samples.filter_map(|rest| rest.split_once('{')?.1.split_once('}'));
        let labels = labels.flat_map(|(labels, _)| labels.split(',').filter_map(|label| label.split_once('=')));
        labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect()
    };
    let line = |(name, kind): (&str, &str)| {
        let labels: Vec<_> = labels(name).into_iter().collect();
        format!("{name} ({kind}) {}", labels.join(" ")).trim_end().to_owned()
    };
    names.map(line).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The tables of a new database, each with its columns.
fn sqlite_columns() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    drop(SqliteStore::open(&file).unwrap());
    let database = Connection::open(&file).unwrap();
    let query = "SELECT m.name, group_concat(c.name, ' ') FROM sqlite_master m, pragma_table_info(m.name) c
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' GROUP BY m.name ORDER BY m.name";
    let mut statement = database.prepare(query).unwrap();
    let tables = statement.query_map([], |row| {
        let (table, columns): (String, String) = (row.get(0)?, row.get(1)?);
        let mut columns: Vec<_> = columns.split(' ').collect();
        columns.sort_unstable();
        Ok(format!("{table}: {}", columns.join(" ")))
    });
    tables.unwrap().map(Result::unwrap).collect()
}

/// The names of the keys, from the constants in `keys.rs`: `NAME`, or `NAME:ITEM` if there is one for each item.
fn redis_keys() -> Vec<String> {
    let source = std::fs::read_to_string(project_folder().join("src/store/redis/keys.rs")).unwrap();
    let keys = source.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(" = ")?.1.split_once("(\"")?;
        let name = rest.split_once('"')?.0;
        match kind {
            "Single" => Some(name.to_owned()),
            "PerItem" => Some(format!("{name}:ITEM")),
            _ => None,
        }
    });
    keys.collect::<BTreeSet<_>>().into_iter().collect()
}

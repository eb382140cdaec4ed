//! docs/operations.md is complete: an administrator finds every failure reason and every event there.

mod support;

use std::collections::HashSet;
use std::path::Path;

use phonegate::call::{CallEvent, CallLimit, FailureReason, GateEvent};
use phonegate::config::Level;
use phonegate::telemetry::SystemEventId;
use phonegate_approval::policy::Method;
use serde_json::{Value, json};
use support::gate::TestGate;

fn read(path: &str) -> String {
    std::fs::read_to_string(support::project_folder().join(path)).unwrap()
}

#[test]
fn every_failure_reason_is_explained_with_its_code() {
    let operations = read("docs/operations.md");
    for reason in FailureReason::ALL {
        let name = reason.name();
        let row = operations.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/operations.md has no row for {name}"));
        let code = reason.azure_code().map(|code| code.to_string()).unwrap_or_default();
        assert_eq!(row.split('|').nth(2).map(str::trim), Some(code.as_str()), "{row}");
    }
}

/// The two tables of "The log" have exactly the events, with the texts of the enums. A cell may also contain links.
#[test]
fn every_log_event_is_explained_and_every_explained_one_exists() {
    let operations = read("docs/operations.md");
    let section = operations.split("\n## ").find(|section| section.starts_with("The log\n")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3);
    let row = |name: &str, level: Level, when: &str, fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
        let fields = if fields.is_empty() { "none".to_owned() } else { fields.join(", ") };
        format!("| `{name}` | {} | {when} | {fields} |", format!("{level:?}").to_lowercase())
    };
    let of_calls = CallEvent::ALL.iter().map(|e| row(e.name(), e.level(), e.description(), e.fields()));
    let of_gates = GateEvent::ALL.iter().map(|e| row(e.name(), e.level(), e.description(), e.fields()));
    let expected: Vec<_> = of_calls.chain(of_gates).collect();
    let documented: Vec<_> = rows.map(without_links).collect();
    for row in &expected {
        assert!(documented.contains(row), "docs/operations.md, section The log, needs this row:\n{row}");
    }
    for row in &documented {
        assert!(expected.contains(row), "crates/core/src/call/event.rs has no such event:\n{row}");
    }
    assert_eq!(documented, expected, "the rows are in the order of the enums");
}

/// Replaces each `[text](target)` by its text.
fn without_links(line: &str) -> String {
    let mut parts = line.split("](");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |mut text, rest| {
        let opening = text.rfind('[').unwrap();
        text.remove(opening);
        text + rest.split_once(')').unwrap().1
    })
}

#[test]
fn every_limit_is_explained() {
    let operations = read("docs/operations.md");
    for limit in CallLimit::ALL {
        let row = format!("\n| `{}` | ", limit.name());
        assert!(operations.contains(&row), "docs/operations.md has no row for {limit}");
    }
}

#[test]
fn every_event_of_the_event_log_is_explained_and_has_a_text() {
    use SystemEventId::{
        BackendDown, BackendUp, CapReached, Defect, FraudReported, LockedOut, NotConfigured, Started, Unlocked,
        UnsafePermissions,
    };
    let (operations, messages) = (read("docs/operations.md"), read("windows/messages.mc"));
    for (event, severity) in [
        (Started, "Informational"),
        (NotConfigured, "Error"),
        (BackendDown, "Warning"),
        (BackendUp, "Informational"),
        (FraudReported, "Warning"),
        (Defect, "Error"),
        (UnsafePermissions, "Warning"),
        (LockedOut, "Warning"),
        (CapReached, "Warning"),
        (Unlocked, "Informational"),
    ] {
        let id = event as u16;
        assert!(operations.contains(&format!("\n| {id} | ")), "docs/operations.md has no row for {id}");
        assert!(messages.contains(&format!("\nMessageId={id}\nSeverity={severity}\n")), "{id} in windows/messages.mc");
    }
    assert_eq!(messages.matches("\nMessageId=").count(), 10);
}

/// Each block of JSON in docs/backends.md is a whole entry of `backends`.
#[test]
fn every_snippet_of_a_trunk_starts_a_gate() {
    let text = read("docs/backends.md");
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let snippets: Vec<Value> =
        blocks.map(|block| serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}"))).collect();
    assert!(snippets.len() >= 7, "a snippet for each product: {}", snippets.len());
    for mut snippet in snippets {
        replace_secrets(&mut snippet);
        if snippet["type"] == "exec" {
            // The paths of the snippet are those of Windows.
            for key in ["program", "script"] {
                snippet[key] = json!("/opt/phonegate/place_call");
            }
        }
        TestGate::start(json!({ "use": ["trunk"], "backends": { "trunk": snippet } })).end();
    }
}

/// Replaces each secret in a file by one in plain text.
fn replace_secrets(value: &mut Value) {
    match value {
        Value::Object(map) if map.len() == 1 && map.contains_key("file") => *value = json!("open-sesame"),
        Value::Object(map) => map.values_mut().for_each(replace_secrets),
        Value::Array(list) => list.iter_mut().for_each(replace_secrets),
        _ => {}
    }
}

/// An administrator finds each method in every table, and a text for its users.
#[test]
fn every_method_is_explained_with_a_text_for_users() {
    let (guide, backends, security) = (read("docs/guide.md"), read("docs/backends.md"), read("docs/security.md"));
    let header = |text: &str, first: &str| text.lines().find(|line| line.starts_with(first)).unwrap_or("").to_owned();
    let tables = [header(&backends, "| backend | "), header(&security, "| attack | ")];
    for name in Method::ALL.map(Method::name) {
        assert!(guide.contains(&format!("\n| `{name}`")), "docs/guide.md does not say what is pressed with {name}");
        assert!(security.contains(&format!("\nWith `{name}`:\n")), "docs/security.md has no text for users of {name}");
        assert!(tables.iter().all(|header| header.contains(&format!("`{name}`"))), "{name}: {tables:?}");
    }
}

/// docs/security.md names tests as `tests/file.rs::test`.
#[test]
fn every_test_that_security_names_exists() {
    let text = read("docs/security.md");
    let named: Vec<_> = text.split('`').filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() >= 10, "{named:?}");
    for (file, test) in named {
        assert!(read(&format!("{file}.rs")).contains(&format!("#[test]\nfn {test}() {{")), "{file}.rs has no {test}");
    }
}

/// The Rust sources below a folder, joined.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// The last column of the glossary's tables names what the code calls each thing.
#[test]
fn every_name_in_the_glossary_exists_in_the_code() {
    let glossary = read("docs/design/glossary.md");
    let code = sources(&support::project_folder().join("src")) + &sources(&support::project_folder().join("crates"));
    let words: HashSet<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let columns = glossary.lines().filter(|line| line.starts_with("| ")).filter_map(|row| row.split('|').nth(3));
    let names: Vec<&str> = columns.flat_map(|column| column.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() >= 30, "{names:?}");
    for part in names.iter().flat_map(|name| name.split("::")) {
        assert!(words.contains(part), "docs/design/glossary.md names {part}, which no source file has");
    }
}

/// The documents of the top folder, of docs and of examples.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/adr", "docs/design", "examples"] {
        for entry in support::project_folder().join(folder).read_dir().unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(found.len() >= 24, "{found:?}");
    found
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&document).parent().unwrap();
            let path = if file.is_empty() { document.clone().into() } else { folder.join(file) };
            let target = support::project_folder().join(&path);
            assert!(target.exists(), "{document}: {link}");
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                let slug = |title: &str| {
                    let kept = title.to_lowercase().replace(|c: char| !c.is_alphanumeric() && !" -".contains(c), "");
                    kept.replace(' ', "-")
                };
                let found = target
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line.trim_start_matches(['#', ' '])) == anchor);
                assert!(found, "{document}: {link}");
            }
        }
    }
}

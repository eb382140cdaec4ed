//! `phonegate check`: would a call go out?

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use comfy_table::Table;
use phonegate::call::{Failure, FailureReason};
use phonegate::config::{BackendConfig, Config, StoreKind};
use phonegate::platform::{Account, HOST_SERVICE};
use phonegate_approval::verdict::{JudgedBy, ProviderVerdicts};
use serde::Serialize;
use serde_json::json;

use crate::Globals;
use crate::commands::pins;
use crate::context::{Context, END_WITHIN};
use crate::error::{CommandError, CommandErrorKind, Exit};
use crate::output::{self, Spinner};
use crate::permissions;
use crate::store_reader;
use crate::writable;

const HELP: &str = "\
Examples:
  phonegate check
  phonegate check --config test.json --json

--json prints one object a line:
  warning   text: what works, but should not stay so
  backend   backend (its name), type, order (its place in `use`, absent where it is not in it),
            result (ok, failed, or not_used: it was not asked), reason where it failed, text, judged_by (who judges what
            users answer: phonegate, or provider, whose own verdict approves calls; absent where it is not in `use`)
  store     type, result (ok or failed), text: where calls are kept
  pins      set, locked (how many), result (ok or failed), text; only if there is a pepper or calls ask for PINs
  recommendation   text: a setting to improve
  checked   ok (true or false), config (the file)
  error     text: see exit code 2

Exit codes:
  0  every backend in `use` could place calls, and the store can be used
  1  one of them could not
  2  usage or configuration; the error names the file and the place in it";

/// The arguments of `phonegate check`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

/// What is found out about one backend.
#[derive(Serialize)]
struct Row {
    event: &'static str,
    backend: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<usize>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<FailureReason>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    judged_by: Option<&'static str>,
}

/// Checks a configuration and asks its backends.
pub(crate) fn run(_arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let json = globals.json;
    let context = Context::load(globals.config())?;
    let file = context.file.display().to_string();
    for text in context.loaded.config.warnings() {
        output::warning(json, &text);
    }
    // Whose account it is can be out of reach; then the account's own rights are told, too.
    let account = Account::of_service(HOST_SERVICE).unwrap_or_default();
    let private = permissions::private_files(&context.file, &context.loaded);
    let files = permissions::too_wide(&private, account.as_ref());
    let files = files.into_iter().chain(permissions::changeable(&context.loaded, &private));
    for wide in files.chain(permissions::store_too_wide(&context.loaded, account.as_ref())) {
        output::warning(json, &wide.to_string());
    }
    if let Some(why) = writable::why_no_metrics(&context.loaded) {
        output::warning(json, &why);
    }
    if let Some(text) = recommended(&context.loaded.config) {
        match json {
            true => output::json_line(&json!({ "event": "recommendation", "text": text })),
            false => output::note(&format!("recommended: {text}")),
        }
    }
    let mut rows = rows(&context.loaded.config);
    let kind = context.loaded.config.store.kind.name();
    let (store, pins, answers) = {
        let spinner = Spinner::start(json);
        spinner.set_message("asking the store");
        let store = match store_reader::check(&context) {
            Err(error) if error.kind == CommandErrorKind::Usage => return Err(error),
            store => store,
        };
        // Without the store, there is nothing to count.
        let pins = match store.as_ref().map_or(Ok(None), |_| pins::state(&context)) {
            Err(error) if error.kind == CommandErrorKind::Usage => return Err(error),
            pins => pins,
        };
        let gate = context.start(None)?;
        spinner.set_message("asking the backends");
        let answers = gate.check();
        gate.shut_down(END_WITHIN);
        (store, pins, answers)
    };
    fill_in(&mut rows, answers);
    let failed = rows.iter().filter(|row| row.result == "failed").count();
    let (store_works, store) = match store {
        Ok(words) => (true, words),
        Err(error) => (false, error.message),
    };
    let (pins_work, pins) = match pins {
        Ok(pins) => (true, pins.map(|pins| (Some(pins), pins.to_string()))),
        Err(error) => (false, Some((None, error.message))),
    };
    if let Some(text) = pins.as_ref().and_then(|(pins, _)| pins.as_ref()?.warning()) {
        output::warning(json, text);
    }
    let all_works = store_works && pins_work && failed == 0;
    if json {
        let result = if store_works { "ok" } else { "failed" };
        output::json_line(&json!({ "event": "store", "type": kind, "result": result, "text": store }));
        if let Some((pins, text)) = &pins {
            let result = if pins_work { "ok" } else { "failed" };
            let (set, locked) = (pins.map(|pins| pins.set), pins.map(|pins| pins.locked));
            let record = json!({ "event": "pins", "result": result, "set": set, "locked": locked, "text": text });
            output::json_line(&record);
        }
        rows.iter().for_each(output::json_line);
        output::json_line(&json!({ "event": "checked", "ok": all_works, "config": file }));
    } else {
        output::print(&format!("{file}\n\n{}\n\nStore ({kind}): {store}", table(&rows)));
        if let Some((_, text)) = &pins {
            output::print(&format!("PINs: {text}"));
        }
        output::print("");
        if !store_works {
            output::print("The store cannot be used, and without it no call is placed.");
        }
        if !pins_work {
            output::print("PINs cannot be checked, and without that no call is approved by one.");
        }
        output::print(&match failed {
            0 => "Every backend in use could place calls.".to_owned(),
            1 => "A backend in use could not place calls.".to_owned(),
            n => format!("{n} backends in use could not place calls."),
        });
    }
    Ok(if all_works { Exit::Done } else { Exit::Failed })
}

/// Returns a recommendation that is not worth a warning, if there is one.
fn recommended(config: &Config) -> Option<&'static str> {
    let keeps_numbers = config.store.kind != StoreKind::Memory;
    (keeps_numbers && config.privacy.number_key.is_none()).then_some(
        "privacy.number_key is not set, so the telephone numbers in the store can be found from their hashes. \
         `openssl rand -hex 32` makes a key; docs/store.md (\"Number keys\") says how to set it on Windows and on a farm",
    )
}

/// The backends in the order in which they are tried, then those that are not.
fn rows(config: &Config) -> Vec<Row> {
    let order: BTreeMap<_, _> = config.use_order.iter().zip(1_usize..).collect();
    let row = |(name, backend): (&String, &BackendConfig)| {
        let order = order.get(name).copied();
        Row {
            event: "backend",
            backend: name.clone(),
            kind: backend.type_name(),
            order,
            result: "not_used",
            reason: None,
            text: "not in `use`; not asked".to_owned(),
            judged_by: order.map(|_| judged_by(config, backend).name()),
        }
    };
    let mut rows: Vec<_> = config.backends.iter().map(row).collect();
    rows.sort_by_key(|row| row.order.unwrap_or(usize::MAX));
    rows
}

/// Returns who judges what the users of a backend answer.
fn judged_by(config: &Config, backend: &BackendConfig) -> JudgedBy {
    match config.provider_verdicts(backend) {
        ProviderVerdicts::Accepted => JudgedBy::Provider,
        ProviderVerdicts::Refused => JudgedBy::PhoneGate,
    }
}

/// Returns the names of the backends in use whose own verdict approves calls.
pub(crate) fn judges(config: &Config) -> Vec<String> {
    let in_use = config.use_order.iter().filter_map(|name| config.backends.get_key_value(name));
    in_use
        .filter(|(_, backend)| judged_by(config, backend) == JudgedBy::Provider)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Appends to the words about a backend that its own verdict approves calls, if it does.
pub(crate) fn with_judge(words: &str, is_judge: bool) -> String {
    if is_judge { format!("{words} (judged by the provider)") } else { words.to_owned() }
}

fn fill_in(rows: &mut [Row], answers: Vec<(Arc<str>, Result<String, Failure>)>) {
    for (name, answer) in answers {
        let Some(row) = rows.iter_mut().find(|row| *row.backend == *name) else { continue };
        (row.result, row.reason, row.text) = match answer {
            Ok(words) => ("ok", None, words),
            Err(failure) => ("failed", Some(failure.reason()), failure.text().to_owned()),
        };
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = output::table(["BACKEND", "TYPE", "ORDER", "RESULT", "DETAIL"]);
    for row in rows {
        let order = row.order.map_or("-".to_owned(), |order| order.to_string());
        let text = with_judge(&row.text, row.judged_by == Some(JudgedBy::Provider.name()));
        table.add_row([row.backend.as_str(), row.kind, &order, row.result, &text]);
    }
    table
}

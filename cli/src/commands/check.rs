//! `phonegate check`: checks the configuration, the store and the backends, and rings no phone.

mod skips;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use clap::Args;
use comfy_table::Table;
use phonegate::call::{Failure, FailureReason};
use phonegate::config::{BackendConfig, Config, RouteConfig};
use phonegate::platform::{Account, HOST_SERVICE};
use phonegate::redact::mask_numbers;
use phonegate_approval::verdict::{JudgedBy, ProviderVerdicts};
use serde::Serialize;
use serde_json::json;

use crate::Globals;
use crate::commands::pins::{self, PinState};
use crate::context::{Context, END_WITHIN};
use crate::error::{CommandError, CommandErrorKind, Exit};
use crate::output::{self, Spinner};
use crate::store_reader;
use crate::time;
use crate::writable;
use phonegate_deploy::permissions;
use skips::Skipped;

const HELP: &str = "\
Examples:
  phonegate check
  phonegate check --config test.json --json

--json prints one object a line:
  warning   text: something that works, but should be changed
  recommendation   text: a setting to improve
  store     type, result (ok or failed), text: the store of calls
  pins      set, locked (numbers of PINs), result (ok or failed), text; only if there is a pepper or calls ask for PINs
  backend   backend (its name), type, order (its place in `use`, left out if it is not there), result (ok, failed, or
            not_used: not asked), reason if it failed, text, judged_by (who judges what users answer: phonegate, or
            provider, whose own verdict approves calls; left out if no call uses the backend), skipped_at (when a call of
            the service last skipped the backend because it was down, UTC; left out if a later call was placed by it, or
            if that was more than 10 minutes ago)
  route     countries, use (the backends in the order in which they are tried), caller_id (masked; left out if it is the
            backend's): the backends for the numbers of some countries; only if there are `routes`
  checked   ok (true or false), config (the file)

Exit codes:
  0  each backend in `use` and `routes` can place calls, and the store can be used
  1  a backend in `use` or `routes`, the store or the PINs cannot be used
  2  wrong usage or configuration; the error names the file and the place in it";

/// The arguments of `phonegate check`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

/// The findings about one backend. Also a line of `--json`, on whose names scripts depend.
#[derive(Serialize)]
struct BackendRow {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped_at: Option<String>,
    #[serde(skip)]
    skipped: Option<Skipped>,
}

/// A route. Also a line of `--json`.
#[derive(Serialize)]
struct RouteRow {
    event: &'static str,
    countries: Vec<String>,
    #[serde(rename = "use")]
    order: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_id: Option<String>,
}

/// The findings of a check.
struct Findings {
    store: Result<String, CommandError>,
    /// `None` if no call asks for PINs and no pepper is configured, or if the store cannot be used.
    pins: Result<Option<PinState>, CommandError>,
    backends: Vec<BackendRow>,
    routes: Vec<RouteRow>,
}

impl Findings {
    fn failed_backends(&self) -> usize {
        self.backends.iter().filter(|row| row.result == "failed").count()
    }

    fn are_good(&self) -> bool {
        self.store.is_ok() && self.pins.is_ok() && self.failed_backends() == 0
    }
}

/// Checks a configuration, and asks its store and backends.
pub(crate) fn run(globals: &Globals) -> Result<Exit, CommandError> {
    check(Context::load(globals.config())?, globals.json)
}

/// Asks the store and the backends of a configuration, and prints the findings.
pub(crate) fn check(context: Context, json: bool) -> Result<Exit, CommandError> {
    let file = context.file.display().to_string();
    let store = context.loaded.config.store.type_name();
    warn(&context, json);
    let findings = examine(context, json)?;
    if let Ok(Some(pins)) = &findings.pins
        && let Some(text) = pins.warning()
    {
        output::warning(json, text);
    }
    match json {
        true => print_json(&file, store, &findings),
        false => print(&file, store, &findings),
    }
    Ok(if findings.are_good() { Exit::Done } else { Exit::Failed })
}

/// Prints the warnings and recommendations about a configuration and its files.
fn warn(context: &Context, json: bool) {
    let Context { file, loaded } = context;
    // If the account cannot be determined, the account's own rights are reported, too.
    let account = Account::of_service(HOST_SERVICE).unwrap_or_default();
    let private = permissions::private_files(file, loaded);
    let files = permissions::check_private_files(&private, account.as_ref());
    let files = files.into_iter().chain(permissions::check_other_paths(loaded, &private));
    let files = files.chain(permissions::check_store(loaded, account.as_ref()));
    let warnings = loaded.config.warnings().into_iter().chain(files.map(|wide| wide.to_string()));
    warnings.chain(writable::why_no_metrics(loaded)).for_each(|text| output::warning(json, &text));
    if let Some(text) = recommended(&loaded.config) {
        match json {
            true => output::json_line(&json!({ "event": "recommendation", "text": text })),
            false => output::note(&format!("recommended: {text}")),
        }
    }
}

/// Asks the store and the backends.
///
/// # Errors
/// If the configuration itself cannot be used. What the store and the backends answer is a finding.
fn examine(context: Context, json: bool) -> Result<Findings, CommandError> {
    let spinner = Spinner::start(json);
    spinner.set_message("asking the store");
    let store = finding(store_reader::check(&context))?;
    // Without the store, there are no PINs to count.
    let pins = finding(store.as_ref().map_or(Ok(None), |_| pins::state(&context)))?;
    let mut backends = rows(&context.loaded.config);
    let routes = routes(&context.loaded.config);
    if store.is_ok() {
        for (name, skipped) in skips::recent(&context)? {
            let Some(row) = backends.iter_mut().find(|row| *row.backend == *name) else { continue };
            row.skipped_at = Some(time::utc(skipped.at));
            row.skipped = Some(skipped);
        }
    }
    let gate = context.start(None)?;
    spinner.set_message("asking the backends");
    fill_in(&mut backends, gate.check());
    gate.shut_down(END_WITHIN);
    Ok(Findings { store, pins, backends, routes })
}

/// Returns an error as a finding, unless it is one of the configuration.
fn finding<T>(result: Result<T, CommandError>) -> Result<Result<T, CommandError>, CommandError> {
    match result {
        Err(error) if error.kind == CommandErrorKind::Usage => Err(error),
        result => Ok(result),
    }
}

fn print_json(file: &str, kind: &str, findings: &Findings) {
    let result = |is_good: bool| if is_good { "ok" } else { "failed" };
    let Findings { store, pins, backends, routes } = findings;
    let text = store.as_ref().map_or_else(ToString::to_string, String::clone);
    output::json_line(&json!({ "event": "store", "type": kind, "result": result(store.is_ok()), "text": text }));
    if let Some(text) = pins_text(pins) {
        let state = pins.as_ref().ok().copied().flatten();
        let (set, locked) = (state.map(|pins| pins.set), state.map(|pins| pins.locked));
        output::json_line(&json!({
            "event": "pins", "result": result(pins.is_ok()), "set": set, "locked": locked, "text": text,
        }));
    }
    backends.iter().for_each(output::json_line);
    routes.iter().for_each(output::json_line);
    output::json_line(&json!({ "event": "checked", "ok": findings.are_good(), "config": file }));
}

fn print(file: &str, kind: &str, findings: &Findings) {
    let Findings { store, pins, backends, routes } = findings;
    output::print(&format!("{file}\n"));
    output::print_table(&table(backends));
    if !routes.is_empty() {
        output::print("\nRoutes:");
        routes.iter().for_each(|route| output::print(&format!("  {route}")));
        output::print("  other countries: the backends in their ORDER");
    }
    let text = store.as_ref().map_or_else(ToString::to_string, String::clone);
    output::print(&format!("\nStore ({kind}): {text}"));
    if let Some(text) = pins_text(pins) {
        output::print(&format!("PINs: {text}"));
    }
    output::print("");
    if store.is_err() {
        output::print("The store cannot be used, so no call is placed.");
    }
    if pins.is_err() {
        output::print("PINs cannot be checked, so no call is approved by one.");
    }
    output::print(&match findings.failed_backends() {
        0 => "Every backend in use can place calls.".to_owned(),
        1 => "One backend in use cannot place calls.".to_owned(),
        n => format!("{n} backends in use cannot place calls."),
    });
}

/// Describes the PINs, if calls ask for them.
fn pins_text(pins: &Result<Option<PinState>, CommandError>) -> Option<String> {
    match pins {
        Ok(pins) => pins.map(|pins| pins.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// Returns a recommendation that is not worth a warning, if there is one.
fn recommended(config: &Config) -> Option<&'static str> {
    (config.store.is_persistent() && config.privacy.number_key.is_none()).then_some(
        "privacy.number_key is not set, so the telephone numbers in the store can be found from their hashes. \
         `openssl rand -hex 32` makes a key; docs/store.md (\"Number keys\") says how to set it on Windows and on a farm",
    )
}

/// Returns the backends in use, those of `use` in its order first, then the others.
fn rows(config: &Config) -> Vec<BackendRow> {
    let order: BTreeMap<_, _> = config.backend_order.iter().zip(1_usize..).collect();
    let in_use: BTreeMap<_, _> = config.in_use().map(|(name, _)| name).zip(1_usize..).collect();
    let row = |(name, backend): (&String, &BackendConfig)| {
        let order = order.get(name).copied();
        BackendRow {
            event: "backend",
            backend: name.clone(),
            kind: backend.type_name(),
            order,
            result: "not_used",
            reason: None,
            text: if config.routes.is_empty() { "not in `use`; not asked" } else { "not in use; not asked" }.to_owned(),
            judged_by: in_use.contains_key(name).then(|| judged_by(config, backend).name()),
            skipped_at: None,
            skipped: None,
        }
    };
    let mut rows: Vec<_> = config.backends.iter().map(row).collect();
    rows.sort_by_key(|row| in_use.get(&row.backend).copied().unwrap_or(usize::MAX));
    rows
}

fn routes(config: &Config) -> Vec<RouteRow> {
    let row = |route: &RouteConfig| RouteRow {
        event: "route",
        countries: route.countries.clone(),
        order: route.backend_order.clone(),
        caller_id: route.caller_id.as_deref().map(mask_numbers),
    };
    config.routes.iter().map(row).collect()
}

/// `DE, AT: trunk-de, then cloud (caller id +49…)`
impl fmt::Display for RouteRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.countries.join(", "), self.order.join(", then "))?;
        self.caller_id.as_ref().map_or(Ok(()), |caller_id| write!(f, " (caller id {caller_id})"))
    }
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
    config
        .in_use()
        .filter(|(_, backend)| judged_by(config, backend) == JudgedBy::Provider)
        .map(|(name, _)| name.clone())
        .collect()
}

/// Appends to a text about a backend that its own verdict approves calls, if `is_judge`.
pub(crate) fn with_judge(text: &str, is_judge: bool) -> String {
    if is_judge { format!("{text} (judged by the provider)") } else { text.to_owned() }
}

/// Enters the answers of the backends.
fn fill_in(rows: &mut [BackendRow], answers: Vec<(Arc<str>, Result<String, Failure>)>) {
    for (name, answer) in answers {
        let Some(row) = rows.iter_mut().find(|row| *row.backend == *name) else { continue };
        (row.result, row.reason, row.text) = match answer {
            Ok(text) => ("ok", None, text),
            Err(failure) => ("failed", Some(failure.reason()), failure.text().to_owned()),
        };
    }
}

fn table(rows: &[BackendRow]) -> Table {
    let mut table = output::table(["BACKEND", "TYPE", "ORDER", "RESULT", "DETAIL"]);
    for row in rows {
        let order = row.order.map_or("-".to_owned(), |order| order.to_string());
        let mut text = with_judge(&row.text, row.judged_by == Some(JudgedBy::Provider.name()));
        if let Some(skipped) = &row.skipped {
            text = format!("{text}; {skipped}");
        }
        table.add_row([row.backend.as_str(), row.kind, &order, row.result, &text]);
    }
    table
}

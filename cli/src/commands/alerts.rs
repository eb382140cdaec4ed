//! `phonegate alerts`: tests the destinations of alerts, and lists alerts.

use std::collections::HashMap;
use std::time::SystemTime;

use clap::Subcommand;
use comfy_table::Table;
use jiff::tz::TimeZone;
use phonegate::alerts::direct::Destinations;
use phonegate::alerts::{Alert, AlertKind, Destination};
use phonegate::platform;
use phonegate::store::ListedAlert;
use serde::Serialize;
use uuid::Uuid;

use crate::Globals;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader::StoreReader;
use crate::time;

const HELP: &str = "\
`alerts` in phonegate.json names the destinations (e-mail, webhook or syslog) and the kinds of alerts for each: `fraud`,
`lockout`, `cap_reached`, `backend_down`, `backend_up`, `configuration` and `store_down`. An alert waits in the store until
a node has delivered it. A failed delivery is repeated after 10 s, then less often, at least every 15 min. After 7 days,
an undelivered alert is given up. A destination gets at most one alert an hour of the same kind about the same number,
backend or limit. `configuration` and `store_down` do not wait: each node sends them once.

Examples:
  phonegate alerts test            after each change of `alerts`: whether each destination accepts a test alert
  phonegate alerts list            waiting alerts, alerts of the last day, and why deliveries failed
  phonegate alerts list --json     the same, for a script

Exit codes:
  0  test: each destination accepted the alert; list: done
  1  test: a destination did not accept it; list: the store cannot be used
  2  wrong usage or configuration; test: `alerts` names no destination";

const TEST: &str = "\
Sends the alert directly to every destination, even if its `on` does not include tests, without the store and the service.
A mail server may accept a mail and not deliver it: check the mailbox, too.

--json prints one object a line: event (delivered; failed), index (in `alerts`), destination, id (of the alert), text
(why it failed).";

const LIST: &str = "\
--json prints one object a line: event (alert), id, kind, raised (UTC), node, destination, state (waiting, delivered,
given_up), failures (deliveries that failed), and if known: error (of the last of them), delivered (UTC), number
(masked), call, backend, text. A destination that is no longer in the configuration is `removed`, or `unknown` if the
secrets of a destination cannot be read.";

/// The commands of `phonegate alerts`.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum AlertsCommand {
    /// Sends a test alert to every destination, and prints whether each accepted it.
    #[command(after_help = TEST)]
    Test,
    /// Lists waiting alerts, and those of the last day, the newest first.
    #[command(after_help = LIST)]
    List,
}

/// Runs a command of `phonegate alerts`.
pub(crate) fn run(command: &AlertsCommand, globals: &Globals) -> Result<Exit, CommandError> {
    let context = Context::load(globals.config())?;
    match command {
        AlertsCommand::Test => test(&context, globals.json),
        AlertsCommand::List => {
            StoreReader::open(&context)?.run(globals.json, |reader| list(&context, reader, globals.json))
        }
    }
}

/// A line of `--json` about a test. Scripts depend on its names.
#[derive(Serialize)]
struct TestRecord<'a> {
    event: &'static str,
    /// Index of the destination in `alerts`, from 0.
    index: usize,
    destination: &'a str,
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn test(Context { file, loaded }: &Context, json: bool) -> Result<Exit, CommandError> {
    let destinations = Destinations::build(&loaded.config.alerts, &loaded.config.network, &loaded.base)
        .map_err(|error| error.in_file(file))?;
    let count = destinations.iter().count();
    if count == 0 {
        return Err(CommandError::usage(format!(
            "{}: `alerts` names no destination, so no alert is ever sent",
            file.display()
        ))
        .hint("docs/operations.md, \"Alerts\", has examples"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start the network: {error}")))?;
    let alert = test_alert();
    let spinner = output::Spinner::start(json);
    spinner.set_message(format!("sending a test alert; destinations: {count}"));
    let sent = destinations.iter().map(|destination| {
        let delivery = destination.deliver(&alert);
        async move { (destination, delivery.await) }
    });
    let results = runtime.block_on(futures_util::future::join_all(sent));
    // Does not wait for DNS look-ups, which may take longer.
    runtime.shutdown_background();
    drop(spinner);
    let mut exit = Exit::Done;
    for (index, (destination, result)) in results.into_iter().enumerate() {
        let (name, text) = (destination.name(), result.err().map(|error| error.to_string()));
        if text.is_some() {
            exit = Exit::Failed;
        }
        match (json, &text) {
            (true, _) => {
                let event = if text.is_some() { "failed" } else { "delivered" };
                output::json_line(&TestRecord { event, index, destination: name, id: alert.id, text });
            }
            (false, None) => output::print(&format!("alerts[{index}] {name}: delivered")),
            (false, Some(error)) => output::print(&format!("alerts[{index}] {name}: failed: {error}")),
        }
    }
    Ok(exit)
}

fn test_alert() -> Alert {
    let text = format!(
        "`phonegate alerts test` sent this, run by {}. If you can read it, alerts from this machine reach you. There is \
         nothing else to do.",
        platform::user_name()
    );
    Alert {
        id: Uuid::new_v4(),
        kind: AlertKind::Test,
        at: SystemTime::now(),
        node: platform::machine_name().into(),
        number: None,
        call: None,
        backend: None,
        text: text.into(),
    }
}

/// A line of `--json` about an alert. Scripts depend on its names.
#[derive(Serialize)]
struct AlertRecord<'a> {
    event: &'static str,
    id: Uuid,
    kind: &'a str,
    raised: String,
    node: &'a str,
    destination: &'a str,
    state: &'static str,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// An alert of the store. `alert` is `None` if this version cannot read it.
struct ReadAlert<'a> {
    listed: &'a ListedAlert,
    alert: Option<Alert>,
    destination: &'a str,
}

impl ReadAlert<'_> {
    fn state(&self) -> &'static str {
        match (self.listed.delivered_at, self.listed.is_given_up) {
            (Some(_), _) => "delivered",
            (None, true) => "given_up",
            (None, false) => "waiting",
        }
    }

    fn kind(&self) -> &'static str {
        self.alert.as_ref().map_or("unknown", |alert| alert.kind.name())
    }

    fn record(&self) -> AlertRecord<'_> {
        let (listed, alert) = (self.listed, self.alert.as_ref());
        AlertRecord {
            event: "alert",
            id: listed.id,
            kind: self.kind(),
            raised: time::utc(listed.raised_at),
            node: alert.map_or("", |alert| &alert.node),
            destination: self.destination,
            state: self.state(),
            failures: listed.failures,
            error: listed.error.as_deref(),
            delivered: listed.delivered_at.map(time::utc),
            number: alert.and_then(|alert| alert.number.as_deref()),
            call: alert.and_then(|alert| alert.call).map(|call| call.to_string()),
            backend: alert.and_then(|alert| alert.backend.as_deref()),
            text: alert.map(|alert| &*alert.text),
        }
    }
}

fn list(context: &Context, reader: &StoreReader, json: bool) -> Result<Exit, CommandError> {
    let config = &context.loaded.config;
    let alerts = reader.block_on(reader.store.alerts())?;
    // The name of a destination includes its address, which may be in a secret that this user cannot read.
    let built = config.alerts.iter().enumerate();
    let built =
        built.filter_map(|(index, alert)| Destination::build(index, alert, &config.network, &context.loaded.base).ok());
    let names: HashMap<String, String> =
        built.map(|destination| (destination.fingerprint().to_owned(), destination.name().to_owned())).collect();
    let unnamed = if names.len() < config.alerts.len() { "unknown" } else { "removed" };
    let mut shown = Vec::new();
    for listed in &alerts {
        let destination = names.get(&*listed.destination).map_or(unnamed, String::as_str);
        shown.push(ReadAlert { listed, alert: serde_json::from_str(&listed.content).ok(), destination });
    }
    if json {
        shown.iter().for_each(|alert| output::json_line(&alert.record()));
    } else if shown.is_empty() {
        output::note("No alert waits, and none ended in the last day.");
    } else {
        output::print_cut_table(&table(&shown));
    }
    if config.alerts.is_empty() {
        output::warning(json, "`alerts` in the configuration names no destination, so no alert is ever sent");
    }
    Ok(Exit::Done)
}

/// Returns the list as a table. The last column is the only one that a narrow terminal cuts.
fn table(alerts: &[ReadAlert<'_>]) -> Table {
    let zone = TimeZone::system();
    let mut table =
        output::table(["RAISED", "KIND", "STATE", "FAILURES", "NUMBER OR BACKEND", "DESTINATION", "LAST ERROR"]);
    for alert in alerts {
        let about = alert.alert.as_ref().and_then(|alert| alert.number.as_deref().or(alert.backend.as_deref()));
        table.add_row([
            &time::local(alert.listed.raised_at, &zone),
            alert.kind(),
            alert.state(),
            &alert.listed.failures.to_string(),
            about.unwrap_or("-"),
            alert.destination,
            alert.listed.error.as_deref().unwrap_or("-"),
        ]);
    }
    table
}

//! `phonegate simulate`: telephones in a browser, to try PhoneGate with.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use phonegate::admission::Admission;
use phonegate::backend::twilio_studio;
use phonegate::config::{self, NumbersConfig};
use phonegate::prompts::Language;
use phonegate_approval::script::Piece;
use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Behaviour, Exchange, MAX_TELEPHONES};
use phonegate_simulator::number;
use phonegate_simulator::recognition::Recordings;
use phonegate_simulator::sip::{self, SipCallee};
use phonegate_simulator::studio::{self, Pace, StudioServer};
use phonegate_simulator::view::Update;
use phonegate_simulator::web::WebServer;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::prompts::library_prompts;
use crate::Globals;
use crate::error::{CommandError, Exit};
use crate::output;

/// Maximum time to end the calls, then to notify open pages, and then for running tasks to finish.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The number of the printed example, which the page names too, and its country.
const EXAMPLE_NUMBER: &str = "+1 4255551212";
const EXAMPLE_COUNTRY: &str = "US";

const HELP: &str = "\
Open the printed address in a browser of this computer: nothing else can reach the page. A telephone appears when it is
called; --number adds one before that. No configuration is read, and nothing is recorded.

With the printed configuration, PhoneGate calls the telephones over SIP (UDP or TCP), and with the printed backend by
Twilio Studio's endpoints. The ports change at each start, unless --port, --sip-port and --studio-port set them. Over
SIP, the telephones understand PhoneGate's own recordings, in each language; custom ones are heard, but not understood.
Studio has the flow of PhoneGate's defaults; `phonegate twilio install-flow` installs another one. Calls that the
simulator refuses, or that cannot succeed with the installed flow, are shown on the page, and reported here without
their numbers.

Examples:
  phonegate simulate                                        telephones that you pick up on the page
  phonegate simulate --number \"+1 4255551212\"               with a telephone that waits for its first call
  phonegate simulate --approve-after 20                     calls not picked up within 20 s approve by themselves
  phonegate simulate --ending wrong_code --no-browser       for an unattended test
  phonegate simulate --json                                 for a script: one line when the simulator is ready

--json prints one object: event (ready), url (the page, with the token that it needs), backends (for `backends` of
phonegate.json: sip and twilio). The browser is not opened then.

Exit codes:
  0  ended by Ctrl-C
  1  a port is used by another program
  2  wrong usage";

/// The arguments of `phonegate simulate`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The port of the page, on 127.0.0.1. [default: any free port]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// The port of SIP, UDP and TCP, on 127.0.0.1. [default: any free port]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    sip_port: u16,
    /// The port of Twilio Studio's endpoints, on 127.0.0.1. [default: any free port]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    studio_port: u16,
    /// Adds a telephone with this number. May be repeated.
    #[arg(long = "number", value_name = "NUMBER", value_parser = telephone)]
    numbers: Vec<String>,
    /// How calls end; the page can change it for each telephone.
    #[arg(long, value_name = "ENDING", default_value = "by_hand", value_parser = endings())]
    ending: Ending,
    /// The time after which a call of the ending `by_hand` that was not picked up approves by itself, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    approve_after: Option<u64>,
    /// The PIN that endings press if a prompt asks for one.
    #[arg(long, value_name = "DIGITS", value_parser = pin)]
    pin: Option<String>,
    /// The key that the ending `report_fraud` presses: `fraud.key` of the configuration.
    #[arg(long, value_name = "KEY", default_value = "0", value_parser = fraud_key)]
    fraud_key: char,
    /// Does not open the page in the browser.
    #[arg(long)]
    no_browser: bool,
}

fn telephone(text: &str) -> Result<String, &'static str> {
    number::parse(text).ok_or(number::FORMAT_HINT)
}

fn endings() -> impl TypedValueParser<Value = Ending> {
    let values = Ending::ALL.map(|(_, name, what)| PossibleValue::new(name).help(what));
    PossibleValuesParser::new(values).try_map(|name| {
        let ending = Ending::ALL.into_iter().find(|(_, known, _)| *known == name);
        ending.map(|(ending, ..)| ending).ok_or("there is no such ending")
    })
}

fn pin(text: &str) -> Result<String, &'static str> {
    let is_pin = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_pin { Ok(text.to_owned()) } else { Err("a PIN has 1 to 16 digits") }
}

fn fraud_key(text: &str) -> Result<char, &'static str> {
    let key = text.parse::<char>().ok().filter(char::is_ascii_digit);
    key.ok_or("the fraud key is a digit")
}

/// The line of `--json`. Scripts depend on its names.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    url: &'a str,
    backends: &'a Value,
}

/// Runs the simulator until Ctrl-C.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let interrupted = on_interrupt()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start threads: {error}")))?;
    let exchange = exchange(arguments)?;
    let web = runtime.block_on(WebServer::bind(arguments.port, exchange.clone())).map_err(|error| {
        let message = format!("the page cannot be served on port {} of 127.0.0.1: {error}", arguments.port);
        CommandError::failed(message).hint("leave out --port: any free port is used then")
    })?;
    let callee = runtime.block_on(callee(arguments.sip_port, exchange.clone()))?;
    let studio = runtime.block_on(serve_studio(arguments.studio_port, &exchange))?;
    let (sip, twilio) = (sip_backend(&callee), studio_backend(&studio.base_url()));
    let url = web.url();
    runtime.spawn(web.serve());
    runtime.spawn(log_problems(exchange.clone()));
    match globals.json {
        true => {
            output::json_line(&Ready { event: "ready", url: &url, backends: &json!({ "sip": sip, "twilio": twilio }) });
        }
        false => {
            output::print(&format!("The telephones: {url}"));
            output::print("");
            output::print("To call them, save this as test.json:");
            output::print(&test_configuration(&sip, &arguments.numbers));
            output::print("and run, in another terminal:");
            output::print(&format!("  phonegate call {EXAMPLE_NUMBER} --config test.json"));
            output::print("");
            output::print(
                "For calls by Twilio Studio's endpoints, add this to \"backends\" in test.json, and set \"use\" to \
                 [\"twilio\"]:",
            );
            output::print(&format!("  \"twilio\": {twilio}"));
            output::print("");
            output::print("Ctrl-C ends the simulator.");
        }
    }
    if !arguments.no_browser && !globals.json && has_display() {
        open_browser(&url);
    }
    // The sender is dropped only with the process.
    let _ = interrupted.recv();
    let _ = runtime.block_on(async { timeout(END_WITHIN, callee.end()).await });
    // A page that takes longer sees that the connection is lost.
    let _ = runtime.block_on(async { timeout(END_WITHIN, exchange.end()).await });
    runtime.shutdown_timeout(END_WITHIN);
    Ok(Exit::Done)
}

/// Returns a configuration that calls the telephones over SIP. It allows the countries of the example and of `numbers`.
fn test_configuration(sip: &Value, numbers: &[String]) -> String {
    let config = NumbersConfig { default_country: Some(EXAMPLE_COUNTRY.to_owned()), ..NumbersConfig::default() };
    let admission = Admission::new(&config).ok();
    let country = |number: &String| Some(admission.as_ref()?.read(number).ok()?.country()?.as_str().to_owned());
    let example = Some(EXAMPLE_COUNTRY.to_owned());
    let countries: BTreeSet<_> = example.into_iter().chain(numbers.iter().filter_map(country)).collect();
    let allowed = match countries.len() {
        1 => String::new(),
        _ => format!(", \"allowed_countries\": {}", json!(countries)),
    };
    format!(
        "{{\n  \"use\": [\"sip\"],\n  \"allow_test_backends\": true,\n  \"backends\": {{\n    \"sip\": {sip}\n  }},\n  \
         \"numbers\": {{ \"default_country\": \"{EXAMPLE_COUNTRY}\"{allowed} }}\n}}"
    )
}

/// Prints why calls are refused, or cannot succeed. A problem equal to the last one is not printed again.
async fn log_problems(exchange: Exchange) {
    let (_, mut updates) = exchange.subscribe();
    let mut last = String::new();
    loop {
        match updates.recv().await {
            Ok(Update::Problem(problem)) if problem.text != last => {
                last.clone_from(&problem.text);
                // The reader of the output may be slow.
                let _ = tokio::task::spawn_blocking(move || output::warning(false, &problem.text)).await;
            }
            Ok(Update::SimulatorEnded) | Err(RecvError::Closed) => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
        }
    }
}

/// Serves Twilio Studio's endpoints, with the flow for PhoneGate's defaults.
async fn serve_studio(port: u16, exchange: &Exchange) -> Result<StudioServer, CommandError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = StudioServer::listen(exchange.clone(), address, Pace::default()).await.map_err(|error| {
        let message = format!("Twilio Studio's endpoints cannot be served on port {port} of 127.0.0.1: {error}");
        CommandError::failed(message).hint("leave out --studio-port: any free port is used then")
    })?;
    let configuration = json!({
        "use": ["twilio"],
        "allow_test_backends": true,
        "backends": { "twilio": studio_backend(&server.base_url()) },
        "numbers": { "default_country": "US" },
    });
    let config = config::parse(&configuration.to_string(), &phonegate::TYPES)?;
    let definition = twilio_studio::flow_definition(&config)?.to_string();
    let published = server.studio().publish(&definition);
    published.map_err(|problem| CommandError::failed(format!("the simulator does not know the flow: {problem}")))?;
    Ok(server)
}

/// Returns a backend that calls the telephones.
fn studio_backend(base_url: &str) -> Value {
    json!({
        "type": "twilio_studio", "account_sid": studio::ACCOUNT_SID, "api_key_sid": studio::API_KEY_SID,
        "api_key_secret": studio::API_KEY_SECRET, "flow_sid": studio::FLOW_SID, "from": sip::CALLER_ID, "base_url": base_url,
    })
}

/// Makes the telephones that the arguments ask for.
fn exchange(arguments: &Arguments) -> Result<Exchange, CommandError> {
    let exchange = Exchange::new(Behaviour {
        ending: arguments.ending,
        approve_after: arguments.approve_after.map(Duration::from_secs),
        keys: Keys { pin: arguments.pin.clone(), fraud: arguments.fraud_key },
    });
    match arguments.numbers.iter().all(|number| exchange.add(number)) {
        true => Ok(exchange),
        false => Err(CommandError::usage(format!("the simulator has at most {MAX_TELEPHONES} telephones"))),
    }
}

/// Receives calls over SIP, and understands the recordings of this library.
async fn callee(port: u16, exchange: Exchange) -> Result<SipCallee, CommandError> {
    let prompts = library_prompts().map_err(|error| CommandError::failed(error.to_string()))?;
    let pieces = |language: &Language| {
        let recording = |piece: Piece| Some((piece, language.get(piece)?));
        Piece::ALL.into_iter().filter_map(recording).collect::<Vec<_>>()
    };
    let recordings = Recordings::new(prompts.languages().iter().map(pieces));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    sip::listen(exchange, address, Arc::new(recordings)).await.map_err(|error| {
        let message = format!("calls cannot be received on port {port} of 127.0.0.1: {error}");
        CommandError::failed(message).hint("leave out --sip-port: any free port is used then")
    })
}

/// Returns the settings of a backend that calls the telephones.
fn sip_backend(callee: &SipCallee) -> Value {
    json!({ "type": "sip", "trunk": format!("sip:{}", callee.address()), "caller_id": sip::CALLER_ID })
}

/// Returns whether a browser would be seen. On Windows and macOS, nothing says that.
fn has_display() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}

fn open_browser(url: &str) {
    if let Err(error) = open::that_detached(url) {
        output::note(&format!("The browser could not be opened ({error}): open the address yourself."));
    }
}

fn on_interrupt() -> Result<Receiver<()>, CommandError> {
    let (sender, interrupted) = mpsc::channel();
    // At the end of the command, the receiver is gone.
    ctrlc::set_handler(move || {
        let _ = sender.send(());
    })
    .map_err(|error| CommandError::failed(format!("cannot install a Ctrl-C handler: {error}")))?;
    Ok(interrupted)
}

//! What the company may have, and the questions about it.

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use super::Arguments;
use super::asker::{Asker, Question, Stop};
use super::secret::{self, SecretAnswer};
use crate::error::CommandError;

/// The backend of the configuration.
pub(super) struct Backend {
    pub(super) name: &'static str,
    /// Without a typed secret.
    pub(super) settings: Value,
    /// The key of the secret, and the secret.
    pub(super) secret: Option<(&'static str, SecretAnswer)>,
    /// Whether PhoneGate's flow is to be installed in the Twilio account.
    pub(super) installs_flow: bool,
}

/// What a company may have.
struct Kind {
    /// The value of `--has`.
    name: &'static str,
    title: &'static str,
    /// The options that only some kinds have.
    options: &'static [&'static str],
    ask: fn(&Arguments, &Asker) -> Result<Backend, Stop>,
}

/// The kinds, in the order in which they are offered.
const KINDS: [Kind; 2] = [
    Kind {
        name: "sip",
        title: "A telephone system, a session border controller or a carrier (SIP)",
        options: &["--trunk", "--transport", "--username", "--local-peer"],
        ask: ask_sip,
    },
    Kind {
        name: "twilio",
        title: "An account at Twilio",
        options: &["--account-sid", "--api-key-sid", "--flow-sid", "--install-flow", "--base-url", "--local-peer"],
        ask: ask_twilio,
    },
];

/// The placeholder for a flow that is installed later.
const NO_FLOW: &str = "FW00000000000000000000000000000000";

/// Returns the parser of `--has`.
pub(super) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(KINDS.map(|kind| kind.name))
}

/// Asks what the company has, and the questions about that.
pub(super) fn ask(arguments: &Arguments, asker: &Asker) -> Result<Backend, Stop> {
    let given = arguments.has.as_deref().and_then(|name| KINDS.iter().find(|kind| kind.name == name));
    let kind = match given {
        Some(kind) => Some(kind),
        None => {
            let titles = KINDS.iter().map(|kind| kind.title).collect();
            KINDS.get(asker.choice("--has", "What does the company have?", titles)?)
        }
    };
    let Some(kind) = kind else { return Err(Stop::Cancelled) };
    if let Some(option) = given_options(arguments).find(|option| !kind.options.contains(option)) {
        return Err(CommandError::usage(format!("{option} does not apply to --has {}", kind.name)).into());
    }
    (kind.ask)(arguments, asker)
}

/// Returns the options of kinds that are given.
fn given_options(arguments: &Arguments) -> impl Iterator<Item = &'static str> {
    let options = [
        ("--trunk", arguments.trunk.is_some()),
        ("--transport", arguments.transport.is_some()),
        ("--username", arguments.username.is_some()),
        ("--account-sid", arguments.account_sid.is_some()),
        ("--api-key-sid", arguments.api_key_sid.is_some()),
        ("--flow-sid", arguments.flow_sid.is_some()),
        ("--install-flow", arguments.install_flow),
        ("--base-url", arguments.base_url.is_some()),
        ("--local-peer", arguments.local_peer),
    ];
    options.into_iter().filter_map(|(option, is_given)| is_given.then_some(option))
}

fn ask_sip(arguments: &Arguments, asker: &Asker) -> Result<Backend, Stop> {
    let trunk = asker.text(
        &Question {
            option: "--trunk",
            text: "Address of the trunk",
            help: "a name or an IP address, with :PORT if it is not the usual one; or a SIP URI",
            default: None,
            check: &check_trunk,
        },
        arguments.trunk.as_deref(),
    )?;
    let uri = match says_transport(&trunk) {
        true if arguments.transport.is_some() => {
            return Err(CommandError::usage("--transport: the URI of --trunk says the transport").into());
        }
        true => trunk,
        false => {
            let question = Question {
                option: "--transport",
                text: "Transport (udp, tcp or tls)",
                help: "with tls, the audio is encrypted, too; without it, an attacker in the network can approve calls",
                default: Some("tls".to_owned()),
                check: &|text| match ["udp", "tcp", "tls"].contains(&text.to_ascii_lowercase().as_str()) {
                    true => Ok(()),
                    false => Err("it must be udp, tcp or tls".to_owned()),
                },
            };
            let transport = asker.text(&question, arguments.transport.as_deref())?.to_ascii_lowercase();
            let address = match trunk.split_once(':') {
                Some((scheme, rest)) if is_sip_scheme(scheme) => rest,
                _ => &trunk,
            };
            format!("sip:{address};transport={transport}")
        }
    };
    let question = Question {
        option: "--username",
        text: "User name at the trunk",
        help: "empty if the trunk knows this machine by its address",
        default: Some(String::new()),
        check: &|text| match text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            true => Err("it must have no blanks".to_owned()),
            false => Ok(()),
        },
    };
    let username = asker.text(&question, arguments.username.as_deref())?;
    let caller_id = ask_caller_id(arguments, asker, true)?;
    let mut settings = Map::new();
    let mut insert = |key: &str, value: &str| drop(settings.insert(key.to_owned(), json!(value)));
    insert("type", "sip");
    insert("trunk", &uri);
    if !caller_id.is_empty() {
        insert("caller_id", &caller_id);
    }
    if arguments.local_peer {
        settings.insert("local_peer".to_owned(), json!(true));
    }
    let mut answer = None;
    if username.is_empty() && (arguments.secret_file.is_some() || arguments.secret_env.is_some()) {
        return Err(CommandError::usage("--secret-file and --secret-env need --username").into());
    }
    if !username.is_empty() {
        settings.insert("username".to_owned(), json!(username));
        answer = Some(secret::ask(arguments, asker, "Password of the trunk")?);
    }
    Ok(backend("trunk", settings, answer.map(|answer| ("password", answer)), false))
}

fn ask_twilio(arguments: &Arguments, asker: &Asker) -> Result<Backend, Stop> {
    let sid = |option, text, help, prefix: &'static str, given: Option<&str>| {
        let check = move |text: &str| check_sid(prefix, text);
        asker.text(&Question { option, text, help, default: None, check: &check }, given)
    };
    let console = "it is in Twilio's console";
    let account = sid("--account-sid", "Account SID", console, "AC", arguments.account_sid.as_deref())?;
    let key_help = "make a restricted or standard API key in Twilio's console";
    let key = sid("--api-key-sid", "API key SID", key_help, "SK", arguments.api_key_sid.as_deref())?;
    let answer = secret::ask(arguments, asker, "Secret of the API key")?;
    let from = ask_caller_id(arguments, asker, false)?;
    let mut installs_flow = arguments.install_flow;
    let flow = match (&arguments.flow_sid, installs_flow) {
        (None, true) => NO_FLOW.to_owned(),
        (given, _) => {
            installs_flow = given.is_none()
                && asker.is_interactive()
                && asker.confirm("Install PhoneGate's call flow in the account?", true)?;
            match installs_flow {
                true => NO_FLOW.to_owned(),
                false => {
                    let help = "`phonegate twilio install-flow` prints it";
                    let option = "--flow-sid or --install-flow";
                    sid(option, "SID of PhoneGate's call flow", help, "FW", given.as_deref())?
                }
            }
        }
    };
    let mut settings = Map::new();
    let mut insert = |key: &str, value: &str| drop(settings.insert(key.to_owned(), json!(value)));
    insert("type", "twilio_studio");
    insert("account_sid", &account);
    insert("api_key_sid", &key);
    insert("flow_sid", &flow);
    insert("from", &from);
    if let Some(url) = &arguments.base_url {
        insert("base_url", url);
    }
    if arguments.local_peer {
        settings.insert("local_peer".to_owned(), json!(true));
    }
    Ok(backend("cloud", settings, Some(("api_key_secret", answer)), installs_flow))
}

/// Returns a backend, whose settings name the place of its secret if that is known already.
fn backend(
    name: &'static str,
    mut settings: Map<String, Value>,
    secret: Option<(&'static str, SecretAnswer)>,
    installs_flow: bool,
) -> Backend {
    if let Some((key, SecretAnswer::At(place))) = &secret {
        settings.insert((*key).to_owned(), place.clone());
    }
    Backend { name, settings: Value::Object(settings), secret, installs_flow }
}

fn ask_caller_id(arguments: &Arguments, asker: &Asker, is_optional: bool) -> Result<String, Stop> {
    let question = Question {
        option: "--caller-id",
        text: "Number that users see when they are called",
        help: if is_optional { "such as +14255550100; empty: the trunk chooses" } else { "a number of the account" },
        default: is_optional.then(String::new),
        check: &|text| match is_e164(text) || is_optional && text.is_empty() {
            true => Ok(()),
            false => Err("write it with + and the country code, without blanks: +14255550100".to_owned()),
        },
    };
    asker.text(&question, arguments.caller_id.as_deref())
}

fn is_e164(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_sip_scheme(text: &str) -> bool {
    text.eq_ignore_ascii_case("sip") || text.eq_ignore_ascii_case("sips")
}

/// Returns whether an address is a URI that says the transport: one of SIPS, or of SIP with the parameter. Without the
/// parameter, SIP is not encrypted.
fn says_transport(trunk: &str) -> bool {
    let trunk = trunk.to_ascii_lowercase();
    trunk.starts_with("sips:") || trunk.starts_with("sip:") && trunk.contains(";transport=")
}

fn check_trunk(text: &str) -> Result<(), String> {
    let host = match text.split_once(':') {
        Some((scheme, rest)) if is_sip_scheme(scheme) => rest,
        _ if text.contains([';', '@', '/']) => return Err("write a name or an address, or a URI with sip:".to_owned()),
        _ => text,
    };
    match host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',') {
        true => Err("write one name or address, such as sbc.contoso.local or 192.0.2.10:5060".to_owned()),
        false => Ok(()),
    }
}

fn check_sid(prefix: &str, text: &str) -> Result<(), String> {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    match rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(format!("it must be {prefix} and 32 hexadecimal digits")),
    }
}

//! The questions about a SIP trunk.

use std::net::Ipv6Addr;
use std::path::Path;

use serde_json::json;

use super::Arguments;
use super::asker::{Asker, Question, Stop};
use super::secret;
use super::telephony::{Backend, ask_caller_id};
use super::{settings, validate};
use crate::error::CommandError;

/// A trunk for the checks of other answers.
const ANY_TRUNK: &str = "sip:192.0.2.1;transport=udp";

/// Asks about a trunk.
pub(super) fn ask(arguments: &Arguments, asker: &Asker, base: &Path) -> Result<Backend, Stop> {
    let trunk = asker.text(
        &Question {
            option: "--trunk",
            text: "Address of the trunk",
            help: "a name or an IP address, with :PORT if it is not the usual one; or a SIP URI",
            default: None,
            check: &|text| check_trunk(text, base),
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
            with_transport(&trunk, &asker.text(&question, arguments.transport.as_deref())?.to_ascii_lowercase())
        }
    };
    let question = Question {
        option: "--username",
        text: "User name at the trunk",
        help: "empty if the trunk knows this machine by its address",
        default: Some(String::new()),
        check: &|text| check_username(text, base),
    };
    let username = asker.text(&question, arguments.username.as_deref())?;
    let caller_id = ask_caller_id(arguments, asker, true)?;
    let mut settings = json!({ "type": "sip", "trunk": uri });
    if !caller_id.is_empty() {
        settings::set(&mut settings, "/caller_id", json!(caller_id));
    }
    if username.is_empty() && (arguments.secret_file.is_some() || arguments.secret_env.is_some()) {
        return Err(CommandError::usage("--secret-file and --secret-env need --username").into());
    }
    if username.is_empty() {
        return Ok(Backend::new("trunk", settings));
    }
    settings::set(&mut settings, "/username", json!(username));
    let password = secret::ask(arguments, asker, "Password of the trunk")?;
    Ok(Backend::new("trunk", settings).with_secret("/password", password))
}

/// Returns the SIP URI of an address, or of a URI without a transport.
fn with_transport(trunk: &str, transport: &str) -> String {
    let address = match trunk.split_once(':') {
        Some((scheme, rest)) if is_sip_scheme(scheme) => rest,
        _ => trunk,
    };
    format!("sip:{address};transport={transport}")
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

fn check_trunk(text: &str, base: &Path) -> Result<(), String> {
    let host = match text.split_once(':') {
        Some((scheme, rest)) if is_sip_scheme(scheme) => rest,
        _ if text.contains([';', '@', '/']) => return Err("write a name or an address, or a URI with sip:".to_owned()),
        _ => text,
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',') {
        return Err("write one name or address, such as sbc.contoso.local or 192.0.2.10:5060".to_owned());
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("write an IPv6 address in brackets: [{host}], or [{host}]:5060 with a port"));
    }
    let uri = if says_transport(text) { text.to_owned() } else { with_transport(text, "tls") };
    validate::check(&json!({ "type": "sip", "trunk": uri }), base)
}

fn check_username(text: &str, base: &Path) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("it must have no blanks".to_owned());
    }
    validate::check(&json!({ "type": "sip", "trunk": ANY_TRUNK, "username": text, "password": validate::SECRET }), base)
}

//! The questions about an account at Twilio.

use std::path::Path;

use serde_json::{Value, json};

use super::Arguments;
use super::asker::{Asker, Question, Stop};
use super::secret;
use super::telephony::{Backend, ask_caller_id};
use super::{settings, validate};
use crate::error::CommandError;

/// The placeholder for a flow that is installed later.
const NO_FLOW: &str = "FW00000000000000000000000000000000";

/// An account, an API key and a number for the checks of other answers.
const ANY_ACCOUNT: [&str; 3] =
    ["AC00000000000000000000000000000000", "SK00000000000000000000000000000000", "+14255550100"];

/// Asks about an account and its flow.
pub(super) fn ask(arguments: &Arguments, asker: &Asker, base: &Path) -> Result<Backend, Stop> {
    let base_url = arguments.base_url.as_deref();
    if base_url.is_some() {
        let [account, key, from] = ANY_ACCOUNT;
        let mut settings = settings(account, key, NO_FLOW, from, base_url);
        settings::set(&mut settings, "/api_key_secret", json!(validate::SECRET));
        validate::check(&settings, base).map_err(|problem| CommandError::usage(format!("--base-url: {problem}")))?;
    }
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
    let settings = settings(&account, &key, &flow, &from, base_url);
    Ok(Backend { installs_flow, ..Backend::new("cloud", settings).with_secret("/api_key_secret", answer) })
}

/// Returns the settings without the secret.
fn settings(account: &str, key: &str, flow: &str, from: &str, base_url: Option<&str>) -> Value {
    let mut settings = json!({
        "type": "twilio_studio", "account_sid": account, "api_key_sid": key, "flow_sid": flow, "from": from,
    });
    if let Some(url) = base_url {
        settings::set(&mut settings, "/base_url", json!(url));
    }
    settings
}

fn check_sid(prefix: &str, text: &str) -> Result<(), String> {
    let rest = text.strip_prefix(prefix).unwrap_or_default();
    match rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(format!("it must be {prefix} and 32 hexadecimal digits")),
    }
}

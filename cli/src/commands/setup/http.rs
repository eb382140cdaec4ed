//! The questions about a web service: an account at Infobip, or a service that a file describes.

use std::path::Path;

use phonegate::config::{self, MAX_FILE_BYTES};
use serde_json::{Map, Value, json};

use super::Arguments;
use super::asker::{self, Asker, Question, Stop};
use super::secret;
use super::telephony::Backend;
use super::{settings, validate};

/// A base URL, a scenario and a caller id for the checks of other answers.
const ANY_ACCOUNT: [&str; 3] = ["https://abcde.api.infobip.com", "0", "14255550100"];

/// Asks about an account at Infobip.
pub(super) fn ask_infobip(arguments: &Arguments, asker: &Asker, base: &Path) -> Result<Backend, Stop> {
    let [any_url, any_scenario, any_number] = ANY_ACCOUNT;
    let check = |url: &str, scenario: &str, from: &str| {
        let mut settings = infobip(url, scenario, from);
        settings::set(&mut settings, API_KEY, json!(validate::SECRET));
        validate::check(&settings, base)
    };
    let question = Question {
        option: "--base-url",
        text: "Base URL of the account",
        help: "such as https://abcde.api.infobip.com; it is in Infobip's portal",
        default: None,
        check: &|text| check(text, any_scenario, any_number),
    };
    let url = asker.text(&question, arguments.base_url.as_deref())?;
    let question = Question {
        option: "--scenario-id",
        text: "Id of the voice scenario",
        help: "docs/backends.md, \"Infobip\", says how to create it",
        default: None,
        check: &|text| check(any_url, text, any_number),
    };
    let scenario = asker.text(&question, arguments.scenario_id.as_deref())?;
    let question = Question {
        option: "--caller-id",
        text: "Number that users see when they are called",
        help: "a number of the account with its country code, such as +14255550100",
        default: None,
        check: &|text| check(any_url, any_scenario, without_plus(text)),
    };
    let from = asker.text(&question, arguments.caller_id.as_deref())?;
    let key = secret::ask(arguments, asker, "API key")?;
    Ok(Backend::new("infobip", infobip(&url, &scenario, without_plus(&from))).with_secret(API_KEY, key))
}

/// Where the API key is in the settings.
const API_KEY: &str = "/preset/infobip/api_key";

/// Returns the settings without the API key.
fn infobip(base_url: &str, scenario: &str, from: &str) -> Value {
    let account = json!({ "base_url": base_url, "scenario_id": scenario, "from": from });
    json!({ "type": "http", "preset": { "infobip": account } })
}

fn without_plus(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

/// Asks for the file of a service, which has the settings of a backend of type http.
pub(super) fn ask_service(arguments: &Arguments, asker: &Asker, base: &Path) -> Result<Backend, Stop> {
    let read = |text: &str| asker::absolute_path(text.as_ref()).and_then(|path| read_service(path.as_ref(), base));
    let question = Question {
        option: "--service-file",
        text: "JSON file that describes the web service",
        help: "the settings of the backend: docs/backends.md, \"A web service of your own\", has an example",
        default: None,
        check: &|text| read(text).map(drop),
    };
    let file = asker.file(&question, arguments.service_file.as_deref())?;
    let settings = read(&file).map_err(|problem| question.wrong(&problem))?;
    Ok(Backend::new("service", settings))
}

/// Reads and checks the settings of a backend of type http.
fn read_service(path: &Path, base: &Path) -> Result<Value, String> {
    let shown = path.display();
    let text = config::read_text(path, MAX_FILE_BYTES).map_err(|error| format!("{shown}: cannot be read: {error}"))?;
    let mut settings: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| format!("{shown}: is not a JSON object: {error}"))?;
    let is_http = settings.get("type").is_none_or(|kind| kind == "http");
    if !is_http {
        return Err(format!("{shown}: type: must be http; the file has the settings of one backend, and nothing else"));
    }
    // Check the text itself: parsing into `settings` has dropped duplicate keys.
    let with_type = match (settings.contains_key("type"), settings.is_empty()) {
        (true, _) => text,
        (false, true) => r#"{"type":"http"}"#.to_owned(),
        (false, false) => text.replacen('{', r#"{"type":"http","#, 1),
    };
    settings.insert("type".to_owned(), json!("http"));
    let settings = Value::Object(settings);
    let wrong = |error| format!("{shown}: {}", validate::describe(&error));
    validate::parse(&with_type).map_err(wrong)?;
    validate::build(&settings, base).map_err(wrong)?;
    Ok(settings)
}

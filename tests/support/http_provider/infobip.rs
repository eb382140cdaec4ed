//! A stand-in for Infobip's voice scenarios, as its public documentation describes them. A report can be read once.
//! <https://www.infobip.com/docs/api/channels/voice>

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Received, Reply, serve};

const KEY: &str = "hush-hush-api-key";
const SCENARIO: &str = "E83E787CF2613450157ADA3476171E3F";

/// The message of a call that was launched: its id, and what the scenario speaks.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub to: String,
    pub code: String,
    pub callback_data: String,
}

#[derive(Default)]
struct State {
    messages: Vec<Message>,
    /// The report about the last message, until it is read.
    report: Option<Value>,
    /// Whether the next report is lost: it is read, and the connection closed.
    loses_report: bool,
    polls: usize,
}

/// A running stand-in.
#[derive(Clone)]
pub struct Infobip {
    base_url: String,
    state: Arc<Mutex<State>>,
}

impl Infobip {
    /// Starts a stand-in on a free port of 127.0.0.1. It runs until the process ends.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let base_url = serve(move |received| receive(&mut shared.lock().unwrap(), &received));
        Self { base_url, state }
    }

    /// The settings of a backend that uses it.
    pub fn settings(&self) -> Value {
        json!({ "type": "http", "local_peer": true, "preset": { "infobip": {
            "base_url": self.base_url, "api_key": KEY, "scenario_id": SCENARIO, "from": "14255550100"
        } } })
    }

    /// The messages that were launched.
    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().messages.clone()
    }

    /// The number of requests for reports.
    pub fn polls(&self) -> usize {
        self.state.lock().unwrap().polls
    }

    /// Makes the report about the last message: the group of its status, and the keys that were collected.
    pub fn report(&self, group: &str, dtmf_codes: &Value) {
        let mut state = self.state.lock().unwrap();
        let Some(message) = state.messages.last() else { return };
        state.report = Some(report(message, group, dtmf_codes));
    }

    /// The next report is lost on its way.
    pub fn lose_report(&self) {
        self.state.lock().unwrap().loses_report = true;
    }
}

fn report(message: &Message, group: &str, dtmf_codes: &Value) -> Value {
    json!({
        "bulkId": "8c20f086-d82b-48cc-b2b3-3ca5f7aca9fb", "messageId": message.id, "from": "14255550100", "to": "14255551212",
        "sentAt": "2018-06-25T13:38:14.730+0000", "mccMnc": "21901", "callbackData": message.callback_data,
        "voiceCall": {
            "feature": "Outbound IVR", "startTime": "2018-06-25T13:38:15.000+0000", "duration": 10,
            "dtmfCodes": dtmf_codes,
            "ivr": { "scenarioId": SCENARIO, "scenarioName": "PhoneGate", "collectedDtmfs": null, "spokenInput": null }
        },
        "price": { "pricePerSecond": 0.01, "currency": "EUR" },
        "status": { "id": 5, "groupId": 3, "groupName": group, "name": "A_NAME", "description": "A description" },
        "error": { "groupId": 0, "groupName": "OK", "id": 10000, "name": "NORMAL_HANGUP", "permanent": true }
    })
}

fn receive(state: &mut State, received: &Received) -> Reply {
    if received.headers.get("authorization").is_none_or(|value| *value != *format!("App {KEY}")) {
        return refuse(401, "UNAUTHORIZED", "Invalid login details");
    }
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    match (received.method.as_str(), path) {
        ("POST", "/voice/ivr/1/messages") => launch(state, &received.body),
        ("GET", "/voice/1/reports") => {
            state.polls += 1;
            let asked: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let [(name, id), (limit, one)] = &asked[..] else { return refuse(400, "BAD_REQUEST", "Bad Request") };
            if (name.as_str(), limit.as_str(), one.as_str()) != ("messageId", "limit", "1") {
                return refuse(400, "BAD_REQUEST", "Bad Request");
            }
            // Reports are returned only once.
            let is_asked = state.report.as_ref().is_some_and(|report| report["messageId"] == json!(id));
            let report = if is_asked { state.report.take() } else { None };
            if report.is_some() && std::mem::take(&mut state.loses_report) {
                return Reply::Close;
            }
            Reply::json(200, &json!({ "results": report.into_iter().collect::<Vec<_>>() }))
        }
        _ => refuse(404, "NOT_FOUND", "Requested URL not found"),
    }
}

fn launch(state: &mut State, body: &[u8]) -> Reply {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = &body["messages"][0];
    let to = message["destinations"][0]["to"].as_str().unwrap_or_default().to_owned();
    let is_valid = message["scenarioId"] == SCENARIO && message["from"] == "14255550100" && !to.is_empty();
    if !is_valid || !to.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse(400, "BAD_REQUEST", "Bad Request");
    }
    let id = format!("2250be2d4219-{}", state.messages.len() + 1);
    let code = message["parameters"]["code"].as_str().unwrap_or_default().to_owned();
    let callback_data = message["callbackData"].as_str().unwrap_or_default().to_owned();
    if callback_data.len() > 200 {
        return refuse(400, "BAD_REQUEST", "Bad Request");
    }
    state.messages.push(Message { id: id.clone(), to: to.clone(), code, callback_data });
    let status = json!({ "groupId": 1, "groupName": "PENDING", "id": 26, "name": "PENDING_ACCEPTED" });
    Reply::json(200, &json!({ "bulkId": "b-1", "messages": [{ "to": to, "status": status, "messageId": id }] }))
}

fn refuse(status: u16, id: &str, text: &str) -> Reply {
    Reply::json(status, &json!({ "requestError": { "serviceException": { "messageId": id, "text": text } } }))
}

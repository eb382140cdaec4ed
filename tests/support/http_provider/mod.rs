//! A stand-in for a web service of an administrator's own, and the settings that declare it. It refuses what such a service
//! would refuse: wrong credentials, a wrong or old signature, an id that is not encoded, an unknown call.

mod auth;
pub mod infobip;
pub mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use serde_json::{Value, json};

pub use auth::Auth;
use server::{Received, Reply, serve};

/// What happens to the calls that ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Script {
    /// The phone rings until the script changes.
    Rings,
    /// The user answers, and enters the code or another one.
    Presses { right: bool },
    /// The user answers, and presses nothing.
    Silence,
    /// The call ends in this state.
    Ends(&'static str),
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Start,
    Poll,
    End,
    Check,
    Token,
}

/// Changes the body of a reply.
pub type EditBody = fn(String) -> String;

/// The fault of one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The request is read, and the connection closed without a reply.
    Close,
    /// There is never a reply.
    Hang,
    /// The reply is late.
    Slow(Duration),
    /// This reply instead of the service's, with this header.
    Reply(u16, String, Option<(&'static str, String)>),
    /// The service's body, edited.
    Edit(EditBody),
    /// The service's report with these fields, and without that one.
    Report(Value, Option<&'static str>),
    /// The service's body with this status.
    Status(u16),
    /// This status, and only the first part of a body.
    Cut(u16, String),
}

/// A request that was read.
#[derive(Clone, Debug)]
pub struct Seen {
    pub about: About,
    pub at: Instant,
    /// Path and query, as they were sent.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

struct Call {
    ours: String,
    codes: Vec<String>,
    is_over: bool,
}

struct State {
    script: Script,
    auth: Auth,
    /// Makes the ids of calls from a number.
    id: fn(usize) -> String,
    calls: HashMap<String, Call>,
    placed: usize,
    ended: usize,
    faults: Vec<(About, Fault)>,
    seen: Vec<Seen>,
}

/// A running stand-in.
#[derive(Clone)]
pub struct Provider {
    pub base_url: String,
    state: Arc<Mutex<State>>,
}

impl Provider {
    /// Starts a stand-in on a free port of 127.0.0.1. It runs until the process ends.
    pub fn start(auth: Auth) -> Self {
        let state = Arc::new(Mutex::new(State {
            script: Script::Presses { right: true },
            auth,
            id: |n| format!("call-{n}"),
            calls: HashMap::new(),
            placed: 0,
            ended: 0,
            faults: Vec::new(),
            seen: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let base_url = serve(move |received| receive(&mut shared.lock().unwrap(), received));
        Self { base_url, state }
    }

    /// The settings of a backend that uses it.
    pub fn settings(&self) -> Value {
        let base = &self.base_url;
        let auth = self.state.lock().unwrap().auth;
        let mut settings = json!({
            "type": "http",
            "local_peer": true,
            "secrets": { "tenant": "tenant-secret" },
            "start": {
                "url": format!("{base}/v1/calls"),
                "headers": { "X-Tenant": "{secrets.tenant}", "X-Request-Id": "{call_id}" },
                "json": {
                    "to": "{number}", "extension": "{extension}", "ours": "{call_id}", "language": "{language}",
                    "codes": ["{spoken_1}", "{spoken_2}"]
                },
                "error": "/error"
            },
            "reference": "/id",
            "poll": {
                "url": format!("{base}/v1/calls/{{reference}}?ours={{call_id}}"),
                "headers": { "X-Tenant": "{secrets.tenant}" },
                "every_ms": 200,
                "names": { "reference": "/id", "call_id": "/ours" },
                "state": "/state",
                "pending": { "ringing": "ringing", "talking": "answered" }
            },
            "pressed": {
                "state": "pressed", "digits": "/digits", "attempt": "/attempt",
                "ended_by": { "pointer": "/ended_by", "pound": "pound", "pause": "pause", "full": "full" }
            },
            "failed": {
                "busy": "Unreachable", "no_answer": "Unreachable", "hung_up": "CallEnded", "machine": "Voicemail",
                "bad_number": "InvalidNumber"
            },
            "hang_up": {
                "method": "DELETE", "url": format!("{base}/v1/calls/{{reference}}"),
                "headers": { "X-Tenant": "{secrets.tenant}" }
            },
            "check": { "url": format!("{base}/v1/status"), "headers": { "X-Tenant": "{secrets.tenant}" } },
        });
        settings["auth"] = auth.settings(base);
        settings
    }

    /// Changes what happens to the calls, also to those that ring.
    pub fn play(&self, script: Script) {
        self.state.lock().unwrap().script = script;
    }

    /// Changes the ids of the calls that are placed next.
    pub fn name_calls(&self, id: fn(usize) -> String) {
        self.state.lock().unwrap().id = id;
    }

    /// Adds a fault to the next request about this.
    pub fn fail(&self, about: About, fault: Fault) {
        self.state.lock().unwrap().faults.push((about, fault));
    }

    /// All requests about this so far.
    pub fn seen(&self, about: About) -> Vec<Seen> {
        self.state.lock().unwrap().seen.iter().filter(|seen| seen.about == about).cloned().collect()
    }

    /// The number of calls that it accepted.
    pub fn placed(&self) -> usize {
        self.state.lock().unwrap().placed
    }

    /// The number of its calls that were ended by request.
    pub fn ended(&self) -> usize {
        self.state.lock().unwrap().ended
    }
}

fn receive(state: &mut State, received: Received) -> Reply {
    let Some((about, id)) = route(&received) else { return refuse(404, "unknown_resource") };
    state.seen.push(Seen {
        about,
        at: Instant::now(),
        target: received.target.clone(),
        headers: received.headers.clone(),
        body: received.body.clone(),
    });
    let fault = state.faults.iter().position(|(of, _)| *of == about).map(|at| state.faults.remove(at).1);
    let mut reply = match fault {
        Some(Fault::Close) => return Reply::Close,
        Some(Fault::Hang) => return Reply::Hang,
        Some(Fault::Reply(status, body, header)) => return Reply::Now { status, body, header },
        Some(Fault::Cut(status, body)) => return Reply::Cut { status, body },
        _ => answer(state, about, id.as_deref(), &received),
    };
    match (fault, &mut reply) {
        (Some(Fault::Edit(edit)), Reply::Now { body, .. }) => *body = edit(std::mem::take(body)),
        (Some(Fault::Report(with, without)), Reply::Now { body, .. }) => {
            let mut report: Value = serde_json::from_str(body).unwrap();
            let fields = report.as_object_mut().unwrap();
            fields.extend(with.as_object().unwrap().clone());
            if let Some(field) = without {
                fields.remove(field);
            }
            *body = report.to_string();
        }
        (Some(Fault::Status(other)), Reply::Now { status, .. }) => *status = other,
        (Some(Fault::Slow(pause)), _) => return Reply::Late(pause, Box::new(reply)),
        _ => {}
    }
    reply
}

/// Returns what a request is about, and the id of the call. `None`: there is no such resource, or its path is not encoded
/// as RFC 3986 says.
fn route(received: &Received) -> Option<(About, Option<String>)> {
    let path = received.target.split('?').next()?;
    let segments: Vec<_> = path.strip_prefix('/')?.split('/').map(server::decode).collect::<Option<_>>()?;
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    Some(match (received.method.as_str(), &names[..]) {
        ("POST", ["v1", "calls"]) => (About::Start, None),
        ("GET", ["v1", "calls", id]) => (About::Poll, Some((*id).to_owned())),
        ("DELETE", ["v1", "calls", id]) => (About::End, Some((*id).to_owned())),
        ("GET", ["v1", "status"]) => (About::Check, None),
        ("POST", ["token"]) => (About::Token, None),
        _ => return None,
    })
}

fn answer(state: &mut State, about: About, id: Option<&str>, received: &Received) -> Reply {
    if about == About::Token {
        return state.auth.token(received);
    }
    if !state.auth.accepts(received) {
        return refuse(401, "bad_credentials");
    }
    if received.headers.get("x-tenant").is_none_or(|tenant| tenant != "tenant-secret") {
        return refuse(403, "bad_tenant");
    }
    match (about, id) {
        (About::Start, _) => start(state, &received.body),
        (About::Check, _) => Reply::json(200, &json!({ "status": "up" })),
        (_, Some(id)) => {
            let script = state.script;
            let Some(call) = state.calls.get_mut(id) else { return refuse(404, "unknown_call") };
            if about == About::End {
                state.ended += 1;
                call.is_over = true;
                return Reply::Now { status: 204, body: String::new(), header: None };
            }
            let query = received.target.split('?').nth(1).unwrap_or_default();
            match query == format!("ours={}", call.ours) {
                true => Reply::json(200, &call.report(id, script)),
                false => refuse(404, "unknown_call"),
            }
        }
        _ => refuse(404, "unknown_resource"),
    }
}

fn start(state: &mut State, body: &[u8]) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return refuse(400, "no_json") };
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let (Some(to), Some(_), Some(ours), Some(_)) = (text("to"), text("extension"), text("ours"), text("language"))
    else {
        return refuse(422, "missing_field");
    };
    if !to.starts_with('+') || !to[1..].bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse(422, "bad_number");
    }
    let codes = body["codes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let codes = codes.map(|spoken| spoken.replace(", ", "")).collect();
    state.placed += 1;
    let id = (state.id)(state.placed);
    state.calls.insert(id.clone(), Call { ours: ours.clone(), codes, is_over: false });
    Reply::json(201, &json!({ "id": id, "ours": ours, "state": "ringing" }))
}

impl Call {
    fn report(&self, id: &str, script: Script) -> Value {
        let code = self.codes.first().cloned().unwrap_or_default();
        let pressed = |digits: String, ended_by: &str| json!({ "state": "pressed", "digits": digits, "attempt": "1", "ended_by": ended_by });
        let mut report = match script {
            _ if self.is_over => json!({ "state": "hung_up" }),
            Script::Rings => json!({ "state": "ringing" }),
            Script::Presses { right: true } => pressed(code, "pound"),
            Script::Presses { right: false } => pressed(code + "1", "pound"),
            Script::Silence => pressed(String::new(), "pause"),
            Script::Ends(state) => json!({ "state": state }),
        };
        report["id"] = json!(id);
        report["ours"] = json!(self.ours);
        report
    }
}

fn refuse(status: u16, error: &str) -> Reply {
    Reply::json(status, &json!({ "error": error }))
}

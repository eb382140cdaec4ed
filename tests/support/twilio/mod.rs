//! A stand-in for Twilio Studio's REST API. It keeps state as the service does, and refuses what the service refuses.
//! <https://www.twilio.com/docs/studio/rest-api/v2/execution>

#[path = "../flow.rs"]
pub mod flow;
pub mod gate;
mod state;
pub mod tls;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use phonegate::backend::twilio_studio::{Installed, TwilioStudioConfig, install_flow};
use phonegate::config;
use serde_json::{Value, json};

use state::Studio;
pub use state::{FLOW, Scenario};

pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
pub const KEY: &str = "SK00000000000000000000000000000001";
pub const TOKEN: &str = "hush-hush-token";
pub const SECRET: &str = "hush-hush-secret";
pub const FROM: &str = "+14255550100";
/// Another number of the account.
pub const OTHER_FROM: &str = "+4930231250";

/// The resource that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Start,
    Poll,
    End,
    Delete,
    Flow,
}

/// Changes the body of a reply.
pub type EditBody = fn(String) -> String;

/// The fault of one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A refusal with this status, this code and message in the body, and this `Retry-After`.
    Refuse(u16, u32, &'static str, Option<&'static str>),
    /// The request is read, and the connection closed without a reply.
    Close,
    /// There is never a reply.
    Hang,
    /// The reply is late.
    Slow(Duration),
    /// This status and body instead of the service's.
    Reply(u16, String),
    /// The service's body, edited.
    Edit(EditBody),
    /// The service's body with this status.
    Status(u16),
    /// A redirect to this URL.
    Redirect(String),
}

/// A request that was read, also if it failed.
#[derive(Clone, Debug)]
pub struct Seen {
    pub about: About,
    pub at: Instant,
    pub method: String,
    pub path: String,
    pub user: String,
    pub form: HashMap<String, String>,
}

/// A running stand-in.
#[derive(Clone)]
pub struct Twilio {
    pub base_url: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    studio: Studio,
    faults: Vec<(About, Fault)>,
    /// Numbers for which a request to start a call never gets a reply.
    hanging: Vec<String>,
    seen: Vec<Seen>,
    /// Latency of each reply in a load test. `None`: none, and requests are recorded.
    latency: Option<Duration>,
    /// Number of concurrent requests, now and at most so far.
    open: usize,
    most_open: usize,
}

/// A request that is not answered yet.
struct Open(Arc<Mutex<Inner>>);

impl Open {
    fn new(inner: &Arc<Mutex<Inner>>) -> Self {
        let mut guard = inner.lock().unwrap();
        guard.open += 1;
        guard.most_open = guard.most_open.max(guard.open);
        Self(Arc::clone(inner))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.0.lock() {
            inner.open -= 1;
        }
    }
}

impl Twilio {
    /// Starts a stand-in on a free port of 127.0.0.1. It runs until the process ends.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Mutex::new(Inner::default()));
        let twilio = Self { base_url, inner };
        let app = twilio.app();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
            });
        });
        twilio
    }

    /// The router of its requests.
    fn app(&self) -> Router {
        Router::new().fallback(answer).with_state(Arc::clone(&self.inner))
    }

    /// The settings of a backend that uses it.
    pub fn backend(&self) -> Value {
        json!({
            "type": "twilio_studio",
            "account_sid": ACCOUNT,
            "auth_token": TOKEN,
            "flow_sid": FLOW,
            "from": FROM,
            "base_url": self.base_url,
            "local_peer": true,
        })
    }

    /// The configuration of a gate whose calls it places, with these settings.
    pub fn configuration(&self, settings: &Value) -> Value {
        let mut config = json!({
            "use": ["cloud"], "backends": { "cloud": self.backend() }, "numbers": { "default_country": "US" },
        });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        config
    }

    /// Installs the flow for these settings.
    pub fn install(&self, settings: &Value) -> Installed {
        let config = config::parse(&self.configuration(settings).to_string(), &phonegate::TYPES).unwrap();
        let backend = config.backends["cloud"].settings::<TwilioStudioConfig>().expect("the backend is of this type");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(install_flow("cloud", backend, &config, "".as_ref())).unwrap()
    }

    /// Sets how calls go from now on.
    pub fn play(&self, scenario: Scenario) {
        self.inner.lock().unwrap().studio.scenario = scenario;
    }

    /// Adds a fault to the next request about this.
    pub fn fail(&self, about: About, fault: Fault) {
        self.inner.lock().unwrap().faults.push((about, fault));
    }

    /// The start of a call to this number, in E.164, never gets its reply.
    pub fn hang_start_of(&self, number: &str) {
        self.inner.lock().unwrap().hanging.push(number.to_owned());
    }

    /// Sets the latency of every reply. From now on requests are not recorded, since there are too many.
    pub fn loaded(&self, latency: Duration) {
        self.inner.lock().unwrap().latency = Some(latency);
    }

    /// Maximum number of concurrent requests so far.
    pub fn most_at_once(&self) -> usize {
        self.inner.lock().unwrap().most_open
    }

    /// Number of requests to call this number.
    pub fn starts_of(&self, number: &str) -> usize {
        self.seen(About::Start).iter().filter(|seen| seen.form["To"] == number).count()
    }

    /// All requests so far.
    pub fn all(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// All requests about this so far.
    pub fn seen(&self, about: About) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.about == about).collect()
    }

    /// The parameters of the n-th request to start an Execution.
    pub fn parameters(&self, n: usize) -> Value {
        serde_json::from_str(&self.seen(About::Start)[n].form["Parameters"]).unwrap()
    }

    /// Whether all Executions are deleted.
    pub fn is_clean(&self) -> bool {
        self.inner.lock().unwrap().studio.executions.is_empty()
    }

    /// Number of Executions that were ended by request.
    pub fn ends(&self) -> usize {
        self.inner.lock().unwrap().studio.ends
    }

    /// The definition of the flow that was installed last.
    pub fn installed(&self) -> Option<Value> {
        self.inner.lock().unwrap().studio.installed.clone()
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let _open = Open::new(&inner);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let path = parts.uri.path().to_owned();
    let about = match (parts.method.as_str(), path.split('/').nth(4), path.split('/').nth(5)) {
        ("POST", Some("Executions"), None) => About::Start,
        ("GET", Some("Executions"), Some(_)) => About::Poll,
        ("POST", Some("Executions"), Some(_)) => About::End,
        ("DELETE", Some("Executions"), Some(_)) => About::Delete,
        _ => About::Flow,
    };
    let user = user(&parts.headers);
    let latency = inner.lock().unwrap().latency;
    if let Some(latency) = latency {
        tokio::time::sleep(latency).await;
    }
    let fault = {
        let mut inner = inner.lock().unwrap();
        let method = parts.method.to_string();
        let user = user.clone().unwrap_or_default();
        if latency.is_none() {
            inner.seen.push(Seen { about, at: Instant::now(), method, path: path.clone(), user, form: form.clone() });
        }
        let hangs = about == About::Start && form.get("To").is_some_and(|to| inner.hanging.contains(to));
        let at = inner.faults.iter().position(|(of, _)| *of == about);
        if hangs { Some(Fault::Hang) } else { at.map(|at| inner.faults.remove(at).1) }
    };
    let (mut edit, mut other_status): (Option<EditBody>, _) = (None, None);
    match fault {
        None => {}
        Some(Fault::Edit(change)) => edit = Some(change),
        Some(Fault::Status(status)) => other_status = Some(status),
        Some(Fault::Refuse(status, code, words, retry_after)) => {
            let mut reply = refuse(status, code, words);
            if let Some(when) = retry_after {
                reply.headers_mut().insert(header::RETRY_AFTER, when.parse().unwrap());
            }
            return reply;
        }
        // The connection's task ends, and with it the connection.
        Some(Fault::Close) => std::panic::resume_unwind(Box::new(())),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        Some(Fault::Reply(status, body)) => return (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Some(Fault::Redirect(to)) => return (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
    }
    if user.is_none() {
        return refuse(401, 20003, "Authenticate");
    }
    let is_form =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    if parts.method == "POST" && !is_form {
        return refuse(415, 20415, "Unsupported Media Type");
    }
    let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let reply = inner.lock().unwrap().studio.answer(parts.method.as_str(), &segments, &form);
    match reply {
        Ok((204, _)) => StatusCode::NO_CONTENT.into_response(),
        Ok((status, body)) => {
            let body = edit.map_or_else(|| body.to_string(), |edit| edit(body.to_string()));
            (StatusCode::from_u16(other_status.unwrap_or(status)).unwrap(), body).into_response()
        }
        Err((status, code, words)) => refuse(status, code, &words),
    }
}

/// Returns the user, if the credentials are right.
fn user(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let given = String::from_utf8(base64::prelude::BASE64_STANDARD.decode(given).ok()?).ok()?;
    let (user, password) = given.split_once(':')?;
    [(ACCOUNT, TOKEN), (KEY, SECRET)].contains(&(user, password)).then(|| user.to_owned())
}

fn refuse(status: u16, code: u32, words: &str) -> Response<Body> {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    let body = json!({ "code": code, "message": words, "more_info": more_info, "status": status });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

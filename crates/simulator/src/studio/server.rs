//! Requests and replies: authentication, bounds, errors.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::executions::{Form, Studio};
use super::{ACCOUNT_SID, API_KEY_SECRET, API_KEY_SID};
use crate::http::{self, Hosts, Limits};

/// Maximum number of connections. PhoneGate has at most as many requests at once.
const MAX_CONNECTIONS: usize = 512;

/// Maximum time to receive the header of a request, and between two requests of a connection. PhoneGate keeps a connection
/// for 90 s.
const HEADER_WITHIN: Duration = Duration::from_secs(120);

const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n\
    {\"code\":20503,\"message\":\"Too many connections\",\"status\":503}";

/// Maximum size of the body of a request that installs a flow, in bytes. A flow with all languages and ten attempts has
/// 600,000.
const MAX_FLOW_BODY: usize = 2 << 20;

/// Maximum size of the body of any other request, in bytes.
const MAX_BODY: usize = 64 << 10;

/// Maximum number of requests that may install a flow at once. Others wait.
const MAX_INSTALLS: usize = 4;

/// Maximum time to receive a request's body.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// A request that is refused, as <https://www.twilio.com/docs/usage/twilios-response> describes it.
pub(super) struct Refusal {
    status: u16,
    code: u32,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, 20001, message)
    }

    pub(super) fn not_found(path: &[&str]) -> Self {
        Self::new(404, 20404, format!("The requested resource /{} was not found", path.join("/")))
    }

    fn body(&self) -> Value {
        let Self { status, code, message } = self;
        let more_info = format!("https://www.twilio.com/docs/errors/{code}");
        json!({ "code": code, "message": message, "more_info": more_info, "status": status })
    }
}

/// What the handler needs.
#[derive(Clone)]
struct Server {
    studio: Studio,
    hosts: Arc<Hosts>,
    installs: Arc<Semaphore>,
}

/// Serves at this port until it is dropped.
pub(super) async fn serve(listener: TcpListener, port: u16, studio: Studio) {
    let limits = Limits { connections: MAX_CONNECTIONS, too_many: TOO_MANY, header_within: HEADER_WITHIN };
    let (hosts, installs) = (Arc::new(Hosts::new(port)), Arc::new(Semaphore::new(MAX_INSTALLS)));
    let server = Server { studio, hosts, installs };
    http::serve(listener, Router::new().fallback(answer).with_state(server), limits).await;
}

async fn answer(State(Server { studio, hosts, installs }): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(problem) = hosts.check(&parts.headers) {
        return refused(&Refusal::new(403, 20403, problem));
    }
    // Only a browser sends it, for a web page. The credentials are known, so they do not keep one out.
    if parts.headers.contains_key(header::ORIGIN) {
        return refused(&Refusal::new(403, 20403, "The request is from a web page."));
    }
    if !is_authenticated(&parts.headers) {
        return refused(&Refusal::new(401, 20003, "Authenticate"));
    }
    let path: Vec<_> = parts.uri.path().trim_start_matches('/').split('/').collect();
    let is_install = parts.method == "POST" && matches!(path.as_slice(), ["v2", "Flows"] | ["v2", "Flows", _]);
    let _permit = match is_install {
        // The semaphore is never closed.
        true => installs.acquire().await.ok(),
        false => None,
    };
    let max_bytes = if is_install { MAX_FLOW_BODY } else { MAX_BODY };
    let body = match timeout(BODY_LIMIT, to_bytes(body, max_bytes)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refused(&Refusal::new(413, 20413, "Request entity too large")),
        Err(_) => return refused(&Refusal::new(408, 20408, "The request did not arrive in time")),
    };
    let is_form =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    if parts.method == "POST" && !is_form {
        return refused(&Refusal::new(415, 20415, "Unsupported Media Type"));
    }
    let form: Form = form_urlencoded::parse(&body).into_owned().collect();
    match studio.answer(parts.method.as_str(), &path, &form) {
        Ok(answered) => {
            let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if let Some(execution) = &answered.execution {
                let body = answered.body.as_ref().map(|body| format!("\n\n{body:#}")).unwrap_or_default();
                execution.show(&shown(&parts, &form), &format!("{status}{body}"));
            }
            match answered.body {
                Some(body) => json_reply(status, &body),
                None => status.into_response(),
            }
        }
        Err(refusal) => refused(&refusal),
    }
}

/// Returns a request as the page shows it: without `Authorization`, and with the form decoded.
fn shown(parts: &Parts, form: &Form) -> String {
    let mut lines = vec![format!("{} {}", parts.method, parts.uri)];
    let headers = parts.headers.iter().filter(|(name, _)| *name != header::AUTHORIZATION);
    lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?"))));
    lines.push(String::new());
    let mut fields: Vec<_> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
    fields.sort_unstable();
    lines.append(&mut fields);
    lines.join("\n").trim_end().to_owned()
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_reply(status, &refusal.body())
}

fn json_reply(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Returns whether a request has the credentials of the account: its API key.
fn is_authenticated(headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let given = given.and_then(|given| BASE64_STANDARD.decode(given).ok());
    [API_KEY_SID, ACCOUNT_SID].iter().any(|user| given == Some(format!("{user}:{API_KEY_SECRET}").into_bytes()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::ending::{Ending, Keys};
    use crate::exchange::{Behaviour, Exchange};
    use crate::studio::{FLOW_SID, Pace, StudioServer};

    async fn status(server: &StudioServer, headers: &str) -> u16 {
        let credentials = BASE64_STANDARD.encode(format!("{API_KEY_SID}:{API_KEY_SECRET}"));
        let request = format!(
            "GET /v2/Flows/{FLOW_SID} HTTP/1.1\r\n{headers}Authorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn web_pages_and_other_host_names_are_refused() {
        let behaviour = Behaviour { ending: Ending::ByHand, approve_after: None, keys: Keys::default() };
        let address = "127.0.0.1:0".parse().unwrap();
        let server = StudioServer::listen(Exchange::new(behaviour), address, Pace::default()).await.unwrap();
        let port = server.local_addr().port();
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let host = format!("Host: {host}:{port}\r\n");
            assert_ne!(status(&server, &host).await, 403, "{host}");
            assert_eq!(status(&server, &format!("{host}Origin: http://127.0.0.1:{port}\r\n")).await, 403, "{host}");
            assert_eq!(status(&server, &format!("{host}Origin: null\r\n")).await, 403, "{host}");
            assert_eq!(status(&server, &host.repeat(2)).await, 403, "{host}");
        }
        for host in ["", "Host: evil.example\r\n", "Host: 127.0.0.1:1\r\n", "Host: 127.0.0.1\r\n"] {
            assert_eq!(status(&server, host).await, 403, "{host}");
        }
    }
}

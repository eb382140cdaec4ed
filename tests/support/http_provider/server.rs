//! The HTTP server of the stand-ins.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;

/// A request that was read whole.
pub struct Received {
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What a stand-in does with a request.
pub enum Reply {
    Now {
        status: u16,
        body: String,
        header: Option<(&'static str, String)>,
    },
    /// The same later.
    Late(Duration, Box<Reply>),
    /// The connection is closed in the middle of this reply.
    Cut {
        status: u16,
        body: String,
    },
    /// The connection is closed without a reply.
    Close,
    /// There is never a reply.
    Hang,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Now { status, body: body.to_string(), header: None }
    }
}

type Handler = Arc<dyn Fn(Received) -> Reply + Send + Sync>;

/// Serves on a free port of 127.0.0.1 until the process ends. Returns the URL.
pub fn serve(handler: impl Fn(Received) -> Reply + Send + Sync + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let handler: Handler = Arc::new(handler);
    let app = Router::new().fallback(answer).with_state(handler);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
    });
    base_url
}

async fn answer(State(handler): State<Handler>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    let mut reply = handler(Received { method: parts.method.to_string(), target, headers: parts.headers, body });
    loop {
        match reply {
            Reply::Late(pause, later) => {
                tokio::time::sleep(pause).await;
                reply = *later;
            }
            // The connection's task ends, and with it the connection.
            Reply::Close => std::panic::resume_unwind(Box::new(())),
            Reply::Hang => std::future::pending::<()>().await,
            Reply::Cut { status, body } => {
                // The pause lets the first part be sent.
                let end = async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    Err(std::io::Error::other("the reply is cut"))
                };
                let body = stream::once(async { Ok(body) }).chain(stream::once(end));
                return (StatusCode::from_u16(status).unwrap(), Body::from_stream(body)).into_response();
            }
            Reply::Now { status, body, header } => {
                let mut response = (StatusCode::from_u16(status).unwrap(), Body::from(body)).into_response();
                if let Some((name, value)) = header {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                return response;
            }
        }
    }
}

/// Decodes a segment of a path. `None`: it has a character that must be encoded there (RFC 3986).
pub fn decode(segment: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                decoded.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            plain if plain.is_ascii_alphanumeric() || b"-._~".contains(plain) => decoded.push(*plain),
            _ => return None,
        }
    }
    String::from_utf8(decoded).ok()
}

//! The responses to the page's requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::guard::refuse;
use crate::exchange::{Exchange, NO_MORE_TELEPHONES};
use crate::number;
use crate::view::{TelephoneAction, Update};

/// The interval at which an unchanged page is sent a comment, so that a connection that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const HTML: &str = include_str!("../../page/index.html");
const STYLE: &str = include_str!("../../page/style.css");
const SOUND: &str = include_str!("../../page/sound.js");
const TELEPHONE: &str = include_str!("../../page/telephone.js");
const SCRIPT: &str = include_str!("../../page/page.js");

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) exchange: Exchange,
    pub(super) pages: Arc<Pages>,
}

/// The page, in which the addresses of its files have the token.
pub(super) struct Pages {
    html: String,
}

impl Pages {
    pub(super) fn new(token: &str) -> Self {
        Self { html: HTML.replace("{token}", token) }
    }
}

pub(super) async fn page(State(server): State<Server>) -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8")], server.pages.html.clone()).into_response()
}

pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

pub(super) async fn sound() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SOUND).into_response()
}

pub(super) async fn telephone() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], TELEPHONE).into_response()
}

pub(super) async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

pub(super) async fn not_found() -> Response {
    refuse(StatusCode::NOT_FOUND, "The simulator has no such page.")
}

pub(super) async fn wrong_method() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "The simulator does not know this method here.")
}

/// Sends everything, and then what changes. A page that is too slow gets everything again.
pub(super) async fn updates(State(server): State<Server>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    struct Subscription {
        exchange: Exchange,
        receiver: Option<Receiver<Update>>,
        /// Whether the last update was sent.
        is_over: bool,
    }
    let first = Subscription { exchange: server.exchange, receiver: None, is_over: false };
    let events = unfold(first, |mut subscription| async move {
        let received = match &mut subscription.receiver {
            None => Err(RecvError::Lagged(0)),
            Some(_) if subscription.is_over => Err(RecvError::Closed),
            Some(receiver) => receiver.recv().await,
        };
        let update = match received {
            Ok(update) => {
                subscription.is_over = update == Update::SimulatorEnded;
                update
            }
            Err(RecvError::Lagged(_)) => {
                let (snapshot, receiver) = subscription.exchange.subscribe();
                subscription.receiver = Some(receiver);
                snapshot
            }
            Err(RecvError::Closed) => return None,
        };
        let json = serde_json::to_string(&update).ok()?;
        Some((Ok(Event::default().data(json)), subscription))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// The body of a request that adds a telephone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTelephone {
    number: String,
}

pub(super) async fn add_telephone(State(server): State<Server>, body: Result<Bytes, BytesRejection>) -> Response {
    let new: NewTelephone = match read(body) {
        Ok(new) => new,
        Err((status, why)) => return refuse(status, &why),
    };
    let Some(number) = number::parse(&new.number) else {
        return refuse(StatusCode::BAD_REQUEST, &format!("This is not a telephone number: {}.", number::FORMAT_HINT));
    };
    if !server.exchange.add(&number) {
        return refuse(StatusCode::CONFLICT, NO_MORE_TELEPHONES);
    }
    Json(serde_json::json!({ "number": number })).into_response()
}

pub(super) async fn act(
    State(server): State<Server>,
    number: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(Path(number)) = number else {
        return refuse(StatusCode::BAD_REQUEST, "The number in the address is not UTF-8.");
    };
    let action: TelephoneAction = match read(body) {
        Ok(action) => action,
        Err((status, why)) => return refuse(status, &why),
    };
    match server.exchange.act(&number, &action) {
        true => StatusCode::NO_CONTENT.into_response(),
        false => refuse(StatusCode::CONFLICT, "There is no such telephone, or it cannot do this in its state."),
    }
}

/// Reads the body of a request. An error is a status and why.
fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, (StatusCode, String)> {
    let body = body.map_err(|rejection| match rejection.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => (status, "The body of the request is too large.".to_owned()),
        _ => (StatusCode::BAD_REQUEST, "The body of the request did not arrive.".to_owned()),
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        (StatusCode::BAD_REQUEST, format!("The body of the request is not what the page sends: {error}."))
    })
}

//! The page with the telephones, and its web server. It listens on the loopback address only.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /`, `/style.css`, `/sound.js`, `/telephone.js`, `/page.js` | the page |
//! | `GET /updates` | each [`Update`](crate::view::Update) as a server-sent event, first a snapshot |
//! | `POST /telephones` | adds a telephone: `{"number":"+1 4255551212"}` |
//! | `POST /telephones/{number}/actions` | a [`TelephoneAction`](crate::view::TelephoneAction) |
//!
//! Each request needs the token, which is in the address of the page. `guard` has the checks.

mod api;
mod guard;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::exchange::Exchange;
use crate::http::{self, Limits};
use guard::Guard;

/// Maximum number of connections. A browser has up to six, of which each open page uses one for its updates.
pub const MAX_CONNECTIONS: usize = 32;

/// Maximum size of the body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 1_024;

/// Maximum time to receive the header of a request, and between two requests of a connection.
const HEADER_WITHIN: Duration = Duration::from_secs(10);

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n\
    The simulator has too many connections: close other tabs with its page.\n";

/// The web server of the page.
pub struct WebServer {
    listener: TcpListener,
    address: SocketAddr,
    guard: Arc<Guard>,
    router: Router,
}

impl WebServer {
    /// Listens on a port of 127.0.0.1, on any free one if it is 0. Connections are accepted by [`WebServer::serve`].
    ///
    /// # Errors
    /// If the port is used, or the operating system gives no random numbers for the token.
    pub async fn bind(port: u16, exchange: Exchange) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let guard = Arc::new(Guard::new(address.port())?);
        let pages = api::Pages::new(guard.token());
        let router = Router::new()
            .route("/", get(api::page))
            .route("/style.css", get(api::style))
            .route("/sound.js", get(api::sound))
            .route("/telephone.js", get(api::telephone))
            .route("/page.js", get(api::script))
            .route("/updates", get(api::updates))
            .route("/telephones", post(api::add_telephone))
            .route("/telephones/{number}/actions", post(api::act))
            .fallback(api::not_found)
            .method_not_allowed_fallback(api::wrong_method)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn_with_state(Arc::clone(&guard), guard::check))
            .with_state(api::Server { exchange, pages: Arc::new(pages) });
        Ok(Self { listener, address, guard, router })
    }

    /// Returns the address of the page, with its token.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.guard.token())
    }

    /// Serves the page. Never returns; if it is dropped, all connections end.
    pub fn serve(self) -> impl Future<Output = ()> + Send {
        let limits = Limits { connections: MAX_CONNECTIONS, too_many: TOO_MANY, header_within: HEADER_WITHIN };
        http::serve(self.listener, self.router, limits)
    }
}

//! Serves HTTP/1.1 with bounds on connections and time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;

/// Maximum size of the header of a request, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1_024;

/// Maximum time for which a client takes nothing of what is sent to it.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// The time until the next attempt when a connection could not be accepted, such as for lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The bounds of a server.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of connections.
    pub(crate) connections: usize,
    /// The response on each further connection, as it is sent.
    pub(crate) too_many: &'static [u8],
    /// Maximum time to receive the header of a request, and between two requests of a connection.
    pub(crate) header_within: Duration,
}

/// The values of Host that name a server of this computer. Any other one is from a web page whose name was made to point
/// to this computer (DNS rebinding).
pub(crate) struct Hosts(Vec<String>);

/// The port that a browser leaves out of Host and Origin.
const DEFAULT_PORT: u16 = 80;

impl Hosts {
    /// Returns those of the server at this port.
    pub(crate) fn new(port: u16) -> Self {
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let without_port = names.into_iter().filter(|_| port == DEFAULT_PORT).map(str::to_owned);
        Self(names.iter().map(|host| format!("{host}:{port}")).chain(without_port).collect())
    }

    /// Returns the Host of a request, which is one of these. An error says why it is not.
    pub(crate) fn check<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, &'static str> {
        let host = only(headers, HOST).ok_or("The request has no Host header, or two.")?;
        match self.0.iter().any(|ours| ours == host) {
            true => Ok(host),
            false => {
                Err("The Host header does not name this server: use the address that `phonegate simulate` prints.")
            }
        }
    }
}

/// Returns the value of a header that must be there once.
pub(crate) fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// Serves. Never returns; if it is dropped, all connections end.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        match Arc::clone(&slots).try_acquire_owned() {
            Ok(slot) => {
                let router = router.clone();
                connections.spawn(async move {
                    serve_connection(stream, router, limits.header_within).await;
                    drop(slot);
                });
            }
            // As much as the new connection takes at once: no caller waits for it.
            Err(_) => _ = stream.try_write(limits.too_many),
        }
    }
}

async fn serve_connection(stream: TcpStream, router: Router, header_within: Duration) {
    // Keys and audio are small, and must not wait for each other.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_WITHIN));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_within).max_buf_size(MAX_HEADER_BYTES);
    // An error is the client's: it closed the connection, was too slow, or does not speak HTTP.
    let _ = http.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router)).await;
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_host_without_port_is_that_of_port_80_only() {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(Hosts::new(80).check(&headers), Ok(host));
            assert!(Hosts::new(8080).check(&headers).is_err(), "{host}");
        }
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("127.0.0.1:80"))]);
        assert_eq!(Hosts::new(80).check(&headers), Ok("127.0.0.1:80"));
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("phonegate.example"))]);
        assert!(Hosts::new(80).check(&headers).is_err());
    }
}

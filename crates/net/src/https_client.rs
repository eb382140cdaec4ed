//! An HTTPS client for providers: timeouts, no redirects, bounded replies.

use std::time::{Duration, SystemTime};

use reqwest::header::DATE;
use reqwest::{Proxy, redirect};
use url::Url;

use crate::lookup::Resolver;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a whole request, the reply's body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an unused connection stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum length of a reply, in bytes.
const MAX_REPLY: usize = 1_000_000;

/// Why a reply could not be read whole.
#[derive(Debug)]
pub enum BodyError {
    /// The connection broke, or the request timed out.
    Lost(reqwest::Error),
    /// The reply is longer than 1 MB.
    TooLong,
}

/// Returns the builder of a client with these TLS settings. It uses `proxy` for every request by
/// https, and no other proxy. All clients together use few threads for look-ups of names.
pub fn builder(tls: rustls::ClientConfig, proxy: Option<Proxy>, user_agent: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .dns_resolver(Resolver::default())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .user_agent(user_agent);
    match proxy {
        Some(proxy) => builder.proxy(proxy),
        None => builder,
    }
}

/// Asks a server for its time, which has a resolution of one second. `None` if there is no reply, or no date in it.
pub async fn date(client: &reqwest::Client, url: &Url) -> Option<SystemTime> {
    let response = client.head(url.clone()).send().await.ok()?;
    httpdate::parse_http_date(response.headers().get(DATE)?.to_str().ok()?).ok()
}

/// Reads a reply of at most 1 MB.
///
/// # Errors
/// If it is longer, or the connection breaks.
pub async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Lost)? {
        if body.len() + chunk.len() > MAX_REPLY {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Describes an error and its causes, without the URL, which may be a secret.
pub fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

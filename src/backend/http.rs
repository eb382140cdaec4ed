//! HTTPS to providers: one crypto library, the operating system's roots, no redirects.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::DATE;
use reqwest::redirect;
use url::{Host, Url};

use super::{proxy, tls};
use crate::config::{ConfigError, ErrorKind, NetworkConfig};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const KEEP_IDLE: Duration = Duration::from_secs(20);

/// The longest reply that is read, in bytes.
const MAX_REPLY: usize = 1_000_000;

/// Returns a client for one provider, and a text about its proxy, which is empty without one. The arguments are those of
/// [`builder`].
pub(super) fn client(
    own: (&str, Option<&Path>),
    network: &NetworkConfig,
    provider: &Url,
    base: &Path,
) -> Result<(reqwest::Client, String), ConfigError> {
    let (builder, words) = builder(own, network, provider, base)?;
    Ok((build(builder)?, words))
}

/// Returns what [`build`] makes a client of, and a text about its proxy, which is empty without one. `own` is the backend's
/// path in the configuration and its `ca_file`. Relative paths are resolved against `base`. Changes no global state.
pub(crate) fn builder(
    own: (&str, Option<&Path>),
    network: &NetworkConfig,
    provider: &Url,
    base: &Path,
) -> Result<(reqwest::ClientBuilder, String), ConfigError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client(own, network, None, base)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .pool_idle_timeout(KEEP_IDLE)
        .user_agent(concat!("PhoneGate/", env!("CARGO_PKG_VERSION")));
    let mut words = String::new();
    if let Some((proxy, through)) = proxy::way_out(network, provider)? {
        builder = builder.proxy(proxy);
        words = through;
    }
    Ok((builder, words))
}

/// Builds a client.
pub(crate) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ConfigError> {
    builder.build().map_err(|error| {
        ConfigError::new(ErrorKind::BackendUnusable, format_args!("cannot prepare HTTPS: {}", explain(error)))
    })
}

/// The address of a provider: https, or http on this machine; no user, no query.
pub(super) fn provider_url(path: &str, text: &str) -> Result<Url, ConfigError> {
    let invalid = |problem: &str| Err(ConfigError::invalid(path, problem));
    let Ok(url) = Url::parse(text) else { return invalid("is not a URL like https://studio.twilio.com") };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return invalid("names no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return invalid("must begin with https:// (http:// is for this machine's own addresses alone)"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return invalid("must be a scheme, a host and perhaps a port, nothing else");
    }
    Ok(url)
}

/// The time that whoever answers there says it is, to the second, in whatever it answers.
pub(super) async fn date(client: &reqwest::Client, url: &Url) -> Option<SystemTime> {
    let response = client.head(url.clone()).send().await.ok()?;
    httpdate::parse_http_date(response.headers().get(DATE)?.to_str().ok()?).ok()
}

/// Reads a reply, but no more of it than is sensible.
pub(super) async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Lost)? {
        if body.len() + chunk.len() > MAX_REPLY {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why a reply could not be read whole.
pub(super) enum BodyError {
    Lost(reqwest::Error),
    TooLong,
}

/// An error and what caused it, without the URL.
pub(crate) fn explain(error: reqwest::Error) -> String {
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

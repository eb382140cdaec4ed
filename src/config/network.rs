//! The section `network`, and the TLS and HTTPS clients that it and a section's own `ca_file` define.

use std::path::{Path, PathBuf};

use phonegate_net::https_client;
use phonegate_net::proxy::{ProxyOrigin, proxy_for};
use phonegate_net::tls::{self, ClientIdentity, TlsError};
use rustls::pki_types::CertificateDer;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::{Host, Url};

use super::error::{ConfigError, ErrorKind};
use super::file::read_file;
use super::secret::Secret;

/// Maximum size of a file of certificates, in bytes. A whole system's bundle of authorities is a fraction of it.
const MAX_CERTIFICATES: u64 = 4_000_000;

const USER_AGENT: &str = concat!("PhoneGate/", env!("CARGO_PKG_VERSION"));

/// How providers on the Internet are reached.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// An HTTP proxy: `http://proxy.contoso.local:3128`, or `none`. This machine is reached without it. Null: the one that
    /// the environment variable HTTPS_PROXY names (but not for the hosts in NO_PROXY); if it is not set, on Windows, the
    /// one of `netsh winhttp show proxy`.
    pub proxy: Option<String>,
    /// A PEM file with certificates of authorities that are trusted besides the operating system's. A backend or store
    /// with a `ca_file` of its own uses that instead.
    pub ca_file: Option<PathBuf>,
}

/// Hides the proxy's address, which may hold a password.
impl std::fmt::Debug for NetworkConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkConfig")
            .field("proxy", &self.proxy.as_ref().map(|_| "…"))
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// A section that connects to a server: its path in the configuration, and its own `ca_file`, which replaces that of
/// `network`.
pub(crate) type Section<'a> = (&'a str, Option<&'a Path>);

impl NetworkConfig {
    /// Returns the TLS settings for a section. Relative paths are resolved against `base`. Changes no global state.
    ///
    /// # Errors
    /// If the `ca_file` or the identity cannot be used. The error names the key of the configuration.
    pub(crate) fn tls_client(
        &self,
        (path, own): Section<'_>,
        identity: Option<ClientIdentity>,
        base: &Path,
    ) -> Result<rustls::ClientConfig, ConfigError> {
        let ca_path = if own.is_some() { path } else { "network" };
        let extra_roots = match own.or(self.ca_file.as_deref()) {
            Some(file) => certificates(&format!("{ca_path}.ca_file"), &base.join(file))?,
            None => Vec::new(),
        };
        tls::client_config(extra_roots, identity).map_err(|error| match error {
            TlsError::Identity(error) => ConfigError::invalid(
                format!("{path}.client_key"),
                format_args!("cannot be used with the first certificate of `client_certificate`: {error}"),
            ),
            error => ConfigError::new(ErrorKind::BackendUnusable, error),
        })
    }

    /// Returns the builder of an HTTPS client for a section, and a description of its proxy, which is empty without
    /// one.
    ///
    /// # Errors
    /// If the `ca_file` or the proxy cannot be used.
    pub(crate) fn https_client_builder(
        &self,
        section: Section<'_>,
        url: &Url,
        base: &Path,
    ) -> Result<(reqwest::ClientBuilder, String), ConfigError> {
        let tls = self.tls_client(section, None, base)?;
        let choice = proxy_for(self.proxy.as_deref(), "network.proxy", url).map_err(|error| {
            let problem = error.problem;
            ConfigError::invalid(
                "network.proxy",
                match error.origin {
                    ProxyOrigin::Setting => format!("{problem}; \"none\" is for no proxy"),
                    ProxyOrigin::Environment(variable) => {
                        format!(
                            "is not set, and the environment variable {variable} {problem}; correct it, or set this key"
                        )
                    }
                    ProxyOrigin::Machine => {
                        format!(
                            "is not set, and the machine's (`netsh winhttp show proxy`) {problem}; correct it, or set \
                             this key"
                        )
                    }
                },
            )
        })?;
        let (proxy, description) = choice.map(|choice| (choice.proxy, choice.description)).unzip();
        Ok((https_client::builder(tls, proxy, USER_AGENT), description.unwrap_or_default()))
    }
}

/// Builds an HTTPS client.
///
/// # Errors
/// If the system refuses it.
pub(crate) fn build_https_client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, ConfigError> {
    builder.build().map_err(|error| {
        let problem = https_client::describe(error);
        ConfigError::new(ErrorKind::BackendUnusable, format_args!("cannot prepare HTTPS: {problem}"))
    })
}

/// Reads `client_certificate` and `client_key` of the section at `path`. Relative paths are resolved against `base`.
/// Returns `None` if neither is set.
///
/// # Errors
/// If only one of them is set, or one cannot be used. The error names the key of the configuration, and no secret.
pub(crate) fn client_identity(
    path: &str,
    certificate: Option<&Path>,
    key: Option<&Secret>,
    base: &Path,
) -> Result<Option<ClientIdentity>, ConfigError> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            let problem = "is missing, but there is a `client_certificate`; name the file of its private key as \
                           {\"file\": \"client.key\"}";
            return Err(ConfigError::invalid(format!("{path}.client_key"), problem));
        }
        (None, Some(_)) => {
            let problem = "is missing, but there is a `client_key`; name the PEM file of its certificate";
            return Err(ConfigError::invalid(format!("{path}.client_certificate"), problem));
        }
    };
    let chain = certificates(&format!("{path}.client_certificate"), &base.join(certificate))?;
    let key_path = format!("{path}.client_key");
    let pem = key.resolve(base, &key_path)?;
    let identity = ClientIdentity::new(chain, pem.expose_secret().as_bytes());
    identity.map(Some).map_err(|problem| {
        ConfigError::invalid(key_path, format_args!("{problem}; write it as {{\"file\": \"client.key\"}}"))
    })
}

/// Reads the certificates of a PEM file that the configuration names at `path`.
fn certificates(path: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let unusable =
        |problem: &dyn std::fmt::Display| ConfigError::invalid(path, format_args!("{}: {problem}", file.display()));
    let pem = read_file(file, MAX_CERTIFICATES).map_err(|error| unusable(&error))?;
    tls::certificates(&pem).map_err(|error| unusable(&error))
}

/// Reads the base URL of a provider: https, or http for this machine. It may have a path, and no user, query or fragment.
///
/// # Errors
/// If it is another kind of URL. The error names `path`.
pub(crate) fn provider_url(path: &str, text: &str) -> Result<Url, ConfigError> {
    let invalid = |problem: &str| Err(ConfigError::invalid(path, problem));
    let Ok(url) = Url::parse(text) else { return invalid("is not a URL that begins with https://") };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return invalid("names no host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return invalid("must begin with https:// (http:// is only for this machine's own addresses)"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return invalid("must be a scheme and a host, perhaps with a port and a path, and nothing else");
    }
    Ok(url)
}

//! TLS to providers, trunks and the store: one crypto library, the operating system's roots and the configured ones.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::Verifier;
use secrecy::ExposeSecret;

use crate::config::{ConfigError, ErrorKind, NetworkConfig, Secret, read_file};

/// Maximum size of a file of certificates, in bytes: a whole system's bundle of authorities is a fraction of it.
const MAX_CERTIFICATES: u64 = 4_000_000;

/// The certificate that this side presents to a server that asks for one, with its private key.
pub(crate) struct ClientIdentity {
    path: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// Reads `client_certificate` and `client_key` of the section at `path` of the configuration. Relative paths are
    /// resolved against `base`. Returns `None` if neither is set.
    ///
    /// # Errors
    /// If one of them is missing or cannot be used. The error names the key of the configuration, and no secret.
    pub(crate) fn read(
        path: &str,
        certificate: Option<&Path>,
        key: Option<&Secret>,
        base: &Path,
    ) -> Result<Option<Self>, ConfigError> {
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
        let at = format!("{path}.client_key");
        let pem = key.resolve(base, &at)?;
        // The error of the parser may quote a part of the key.
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| {
            ConfigError::invalid(
                at,
                "is not a private key in PEM without a passphrase; write it as {\"file\": \"client.key\"}",
            )
        })?;
        Ok(Some(Self { path: path.to_owned(), chain, key }))
    }
}

/// Reads the certificates of a PEM file that the configuration names at `path`.
fn certificates(path: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let unusable =
        |problem: &dyn std::fmt::Display| ConfigError::invalid(path, format_args!("{}: {problem}", file.display()));
    let pem = read_file(file, MAX_CERTIFICATES).map_err(|error| unusable(&error))?;
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| unusable(&error))?;
    if read.is_empty() { Err(unusable(&"has no certificate in PEM")) } else { Ok(read) }
}

/// The settings of a TLS client for a backend or the store, given its path in the configuration and its own `ca_file`,
/// which takes the place of the network's. Relative paths are resolved against `base`. Changes no global state.
///
/// # Errors
/// If the file of authorities or the identity cannot be used. The error names the key of the configuration.
pub(crate) fn client(
    (section, own): (&str, Option<&Path>),
    network: &NetworkConfig,
    identity: Option<ClientIdentity>,
    base: &Path,
) -> Result<rustls::ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let section = if own.is_some() { section } else { "network" };
    let extra = match own.or(network.ca_file.as_deref()) {
        Some(file) => certificates(&format!("{section}.ca_file"), &base.join(file))?,
        None => Vec::new(),
    };
    let unusable = |error: rustls::Error| {
        ConfigError::new(ErrorKind::BackendUnusable, format_args!("cannot prepare TLS: {error}"))
    };
    let verifier = match extra.is_empty() {
        true => Verifier::new(Arc::clone(&provider)),
        false => Verifier::new_with_extra_roots(extra, Arc::clone(&provider)),
    };
    let verifier = verifier.map_err(unusable)?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some(ClientIdentity { path, chain, key }) => config.with_client_auth_cert(chain, key).map_err(|error| {
            ConfigError::invalid(
                format!("{path}.client_key"),
                format_args!("cannot be used with the first certificate of `client_certificate`: {error}"),
            )
        }),
    }
}

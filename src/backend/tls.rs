//! TLS to providers, trunks and the store: one crypto library, the operating system's roots and the configured ones.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use crate::config::{ConfigError, ErrorKind, NetworkConfig, read_file};

/// The longest file of authorities that is read, in bytes: a whole system's bundle is a fraction of it.
const MAX_CA_FILE: u64 = 4_000_000;

/// The settings of a TLS client for a backend or the store, given its path in the configuration and its own `ca_file`,
/// which takes the place of the network's. Relative paths are resolved against `base`. Changes no global state.
///
/// # Errors
/// If the file of authorities cannot be used. The error names the key that names the file.
pub(crate) fn client(
    (section, own): (&str, Option<&Path>),
    network: &NetworkConfig,
    base: &Path,
) -> Result<rustls::ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut extra = Vec::new();
    let section = if own.is_some() { section } else { "network" };
    if let Some(file) = own.or(network.ca_file.as_deref()) {
        let file = base.join(file);
        let unusable = |problem: &dyn std::fmt::Display| {
            ConfigError::invalid(format!("{section}.ca_file"), format_args!("{}: {problem}", file.display()))
        };
        let pem = read_file(&file, MAX_CA_FILE).map_err(|error| unusable(&error))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            extra.push(certificate.map_err(|error| unusable(&error))?);
        }
        if extra.is_empty() {
            return Err(unusable(&"has no certificate in PEM"));
        }
    }
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
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

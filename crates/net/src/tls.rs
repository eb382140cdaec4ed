//! TLS client settings: one crypto library, the operating system's roots and further ones.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::Verifier;

/// Why TLS cannot be prepared. The texts show no key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates are not in PEM.
    #[error("{0}")]
    Pem(pem::Error),
    /// A file has no certificate.
    #[error("has no certificate in PEM")]
    NoCertificate,
    /// The private key cannot be parsed.
    #[error("is not a private key in PEM without a passphrase")]
    PrivateKey,
    /// The private key and the first certificate do not fit together.
    #[error("{0}")]
    Identity(rustls::Error),
    /// The operating system's roots, or the further ones, cannot be used.
    #[error("cannot prepare TLS: {0}")]
    Unusable(rustls::Error),
}

/// The certificate that this side presents to a server that asks for one, with its private key.
pub struct ClientIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientIdentity {
    /// Reads the private key of a certificate chain.
    ///
    /// # Errors
    /// If `key` is not a private key in PEM without a passphrase.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<Self, TlsError> {
        // The parser's error is dropped: it may quote a part of the key.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::PrivateKey)?;
        Ok(Self { chain, key })
    }
}

/// Reads the certificates of a text in PEM.
///
/// # Errors
/// If it has none, or one that cannot be decoded.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(TlsError::Pem)?;
    if certificates.is_empty() { Err(TlsError::NoCertificate) } else { Ok(certificates) }
}

/// Returns the settings of a TLS client that trusts the operating system's roots and `extra_roots`.
///
/// # Errors
/// If the roots or the identity cannot be used.
pub fn client_config(
    extra_roots: Vec<CertificateDer<'static>>,
    identity: Option<ClientIdentity>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match extra_roots.is_empty() {
        true => Verifier::new(Arc::clone(&provider)),
        false => Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider)),
    };
    let verifier = verifier.map_err(TlsError::Unusable)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        None => Ok(config.with_no_client_auth()),
        Some(ClientIdentity { chain, key }) => config.with_client_auth_cert(chain, key).map_err(TlsError::Identity),
    }
}

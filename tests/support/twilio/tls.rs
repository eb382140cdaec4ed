//! TLS in front of a stand-in.

use std::net::TcpListener;
use std::sync::Arc;

use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::Twilio;
use crate::support::certificate::{Localhost, for_localhost};

/// Puts TLS in front of a stand-in, with a certificate for `localhost` of an authority that nobody knows. Returns the
/// port, and the authority's certificate in a file.
pub fn with_tls(twilio: &Twilio) -> (u16, NamedTempFile) {
    let Localhost { certificate, key, authority } = for_localhost();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, authority).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = twilio.base_url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate leaves here.
                    let Ok(mut inner) = acceptor.accept(stream).await else { return };
                    let mut outer = tokio::net::TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
                });
            }
        });
    });
    (port, file)
}

//! A server's TLS in front of a callee that speaks TCP: it decrypts what arrives and relays it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::certificate::for_localhost;
use super::options::respond;

/// A running relay, which lets only clients in whose certificate is of its authority.
pub struct MutualTls {
    pub port: u16,
    /// The authority of the server's certificate, in PEM.
    pub authority: String,
    clients: CertifiedIssuer<'static, KeyPair>,
    _runtime: Runtime,
}

impl MutualTls {
    /// Relays to a callee at a port of this machine, by this version of TLS.
    pub fn start(callee: u16, version: &'static SupportedProtocolVersion) -> Self {
        let server = for_localhost();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Contoso clients");
        let clients = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(clients.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![server.certificate.der().clone()], private(&server.key))
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(acceptor.clone(), stream, (Ipv4Addr::LOCALHOST, callee).into()));
            }
        });
        Self { port, authority: server.authority, clients, _runtime: runtime }
    }

    /// Its SIP URI.
    pub fn uri(&self) -> String {
        format!("sip:localhost:{};transport=tls", self.port)
    }

    /// A client's certificate that it accepts, and its key, both in PEM.
    pub fn client(&self) -> (String, String) {
        signed_by(Some(&self.clients))
    }
}

/// A client's certificate that no server accepts, and its key, both in PEM.
pub fn unknown_client() -> (String, String) {
    signed_by(None)
}

fn signed_by(authority: Option<&CertifiedIssuer<'static, KeyPair>>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["mim.contoso.local".to_owned()]).unwrap();
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority),
        None => params.self_signed(&key),
    };
    (certificate.unwrap().pem(), key.serialize_pem())
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

async fn relay(acceptor: TlsAcceptor, stream: TcpStream, callee: SocketAddr) {
    match acceptor.accept(stream).into_fallible().await {
        Ok(client) => {
            let callee = TcpStream::connect(callee).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_callee, mut to_callee)) =
                (tokio::io::split(client), callee.into_split());
            // The callee knows the requests of its calls only. OPTIONS comes first, and alone.
            let mut first = vec![0; 4096];
            let length = from_client.read(&mut first).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&first[..length]).into_owned();
            let is_options = text.starts_with("OPTIONS ");
            let sent = match is_options {
                true => to_client.write_all(respond(&text).as_bytes()).await,
                false => to_callee.write_all(text.as_bytes()).await,
            };
            // Either side may end it.
            let _ = sent;
            tokio::select! {
                _ = tokio::io::copy(&mut from_client, &mut to_callee) => {}
                _ = tokio::io::copy(&mut from_callee, &mut to_client) => {}
            }
        }
        Err((_, mut refused)) => {
            // Read to its end, or the alert would be lost with a reset.
            let mut rest = Vec::new();
            let _ = refused.read_to_end(&mut rest).await;
        }
    }
}

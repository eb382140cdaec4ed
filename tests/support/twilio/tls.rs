//! TLS in front of a stand-in.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

use super::Twilio;
use crate::support::certificate::{Issued, for_hosts};

/// A host that no name server knows, so that only a proxy reaches it.
pub const BEHIND_A_PROXY: &str = "studio.invalid";

/// Serves a stand-in over TLS too, with a certificate for `localhost` and [`BEHIND_A_PROXY`] of an authority of its own. Returns the port, and the
/// authority's certificate in a file.
pub fn with_tls(twilio: &Twilio) -> (u16, NamedTempFile) {
    let Issued { certificate, key, authority } = for_hosts(&["localhost", BEHIND_A_PROXY]);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, authority).unwrap();

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let app = twilio.app();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (connected, connections) = mpsc::channel(1);
            tokio::spawn(accept(TcpListener::from_std(listener).unwrap(), config, connected));
            axum::serve(Tls { connections, address }, app).await.unwrap();
        });
    });
    (address.port(), file)
}

type Connection = (TlsStream<TcpStream>, SocketAddr);

async fn accept(listener: TcpListener, config: ServerConfig, connected: mpsc::Sender<Connection>) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, from) = listener.accept().await.unwrap();
        let (acceptor, connected) = (acceptor.clone(), connected.clone());
        tokio::spawn(async move {
            // A client that does not trust the certificate closes the connection here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _ = connected.send((stream, from)).await;
        });
    }
}

/// The connections after their handshake.
struct Tls {
    connections: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        self.connections.recv().await.expect("it accepts for ever")
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

//! Connections to mail and syslog servers.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::delivery_error::DeliveryError;
use crate::redact::diagnostic_text;
use phonegate_net::lookup;

/// A mail or syslog server.
pub(super) struct Server {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    /// The TLS settings. `None`: the connection is not encrypted.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Server {
    /// Connects to the server. The caller limits the time.
    pub(super) async fn connect(&self) -> Result<TcpStream, DeliveryError> {
        let connected = async { TcpStream::connect(&*lookup::addresses(&self.host, self.port).await?).await };
        connected.await.map_err(|error| failed("cannot connect", &error))
    }

    /// Encrypts a connection. The server's certificate must be valid for its name.
    pub(super) async fn encrypt(
        &self,
        tls: &Arc<rustls::ClientConfig>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DeliveryError> {
        let name = ServerName::try_from(String::from(&*self.host))
            .map_err(|_| DeliveryError::new("the server's name cannot be used for TLS"))?;
        let encrypted = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        encrypted.map_err(|error| failed("cannot use TLS", &error))
    }
}

/// Describes an error of the network or of TLS.
pub(super) fn failed(what: &str, error: &io::Error) -> DeliveryError {
    DeliveryError::new(&format!("{what}: {}", diagnostic_text(&error.to_string())))
}

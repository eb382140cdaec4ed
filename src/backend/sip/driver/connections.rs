//! Connections: TCP and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use phonegate_sip::agent::{Flow, FlowId, Transport};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ProtocolVersion};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::SharedAgent;
use super::flows::{FlowSettings, OpenFlow, READ_BUFFER, Writer, milliseconds};
use super::lost::LostFlows;
use crate::backend::sip::dscp::{TrafficClass, mark};
use crate::backend::sip::target::Server;

/// Maximum time to establish a connection, including its TLS handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);

/// Maximum unwritten messages of a connection. Beyond it, the connection is closed.
const MAX_UNWRITTEN: usize = 1_024;

/// Connects to a server over TCP or TLS, and starts the tasks of the connection.
pub(super) async fn connect(
    shared: &Arc<SharedAgent>,
    server: &Server,
    settings: &FlowSettings,
    lost: &Arc<LostFlows>,
) -> Result<OpenFlow, String> {
    let deadline = Instant::now() + CONNECT_WITHIN;
    let connecting = async {
        let stream = TcpStream::connect(server.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let local = stream.local_addr().map_err(|error| error.to_string())?;
        mark(SockRef::from(&stream), local.ip(), TrafficClass::Signalling);
        if server.transport == Transport::Tcp {
            return Ok(start(shared, server, local, (stream, true), lost));
        }
        let name = ServerName::try_from(server.name.clone())
            .map_err(|_| format!("`{}` cannot be the name in a certificate", server.name))?;
        let connector = TlsConnector::from(Arc::clone(&settings.tls));
        let stream = connector.connect(name, stream).await.map_err(|error| explain(&error))?;
        // With TLS 1.3, the handshake of this side completes before the server has verified the client certificate.
        let is_accepted = stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3);
        Ok(start(shared, server, local, (stream, is_accepted), lost))
    };
    let connected = tokio::time::timeout_at(deadline, connecting).await;
    connected
        .unwrap_or_else(|_| Err(format!("no connection within {} s", CONNECT_WITHIN.as_secs())))
        .and_then(|flow| flow)
        .map_err(|error| format!("{}: {error}", server.address))
}

/// Starts the tasks that read and write a connection. `is_accepted`: the server is known to have accepted it.
fn start<S>(
    shared: &Arc<SharedAgent>,
    server: &Server,
    local: SocketAddr,
    (stream, is_accepted): (S, bool),
    lost_flows: &Arc<LostFlows>,
) -> Result<OpenFlow, String>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let lost = shared.close.child_token();
    let (sender, unwritten) = mpsc::channel(MAX_UNWRITTEN);
    let flow = Flow { transport: server.transport, local, remote: server.address };
    let id = shared.with(|state, _| {
        let id = state.agent.open_flow(flow).map_err(|error| error.to_string())?;
        state.writers.insert(id, Writer::Stream(sender, lost.clone()));
        Ok::<_, String>(id)
    })?;
    let (reader, writer) = tokio::io::split(stream);
    let heard = Arc::new(AtomicU64::new(if is_accepted { milliseconds(shared) } else { 0 }));
    let why_lost = Arc::new(OnceLock::new());
    let reading = read_stream(reader, Arc::clone(shared), id, Arc::clone(&heard));
    let ended = lost.clone().drop_guard();
    let (shared_by_task, lost_by_task) = (Arc::clone(shared), lost.clone());
    let (server_of_task, lost_flows) = (server.clone(), Arc::clone(lost_flows));
    let why_lost_of_task = Arc::clone(&why_lost);
    tokio::spawn(async move {
        if let Some(reason) = lost_by_task.run_until_cancelled(reading).await {
            let _ = why_lost_of_task.set(reason);
        }
        drop(ended);
        let has_calls = shared_by_task.with(|state, now| {
            state.writers.remove(&id);
            state.agent.close_flow(now, id);
            state.agent.has_calls(id)
        });
        if has_calls {
            lost_flows.record(server_of_task, id);
        }
    });
    tokio::spawn(lost.clone().run_until_cancelled_owned(write_stream(writer, unwritten, lost.clone())));
    Ok(OpenFlow {
        id,
        server: server.clone(),
        local,
        probing: tokio::sync::Mutex::default(),
        silent_at: Mutex::default(),
        opened: Instant::now(),
        opened_or_used: Mutex::new(Instant::now()),
        shared: Arc::clone(shared),
        lost,
        why_lost,
        heard,
        socket: None,
    })
}

/// Reads a connection to its end. Returns why it has ended.
async fn read_stream(
    mut reader: impl AsyncRead + Unpin,
    shared: Arc<SharedAgent>,
    flow: FlowId,
    heard: Arc<AtomicU64>,
) -> String {
    let mut buffer = vec![0; READ_BUFFER / 4];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return "the trunk closed the connection".to_owned(),
            Ok(length) => {
                heard.store(milliseconds(&shared), Ordering::Relaxed);
                shared.handle_stream(flow, buffer.get(..length).unwrap_or_default());
            }
            Err(error) => return explain(&error),
        }
    }
}

async fn write_stream(
    mut writer: impl AsyncWrite + Unpin,
    mut unwritten: mpsc::Receiver<Vec<u8>>,
    lost: CancellationToken,
) {
    while let Some(bytes) = unwritten.recv().await {
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            break;
        }
    }
    lost.cancel();
}

/// Returns why a connection failed, and what to do if the server refuses or requires a client certificate.
fn explain(error: &io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) else {
        return error.to_string();
    };
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        DecryptError, HandshakeFailure, UnknownCA, UnsupportedCertificate,
    };
    match error {
        rustls::Error::AlertReceived(
            alert @ (AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | HandshakeFailure
            | UnknownCA
            | UnsupportedCertificate),
        ) => format!(
            "TLS: the trunk refused the connection ({alert:?}): it may require a client certificate, or a different \
             one; see `client_certificate`"
        ),
        error => format!("TLS: {error}"),
    }
}

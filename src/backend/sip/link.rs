//! A way to one server: a socket or a connection, and what speaks SIP over it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::sip::headers::CallId;
use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCodeKind, Transport, Uri, typed};
use rsipstack::transaction::endpoint::{EndpointInnerRef, EndpointOption};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transaction::{EndpointBuilder, make_tag};
use rsipstack::transport::tcp::TcpConnection;
use rsipstack::transport::tls::TlsConnection;
use rsipstack::transport::udp::{UdpConnection, UdpInner};
use rsipstack::transport::{SipAddr, SipConnection, TransportLayer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::digest::{Challenges, Credentials};
use super::inbound::{Calls, answer_requests};
use super::peer::Server;
use super::trust::{Guard, NoNames, TrustedAddresses};

/// The longest that a connection takes to come up, its TLS handshake included.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);

/// The longest that a request outside of a call waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The time between two new calls over one link. A server would lose what comes all at once, and so would we of its
/// answers.
const BETWEEN_CALLS: Duration = Duration::from_millis(2);

/// The buffers of a socket, in bytes.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// The methods that are answered.
const ALLOWED: [Method; 7] =
    [Method::Invite, Method::Ack, Method::Cancel, Method::Bye, Method::Options, Method::Info, Method::Update];

/// A way to one server. Dropped, it closes.
pub(super) struct Link {
    pub(super) server: Server,
    pub(super) local: SocketAddr,
    pub(super) dialogs: Arc<DialogLayer>,
    pub(super) calls: Arc<Calls>,
    pub(super) guard: Guard,
    endpoint: EndpointInnerRef,
    /// Cancelled when the connection is lost, or what reads it has ended.
    lost: CancellationToken,
    between_calls: tokio::sync::Mutex<Interval>,
    _close: DropGuard,
}

/// From where, and how.
pub(super) struct LinkSettings {
    pub(super) local_address: Option<IpAddr>,
    pub(super) local_port: u16,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) trusted: Arc<TrustedAddresses>,
    /// Whether reliable provisional answers (100rel) are offered, and acknowledged.
    pub(super) supports_prack: bool,
}

impl Link {
    /// Opens a way to `server`.
    ///
    /// # Errors
    /// Why the server cannot be reached: certainly nobody was rung.
    pub(super) async fn open(server: &Server, settings: &LinkSettings) -> Result<Arc<Self>, String> {
        let close = CancellationToken::new();
        let guard = Guard::new(server, &settings.trusted, settings.supports_prack);
        let mut transports = TransportLayer::new_with_domain_resolver(close.clone(), Box::new(NoNames));
        let (connection, local) = match server.transport {
            Transport::Udp => socket(server, settings, &close).await?,
            _ => connection(server, settings, &close).await?,
        };
        let is_stream = server.transport != Transport::Udp;
        let lost = connection.cancel_token().filter(|_| is_stream).unwrap_or_default();
        if is_stream {
            // All requests go over the connection, whatever their address.
            transports.outbound = Some(guard.server());
        } else {
            transports.set_whitelist(guard.clone());
            transports.add_transport(connection.clone());
        }
        let option = EndpointOption {
            callid_suffix: Some(local.ip().to_string()),
            // The call's own deadline is what ends a phone that rings on.
            timerc: Duration::from_secs(3600),
            ..EndpointOption::default()
        };
        let endpoint = EndpointBuilder::new()
            .with_user_agent(concat!("PhoneGate/", env!("CARGO_PKG_VERSION")))
            .with_transport_layer(transports)
            .with_cancel_token(close.clone())
            .with_allows(ALLOWED.into())
            .with_option(option)
            .with_inspector(Box::new(guard.clone()))
            .build();
        let incoming = endpoint.incoming_transactions().map_err(|error| error.to_string())?;
        let endpoint = Arc::clone(&endpoint.inner);
        if is_stream {
            endpoint.transport_layer.add_connection(connection);
        }
        let dialogs = Arc::new(DialogLayer::new(Arc::clone(&endpoint)));
        let serving = Arc::clone(&endpoint);
        // Also where it panics: the link is then no longer used.
        let ended = lost.clone().drop_guard();
        tokio::spawn(async move {
            let served = serving.serve().await;
            drop((served, ended));
        });
        let calls = Arc::new(Calls::default());
        let answering = answer_requests(Arc::clone(&dialogs), Arc::clone(&calls), incoming);
        tokio::spawn(close.clone().run_until_cancelled_owned(answering));
        let mut between_calls = tokio::time::interval(BETWEEN_CALLS);
        between_calls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (server, between_calls) = (server.clone(), tokio::sync::Mutex::new(between_calls));
        let _close = close.drop_guard();
        Ok(Arc::new(Self { server, local, dialogs, calls, guard, endpoint, lost, between_calls, _close }))
    }

    /// Waits until one more call may be started.
    pub(super) async fn pace(&self) {
        self.between_calls.lock().await.tick().await;
    }

    /// Can it still carry something?
    pub(super) fn is_open(&self) -> bool {
        !self.lost.is_cancelled()
    }

    /// Waits until it can carry nothing any more.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// The server, as the stack addresses it.
    pub(super) fn destination(&self) -> SipAddr {
        self.guard.server()
    }

    /// Our own address, at which the server reaches us.
    pub(super) fn contact(&self, user: Option<&str>) -> Result<Uri, String> {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        let transport = match self.server.transport {
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            _ => "",
        };
        Uri::try_from(format!("sip:{user}{}{transport}", self.local).as_str()).map_err(|error| error.to_string())
    }

    /// Sends a request outside of a call, answering challenges, and returns the final answer.
    ///
    /// # Errors
    /// Why there was none.
    pub(super) async fn request(
        &self,
        method: Method,
        uri: &Uri,
        us: &Uri,
        headers: &[Header],
        credentials: Option<&Credentials>,
    ) -> Result<Response, String> {
        let mut challenges = Challenges::default();
        let call_id = rsipstack::transaction::make_call_id(Some(&self.local.ip().to_string()), Default::default());
        let tag = make_tag();
        let mut sequence = 0;
        let ignored = self.guard.ignored();
        loop {
            sequence += 1;
            let from = typed::From { display_name: None, uri: us.clone(), params: Vec::new() }.with_tag(tag.clone());
            let to_uri = if method == Method::Register { us } else { uri };
            let to = typed::To { display_name: None, uri: to_uri.clone(), params: Vec::new() };
            let mut request = self.make_request(method, uri.clone(), from, to, sequence, Some(call_id.clone()))?;
            for header in headers {
                request.headers.push(header.clone());
            }
            if let Some(credentials) = credentials {
                for header in challenges.answers(credentials, &method.to_string(), &uri.to_string(), b"") {
                    request.headers.push(header);
                }
            }
            let response = self.exchange(request, self.destination()).await;
            let response = response.map_err(|problem| self.guard.explain(problem, ignored))?;
            let is_challenge = matches!(response.status_code.code(), 401 | 407) && credentials.is_some();
            if !is_challenge || !challenges.learn(&response) {
                return Ok(response);
            }
        }
    }

    /// The beginning of a request of ours.
    pub(super) fn make_request(
        &self,
        method: Method,
        uri: Uri,
        from: typed::From,
        to: typed::To,
        sequence: u32,
        call_id: Option<CallId>,
    ) -> Result<Request, String> {
        let address = SipAddr { r#type: Some(self.server.transport), addr: self.local.into() };
        let via = self.endpoint.get_via(Some(address), None).map_err(|error| error.to_string())?;
        Ok(self.endpoint.make_request(method, uri, via, from, to, sequence, call_id))
    }

    /// Sends a request and returns the final answer. A connection is kept to, wherever the request is addressed.
    ///
    /// # Errors
    /// Why there was none.
    pub(super) async fn exchange(&self, request: Request, destination: SipAddr) -> Result<Response, String> {
        let stack = |error: rsipstack::Error| error.to_string();
        let key = TransactionKey::from_request(&request, TransactionRole::Client).map_err(stack)?;
        let mut transaction = Transaction::new_client(key, request, Arc::clone(&self.endpoint), None);
        let is_udp = self.server.transport == Transport::Udp;
        transaction.destination = Some(if is_udp { destination } else { self.destination() });
        let exchange = async {
            transaction.send().await.map_err(stack)?;
            while let Some(message) = transaction.receive().await {
                match message {
                    SipMessage::Response(response) if response.status_code.kind() != StatusCodeKind::Provisional => {
                        return Ok(response);
                    }
                    _ => {}
                }
            }
            Err("the connection was lost".to_owned())
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
        answer.map_err(|_| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?
    }
}

async fn socket(
    server: &Server,
    settings: &LinkSettings,
    close: &CancellationToken,
) -> Result<(SipConnection, SocketAddr), String> {
    let address = match settings.local_address {
        Some(address) => address,
        None => route_to(server.address).map_err(|error| format!("there is no way to {}: {error}", server.address))?,
    };
    let bound = bind(SocketAddr::new(address, settings.local_port));
    let socket = bound.map_err(|error| format!("cannot open a socket on {address}: {error}"))?;
    let local = socket.local_addr().map_err(|error| error.to_string())?;
    let addr = SipAddr { r#type: Some(Transport::Udp), addr: local.into() };
    let inner = UdpInner { conn: Arc::new(socket), addr };
    let connection = UdpConnection::attach(inner, None, Some(close.child_token())).await;
    Ok((SipConnection::Udp(connection), local))
}

/// A socket whose buffers hold the packets of hundreds of calls at once, as far as the system grants that.
fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for granted in [socket.set_recv_buffer_size(SOCKET_BUFFER), socket.set_send_buffer_size(SOCKET_BUFFER)] {
        granted?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// The address from which packets to `server` are sent.
fn route_to(server: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(server)?;
    Ok(probe.local_addr()?.ip())
}

async fn connection(
    server: &Server,
    settings: &LinkSettings,
    close: &CancellationToken,
) -> Result<(SipConnection, SocketAddr), String> {
    let connecting = async {
        let stream = TcpStream::connect(server.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let local = stream.local_addr().map_err(|error| error.to_string())?;
        let ours = SipAddr { r#type: Some(server.transport), addr: local.into() };
        let theirs = SipAddr { r#type: Some(server.transport), addr: server.address.into() };
        let token = Some(close.child_token());
        if server.transport == Transport::Tcp {
            let connection = TcpConnection::from_stream(stream, ours, token).map_err(|error| error.to_string())?;
            return Ok((SipConnection::Tcp(connection), local));
        }
        let name = ServerName::try_from(server.name.clone())
            .map_err(|_| format!("`{}` cannot be the name in a certificate", server.name))?;
        let stream = TlsConnector::from(Arc::clone(&settings.tls))
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS: {error}"))?;
        let connection =
            TlsConnection::from_client_stream(stream, theirs, token).await.map_err(|error| error.to_string())?;
        Ok((SipConnection::Tls(connection), local))
    };
    let connected = tokio::time::timeout(CONNECT_WITHIN, connecting).await;
    connected
        .unwrap_or_else(|_| Err(format!("no connection within {} s", CONNECT_WITHIN.as_secs())))
        .map_err(|error| format!("{}: {error}", server.address))
}

//! The connection to Redis. The first operation opens it, all operations share it, and it is replaced when it breaks or
//! does not answer.
//!
//! All keys are in one slot, so one server has them all, even in a cluster: there is one connection, to that server. A
//! server that no longer has the keys says so and does nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, cmd};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::address::{Address, Kind, Node};
use super::problem::{Problem, has_moved};
use crate::redact::diagnostic_text;
use crate::store::{StoreError, StoreErrorCause};

/// Timeout for one operation, connecting included. Callers wait for longer.
const TIMEOUT: Duration = Duration::from_millis(1800);

/// Timeout for connecting to one server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause after a connection that failed. Operations fail at once meanwhile.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Redis counts as working for this long after an answer. It is less than [`TIMEOUT`], within which an operation was not
/// answered.
const WORKING: Duration = Duration::from_millis(500);

/// Maximum number of operations that wait to be sent.
const BUFFER: usize = 1024;

/// Opens, shares and replaces the connection.
pub(super) struct Connections {
    connector: Arc<Connector>,
    current: Mutex<Option<Connecting>>,
    last_answer: Mutex<Option<Instant>>,
}

/// A connection that is being opened, is open, or failed.
type Connecting = Shared<BoxFuture<'static, Result<Connection, Failed>>>;

#[derive(Clone)]
struct Connection {
    redis: MultiplexedConnection,
    /// Reads and writes the socket. Aborted when the last clone is dropped.
    driver: Arc<AbortOnDropHandle<()>>,
}

#[derive(Clone)]
struct Failed {
    problem: Problem,
    at: Instant,
}

impl Connections {
    /// `probe` is a key of this site. In a cluster, it selects the node.
    pub(super) fn new(address: Address, tls: Option<rustls::ClientConfig>, probe: String) -> Self {
        let tls = tls.map(|config| TlsConnector::from(Arc::new(config)));
        let connector = Arc::new(Connector { address, tls, probe });
        Self { connector, current: Mutex::new(None), last_answer: Mutex::new(None) }
    }

    /// Runs an operation. It is repeated once if the server no longer has the keys.
    ///
    /// # Errors
    /// If it is not known whether the operation was carried out.
    pub(super) async fn run<T, F>(&self, operation: impl Fn(MultiplexedConnection) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let mut used = None;
        let run = async {
            let mut may_move = true;
            loop {
                let connection = self.connection().await?;
                used = Some(Arc::clone(&connection.driver));
                match operation(connection.redis).await {
                    Ok(answer) => {
                        *self.last_answer.lock() = Some(Instant::now());
                        return Ok(answer);
                    }
                    Err(error) if may_move && has_moved(&error) => {
                        self.discard(&connection.driver);
                        may_move = false;
                    }
                    Err(error) => {
                        if error.is_unrecoverable_error() || has_moved(&error) {
                            self.discard(&connection.driver);
                        }
                        return Err(Problem::from(error).into());
                    }
                }
            }
        };
        match timeout(TIMEOUT, run).await {
            Ok(answer) => answer,
            Err(_) => {
                // A lost connection may stay silent for minutes. A new one shows whether the server answers.
                used.into_iter().for_each(|driver| self.discard(&driver));
                Err(match self.is_working() {
                    true => StoreError::busy(format_args!("no answer within {} ms", TIMEOUT.as_millis())),
                    false => StoreError::unavailable("Redis does not answer"),
                })
            }
        }
    }

    /// Returns whether Redis has answered within [`WORKING`].
    pub(super) fn is_working(&self) -> bool {
        self.last_answer.lock().is_some_and(|at| at.elapsed() < WORKING)
    }

    async fn connection(&self) -> Result<Connection, StoreError> {
        let connecting = {
            let mut current = self.current.lock();
            let usable = current.take().filter(|connecting| match connecting.peek() {
                None => true,
                Some(Ok(connection)) => !connection.driver.is_finished(),
                Some(Err(failed)) => failed.at.elapsed() < CONNECT_PAUSE,
            });
            current.insert(usable.unwrap_or_else(|| self.open())).clone()
        };
        connecting.await.map_err(|failed| failed.problem.into())
    }

    /// Starts to connect. That continues if the operation that needed it stops waiting.
    fn open(&self) -> Connecting {
        let connector = Arc::clone(&self.connector);
        let opening = tokio::spawn(async move { connector.open().await });
        let failed = |problem| Failed { problem, at: Instant::now() };
        let opened = async move {
            match opening.await {
                Ok(opened) => opened.map_err(failed),
                Err(_) => Err(failed("PhoneGate is shutting down".into())),
            }
        };
        opened.boxed().shared()
    }

    fn discard(&self, driver: &Arc<AbortOnDropHandle<()>>) {
        let mut current = self.current.lock();
        let is_that = |connection: &Connection| Arc::ptr_eq(&connection.driver, driver);
        if current.as_ref().and_then(Connecting::peek).is_some_and(|opened| opened.as_ref().is_ok_and(is_that)) {
            *current = None;
        }
    }
}

/// Connects to the server that has the keys now.
struct Connector {
    address: Address,
    tls: Option<TlsConnector>,
    probe: String,
}

impl Connector {
    async fn open(&self) -> Result<Connection, Problem> {
        let mut problem = Problem::from("store.url has no address");
        for node in &self.address.nodes {
            let opened = match &self.address.kind {
                Kind::Single => self.connect(node, &self.address.login).await,
                Kind::Cluster => self.through_cluster(node).await,
                Kind::Sentinel(name) => self.through_sentinel(node, name).await,
            };
            match opened {
                Ok(connection) => return Ok(connection),
                Err(Problem { text, cause }) => {
                    problem = Problem { text: format!("{}:{}: {text}", node.host, node.port), cause };
                }
            }
        }
        Err(problem)
    }

    async fn through_cluster(&self, node: &Node) -> Result<Connection, Problem> {
        let mut connection = self.connect(node, &self.address.login).await?;
        let probe = cmd("EXISTS").arg(&self.probe).to_owned();
        let moved = match in_time(probe.query_async::<i64>(&mut connection.redis)).await {
            Ok(_) => return Ok(connection),
            Err(Unanswered::Error(error)) => match error.redirect_node() {
                Some((moved, _)) => moved.to_owned(),
                None => return Err(error.into()),
            },
            Err(Unanswered::Late) => return Err(Unanswered::Late.into()),
        };
        // A node that does not know its own name sends no host. It means its own host.
        let moved = if moved.starts_with(':') { format!("{}{moved}", node.host) } else { moved };
        let moved = Node::parse(&moved).ok_or("the cluster names a node without an address")?;
        self.connect_to_named(&moved, node).await
    }

    async fn through_sentinel(&self, sentinel: &Node, name: &str) -> Result<Connection, Problem> {
        let question = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).to_owned();
        let ask = async |login: &RedisConnectionInfo| -> Result<_, Problem> {
            let mut connection = self.connect(sentinel, login).await?;
            Ok(in_time(question.query_async::<Option<(String, u16)>>(&mut connection.redis)).await)
        };
        // Sentinels often have no password, and then refuse one. They have no databases.
        let answered = match ask(&RedisConnectionInfo::default()).await? {
            Err(Unanswered::Error(error)) if error.code() == Some("NOAUTH") => {
                ask(&self.address.login.clone().set_db(0)).await?
            }
            answered => answered,
        };
        let unknown =
            || Problem { text: format!("the sentinel knows no master {}", diagnostic_text(name)), cause: None };
        let (host, port) = answered?.ok_or_else(unknown)?;
        let master = Node::parse(&format!("{host}:{port}")).ok_or("the sentinel names no address")?;
        let mut connection = self.connect_to_named(&master, sentinel).await?;
        let role = in_time(cmd("ROLE").query_async::<redis::Value>(&mut connection.redis)).await;
        match role {
            Ok(redis::Value::Array(role)) if role.first() != Some(&redis::Value::BulkString(b"master".to_vec())) => {
                Err("the sentinel names a server that is no master".into())
            }
            _ => Ok(connection),
        }
    }

    /// Connects to a server that another one has named.
    async fn connect_to_named(&self, node: &Node, by: &Node) -> Result<Connection, Problem> {
        if self.tls.is_none() && !node.is_loopback() {
            return Err("names a server beyond this machine, but store.url is not rediss://".into());
        }
        // Few certificates have the address that a server names. They have the name that the administrator configured.
        let name = if by.is_named() && !node.is_named() { by } else { node };
        self.connect_as(node, name, &self.address.login).await
    }

    async fn connect(&self, node: &Node, login: &RedisConnectionInfo) -> Result<Connection, Problem> {
        self.connect_as(node, node, login).await
    }

    async fn connect_as(&self, node: &Node, name: &Node, login: &RedisConnectionInfo) -> Result<Connection, Problem> {
        timeout(CONNECT_TIMEOUT, async {
            let stream = TcpStream::connect((node.bare_host(), node.port)).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => log_in(stream, login).await,
                Some(tls) => {
                    let name = ServerName::try_from(name.bare_host().to_owned()).map_err(io::Error::other)?;
                    log_in(tls.connect(name, stream).await?, login).await
                }
            }
        })
        .await
        .unwrap_or_else(|_| Err("no connection in time".into()))
    }
}

async fn log_in<S>(stream: S, login: &RedisConnectionInfo) -> Result<Connection, Problem>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // Each operation has its own timeout.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(BUFFER);
    let connected = MultiplexedConnection::new_with_config(login, stream, config).await;
    // The server's text about a login may repeat the password, so it is not shown.
    let (redis, driver) = connected.map_err(|error| match error.kind() {
        ErrorKind::AuthenticationFailed => Problem {
            text: "the user or the password is refused".to_owned(),
            cause: Some(StoreErrorCause::CredentialsRejected),
        },
        ErrorKind::Io => error.into(),
        _ => Problem {
            text: format!("the login is refused ({})", error.code().unwrap_or("Redis gives no reason")),
            cause: Some(StoreErrorCause::LoginRejected),
        },
    })?;
    Ok(Connection { redis, driver: Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))) })
}

/// Why a server did not answer while the connection was opened.
enum Unanswered {
    Error(RedisError),
    Late,
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Error(error) => error.into(),
            Unanswered::Late => "no answer in time".into(),
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = RedisResult<T>>) -> Result<T, Unanswered> {
    timeout(CONNECT_TIMEOUT, answer).await.map_err(|_| Unanswered::Late)?.map_err(Unanswered::Error)
}

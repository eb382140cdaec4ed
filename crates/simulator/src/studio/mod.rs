//! Twilio Studio's endpoints: what PhoneGate's backend `twilio_studio` uses of
//! <https://www.twilio.com/docs/studio/rest-api/v2/execution>.
//!
//! An Execution rings a telephone, and goes through the flow that is published, widget by widget. The flow is PhoneGate's
//! own: [`Studio::publish`] takes it, and `phonegate twilio install-flow` installs another one.
//!
//! | module | what it is for |
//! |---|---|
//! | `server` | requests and replies: authentication, bounds, errors |
//! | `executions` | the resources: the flow and its Executions |
//! | `call` | connects a telephone with a walk |
//! | `walk` | a call's way through a flow, without I/O |
//! | `fit` | whether a call fits the published flow |
//! | `flow` | what Studio refuses in a definition, and its widgets |
//! | `template` | the variables in texts |

mod call;
mod executions;
mod flow;
mod flow_match;
mod server;
mod template;
mod walk;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::exchange::Exchange;
pub use executions::Studio;

/// The account, its API key and the key's secret, and the flow. They are the same in each simulator, so that a
/// configuration stays valid; the secret protects nothing: any program on this computer can use the endpoints, to ring
/// telephones, and to replace the flow and so approve calls. Web pages are refused.
pub const ACCOUNT_SID: &str = "AC51310000000000000000000000000001";
/// The API key of the account.
pub const API_KEY_SID: &str = "SK51310000000000000000000000000001";
/// The secret of the API key.
pub const API_KEY_SECRET: &str = "simulated-secret";
/// The flow that calls go through.
pub const FLOW_SID: &str = "FW51310000000000000000000000000001";

/// How fast calls go.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a character of a prompt is spoken.
    pub character: Duration,
    /// Maximum time for which a telephone rings. A flow may ask for less.
    pub rings_for: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { character: Duration::from_millis(65), rings_for: Duration::from_secs(600) }
    }
}

/// Running endpoints. Dropping it closes them, and ends their calls.
pub struct StudioServer {
    studio: Studio,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl StudioServer {
    /// Serves on a loopback address, for the telephones of `exchange`. No flow is published yet.
    ///
    /// # Errors
    /// The address is not loopback, or in use.
    pub async fn listen(exchange: Exchange, address: SocketAddr, pace: Pace) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the simulator serves on loopback only"));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let studio = Studio::new(exchange, pace);
        let task = tokio::spawn(server::serve(listener, address.port(), studio.clone()));
        Ok(Self { studio, address, task })
    }

    /// Returns the address that it serves on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the `base_url` of a backend that uses it.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns its flow and Executions.
    pub fn studio(&self) -> &Studio {
        &self.studio
    }
}

impl Drop for StudioServer {
    fn drop(&mut self) {
        self.task.abort();
        self.studio.stop_all();
    }
}

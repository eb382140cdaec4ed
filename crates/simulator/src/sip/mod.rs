//! A telephone network that PhoneGate calls over SIP: a user agent server on one UDP and TCP port (RFC 3261), with PCMU
//! and telephone events (RFC 4733).
//!
//! | module | what it does |
//! |---|---|
//! | `call` | one call: messages, actions and time in, messages out. No I/O |
//! | `requests` | the requests that belong to no call, and what a response has. No I/O |
//! | `audio` | the packets of a call. No I/O |
//! | `network` | the sockets, and which call a message belongs to |
//! | `driver` | the task of one call: connects it with its telephone, its sockets and the clock |
//!
//! It believes what it receives, and checks no password: use it on the loopback interface.

mod audio;
mod call;
mod driver;
mod network;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::exchange::Exchange;
use crate::recognition::Recordings;

/// A caller id for configurations that call the telephones: a number that is reserved for examples.
pub const CALLER_ID: &str = "+14255550100";

/// A SIP callee. Dropping it closes its sockets, and PhoneGate does not learn that its calls have ended:
/// [`SipCallee::end`] does that first.
#[derive(Debug)]
pub struct SipCallee {
    address: SocketAddr,
    /// Closed when the calls must end.
    ending: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl SipCallee {
    /// Returns the address and port at which it receives calls, by UDP and by TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all calls, as the user of each telephone would, and waits until PhoneGate has acknowledged that. Further
    /// calls are refused.
    pub async fn end(mut self) {
        self.ending = watch::channel(()).0;
        // An error means that the task was aborted.
        let _ = (&mut self.task).await;
    }
}

impl Drop for SipCallee {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Receives calls over SIP at an address, and rings the telephones of an exchange. Port 0 selects a free port. Call it
/// within a tokio runtime.
///
/// `recordings` are the prompts that it understands.
///
/// # Errors
/// The address is unspecified (`0.0.0.0`), because PhoneGate must be told one address for the audio; or the port cannot be
/// bound for UDP and TCP.
pub async fn listen(exchange: Exchange, address: SocketAddr, recordings: Arc<Recordings>) -> io::Result<SipCallee> {
    let sockets = network::bind(address).await?;
    let address = sockets.address;
    let (ending, is_ending) = watch::channel(());
    let task = tokio::spawn(network::serve(sockets, exchange, recordings, is_ending));
    Ok(SipCallee { address, ending, task })
}

//! Name look-ups that use few threads.
//!
//! The operating system's look-up blocks a thread, for half a minute or more if no name server answers, and cannot be
//! cancelled. Other work needs these threads too, so at most two of them look up names.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Maximum concurrent look-ups in this process.
static LOOKUPS: Semaphore = Semaphore::const_new(2);

/// Returns the addresses of a host. An IP address needs no look-up.
///
/// # Errors
/// If the name is unknown, or no name server answers.
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    run_blocking(&LOOKUPS, move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect)).await?
}

/// Runs `work` on a thread for blocking work. Its permit is returned when the work has ended, even if the caller
/// no longer waits.
async fn run_blocking<T: Send + 'static>(
    permits: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let permit = permits.acquire().await.map_err(io::Error::other)?;
    let working = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    working.await.map_err(io::Error::other)
}

/// Looks up the hosts of an HTTPS client, and of its proxy.
pub struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The client sets the port.
            let found = addresses(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_ip_address_is_not_looked_up() {
        let _all = LOOKUPS.acquire_many(2).await.unwrap();
        let found = addresses("::1", 25).await.unwrap();
        assert_eq!(found, ["[::1]:25".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let found = addresses("localhost", 25).await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 25));
        assert!(addresses("no such host", 25).await.is_err());
    }

    #[tokio::test]
    async fn a_cancelled_look_up_keeps_its_permit_until_it_ends() {
        static PERMITS: Semaphore = Semaphore::const_new(1);
        let (began, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel();
        let hung = tokio::spawn(run_blocking(&PERMITS, move || {
            began.send(()).unwrap();
            may_end.recv().unwrap()
        }));
        while has_begun.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hung.abort();
        assert!(hung.await.unwrap_err().is_cancelled());
        assert_eq!(PERMITS.available_permits(), 0, "its thread is still busy");
        end.send(()).unwrap();
        assert_eq!(run_blocking(&PERMITS, || 1).await.unwrap(), 1);
    }
}

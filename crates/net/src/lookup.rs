//! Name look-ups that use few threads.
//!
//! The operating system's look-up blocks a thread, for half a minute or more if no name server answers, and cannot be
//! cancelled. Other work needs these threads too, so at most two of them look up names.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, watch};

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

/// Looks up the hosts of an HTTPS client, and of its proxy. Requests that wait for the same host share one look-up, since
/// many calls may start at once. Nothing is kept for later requests.
#[derive(Default)]
pub struct Resolver {
    /// The look-ups in progress by their hosts. Those that have ended are removed at the next request.
    in_progress: Mutex<HashMap<String, watch::Receiver<Option<ResolvedAddresses>>>>,
}

/// The result of a look-up.
type ResolvedAddresses = Result<Vec<SocketAddr>, Arc<io::Error>>;

impl Resolver {
    /// Returns the look-up of a host that is in progress, or begins `look_up`. Call it within a tokio runtime.
    fn share(
        &self,
        host: &str,
        look_up: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> watch::Receiver<Option<ResolvedAddresses>> {
        let mut in_progress = self.in_progress.lock();
        // The sender is gone without a result if its runtime has ended.
        in_progress.retain(|_, look_up| look_up.borrow().is_none() && look_up.has_changed().is_ok());
        if let Some(look_up) = in_progress.get(host) {
            return look_up.clone();
        }
        let (sender, found) = watch::channel(None);
        // It goes on if no request waits for it any longer: its thread is busy until it ends.
        tokio::spawn(async move { sender.send_replace(Some(look_up.await.map_err(Arc::new))) });
        in_progress.insert(host.to_owned(), found.clone());
        found
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        // The client sets the port.
        let mut found = self.share(name.as_str(), async move { addresses(&host, 0).await });
        Box::pin(async move {
            let found = found.wait_for(Option::is_some).await?.clone().unwrap_or_else(|| Ok(Vec::new()))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
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

    #[tokio::test]
    async fn requests_for_the_same_host_share_a_look_up() {
        let resolver = Resolver::default();
        let (look_ups, may_end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let ask = |host| {
            let (look_ups, may_end) = (Arc::clone(&look_ups), Arc::clone(&may_end));
            resolver.share(host, async move {
                look_ups.fetch_add(1, Ordering::SeqCst);
                may_end.acquire().await.map_err(io::Error::other)?.forget();
                Ok(vec!["192.0.2.1:0".parse().unwrap()])
            })
        };
        let asked: Vec<_> = (0..50).map(|_| ask("a.example")).collect();
        let other = ask("b.example");
        // A request that no longer waits changes nothing for the others.
        drop(ask("a.example"));
        may_end.add_permits(2);
        for mut found in asked.into_iter().chain([other]) {
            let found = found.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            assert_eq!(found.unwrap(), ["192.0.2.1:0".parse().unwrap()]);
        }
        assert_eq!(look_ups.load(Ordering::SeqCst), 2, "one for each host");
        // A result is not kept: an address may have changed.
        may_end.add_permits(1);
        assert!(ask("a.example").wait_for(Option::is_some).await.unwrap().is_some());
        assert_eq!(look_ups.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_failed_look_up_fails_for_all_that_wait() {
        let resolver = Resolver::default();
        let name = || "no such host".parse().unwrap();
        let (one, other) = (resolver.resolve(name()), resolver.resolve(name()));
        assert!(one.await.is_err() && other.await.is_err());
    }

    #[test]
    fn a_look_up_of_a_runtime_that_has_ended_is_begun_again() {
        let resolver = Resolver::default();
        let run = |look_up| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { resolver.share("a.example", look_up) })
        };
        let mut lost = run(Box::pin(std::future::pending()) as Pin<Box<dyn Future<Output = _> + Send>>);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(lost.wait_for(Option::is_some).await.is_err());
            let mut found = resolver.share("a.example", async { Ok(Vec::new()) });
            assert!(found.wait_for(Option::is_some).await.unwrap().is_some());
        });
    }
}

//! The addresses of the trunk, from which PhoneGate accepts SIP over UDP.
//!
//! Over UDP, any host can send packets to our port. Those from other addresses than the configuration resolves to are
//! dropped before they are parsed. A connection (TCP, TLS) leads to one server only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::Mutex;
use phonegate_net::loopback::{is_loopback, is_loopback_host};

use super::target::{Loopback, Target};
use crate::config::ConfigError;

/// How long the resolved addresses are reused for names that are not resolved for each call.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);

/// Timeout for resolving a name.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(4);

/// The addresses that the trunks, their proxy and `signalling_addresses` have now.
pub(super) struct TrustedAddresses {
    /// Entries that are IP addresses or ranges of them.
    fixed: Vec<IpNet>,
    /// Entries that are host names.
    hosts: Vec<String>,
    /// Whether packets from loopback may be read, if an entry is or resolves to loopback.
    loopback: Loopback,
    /// The addresses that each name last resolved to. If a name cannot be resolved, it keeps its addresses.
    resolved: Mutex<HashMap<String, Vec<IpAddr>>>,
    /// The addresses that a call accepts, as long as it holds them: those of a redirection.
    of_calls: Mutex<Vec<Weak<[IpAddr]>>>,
    /// When `hosts` and the trunks behind a proxy were last looked up.
    looked_up: tokio::sync::Mutex<Option<Instant>>,
    ignored: Mutex<Ignored>,
}

/// Packets from other addresses, which were ignored.
#[derive(Clone, Copy, Default)]
pub(super) struct Ignored {
    packets: u64,
    last_from: Option<IpAddr>,
}

impl TrustedAddresses {
    /// Reads the list at `path` of the configuration.
    ///
    /// # Errors
    /// An entry is neither an IP address nor a range of them nor a host name.
    pub(super) fn new(path: &str, entries: &[String], loopback: Loopback) -> Result<Self, ConfigError> {
        let (mut fixed, mut hosts) = (Vec::new(), Vec::new());
        for (index, text) in entries.iter().enumerate() {
            let is_host = !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
                && text.chars().any(|c| c.is_ascii_alphabetic());
            let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            match address.or_else(|_| text.parse::<IpNet>()) {
                Ok(range) => fixed.push(range),
                Err(_) if is_host => hosts.push(text.clone()),
                Err(_) => {
                    let problem = format_args!(
                        "`{text}` is neither an IP address nor a range of them nor a host name; write it as 192.0.2.10, \
                         192.0.2.0/24 or sbc2.contoso.local"
                    );
                    return Err(ConfigError::invalid(format!("{path}[{index}]"), problem));
                }
            }
        }
        Ok(Self {
            fixed,
            hosts,
            loopback,
            resolved: Mutex::default(),
            of_calls: Mutex::default(),
            looked_up: tokio::sync::Mutex::default(),
            ignored: Mutex::default(),
        })
    }

    /// Replaces the addresses of a name. An empty list changes nothing.
    pub(super) fn record(&self, name: &str, addresses: impl Iterator<Item = IpAddr>) {
        let addresses: Vec<_> = addresses.map(|address| address.to_canonical()).collect();
        if !addresses.is_empty() {
            self.resolved.lock().insert(name.to_owned(), addresses);
        }
    }

    /// Accepts packets from these addresses until the returned value is dropped.
    pub(super) fn admit_for_call(&self, addresses: impl Iterator<Item = IpAddr>) -> Arc<[IpAddr]> {
        let addresses: Arc<[IpAddr]> = addresses.map(|address| address.to_canonical()).collect();
        let mut of_calls = self.of_calls.lock();
        of_calls.retain(|held| held.strong_count() > 0);
        of_calls.push(Arc::downgrade(&addresses));
        addresses
    }

    /// Resolves the host names of the list and of the trunks behind a proxy, unless that was done less than
    /// [`LOOK_UP_EVERY`] ago.
    pub(super) async fn look_up(&self, behind_proxy: &[Target]) {
        if self.hosts.is_empty() && behind_proxy.is_empty() {
            return;
        }
        let mut looked_up = self.looked_up.lock().await;
        if looked_up.is_some_and(|at| at.elapsed() < LOOK_UP_EVERY) {
            return;
        }
        let hosts = self.hosts.iter().map(|host| async move {
            if let Ok(Ok(found)) = tokio::time::timeout(LOOK_UP_WITHIN, tokio::net::lookup_host((&**host, 0))).await {
                self.record(host, found.map(|address| address.ip()));
            }
        });
        let trunks = behind_proxy.iter().map(|trunk| async move {
            if let Ok(servers) = trunk.servers(self.loopback).await {
                self.record(&trunk.host(), servers.iter().map(|server| server.address.ip()));
            }
        });
        tokio::join!(futures_util::future::join_all(hosts), futures_util::future::join_all(trunks));
        *looked_up = Some(Instant::now());
    }

    /// Returns whether a packet from this address may be read, and counts it if not.
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let may_be_known = self.loopback == Loopback::Allowed || !is_loopback(address);
        let is_known = may_be_known
            && (self.fixed.iter().any(|range| range.contains(&address))
                || self.resolved.lock().values().flatten().any(|known| *known == address)
                || self.of_calls.lock().iter().filter_map(Weak::upgrade).any(|held| held.contains(&address)));
        if !is_known {
            let mut ignored = self.ignored.lock();
            *ignored = Ignored { packets: ignored.packets.saturating_add(1), last_from: Some(address) };
        }
        is_known
    }

    /// Returns the packets that were ignored so far.
    pub(super) fn ignored(&self) -> Ignored {
        *self.ignored.lock()
    }

    /// Adds the number of packets that were ignored since then to the text of a timeout: the response may be among them.
    pub(super) fn explain(&self, problem: String, since: Ignored) -> String {
        let now = self.ignored();
        match (now.packets.saturating_sub(since.packets), now.last_from) {
            (packets @ 1.., Some(last)) => format!(
                "{problem}, and {packets} packets from other addresses were ignored, the last one from {last}: if \
                 that is the trunk, add the address to `signalling_addresses`"
            ),
            _ => problem,
        }
    }
}

/// Returns whether an entry of `signalling_addresses` is on loopback: an address, a name, or a range within `127.0.0.0/8`.
pub(super) fn is_loopback_entry(entry: &str) -> bool {
    match entry.parse::<IpNet>() {
        // A greater range does not count: where loopback is not allowed, `admits` rejects it in any case.
        Ok(range) => range.network().is_loopback(),
        Err(_) => is_loopback_host(entry),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn trusted(named: &[&str]) -> TrustedAddresses {
        let named: Vec<_> = named.iter().map(|text| (*text).to_owned()).collect();
        TrustedAddresses::new("signalling_addresses", &named, Loopback::Allowed).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted<const N: usize>(trusted: &TrustedAddresses, addresses: [&str; N]) -> [bool; N] {
        addresses.map(|address| trusted.admits(ip(address)))
    }

    #[test]
    fn new_addresses_of_a_name_replace_the_old_ones() {
        let trusted = trusted(&["192.0.2.9", "::ffff:192.0.2.8"]);
        let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.9", "192.0.2.8"];
        trusted.record("sbc", [ip("192.0.2.1")].into_iter());
        assert_eq!(admitted(&trusted, addresses), [true, false, true, true]);
        trusted.record("sbc", [ip("192.0.2.2")].into_iter());
        assert_eq!(admitted(&trusted, addresses), [false, true, true, true]);
        trusted.record("sbc", [].into_iter());
        assert!(trusted.admits(ip("192.0.2.2")), "a name that leads nowhere for a while keeps its addresses");
    }

    #[test]
    fn a_range_admits_only_its_addresses() {
        let trusted = trusted(&["192.0.2.128/25", "2001:db8::/64", "198.51.100.7/32"]);
        let inside = ["192.0.2.128", "192.0.2.255", "::ffff:192.0.2.200", "2001:db8::1", "198.51.100.7"];
        assert_eq!(admitted(&trusted, inside), [true; 5]);
        let outside = ["192.0.2.127", "192.0.3.0", "2001:db8:0:1::1", "198.51.100.8", "::1"];
        assert_eq!(admitted(&trusted, outside), [false; 5]);
    }

    #[tokio::test]
    async fn loopback_is_not_admitted_unless_allowed() {
        let entries = ["0.0.0.0/0".to_owned(), "localhost".to_owned()];
        for (loopback, admits) in [(Loopback::Refused, false), (Loopback::Allowed, true)] {
            let trusted = TrustedAddresses::new("signalling_addresses", &entries, loopback).unwrap();
            trusted.look_up(&[]).await;
            trusted.record("sbc", [ip("::1")].into_iter());
            let addresses = ["127.0.0.1", "::ffff:127.0.0.2", "::1", "192.0.2.1"];
            assert_eq!(admitted(&trusted, addresses), [admits, admits, admits, true]);
        }
    }

    #[tokio::test]
    async fn a_host_is_looked_up_once_a_minute() {
        let trusted = trusted(&["localhost", "nowhere.invalid"]);
        let since = trusted.ignored();
        assert_eq!(admitted(&trusted, ["127.0.0.1", "127.0.0.2"]), [false; 2]);
        let explained = trusted.explain("no response".to_owned(), since);
        assert!(
            explained.contains("2 packets from other addresses were ignored, the last one from 127.0.0.2"),
            "{explained}"
        );
        assert_eq!(trusted.explain("no response".to_owned(), trusted.ignored()), "no response");
        trusted.look_up(&[]).await;
        assert!(trusted.admits(ip("127.0.0.1")));
        trusted.resolved.lock().clear();
        trusted.look_up(&[]).await;
        assert!(!trusted.admits(ip("127.0.0.1")));
    }

    #[test]
    fn other_entries_are_rejected() {
        for text in ["", "sip:sbc", "192.0.2.1:5060", "192.0.2.0/33", "sbc.contoso.local:5060", "192.0.2.300", "a b"] {
            let error = TrustedAddresses::new("x", &[text.to_owned()], Loopback::Allowed).err().unwrap().to_string();
            assert!(error.contains("neither an IP address nor a range"), "{text}: {error}");
        }
    }
}

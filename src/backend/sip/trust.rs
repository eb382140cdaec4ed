//! The addresses of the trunk: those from which PhoneGate accepts SIP over UDP, and to which it sends requests in a
//! call.
//!
//! Over UDP, any host can send packets to our port, and a response names hosts (Contact, Record-Route) to which the
//! next requests, with answers to digest challenges, would be sent. Both are limited to the addresses that the
//! configuration resolves to. A connection (TCP, TLS) leads to one server only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use rsipstack::sip::message::HeadersExt;
use rsipstack::sip::{
    Header, Host, Method, Response, SipMessage, StatusCodeKind, ToTypedHeader, Transport, Uri, typed,
};
use rsipstack::transaction::endpoint::MessageInspector;
use rsipstack::transport::transport_layer::DomainResolver;
use rsipstack::transport::{SipAddr, TransportWhitelist};

use super::peer::{Peer, Server};
use crate::config::ConfigError;

/// How long the resolved addresses are reused for names that are not resolved for each call.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);

/// Timeout for resolving a name.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(4);

/// The addresses that the trunks, their proxy and `signalling_addresses` have now.
pub(super) struct TrustedAddresses {
    /// Entries that are IP addresses.
    fixed: Vec<IpAddr>,
    /// Entries that are host names.
    hosts: Vec<String>,
    /// The addresses that each name last resolved to. If a name cannot be resolved, it keeps its addresses.
    resolved: Mutex<HashMap<String, Vec<IpAddr>>>,
    /// When `hosts` and the trunks behind a proxy were last looked up.
    looked_up: tokio::sync::Mutex<Option<Instant>>,
}

impl TrustedAddresses {
    /// Reads the list that stands at `path` of the configuration.
    ///
    /// # Errors
    /// An entry is neither an IP address nor a host name.
    pub(super) fn new(path: &str, named: &[String]) -> Result<Self, ConfigError> {
        let (mut fixed, mut hosts) = (Vec::new(), Vec::new());
        for (index, text) in named.iter().enumerate() {
            let is_host = !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
                && text.chars().any(|c| c.is_ascii_alphabetic());
            match text.parse::<IpAddr>() {
                Ok(address) => fixed.push(address.to_canonical()),
                Err(_) if is_host => hosts.push(text.clone()),
                Err(_) => {
                    let problem = format_args!(
                        "`{text}` is neither an IP address nor a host name; write it as 192.0.2.10 or sbc2.contoso.local"
                    );
                    return Err(ConfigError::invalid(format!("{path}[{index}]"), problem));
                }
            }
        }
        Ok(Self { fixed, hosts, resolved: Mutex::default(), looked_up: tokio::sync::Mutex::default() })
    }

    /// Replaces the addresses of a name. An empty list changes nothing.
    pub(super) fn record(&self, name: &str, addresses: impl Iterator<Item = IpAddr>) {
        let addresses: Vec<_> = addresses.map(|address| address.to_canonical()).collect();
        if !addresses.is_empty() {
            self.resolved.lock().insert(name.to_owned(), addresses);
        }
    }

    /// Resolves the host names of the list and of the trunks behind a proxy, unless that was done less than
    /// [`LOOK_UP_EVERY`] ago.
    pub(super) async fn look_up(&self, behind_proxy: &[Peer]) {
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
            if let Ok(servers) = trunk.servers().await {
                self.record(&trunk.host(), servers.iter().map(|server| server.address.ip()));
            }
        });
        tokio::join!(futures_util::future::join_all(hosts), futures_util::future::join_all(trunks));
        *looked_up = Some(Instant::now());
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.fixed.contains(&address) || self.resolved.lock().values().flatten().any(|known| *known == address)
    }
}

/// Restricts one connection to the trunk's addresses, for packets that are received and for requests that are sent.
#[derive(Clone)]
pub(super) struct Guard {
    server: Server,
    trusted: Arc<TrustedAddresses>,
    /// Whether reliable provisional answers (100rel) are acknowledged.
    supports_prack: bool,
    ignored: Arc<Mutex<Ignored>>,
}

/// Packets from other addresses, which were ignored.
#[derive(Clone, Copy, Default)]
pub(super) struct Ignored {
    packets: u64,
    last_from: Option<IpAddr>,
}

impl Guard {
    pub(super) fn new(server: &Server, trusted: &Arc<TrustedAddresses>, supports_prack: bool) -> Self {
        Self { server: server.clone(), trusted: Arc::clone(trusted), supports_prack, ignored: Arc::default() }
    }

    /// Returns the packets that were ignored so far.
    pub(super) fn ignored(&self) -> Ignored {
        *self.ignored.lock()
    }

    /// Adds the number of packets that were ignored since then to the text of a timeout: the answer may be among them.
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

    /// The server, as the stack addresses it.
    pub(super) fn server(&self) -> SipAddr {
        SipAddr { r#type: Some(self.server.transport), addr: self.server.address.into() }
    }

    /// Returns where to send a request in a call, given the URI of its first hop (RFC 3261, section 12.2.1.1): to that
    /// hop if it is an address of the trunk, otherwise to the server that accepted the call. Names that the other side
    /// sends are not resolved.
    pub(super) fn next_hop(&self, uri: &Uri) -> SipAddr {
        match self.address_of_trunk(uri) {
            Some(address) => address,
            None => self.server(),
        }
    }

    fn address_of_trunk(&self, uri: &Uri) -> Option<SipAddr> {
        match &uri.host_with_port.host {
            Host::IpAddr(address) if self.is_trunk(*address) => SipAddr::try_from(uri).ok(),
            _ => None,
        }
    }

    fn is_trunk(&self, address: IpAddr) -> bool {
        self.server.address.ip().to_canonical() == address.to_canonical() || self.trusted.contains(address)
    }

    /// Adds the server as the first hop to a response over UDP that names a host that is not the trunk's. The SIP stack
    /// sends ACK (once per repeated response) and PRACK by itself, so its route must be right.
    fn keep_to_trunk(&self, response: &mut Response) {
        let creates_dialog =
            matches!(response.status_code.kind(), StatusCodeKind::Provisional | StatusCodeKind::Successful)
                && response.cseq_header().is_ok_and(|cseq| cseq.method().is_ok_and(|method| method == Method::Invite));
        if self.server.transport != Transport::Udp || !creates_dialog {
            return;
        }
        let routes = response.headers.iter().filter_map(|header| match header {
            Header::RecordRoute(value) => Some(typed::RecordRoute::parse_header_list(value.value())),
            _ => None,
        });
        let first_hop = match routes.last() {
            // The last one recorded is the first hop (section 12.1.2).
            Some(routes) => routes.ok().and_then(|routes| Some(routes.last()?.uri.clone())),
            None => response.contact_header().ok().and_then(|contact| Some(contact.typed().ok()?.uri)),
        };
        if first_hop.and_then(|uri| self.address_of_trunk(&uri)).is_none() {
            response.headers.push(Header::RecordRoute(route(self.server.address).into()));
        }
    }
}

/// The value of a Route or Record-Route header that names an address.
pub(super) fn route(address: impl std::fmt::Display) -> String {
    format!("<sip:{address};lr>")
}

#[async_trait]
impl TransportWhitelist for Guard {
    async fn allow(&self, address: IpAddr) -> bool {
        if self.is_trunk(address) {
            return true;
        }
        let mut ignored = self.ignored.lock();
        *ignored = Ignored { packets: ignored.packets.saturating_add(1), last_from: Some(address) };
        false
    }
}

impl MessageInspector for Guard {
    fn before_send(&self, message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        message
    }

    fn after_received(&self, message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        let SipMessage::Response(mut response) = message else { return message };
        if !self.supports_prack {
            // Without this header the stack treats the response as an ordinary one and does not acknowledge it.
            response.headers.retain(|header| !matches!(header, Header::Require(value) if is_100rel(value.value())));
        }
        self.keep_to_trunk(&mut response);
        SipMessage::Response(response)
    }
}

fn is_100rel(options: &str) -> bool {
    options.split(',').any(|option| option.trim().eq_ignore_ascii_case("100rel"))
}

/// Resolves no names: a host name that the other side sends must not direct requests anywhere.
pub(super) struct NoNames;

#[async_trait]
impl DomainResolver for NoNames {
    async fn resolve(&self, target: &SipAddr) -> rsipstack::Result<SipAddr> {
        Err(rsipstack::Error::DnsResolutionError(format!("{} is not looked up", target.addr)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unreachable, reason = "tests")]
    use super::*;

    fn trusted(named: &[&str]) -> Arc<TrustedAddresses> {
        let named: Vec<_> = named.iter().map(|text| (*text).to_owned()).collect();
        Arc::new(TrustedAddresses::new("signalling_addresses", &named).unwrap())
    }

    fn guard(trusted: &Arc<TrustedAddresses>, server: &str, supports_prack: bool) -> Guard {
        let server = Server { address: server.parse().unwrap(), transport: Transport::Udp, name: String::new() };
        Guard::new(&server, trusted, supports_prack)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn hears(guard: &Guard, addresses: [&str; 4]) -> [bool; 4] {
        let mut heard = [false; 4];
        for (heard, address) in heard.iter_mut().zip(addresses) {
            *heard = guard.allow(ip(address)).await;
        }
        heard
    }

    #[tokio::test]
    async fn a_new_resolution_replaces_what_a_name_led_to_before() {
        let trusted = trusted(&["192.0.2.9", "::ffff:192.0.2.8"]);
        let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.9", "192.0.2.8"];
        trusted.record("sbc", [ip("192.0.2.1")].into_iter());
        let before = guard(&trusted, "192.0.2.1:5060", false);
        assert_eq!(hears(&before, addresses).await, [true, false, true, true]);
        trusted.record("sbc", [ip("192.0.2.2")].into_iter());
        let after = guard(&trusted, "192.0.2.2:5060", false);
        assert_eq!(hears(&after, addresses).await, [false, true, true, true]);
        assert_eq!(hears(&before, addresses).await, [true; 4], "its calls go on, and the new address is the trunk's");
        trusted.record("sbc", [].into_iter());
        assert!(after.allow(ip("192.0.2.2")).await, "a name that leads nowhere for a while keeps its addresses");
    }

    #[tokio::test]
    async fn a_named_host_is_looked_up_and_once_a_minute_is_enough() {
        let trusted = trusted(&["localhost", "nowhere.invalid"]);
        let guard = guard(&trusted, "192.0.2.1:5060", false);
        let since = guard.ignored();
        assert!(!guard.allow(ip("127.0.0.1")).await && !guard.allow(ip("127.0.0.2")).await);
        let explained = guard.explain("no answer".to_owned(), since);
        assert!(
            explained.contains("2 packets from other addresses were ignored, the last one from 127.0.0.2"),
            "{explained}"
        );
        assert_eq!(guard.explain("no answer".to_owned(), guard.ignored()), "no answer");
        trusted.look_up(&[]).await;
        assert!(guard.allow(ip("127.0.0.1")).await);
        trusted.resolved.lock().clear();
        trusted.look_up(&[]).await;
        assert!(!guard.allow(ip("127.0.0.1")).await);
    }

    #[test]
    fn what_is_neither_an_address_nor_a_name_is_refused() {
        for text in ["", "sip:sbc", "192.0.2.1:5060", "192.0.2.0/24", "sbc.contoso.local:5060", "192.0.2.300", "a b"] {
            let error = TrustedAddresses::new("x", &[text.to_owned()]).err().unwrap().to_string();
            assert!(error.contains("neither an IP address nor a host name"), "{text}: {error}");
        }
    }

    #[test]
    fn a_request_in_a_call_goes_to_the_trunk_alone() {
        let guard = guard(&trusted(&["192.0.2.9"]), "192.0.2.1:5060", false);
        for (uri, expected) in [
            ("sip:1@192.0.2.1:5070", "192.0.2.1:5070"),
            ("sip:192.0.2.9;lr", "192.0.2.9"),
            ("sip:1@203.0.113.1", "UDP 192.0.2.1:5060"),
            ("sip:1@192.0.2.1.attacker.example", "UDP 192.0.2.1:5060"),
            ("sip:192.0.2.9@attacker.example", "UDP 192.0.2.1:5060"),
        ] {
            assert_eq!(guard.next_hop(&uri.try_into().unwrap()).to_string(), expected, "{uri}");
        }
    }

    /// The headers of an answer to an INVITE after the guard, without those that it always has.
    fn guarded(guard: &Guard, code: u16, method: &str, headers: &str) -> Vec<String> {
        let text = format!("SIP/2.0 {code} X\r\nCSeq: 1 {method}\r\n{headers}Content-Length: 0\r\n\r\n");
        let message = SipMessage::try_from(text.as_bytes()).unwrap();
        let SipMessage::Response(response) = guard.after_received(message, None) else { unreachable!() };
        let headers = response.headers.iter().map(ToString::to_string);
        headers.filter(|header| !header.starts_with("CSeq") && !header.starts_with("Content-Length")).collect()
    }

    #[test]
    fn an_answer_whose_first_hop_is_foreign_has_the_server_before_it() {
        let guard = guard(&trusted(&["192.0.2.9"]), "192.0.2.1:5060", false);
        const OURS: &str = "Record-Route: <sip:192.0.2.1:5060;lr>";
        for (headers, is_added) in [
            ("Contact: <sip:1@192.0.2.1:5070>\r\n", false),
            ("Contact: <sip:1@203.0.113.1>\r\n", true),
            ("Contact: <sip:1@pbx.example>\r\n", true),
            ("Contact: <sip:1@203.0.113.1>\r\nRecord-Route: <sip:203.0.113.1;lr>, <sip:192.0.2.9;lr>\r\n", false),
            (
                "Contact: <sip:1@192.0.2.1>\r\nRecord-Route: <sip:192.0.2.9;lr>\r\nRecord-Route: <sip:203.0.113.1;lr>\r\n",
                true,
            ),
            ("Contact: <sip:1@192.0.2.1>\r\nRecord-Route: nonsense\r\n", true),
        ] {
            for (code, method) in [(183, "INVITE"), (200, "INVITE"), (200, "BYE"), (486, "INVITE")] {
                let found = guarded(&guard, code, method, headers);
                let is_expected = is_added && code < 300 && method == "INVITE";
                assert_eq!(found.last().is_some_and(|last| last == OURS), is_expected, "{code} {method} {headers}");
            }
        }
    }

    #[test]
    fn an_answer_is_reliable_only_with_support_prack() {
        let trusted = trusted(&[]);
        let headers = "Contact: <sip:1@192.0.2.1>\r\nRequire: timer, 100REL\r\nRSeq: 1\r\n";
        for supports_prack in [false, true] {
            let found = guarded(&guard(&trusted, "192.0.2.1:5060", supports_prack), 180, "INVITE", headers);
            assert_eq!(found.iter().any(|header| header.starts_with("Require")), supports_prack, "{found:?}");
        }
    }
}

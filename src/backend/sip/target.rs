//! A trunk, a proxy or a redirection target: its SIP URI, and its servers by DNS (RFC 3263).

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use phonegate_net::loopback::is_loopback;
use phonegate_sip::agent::Transport;
use phonegate_sip::message::{Host, SipUri, Uri};

use crate::config::{ConfigError, TestReason};

/// Maximum time for the look-up of a name.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(4);

/// Maximum time for the address of one of several targets, so that the others are used if it has none.
const TARGET_WITHIN: Duration = Duration::from_millis(2_500);

/// Maximum servers of one name that are tried, and maximum targets and services that are looked up for them.
const MAX_SERVERS: usize = 8;

/// The services of NAPTR records that can be used (RFC 3263, section 4.1).
const SERVICES: [(&str, Transport); 3] =
    [("SIPS+D2T", Transport::Tls), ("SIP+D2T", Transport::Tcp), ("SIP+D2U", Transport::Udp)];

/// A trunk, an outbound proxy, or the target of a redirection.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) uri: SipUri,
    transport: Option<Transport>,
}

/// Whether servers at loopback addresses are used. Any user of this machine could listen there in a trunk's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loopback {
    /// They are not: the backend is a real one, and `local_peer` is not set.
    Refused,
    /// They are, as any other.
    Allowed,
}

/// A server of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    /// The name that its certificate must have.
    pub(super) name: String,
}

impl Target {
    /// Reads the SIP URI at `path` of the configuration.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self, ConfigError> {
        let invalid = |problem: &str| {
            ConfigError::invalid(
                path,
                format_args!("`{text}` {problem}; write it as sip:sbc.contoso.local:5061;transport=tls"),
            )
        };
        let Ok(Uri::Sip(uri)) = Uri::parse(text) else { return Err(invalid("is not a SIP URI")) };
        if uri.user().is_some() || uri.headers().is_some() {
            return Err(invalid("has a user part or headers, which a trunk's URI must not have"));
        }
        Self::from_uri(uri).ok_or_else(|| invalid("has a transport other than udp, tcp and tls"))
    }

    /// Returns the target of a URI. `None` if its transport is not supported.
    pub(super) fn from_uri(uri: SipUri) -> Option<Self> {
        let transport = match uri.transport().map(str::to_ascii_lowercase).as_deref() {
            None if uri.is_secure() => Some(Transport::Tls),
            None => None,
            Some("tcp" | "tls") if uri.is_secure() => Some(Transport::Tls),
            Some("udp") if !uri.is_secure() => Some(Transport::Udp),
            Some("tcp") => Some(Transport::Tcp),
            Some("tls") => Some(Transport::Tls),
            Some(_) => return None,
        };
        Some(Self { uri, transport })
    }

    /// Returns whether everything that is sent to the target is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.transport == Some(Transport::Tls)
    }

    /// Returns whether TLS may be used: the URI requires it, or DNS chooses the transport, as for a name without a port.
    pub(super) fn may_use_tls(&self) -> bool {
        let is_named = self.uri.port().is_none() && !matches!(self.uri.host(), Host::Ip(_));
        self.is_tls() || self.transport.is_none() && is_named
    }

    /// Returns whether DNS or the URI itself may lead to a server over UDP.
    pub(super) fn may_use_udp(&self) -> bool {
        self.transport.is_none_or(|transport| transport == Transport::Udp)
    }

    /// Returns the host, without the port.
    pub(super) fn host(&self) -> String {
        self.uri.host().to_string()
    }

    /// Resolves the servers, in the order in which they are tried (RFC 3263, section 4).
    ///
    /// # Errors
    /// There is none, or one is on loopback and that is refused. The text says why.
    pub(super) async fn servers(&self, loopback: Loopback) -> Result<Vec<Server>, String> {
        let servers = self.resolve().await?;
        let local = servers.iter().map(|server| server.address.ip()).find(|address| is_loopback(*address));
        match local.filter(|_| loopback == Loopback::Refused) {
            None => Ok(servers),
            Some(address) => Err(format!(
                "{} is at {address}, which is this machine, where any user could listen in its place; {}",
                self.host(),
                TestReason::Loopback.advice()
            )),
        }
    }

    async fn resolve(&self) -> Result<Vec<Server>, String> {
        let port = self.uri.port();
        let name = match self.uri.host() {
            Host::Ip(address) => {
                let transport = self.transport.unwrap_or(Transport::Udp);
                let address = SocketAddr::new(*address, port.unwrap_or_else(|| default_port(transport)));
                return Ok(vec![Server { address, transport, name: address.ip().to_string() }]);
            }
            host => host.to_string(),
        };
        // With a port, neither NAPTR nor SRV is looked up.
        let resolver = match port {
            Some(_) => None,
            None => TokioResolver::builder_tokio().and_then(|builder| builder.build()).ok(),
        };
        let found = tokio::time::timeout(LOOK_UP_WITHIN, self.look_up(resolver.as_ref(), &name, port)).await;
        let found = found.map_err(|_| {
            let limit = LOOK_UP_WITHIN.as_secs();
            let advice = match port {
                Some(_) => "check the DNS servers of this machine",
                None => {
                    "check the DNS servers of this machine, or name the port and the transport in the URI, which needs \
                     fewer look-ups"
                }
            };
            format!("the look-up of {name} took longer than {limit} s; {advice}")
        })??;
        let mut servers: Vec<Server> = Vec::new();
        for server in found {
            if servers.len() < MAX_SERVERS && !servers.contains(&server) {
                servers.push(server);
            }
        }
        Ok(servers)
    }

    async fn look_up(
        &self,
        resolver: Option<&TokioResolver>,
        name: &str,
        port: Option<u16>,
    ) -> Result<Vec<Server>, String> {
        if let Some(port) = port {
            return addresses(name, name, port, self.transport.unwrap_or(Transport::Udp)).await;
        }
        let Some(resolver) = resolver else {
            let transport = self.transport.unwrap_or(Transport::Udp);
            return addresses(name, name, default_port(transport), transport).await;
        };
        let services = self.services(resolver, name).await;
        // If NAPTR records name a transport, no other one is used: a domain with TLS is never reached over UDP.
        let transport = services.first().map_or(Transport::Udp, |(_, transport)| *transport);
        let targets = services.iter().map(|(service, transport)| async move {
            srv(resolver, service).await.into_iter().map(move |(target, port)| (target, port, *transport))
        });
        let targets: Vec<_> = join_all(targets).await.into_iter().flatten().take(MAX_SERVERS).collect();
        if targets.is_empty() {
            return addresses(name, name, default_port(transport), transport).await;
        }
        let servers = targets.into_iter().map(|(target, port, transport)| async move {
            let found = tokio::time::timeout(TARGET_WITHIN, addresses(&target, name, port, transport)).await;
            found.ok().and_then(Result::ok).unwrap_or_default()
        });
        let servers: Vec<_> = join_all(servers).await.into_iter().flatten().collect();
        if servers.is_empty() {
            Err(format!("no server that DNS (SRV) names for {name} has an address"))
        } else {
            Ok(servers)
        }
    }

    /// Returns the SRV names to look up, at most [`MAX_SERVERS`]: those of the NAPTR records if the URI names no transport
    /// and the domain has such records.
    async fn services(&self, resolver: &TokioResolver, name: &str) -> Vec<(String, Transport)> {
        let usual = |transport| match transport {
            Transport::Tls => (format!("_sips._tcp.{name}."), transport),
            Transport::Tcp => (format!("_sip._tcp.{name}."), transport),
            Transport::Udp => (format!("_sip._udp.{name}."), transport),
        };
        if let Some(transport) = self.transport {
            return vec![usual(transport)];
        }
        let mut rules = Vec::new();
        if let Ok(found) = resolver.lookup(format!("{name}."), RecordType::NAPTR).await {
            for record in found.answers() {
                let RData::NAPTR(rule) = &record.data else { continue };
                let service = String::from_utf8_lossy(&rule.services).to_ascii_uppercase();
                if let Some((_, transport)) = SERVICES.iter().find(|(known, _)| *known == service) {
                    rules.push((rule.order, rule.preference, rule.replacement.to_string(), *transport));
                }
            }
        }
        rules.sort_by_key(|(order, preference, ..)| (*order, *preference));
        if rules.is_empty() {
            return [Transport::Udp, Transport::Tcp].map(usual).into();
        }
        // A domain that prefers TLS is never reached without it: an attacker could make TLS fail.
        if rules.first().is_some_and(|(.., transport)| *transport == Transport::Tls) {
            rules.retain(|(.., transport)| *transport == Transport::Tls);
        }
        rules.truncate(MAX_SERVERS);
        rules.into_iter().map(|(_, _, replacement, transport)| (replacement, transport)).collect()
    }
}

/// Looks up the targets of an SRV name: by priority, and within a priority at random by weight (RFC 2782).
async fn srv(resolver: &TokioResolver, service: &str) -> Vec<(String, u16)> {
    let Ok(found) = resolver.lookup(service, RecordType::SRV).await else { return Vec::new() };
    let mut targets = Vec::new();
    for record in found.answers() {
        let RData::SRV(srv) = &record.data else { continue };
        // The greater the weight, the smaller the random number tends to be.
        let lot = -fastrand::f64().max(f64::MIN_POSITIVE).ln() / f64::from(srv.weight).max(0.01);
        let target = srv.target.to_string().trim_end_matches('.').to_owned();
        // The root as a target means that the service is not available.
        if target.is_empty() {
            continue;
        }
        targets.push((srv.priority, lot, target, srv.port));
    }
    targets.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    targets.into_iter().map(|(_, _, target, port)| (target, port)).collect()
}

/// Resolves the addresses of a host with the operating system's resolver.
async fn addresses(host: &str, name: &str, port: u16, transport: Transport) -> Result<Vec<Server>, String> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("{host}: {error}"))?;
    let servers: Vec<_> = found.map(|address| Server { address, transport, name: name.to_owned() }).collect();
    if servers.is_empty() { Err(format!("{host} has no address")) } else { Ok(servers) }
}

fn default_port(transport: Transport) -> u16 {
    if transport == Transport::Tls { 5061 } else { 5060 }
}

#[cfg(test)]
mod tests;

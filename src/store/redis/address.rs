//! `store.url`: the address of Redis, and the login. Errors show nothing of it, because it contains a password.

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use url::{Host, form_urlencoded};

use crate::config::ConfigError;

/// The port of an address without one.
const DEFAULT_PORT: u16 = 6379;

/// An example for errors.
const EXAMPLE: &str = "rediss://user:password@redis.contoso.local:6380";

/// The address of Redis, and the login.
pub(super) struct Address {
    /// The servers. Any of them can be used.
    pub(super) nodes: Vec<Node>,
    pub(super) is_tls: bool,
    pub(super) login: RedisConnectionInfo,
    pub(super) kind: Kind,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// The role of the nodes of an address.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// One server.
    Single,
    /// Nodes of a cluster.
    Cluster,
    /// Sentinels. They know the address of the master with this name.
    Sentinel(String),
}

impl Address {
    /// Reads `store.url`.
    ///
    /// # Errors
    /// If it is not such an address, or if others on the network could read or use the connection.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::read(text).map_err(|problem| ConfigError::invalid("store.url", problem))
    }

    fn read(text: &str) -> Result<Self, String> {
        let malformed = || format!("is not an address like {EXAMPLE}");
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(malformed)?;
        let is_tls = match scheme {
            "rediss" => true,
            "redis" => false,
            _ => return Err(format!("must begin with rediss://, as in {EXAMPLE}")),
        };
        if rest.contains('#') {
            return Err("has a `#`; in a password it is written %23".to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let nodes: Vec<_> = hosts.split(',').map(Node::parse).collect::<Option<_>>().ok_or_else(malformed)?;
        let first = nodes.first().ok_or_else(malformed)?;
        // The crate parses user, password and database.
        let at = if user.is_empty() { String::new() } else { format!("{user}@") };
        let login =
            format!("redis://{at}{}:{}/{database}", Host::parse(&first.host).map_err(|_| malformed())?, first.port);
        let login = login.as_str().into_connection_info().map_err(|_| {
            format!(
                "is not an address like {EXAMPLE}; in its user and password, other characters than letters and digits \
                     are written as %40 for @"
            )
        })?;
        debug_assert!(matches!(login.addr(), ConnectionAddr::Tcp(..)));
        let login = login.redis_settings().clone();
        let kind = kind(query)?;
        if nodes.len() > 1 && kind == Kind::Single {
            return Err("names several addresses, which needs ?cluster=true or ?sentinel=NAME-OF-THE-MASTER".to_owned());
        }
        if kind == Kind::Cluster && login.db() != 0 {
            return Err("names a database, but a cluster has none".to_owned());
        }
        let beyond_this_machine = nodes.iter().any(|node| !node.is_loopback());
        if beyond_this_machine && !is_tls {
            return Err(format!(
                "must begin with rediss://, which is TLS, as in {EXAMPLE} (redis:// is for this machine's own addresses alone)"
            ));
        }
        if beyond_this_machine && login.password().is_none_or(str::is_empty) {
            return Err(format!(
                "has no password, so everyone who can reach the server could change calls; write it as in {EXAMPLE}, or with \
                 `default` for the user"
            ));
        }
        Ok(Self { nodes, is_tls, login, kind })
    }
}

fn kind(query: &str) -> Result<Kind, String> {
    let mut kind = Kind::Single;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let next = match (&*key, &*value) {
            ("cluster", "true") => Kind::Cluster,
            ("sentinel", name) if !name.is_empty() => Kind::Sentinel(name.to_owned()),
            _ => {
                return Err(
                    "may have ?cluster=true or ?sentinel=NAME-OF-THE-MASTER at its end, and nothing else".to_owned()
                );
            }
        };
        if kind != Kind::Single {
            return Err("may have one of ?cluster=true and ?sentinel=NAME-OF-THE-MASTER".to_owned());
        }
        kind = next;
    }
    Ok(kind)
}

impl Node {
    /// Parses `host:port`, from the configuration or from Redis.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // An IPv6 address contains colons, and has brackets around it. Redis omits the brackets.
        let (host, port) = match text.rsplit_once(':') {
            Some(("", _)) => return None,
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, DEFAULT_PORT),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = match bare.contains(':') {
            true => Host::parse(&format!("[{bare}]")),
            false => Host::parse(bare),
        };
        Some(Self { host: host.ok()?.to_string(), port })
    }

    fn parsed(&self) -> Option<Host> {
        Host::parse(&self.host).ok()
    }

    pub(super) fn is_loopback(&self) -> bool {
        match self.parsed() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Returns whether its host is a name, and not an address.
    pub(super) fn is_named(&self) -> bool {
        matches!(self.parsed(), Some(Host::Domain(_)))
    }

    /// Returns the host, without the brackets of an IPv6 address.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

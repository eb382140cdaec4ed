//! The sections `store`, `audit` and `metrics`.

use std::path::PathBuf;

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::bounded::Bounded;
use super::secret::Secret;

/// Where calls are stored, so that they outlive the process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The kind of store.
    #[serde(rename = "type")]
    pub kind: StoreKind,
    /// For `sqlite`: the file. Null: `phonegate.db` in the operating system's folder for the state of programs.
    pub path: Option<PathBuf>,
    /// For `redis`: `rediss://user:password@redis.contoso.local:6380`, if needed with `/` and the number of a database
    /// at its end. `redis://`, without TLS, and no password are for this machine only. For a cluster or for sentinels,
    /// some of the addresses, and their kind: `rediss://user:password@one:6380,two:6380?cluster=true`, or
    /// `?sentinel=NAME-OF-THE-MASTER`. It may be given like any secret, since it has a password.
    pub url: Option<Secret>,
    /// For `redis` over TLS: a PEM file with certificates of authorities that are trusted besides the operating
    /// system's, in place of those of `network.ca_file`.
    pub ca_file: Option<PathBuf>,
    /// For `redis`: the site that this configuration belongs to. Sites that share a Redis, such as a test and a
    /// production farm, do not see each other's calls, limits and blocks. Every node of a site needs the same value.
    /// Null: `default`.
    pub site: Option<Site>,
}

impl StoreConfig {
    /// Returns whether the configuration has the address itself, without a login. It is no secret then.
    pub(super) fn has_open_url(&self) -> bool {
        matches!(&self.url, Some(Secret::Plain(url)) if !url.expose_secret().contains('@'))
    }
}

/// The name of a site: 1 to 32 lower-case letters, digits, `-` and `_`. It is part of Redis keys and of access rules,
/// so it has no characters that are special there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = "^[a-z0-9_-]{1,32}$"))]
pub struct Site(String);

impl Site {
    /// The site of a configuration that names none.
    pub const DEFAULT: &str = "default";

    /// Returns its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Site {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        match (1..=32).contains(&name.len()) && name.bytes().all(is_plain) {
            true => Ok(Self(name)),
            false => Err("must be 1 to 32 lower-case letters, digits, - and _, such as test-2"),
        }
    }
}

/// The kinds of store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In the memory of the process: calls are lost when it ends.
    Memory,
    /// In a file on this machine.
    #[default]
    Sqlite,
    /// In Redis or a compatible server (Valkey, Garnet, Azure Cache), for a farm of several nodes.
    Redis,
}

impl StoreKind {
    /// Returns its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
        }
    }
}

/// What is stored of ended calls, and for how long.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days that a call is stored after its end.
    pub keep_days: Bounded<1, 3650, 90>,
    /// Stores the whole number, too. Otherwise it is stored masked, with a hash by which it is found.
    pub full_numbers: bool,
}

/// Metrics for a monitoring system.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// A file that is replaced every 15 seconds, in Prometheus' text format, for the textfile collector of
    /// windows_exporter or node_exporter; its name ends in `.prom`. Null: none.
    #[schemars(extend("pattern" = r"\.prom$"))]
    pub textfile: Option<PathBuf>,
}

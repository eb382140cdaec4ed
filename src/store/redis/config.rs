//! The settings of a store in Redis.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::RedisStore;
use crate::config::{ConfigError, NetworkConfig, Secret, StoreSettings};
use crate::store::{CallStore, OpenError, OpenStore};

/// In Redis or a compatible server (Valkey, Garnet, Azure Cache), for a farm of several nodes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// For `redis`: `rediss://user:password@redis.contoso.local:6380`, if needed with `/` and the number of a database
    /// at its end. `redis://`, without TLS, and no password are for this machine only. For a cluster or for sentinels,
    /// some of the addresses, and their kind: `rediss://user:password@one:6380,two:6380?cluster=true`, or
    /// `?sentinel=NAME-OF-THE-MASTER`. It may be given like any secret, since it has a password.
    pub(super) url: Option<Secret>,
    /// For `redis` over TLS: a PEM file with certificates of authorities that are trusted besides the operating
    /// system's, in place of those of `network.ca_file`.
    pub(super) ca_file: Option<PathBuf>,
    /// For `redis`: the site that this configuration belongs to. Sites that share a Redis, such as a test and a
    /// production farm, do not see each other's calls, limits and blocks. Every node of a site needs the same value.
    /// Null: `default`.
    pub(super) site: Option<Site>,
}

impl RedisConfig {
    /// Returns the address.
    ///
    /// # Errors
    /// If it is absent.
    pub(super) fn url(&self) -> Result<&Secret, ConfigError> {
        let missing = "is missing; example: rediss://user:password@host:6380";
        self.url.as_ref().ok_or_else(|| ConfigError::invalid("store.url", missing))
    }
}

impl StoreSettings for RedisConfig {
    fn check(&self) -> Result<(), ConfigError> {
        self.url().map(drop)
    }

    /// An address in plain text without a login is no secret.
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        let has_login = |url: &&Secret| !matches!(url, Secret::Plain(url) if !url.expose_secret().contains('@'));
        self.url.iter().filter(has_login).map(|url| ("url", url)).collect()
    }

    fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
}

impl OpenStore for RedisConfig {
    const NAME: &'static str = "redis";

    fn open(&self, network: &NetworkConfig, base: &Path) -> Result<Arc<dyn CallStore>, OpenError> {
        Ok(Arc::new(RedisStore::open(self, network, base)?))
    }

    fn location(&self, _: &Path) -> Result<String, ConfigError> {
        Ok("the Redis of `store.url`".to_owned())
    }
}

/// The name of a site: 1 to 32 lower-case letters, digits, `-` and `_`. It is part of Redis keys and of access rules,
/// so it has no characters that are special there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = "^[a-z0-9_-]{1,32}$"))]
pub(super) struct Site(String);

impl Site {
    /// The site of a configuration that names none.
    pub(super) const DEFAULT: &str = "default";

    pub(super) fn as_str(&self) -> &str {
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

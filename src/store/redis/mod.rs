//! A store in Redis, for a farm of several nodes, or in a server that speaks its protocol (Valkey, Garnet, Azure Cache).
//!
//! Each change is one script ([`scripts`]). [`keys`] says what each Redis key holds, [`model`] has the JSON in them. The
//! time is the server's (S10). Rust converts and filters; the scripts decide.

mod address;
mod alerts;
mod audit;
mod config;
mod connection;
mod keys;
mod limits;
mod model;
mod pins;
mod problem;
mod scripts;

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Script, ToRedisArgs};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::audit::{Query, Row, Step};
use super::begin_queue::BeginQueue;
use super::millis::{from_unix, milliseconds};
use super::unreadable::Unreadable;
use super::{
    Begun, Block, CallStore, EndRequest, Ended, KeyUse, LatestAttempt, Limits, Lockout, NewAttempt, Orphan, Owner,
    RecordKind, RecordedChange, Scope, StoreError, UnreadableCounts,
};
use crate::call::{Attempt, CallId, KeyFingerprint, NumberHash};
use crate::config::{ConfigError, NetworkConfig};
use address::Address;
pub use config::RedisConfig;
use connection::Connections;
use keys::Keys;
use limits::LimitArgs;
use model::{AttemptKey, AttemptRecord, BlockRecord, ChangeArgs, Clock, EndArgs};
use scripts::Scripts;

/// Maximum number of changes that one script records: other scripts wait while it runs.
const BATCH: usize = 256;

/// Maximum number of attempts that are read at once.
const PAGE: u64 = 500;

/// A store in Redis.
pub struct RedisStore {
    keys: Keys,
    connections: Connections,
    queue: BeginQueue,
    scripts: Scripts,
    /// The number of the last claim whose answer each owner received (S9).
    acked: Mutex<HashMap<Owner, String>>,
    unreadable: Unreadable,
}

impl RedisStore {
    /// Opens the store of a configuration. Does no network I/O: the first operation connects. Relative paths are relative
    /// to `base`.
    ///
    /// # Errors
    /// If `store.url` cannot be read or is not safe to use, or TLS cannot be prepared.
    pub fn open(config: &RedisConfig, network: &NetworkConfig, base: &Path) -> Result<Self, ConfigError> {
        let url = config.url()?.resolve(base, "store.url")?;
        let address = Address::parse(secrecy::ExposeSecret::expose_secret(&url))?;
        let tls =
            address.is_tls.then(|| network.tls_client(("store", config.ca_file.as_deref()), None, base)).transpose()?;
        let keys = Keys::of_site(config.site.as_ref());
        Ok(Self {
            connections: Connections::new(address, tls, keys.single(keys::CLOCK)),
            keys,
            queue: BeginQueue::default(),
            scripts: Scripts::new(),
            acked: Mutex::default(),
            unreadable: Unreadable::default(),
        })
    }

    async fn run<T: FromRedisValue>(&self, script: &Script, args: impl ToRedisArgs) -> Result<T, StoreError> {
        let mut call = script.key(self.keys.prefix());
        call.arg(args);
        let call = &call;
        self.connections.run(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }

    /// Runs a script that changes something, on a server that accepts writes.
    async fn change<T: FromRedisValue>(&self, script: &Script, args: impl ToRedisArgs) -> Result<T, StoreError> {
        self.run_if_writable(|_| true, script, args).await
    }

    /// Reads a record for a list. Returns `None`, and counts the record, if it cannot be read.
    fn parse_listed<K: DeserializeOwned, T>(
        &self,
        kind: RecordKind,
        key: impl Hash,
        json: &[u8],
        into: impl Fn(K) -> Option<T>,
    ) -> Option<T> {
        let record = parse(json, into);
        if record.is_none() {
            self.unreadable.add(kind, key);
        }
        record
    }

    async fn query<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        self.connections.run(|mut redis| async move { command.query_async(&mut redis).await }).await
    }

    /// As `run`. If the answer satisfies `needs_write`, the server must accept writes: a master that has lost its replicas,
    /// of which one may be the master now, then refuses (`min-replicas-to-write`). Before Redis 6.2.7 it does not refuse
    /// scripts (<https://github.com/redis/redis/pull/10160>), so another command is sent with the script.
    async fn run_if_writable<T: FromRedisValue>(
        &self,
        needs_write: impl Fn(&T) -> bool,
        script: &Script,
        args: impl ToRedisArgs,
    ) -> Result<T, StoreError> {
        let mut call = script.key(self.keys.prefix());
        call.arg(args);
        let mut write = redis::cmd("DEL");
        write.arg(self.keys.single(keys::NOTHING));
        let (call, write, needs_write) = (&call, &write, &needs_write);
        let ask = |redis: MultiplexedConnection| async move {
            let (mut one, mut other) = (redis.clone(), redis);
            let (answer, may_write) = tokio::join!(call.invoke_async(&mut one), write.query_async::<()>(&mut other));
            let answer = answer?;
            if needs_write(&answer) {
                may_write?;
            }
            Ok(answer)
        };
        self.connections.run(ask).await
    }
}

/// JSON of a record. A damaged one may not be UTF-8.
type Json = Vec<u8>;

/// An answer of `find.lua`: the time, until when ages are unknown, and the attempt as JSON.
type Found = (i64, i64, Option<Json>);

/// The error for an answer that is not what the scripts return.
fn malformed() -> StoreError {
    StoreError::unavailable("Redis has something that this version does not understand")
}

/// Reads a record, and converts it. `None` if it cannot be read.
fn parse<K: DeserializeOwned, T>(json: &[u8], into: impl Fn(K) -> Option<T>) -> Option<T> {
    serde_json::from_slice(json).ok().and_then(into)
}

fn to_json(record: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(record).map_err(StoreError::refused)
}

#[async_trait]
impl CallStore for RedisStore {
    fn scope(&self) -> Scope {
        Scope::Farm
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        let _place = self.queue.enter()?;
        // In one argument: before a login, Redis accepts at most ten, and its error does not mention the login.
        let arg = to_json(&(AttemptRecord::new(new), model::hashes(&new.number), LimitArgs::new(new, limits)))?;
        let answer: Vec<String> = self.change(&self.scripts.begin, arg).await?;
        limits::begun(&answer)
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        let answer: Vec<i64> = self.change(&self.scripts.end, to_json(&EndArgs::new(end))?).await?;
        Ok(match *answer.as_slice() {
            [0] => Ended::No,
            [1] => Ended::UNLOCKED,
            [1, until] => Ended::Yes { locked_until: Some(from_unix(until)) },
            _ => return Err(malformed()),
        })
    }

    async fn record(&self, updates: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        let mut lockouts = Vec::new();
        for updates in updates.chunks(BATCH) {
            let updates: Vec<_> =
                updates.iter().map(|change| to_json(&ChangeArgs::new(change))).collect::<Result<_, _>>()?;
            let locking: Vec<Json> = self.change(&self.scripts.record, updates).await?;
            // The changes are recorded. An error here would repeat them for ever.
            let lockout = |json: &Json| self.parse_listed(RecordKind::Attempt, json, json, AttemptRecord::into_lockout);
            lockouts.extend(locking.iter().filter_map(lockout));
        }
        Ok(lockouts)
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        let args = [to_json(&AttemptKey::of(attempt))?, model::owner(owner)];
        self.change(&self.scripts.use_approval, &args).await
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        let is_verified = |(_, _, json): &Found| json.as_deref().is_some_and(model::is_verified);
        let (now, unknown_until, attempt) =
            self.run_if_writable(is_verified, &self.scripts.find, model::id(id)).await?;
        let clock = Clock { now, unknown_until };
        let latest = |json: Json| parse(&json, |record: AttemptRecord| record.into_latest(clock));
        attempt.map(|json| latest(json).ok_or_else(|| StoreError::unreadable(RecordKind::Attempt))).transpose()
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        self.change(&self.scripts.renew, model::owner(owner)).await
    }

    async fn claim_orphans(&self, owner: Owner, limit: usize) -> Result<Vec<Orphan>, StoreError> {
        let acked = self.acked.lock().get(&owner).cloned().unwrap_or_default();
        let args = [model::owner(owner), limit.to_string(), acked];
        let answer: Vec<Json> = self.change(&self.scripts.claim_orphans, &args).await?;
        let [number, now, unknown_until, attempts @ ..] = answer.as_slice() else { return Err(malformed()) };
        let text = |bytes: &Json| String::from_utf8(bytes.clone()).map_err(|_| malformed());
        let time = |bytes: &Json| text(bytes)?.parse().map_err(|_| malformed());
        let clock = Clock { now: time(now)?, unknown_until: time(unknown_until)? };
        // If one that cannot be read failed the claim, it would be returned again and again, and no other one with it.
        let orphan = |sequence: &Json, json: &Json| {
            self.parse_listed(RecordKind::Attempt, sequence, json, |record: AttemptRecord| record.into_orphan(clock))
        };
        let (attempts, _) = attempts.as_chunks::<2>();
        let orphans: Vec<_> = attempts.iter().filter_map(|[sequence, json]| orphan(sequence, json)).collect();
        self.acked.lock().insert(owner, text(number)?);
        Ok(orphans)
    }

    fn unreadable(&self) -> UnreadableCounts {
        self.unreadable.counts()
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        let (mut command, record) = (redis::cmd("HSET"), BlockRecord::new(block));
        command.arg(self.keys.single(keys::BLOCKS)).arg(record.field()).arg(to_json(&record)?);
        self.query(&command).await
    }

    async fn unblock(&self, number: NumberHash) -> Result<bool, StoreError> {
        self.run(&self.scripts.unblock, number.to_string()).await
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        let records: Vec<(Json, Json)> = self.query(command.arg(self.keys.single(keys::BLOCKS))).await?;
        let (seconds, microseconds): (u64, u64) = self.query(&redis::cmd("TIME")).await?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(microseconds);
        // Calls are compared with the field alone.
        let block = |(field, json): &(Json, Json)| {
            let into = |record: BlockRecord| record.to_block().filter(|_| record.field().as_bytes() == field);
            self.parse_listed(RecordKind::Block, field, json, into)
        };
        let mut blocks: Vec<Block> = records.iter().filter_map(block).collect();
        blocks.retain(|block| !block.has_expired(now));
        blocks.sort_by_key(|block| std::cmp::Reverse(block.since));
        Ok(blocks)
    }

    async fn use_number_keys(&self, known: &[KeyFingerprint], usage: KeyUse) -> Result<(), StoreError> {
        let usage = match usage {
            KeyUse::Read => "read",
            KeyUse::Write => "write",
            KeyUse::WriteAny => "write_any",
        };
        let args: Vec<_> = std::iter::once(usage.to_owned()).chain(known.iter().map(ToString::to_string)).collect();
        match self.run::<Option<String>>(&self.scripts.number_keys, &args).await? {
            Some(unknown) => Err(StoreError::missing_number_key(unknown)),
            None => Ok(()),
        }
    }

    async fn rows(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        self.rows_of(query).await
    }

    async fn steps(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError> {
        self.steps_of(attempt).await
    }

    async fn sweep(&self, keep: Duration) -> Result<(), StoreError> {
        let (mut skipped, mut may_be_more) = (0, true);
        while may_be_more {
            let skipped_now: i64;
            (may_be_more, skipped_now) = self.run(&self.scripts.sweep, &[milliseconds(keep), skipped]).await?;
            skipped = skipped.saturating_add(skipped_now);
        }
        // The attempts are swept already, so an error here does not fail the sweep: the next sweep tries again.
        let _ = self.sweep_alerts().await;
        Ok(())
    }

    fn is_working(&self) -> bool {
        self.connections.is_working()
    }

    async fn check(&self) -> Result<String, StoreError> {
        // This checks that scripts run and that they may write.
        self.renew(Owner(Uuid::nil())).await?;
        let info: String = self.query(&redis::cmd("INFO")).await?;
        let value = |name: &str| {
            let of = |line: &str| Some(line.split_once(':').filter(|(key, _)| *key == name)?.1.trim().to_owned());
            info.lines().find_map(of)
        };
        let mut text = format!("Redis {}", value("redis_version").unwrap_or_default());
        if let Some(site) = self.keys.prefix().strip_prefix(keys::HASH_TAG).and_then(|site| site.strip_prefix('@')) {
            text += &format!(", site {}", site.trim_end_matches(':'));
        }
        if value("aof_enabled").as_deref() == Some("0") {
            text += "; it writes no append-only file, so it loses the last calls when it is restarted";
        }
        if let Some(policy) = value("maxmemory_policy").filter(|policy| policy != "noeviction") {
            text += &format!("; when its memory is full, it deletes calls ({policy})");
        }
        Ok(text)
    }
}

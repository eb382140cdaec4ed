//! Calls in Redis, for a farm of several nodes: also in what speaks its protocol (Valkey, Garnet, Azure Cache).
//!
//! Each change is one script, which Redis executes as a whole; `common.lua` tells what the keys are. The time is that of
//! the server. What is a caller's own doing is done in the caller: the form of what is kept ([`form`]), and filtering.

mod address;
mod alerts;
mod audit;
mod form;
mod limits;
mod link;
mod pins;

use std::collections::HashMap;
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
use super::denials::{DENIALS_KEPT, LONGEST_LOCK};
use super::places::Places;
use super::{
    Begun, Block, CallStore, EndRequest, Ended, HOLD, KEY_USE_KEPT, KEY_USE_NOTED_EVERY, KeyUse, LEASE, LatestAttempt,
    Limits, Lockout, NewAttempt, Orphan, Owner, RENEW_EVERY, RecordedChange, Scope, StoreError,
};
use crate::call::{Attempt, CallId, KeyFingerprint, NumberKey};
use crate::config::{ConfigError, NetworkConfig, Site, StoreConfig};
use address::Address;
use form::{Clock, Kept, KeptBlock, KeptEnd, KeptUpdate, Which, at, milliseconds};
use limits::KeptLimits;
use link::Link;

/// What the keys of all sites begin with: a hash tag, so that they lie in one slot of a cluster.
const HASH_TAG: &str = "{phonegate}";

/// A server that nobody has written to for so long was away: every node takes calls up every three seconds.
const SILENCE: Duration = RENEW_EVERY.saturating_add(Duration::from_secs(2));

/// So many updates are one script's, which keeps others waiting while it runs.
const BATCH: usize = 256;

/// So many attempts are read at once.
const PAGE: u64 = 500;

/// A store in Redis.
pub struct RedisStore {
    /// What all keys of its site begin with.
    prefix: String,
    link: Link,
    places: Places,
    scripts: Scripts,
    /// Which hand-over an owner has got last.
    got: Mutex<HashMap<Owner, String>>,
}

struct Scripts {
    begin: Script,
    end: Script,
    record: Script,
    find: Script,
    renew: Script,
    claim_orphans: Script,
    unblock: Script,
    number_keys: Script,
    sweep: Script,
    pins: Script,
    pins_page: Script,
    unlock: Script,
    locks_page: Script,
    usage: Script,
    use_approval: Script,
    pepper: Script,
    alerts: Script,
    sweep_alerts: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |writes: bool, own: &str| {
            let [lease, hold, silence] = [LEASE, HOLD, SILENCE].map(|span| span.as_millis());
            let [noted, kept] = [KEY_USE_NOTED_EVERY, KEY_USE_KEPT].map(|span| span.as_millis());
            let [longest, denials] = [LONGEST_LOCK, DENIALS_KEPT].map(|span| span.as_millis());
            let constants = format!(
                "local WRITES, LEASE, HOLD, SILENCE = {writes}, {lease}, {hold}, {silence}\n\
                 local KEY_USE_NOTED_EVERY, KEY_USE_KEPT = {noted}, {kept}\n\
                 local LONGEST_LOCK, DENIALS_KEPT = {longest}, {denials}\n"
            );
            Script::new(&[&constants, include_str!("common.lua"), own].concat())
        };
        let (counts, denials) = (include_str!("counts.lua"), include_str!("denials.lua"));
        Self {
            begin: script(true, &[counts, denials, include_str!("begin.lua")].concat()),
            end: script(true, &[denials, include_str!("end.lua")].concat()),
            record: script(true, &[counts, denials, include_str!("record.lua")].concat()),
            find: script(false, include_str!("find.lua")),
            renew: script(true, include_str!("renew.lua")),
            claim_orphans: script(true, include_str!("claim_orphans.lua")),
            unblock: script(false, include_str!("unblock.lua")),
            number_keys: script(false, include_str!("number_keys.lua")),
            sweep: script(false, include_str!("sweep.lua")),
            pins: script(true, include_str!("pins.lua")),
            pins_page: script(false, include_str!("pins_page.lua")),
            unlock: script(true, &[denials, include_str!("unlock.lua")].concat()),
            locks_page: script(false, include_str!("locks_page.lua")),
            usage: script(false, &[counts, include_str!("usage.lua")].concat()),
            use_approval: script(true, include_str!("use.lua")),
            pepper: script(false, include_str!("pepper.lua")),
            alerts: alerts::script(true, script),
            sweep_alerts: alerts::script(false, script),
        }
    }
}

impl RedisStore {
    /// Opens the store of a configuration. Does no network I/O: it connects when it is first asked something. Relative
    /// paths lie in `base`.
    ///
    /// # Errors
    /// Where `store.url` cannot be had or is not safe to use, or TLS cannot be prepared.
    pub fn open(config: &StoreConfig, network: &NetworkConfig, base: &Path) -> Result<Self, ConfigError> {
        let missing = || ConfigError::invalid("store.url", "is missing; it says where Redis is");
        let url = config.url.as_ref().ok_or_else(missing)?.resolve(base, "store.url")?;
        let address = Address::parse(secrecy::ExposeSecret::expose_secret(&url))?;
        let tls =
            address.is_tls.then(|| network.tls_client(("store", config.ca_file.as_deref()), None, base)).transpose()?;
        let prefix = prefix(config.site.as_ref());
        Ok(Self {
            link: Link::new(address, tls, format!("{prefix}clock")),
            prefix,
            places: Places::default(),
            scripts: Scripts::new(),
            got: Mutex::default(),
        })
    }

    fn key(&self, kind: &str, name: impl std::fmt::Display) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }

    /// A Redis key that exists once per site.
    fn whole_key(&self, kind: &str) -> String {
        format!("{}{kind}", self.prefix)
    }

    async fn run<T: FromRedisValue>(&self, script: &Script, args: impl ToRedisArgs) -> Result<T, StoreError> {
        let mut call = script.key(&self.prefix);
        call.arg(args);
        let call = &call;
        self.link.ask(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }

    async fn query<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        self.link.ask(|mut redis| async move { command.query_async(&mut redis).await }).await
    }

    /// As `run`, of a server that may write, where the answer `needs` that: a master that has lost its replicas, of which
    /// one may be the master now, is to refuse it (`min-replicas-to-write`). Before Redis 6.2.7 that does not hold for
    /// what scripts write (<https://github.com/redis/redis/pull/10160>), so another command is sent with the script.
    async fn run_where<T: FromRedisValue>(
        &self,
        needs: impl Fn(&T) -> bool,
        script: &Script,
        args: impl ToRedisArgs,
    ) -> Result<T, StoreError> {
        let mut call = script.key(&self.prefix);
        call.arg(args);
        let mut write = redis::cmd("DEL");
        write.arg(self.whole_key("nothing"));
        let (call, write, needs) = (&call, &write, &needs);
        let ask = |redis: MultiplexedConnection| async move {
            let (mut one, mut other) = (redis.clone(), redis);
            let (answer, may_write) = tokio::join!(call.invoke_async(&mut one), write.query_async::<()>(&mut other));
            let answer = answer?;
            if needs(&answer) {
                may_write?;
            }
            Ok(answer)
        };
        self.link.ask(ask).await
    }
}

/// The time, until when it is in doubt, and an attempt.
type Found = (i64, i64, Option<String>);

/// The prefix of a site's Redis keys. It ends with a colon, which no site name contains, so no key belongs to two
/// sites.
fn prefix(site: Option<&Site>) -> String {
    match site.map_or(Site::DEFAULT, Site::as_str) {
        Site::DEFAULT => format!("{HASH_TAG}:"),
        site => format!("{HASH_TAG}@{site}:"),
    }
}

fn strange() -> StoreError {
    StoreError::unavailable("Redis has something that this version does not understand")
}

fn from_text<K: DeserializeOwned, T>(text: &str, into: impl Fn(K) -> Option<T>) -> Result<T, StoreError> {
    serde_json::from_str(text).ok().and_then(into).ok_or_else(strange)
}

fn to_text(kept: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(kept).map_err(|error| StoreError::refused(error))
}

#[async_trait]
impl CallStore for RedisStore {
    fn scope(&self) -> Scope {
        Scope::Farm
    }

    async fn begin(&self, new: &NewAttempt, limits: &Limits) -> Result<Begun, StoreError> {
        let _place = self.places.take()?;
        // In one argument: before a login, Redis takes ten at most, and says nothing of a login then.
        let arg = to_text(&(Kept::new(new), form::hashes(&new.number), KeptLimits::new(new, limits)))?;
        let answer: Vec<String> = self.run_where(|_| true, &self.scripts.begin, arg).await?;
        limits::begun(&answer)
    }

    async fn end(&self, end: &EndRequest) -> Result<Ended, StoreError> {
        let answer: Vec<i64> = self.run_where(|_| true, &self.scripts.end, to_text(&KeptEnd::new(end))?).await?;
        Ok(match *answer.as_slice() {
            [0] => Ended::No,
            [1] => Ended::UNLOCKED,
            [1, until] => Ended::Yes { locked_until: Some(at(until)) },
            _ => return Err(strange()),
        })
    }

    async fn record(&self, updates: &[RecordedChange]) -> Result<Vec<Lockout>, StoreError> {
        let mut lockouts = Vec::new();
        for updates in updates.chunks(BATCH) {
            let updates: Vec<_> =
                updates.iter().map(|update| to_text(&KeptUpdate::new(update))).collect::<Result<_, _>>()?;
            let locking: Vec<String> = self.run_where(|_| true, &self.scripts.record, updates).await?;
            for kept in &locking {
                lockouts.push(from_text(kept, Kept::into_lockout)?);
            }
        }
        Ok(lockouts)
    }

    async fn use_approval(&self, attempt: Attempt, owner: Owner) -> Result<bool, StoreError> {
        let args = [to_text(&Which::of(attempt))?, form::owner(owner)];
        self.run_where(|_| true, &self.scripts.use_approval, &args).await
    }

    async fn find(&self, id: CallId) -> Result<Option<LatestAttempt>, StoreError> {
        let is_verified = |(_, _, kept): &Found| kept.as_deref().is_some_and(form::is_verified);
        let (now, doubt, kept) = self.run_where(is_verified, &self.scripts.find, form::key(id)).await?;
        let clock = Clock { now, doubt };
        kept.map(|kept| from_text(&kept, |kept: Kept| kept.into_current(clock))).transpose()
    }

    async fn renew(&self, owner: Owner) -> Result<(), StoreError> {
        self.run_where(|()| true, &self.scripts.renew, form::owner(owner)).await
    }

    async fn claim_orphans(&self, owner: Owner, most: usize) -> Result<Vec<Orphan>, StoreError> {
        let got = self.got.lock().get(&owner).cloned().unwrap_or_default();
        let args = [form::owner(owner), most.to_string(), got];
        let answer: Vec<String> = self.run_where(|_| true, &self.scripts.claim_orphans, &args).await?;
        let [number, now, doubt, kept @ ..] = answer.as_slice() else { return Err(strange()) };
        let time = |text: &String| text.parse().map_err(|_| strange());
        let clock = Clock { now: time(now)?, doubt: time(doubt)? };
        let orphans =
            kept.iter().map(|kept| from_text(kept, |kept: Kept| kept.into_orphan(clock))).collect::<Result<_, _>>()?;
        self.got.lock().insert(owner, number.clone());
        Ok(orphans)
    }

    async fn block(&self, block: &Block) -> Result<(), StoreError> {
        let (mut command, kept) = (redis::cmd("HSET"), KeptBlock::new(block));
        command.arg(self.whole_key("blocks")).arg(kept.field()).arg(to_text(&kept)?);
        self.query(&command).await
    }

    async fn unblock(&self, number: NumberKey) -> Result<bool, StoreError> {
        self.run(&self.scripts.unblock, number.to_string()).await
    }

    async fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        let mut command = redis::cmd("HVALS");
        let texts: Vec<String> = self.query(command.arg(self.whole_key("blocks"))).await?;
        let (seconds, microseconds): (u64, u64) = self.query(&redis::cmd("TIME")).await?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(microseconds);
        let blocks = texts.iter().map(|text| from_text(text, KeptBlock::into_block));
        let mut blocks: Vec<Block> = blocks.collect::<Result<_, _>>()?;
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
            Some(unknown) => Err(StoreError::other_number_key(unknown)),
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
        let (mut left, mut may_be_more) = (0, true);
        while may_be_more {
            let passed: u64;
            (may_be_more, passed) = self.run(&self.scripts.sweep, &[milliseconds(keep), left]).await?;
            left = left.saturating_add(i64::try_from(passed).unwrap_or_default());
        }
        // The calls are swept, whatever happens to the alerts: the next sweep tries again.
        let _ = self.sweep_alerts().await;
        Ok(())
    }

    fn is_working(&self) -> bool {
        self.link.is_working()
    }

    async fn check(&self) -> Result<String, StoreError> {
        // It shows that scripts run, and that they may write.
        self.renew(Owner(Uuid::nil())).await?;
        let info: String = self.query(&redis::cmd("INFO")).await?;
        let value = |name: &str| {
            let of = |line: &str| Some(line.split_once(':').filter(|(key, _)| *key == name)?.1.trim().to_owned());
            info.lines().find_map(of)
        };
        let mut text = format!("Redis {}", value("redis_version").unwrap_or_default());
        if let Some(site) = self.prefix.strip_prefix(HASH_TAG).and_then(|site| site.strip_prefix('@')) {
            text += &format!(", site {}", site.trim_end_matches(':'));
        }
        if value("aof_enabled").as_deref() == Some("0") {
            text += "; it writes no append-only file, and so forgets the last calls when it is restarted";
        }
        if let Some(policy) = value("maxmemory_policy").filter(|policy| policy != "noeviction") {
            text += &format!("; when its memory is full, it forgets calls ({policy})");
        }
        Ok(text)
    }
}

//! Calls over a SIP trunk: any PBX, session border controller or carrier, without a cloud.
//!
//! A call is placed at the first server that takes it, over the trunks in their order. Once the phone rings it is
//! followed by its events; when somebody answers, [`conversation`] asks for the key. The one place where a call is
//! verified is there.

mod conversation;
mod dial;
mod dialling;
mod digest;
mod inbound;
mod leg;
mod link;
mod live;
mod media;
mod offer;
mod outcome;
mod peer;
mod phone;
mod registration;
mod settings;
mod trust;
mod within;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rsipstack::sip::{Method, Transport};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{OnProgress, OnState, PlaceError, Rang, Reference, TelephonyBackend};
use crate::call::{Call, Failure, FailureReason, Outcome};
use crate::config::{Config, ConfigError, PromptsConfig, SipConfig};
use crate::prompts::Prompts;
use conversation::Policy;
use dial::{Dialled, dial};
pub use dialling::Dialling;
use link::Link;
use live::Live;
use media::{Media, MediaSettings};
use outcome::{Next, refusal, reply};
use peer::{Peer, Server};
use settings::Settings;

/// The longest farewell; hanging up must have its time after it, within HANG_UP_LIMIT.
const FAREWELL_WITHIN: Duration = Duration::from_secs(6);

/// A SIP trunk.
pub(super) struct SipTrunk {
    settings: Settings,
    prompts: Prompts,
    policy: Policy,
    links: Mutex<HashMap<Server, Arc<Way>>>,
    calls: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Line>>>>,
    /// By trunk: why it is not registered now, though it should be.
    unregistered: Mutex<BTreeMap<String, String>>,
}

/// The attempt to open a way to a server, and what came of it.
type Way = OnceCell<Result<Arc<Link>, String>>;

/// What is known of a call that was placed.
enum Line {
    /// It rings, or somebody answered.
    Live(Box<Live>),
    /// It ended while it was placed.
    Over(Failure),
}

impl SipTrunk {
    /// Reads the settings that stand at `path`. Relative files lie in `base`.
    pub(super) fn new(
        path: &str,
        sip: &SipConfig,
        config: &Config,
        prompts: Prompts,
        base: &Path,
    ) -> Result<Self, ConfigError> {
        let PromptsConfig { repeat, attempts, .. } = config.prompts;
        Ok(Self {
            settings: Settings::new(path, sip, (&config.network, &config.numbers), base)?,
            policy: Policy { repeat: repeat.get(), attempts: attempts.get(), fraud_key: config.fraud.key.get() },
            prompts,
            links: Mutex::default(),
            unregistered: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// A way to a server, a new one where there is none that works. Calls that need it at once share one attempt.
    async fn link(&self, server: &Server) -> Result<Arc<Link>, String> {
        let way = {
            let mut links = self.links.lock();
            links.retain(|_, way| way.get().is_none_or(|opened| opened.as_ref().is_ok_and(|link| link.is_open())));
            Arc::clone(links.entry(server.clone()).or_default())
        };
        way.get_or_init(|| Link::open(server, &self.settings.link)).await.clone()
    }

    /// The first hop to a trunk: the proxy, or itself.
    fn hop<'a>(&'a self, trunk: &'a Peer) -> &'a Peer {
        self.settings.proxy.as_ref().unwrap_or(trunk)
    }

    /// Resolves the servers of the first hop to a trunk. From now on SIP over UDP is accepted from these, and no longer
    /// from the addresses that the name had before.
    async fn servers(&self, trunk: &Peer) -> Result<Vec<Server>, String> {
        let (hop, trusted) = (self.hop(trunk), &self.settings.link.trusted);
        let behind_proxy = if self.settings.proxy.is_some() { self.settings.trunks.as_slice() } else { &[] };
        let (servers, ()) = tokio::join!(hop.servers(), trusted.look_up(behind_proxy));
        let servers = servers?;
        trusted.record(&hop.host(), servers.iter().map(|server| server.address.ip()));
        Ok(servers)
    }

    fn remember(&self, line: Line) -> Reference {
        // Unique in all processes: another one that takes the call up must never find a call of its own by it.
        let name = Uuid::new_v4();
        self.calls.lock().insert(name, Arc::new(tokio::sync::Mutex::new(line)));
        Reference::new(name.to_string())
    }

    fn line(&self, reference: &Reference) -> Option<Arc<tokio::sync::Mutex<Line>>> {
        self.calls.lock().get(&name(reference)?).map(Arc::clone)
    }

    /// Tries a server. `Err` tells why another one may be tried.
    async fn place_at(&self, call: &Call, trunk: &Peer, server: &Server) -> Result<Result<Line, PlaceError>, Failure> {
        let cannot = |problem: String| {
            Failure::new(FailureReason::CannotPlace, format_args!("The trunk cannot be reached: {problem}."))
        };
        let link = self.link(server).await.map_err(cannot)?;
        let media = MediaSettings {
            address: link.local.ip(),
            encryption: self.settings.encryption(server),
            learns_port: self.settings.learns_port,
            is_signalling_tls: server.transport == Transport::Tls,
        };
        let (media, keys) = match Media::open(&media, &self.settings.ports) {
            Ok(opened) => opened,
            Err(problem) => {
                let failure = Failure::new(FailureReason::Throttled, format_args!("The call has no audio: {problem}."));
                return Ok(Err(PlaceError { rang: Rang::No, failure }));
            }
        };
        let target = self.settings.target(&call.number, trunk)?;
        let ignored = link.guard.ignored();
        let dialled = tokio::select! {
            dialled = dial(&self.settings, &link, trunk, target, &media) => dialled,
            // Dropped, the leg is cancelled.
            () = call.deadline.wait() => {
                let sentence = "The trunk did not let the phone ring before the call's deadline.";
                let failure = Failure::new(FailureReason::DeadlinePassed, sentence);
                return Ok(Err(PlaceError { rang: Rang::Perhaps, failure }));
            }
        };
        match dialled {
            Dialled::Ringing(leg) => {
                let language = self.prompts.language_for(call.language.as_deref(), call.number.country());
                let extension = call.number.extension().map(Into::into);
                let live = Live { leg, media, keys, language, extension, is_answered: false, outcome: None };
                Ok(Ok(Line::Live(Box::new(live))))
            }
            Dialled::Refused(response) => {
                let (failure, next) = refusal(&response, false);
                match next {
                    Next::AnotherServer => Err(failure),
                    Next::AnotherBackend => Ok(Err(PlaceError { rang: Rang::No, failure })),
                    Next::Nobody => Ok(Ok(Line::Over(failure))),
                }
            }
            Dialled::Weakened(response) => {
                let sentence = format_args!(
                    "The trunk asked for the password again with a weaker algorithm, which is refused: it answered {}.",
                    reply(&response)
                );
                Ok(Err(PlaceError { rang: Rang::No, failure: Failure::new(FailureReason::NotConfigured, sentence) }))
            }
            Dialled::Silent(problem) => {
                Err(cannot(link.guard.explain(format!("{}: {problem}", server.address), ignored)))
            }
            Dialled::Broken(problem) => {
                let problem = crate::telemetry::foreign_text(&problem);
                let sentence = format_args!("The call broke after the trunk had taken it: {problem}.");
                let failure = Failure::new(FailureReason::CannotPlace, sentence);
                Ok(Err(PlaceError { rang: Rang::Perhaps, failure }))
            }
        }
    }
}

/// The name under which a call is remembered.
fn name(reference: &Reference) -> Option<Uuid> {
    Uuid::try_parse(reference.as_str()).ok()
}

#[async_trait]
impl TelephonyBackend for SipTrunk {
    async fn place(&self, call: &Call) -> Result<Reference, PlaceError> {
        let mut failures: Vec<Failure> = Vec::new();
        for trunk in &self.settings.trunks {
            let servers = match self.servers(trunk).await {
                Ok(servers) => servers,
                Err(problem) => {
                    let sentence = format_args!("The trunk cannot be found: {problem}.");
                    failures.push(Failure::new(FailureReason::CannotPlace, sentence));
                    continue;
                }
            };
            for server in servers {
                match self.place_at(call, trunk, &server).await {
                    Ok(Ok(line)) => return Ok(self.remember(line)),
                    Ok(Err(refused)) => {
                        return Err(PlaceError { failure: self.with_registrations(refused.failure), ..refused });
                    }
                    Err(failure) => failures.push(failure),
                }
            }
        }
        let reason = failures.last().map_or(FailureReason::CannotPlace, Failure::reason);
        let texts: Vec<_> = failures.iter().map(Failure::text).collect();
        let failure = self.with_registrations(Failure::verbatim(reason, texts.join(" ")));
        Err(PlaceError { rang: Rang::No, failure })
    }

    async fn follow(&self, reference: &Reference, on_progress: OnProgress<'_>) -> Outcome {
        let Some(line) = self.line(reference) else {
            let sentence = "The call was in progress in another process, which has ended, and a SIP call ends with it.";
            return Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence));
        };
        match &mut *line.lock().await {
            Line::Over(failure) => Outcome::Failed(failure.clone()),
            Line::Live(live) => {
                let outcome = live.follow(self.policy, on_progress).await;
                live.outcome = Some(outcome.clone());
                outcome
            }
        }
    }

    async fn hang_up(&self, reference: &Reference) -> Result<(), Failure> {
        let Some(line) = self.line(reference) else { return Ok(()) };
        match &mut *line.lock().await {
            Line::Over(_) => Ok(()),
            Line::Live(live) => live.leg.hang_up().await.map_err(|problem| {
                Failure::new(FailureReason::CannotPlace, format_args!("The call may go on: {problem}."))
            }),
        }
    }

    /// Says goodbye, and hangs up: the host has its answer already.
    async fn clean_up(&self, reference: &Reference) -> Result<(), Failure> {
        let Some(line) = self.line(reference) else { return Ok(()) };
        if let Line::Live(live) = &mut *line.lock().await
            && live.leg.is_up()
        {
            // Whoever does not listen to the end is hung up on all the same.
            let _ = tokio::time::timeout(FAREWELL_WITHIN, live.say_goodbye()).await;
        }
        let ended = self.hang_up(reference).await;
        name(reference).and_then(|name| self.calls.lock().remove(&name));
        ended
    }

    async fn keep_up(&self, tell: OnState<'_>) {
        if self.settings.registers {
            let each = self.settings.trunks.iter().map(|trunk| self.keep_registered(trunk, tell));
            futures_util::future::join_all(each).await;
        }
    }

    fn summary(&self, reference: &Reference) -> Option<String> {
        match &*self.line(reference)?.try_lock().ok()? {
            Line::Live(live) if live.is_answered => Some(live.media.summary().to_string()),
            _ => None,
        }
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<String, Failure> {
        let mut words = Vec::new();
        for trunk in &self.settings.trunks {
            let cannot = |problem: String| {
                let sentence = format_args!("The trunk {} cannot be reached: {problem}.", trunk.host());
                Failure::new(FailureReason::CannotPlace, sentence)
            };
            let servers = self.servers(trunk).await.map_err(cannot)?;
            for server in servers {
                let link = self.link(&server).await.map_err(cannot)?;
                let us = self.settings.us(trunk).map_err(cannot)?;
                let credentials = self.settings.credentials.as_ref();
                let asked = link.request(Method::Options, &trunk.uri, &us, &[], credentials).await;
                let response = asked.map_err(|problem| cannot(format!("{}: {problem}", server.address)))?;
                // Any answer but a challenge shows that the trunk is there: some forbid OPTIONS.
                if matches!(response.status_code.code(), 401 | 407) {
                    return Err(refusal(&response, false).0);
                }
                words.push(format!("{} over {}", server.address, server.transport.to_string().to_lowercase()));
            }
            if self.settings.registers {
                self.register(trunk).await.map_err(|problem| cannot(format!("it does not register: {problem}")))?;
            }
        }
        Ok(format!("sip; {}", words.join(", ")))
    }
}

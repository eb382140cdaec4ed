//! Calls over a SIP trunk: any PBX, session border controller or carrier, without a cloud.
//!
//! A call is placed at the first server that takes it, over the trunks in their order. Once the phone rings it is
//! followed by its events; when somebody answers, [`conversation`] asks for the key. The one place where a call is
//! verified is there.

mod config;
mod conversation;
mod dialled;
mod dialling;
mod driver;
mod dscp;
mod health;
mod live;
mod media;
mod outcome;
mod peer;
mod phone;
mod placing;
mod registration;
mod settings;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Interval, MissedTickBehavior};
use uuid::Uuid;

use super::{BackendContext, CallRef, CallStep, HealthSink, MayRing, PlaceError, StepSink, TelephonyBackend};
use crate::approval::Approver;
use crate::call::{Call, Failure, FailureReason, Outcome};
use crate::config::ConfigError;
use crate::prompts::Prompts;
pub use config::{CallerIdHeader, MediaEncryption, NumberFormat, OneOrMany, PortRange, SipConfig};
pub use dialling::Dialling;
use driver::{Driver, Flows, OpenFlow};
use live::Live;
use peer::{Peer, Server};
use placing::{Attempt, transport_name};
use settings::Settings;

/// The longest farewell; hanging up must have its time after it, within HANG_UP_LIMIT.
const FAREWELL_WITHIN: Duration = Duration::from_secs(6);

/// Maximum time until a response to the OPTIONS of a check.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// Maximum time that shutdown waits until registrars have removed our contacts.
const UNREGISTERED_WITHIN: Duration = Duration::from_secs(1);

/// The time between two new calls. A server would lose what comes all at once.
const BETWEEN_CALLS: Duration = Duration::from_millis(2);

/// A SIP trunk.
struct SipTrunk {
    settings: Settings,
    prompts: Prompts,
    flows: Flows,
    driver: std::sync::OnceLock<Driver>,
    between_calls: tokio::sync::OnceCell<tokio::sync::Mutex<Interval>>,
    calls: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Line>>>>,
    /// By trunk: why it is not registered now, though it should be.
    unregistered: Mutex<BTreeMap<String, String>>,
}

/// What is known of a call that was placed.
enum Line {
    /// It rings, or somebody answered.
    Live(Box<Live>),
    /// It ended while it was placed.
    Over(Failure),
}

impl SipTrunk {
    /// # Errors
    /// A setting cannot work, or a secret or certificate cannot be read.
    fn new(config: &SipConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            settings: Settings::new(config, context)?,
            prompts: context.recordings.clone(),
            flows: Flows::default(),
            driver: std::sync::OnceLock::new(),
            between_calls: tokio::sync::OnceCell::new(),
            unregistered: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// Returns a flow to a server, a new one if there is none that works.
    async fn flow(&self, server: &Server) -> Result<Arc<OpenFlow>, String> {
        self.flows.flow(self.driver().shared(), server, &self.settings.flow).await
    }

    /// Returns the agent, which is started at its first use, within the runtime.
    fn driver(&self) -> &Driver {
        self.driver.get_or_init(|| {
            let driver = Driver::new();
            driver.run_timers();
            driver
        })
    }

    /// Waits until one more call may be started.
    async fn pace(&self) {
        let interval = self.between_calls.get_or_init(|| async {
            let mut interval = tokio::time::interval(BETWEEN_CALLS);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::sync::Mutex::new(interval)
        });
        interval.await.lock().await.tick().await;
    }

    /// The first hop to a trunk: the proxy, or itself.
    fn hop<'a>(&'a self, trunk: &'a Peer) -> &'a Peer {
        self.settings.proxy.as_ref().unwrap_or(trunk)
    }

    /// Resolves the servers of the first hop to a trunk. From now on SIP over UDP is accepted from these, and no longer
    /// from the addresses that the name had before.
    async fn servers(&self, trunk: &Peer) -> Result<Vec<Server>, String> {
        let (hop, trusted) = (self.hop(trunk), &self.settings.flow.trusted);
        let behind_proxy = if self.settings.proxy.is_some() { self.settings.trunks.as_slice() } else { &[] };
        let (servers, ()) = tokio::join!(hop.servers(), trusted.look_up(behind_proxy));
        let servers = servers?;
        self.trust(&hop.host(), &servers);
        Ok(servers)
    }

    /// Accepts SIP over UDP from the servers of a name. A call goes on at the server that it was placed at, also if the name
    /// no longer leads there.
    fn trust(&self, name: &str, servers: &[Server]) {
        let addresses = servers.iter().map(|server| server.address.ip());
        self.settings.flow.trusted.record(name, addresses.chain(self.flows.in_use(name)));
    }

    fn remember(&self, line: Line) -> CallRef {
        // Unique in all processes: another one that takes the call up must never find a call of its own by it.
        let name = Uuid::new_v4();
        self.calls.lock().insert(name, Arc::new(tokio::sync::Mutex::new(line)));
        CallRef::new(name.to_string())
    }

    fn line(&self, reference: &CallRef) -> Option<Arc<tokio::sync::Mutex<Line>>> {
        self.calls.lock().get(&name(reference)?).map(Arc::clone)
    }
}

/// The name under which a call is remembered.
fn name(reference: &CallRef) -> Option<Uuid> {
    Uuid::try_parse(reference.as_str()).ok()
}

#[async_trait]
impl TelephonyBackend for SipTrunk {
    async fn place(&self, call: &Call, on_step: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let mut failures: Vec<Failure> = Vec::new();
        let mut reported = 0;
        for trunk in &self.settings.trunks {
            let servers = match self.servers(trunk).await {
                Ok(servers) => servers,
                Err(problem) => {
                    let sentence = format_args!("The trunk cannot be found: {problem}.");
                    failures.push(Failure::new(FailureReason::CannotPlace, sentence));
                    continue;
                }
            };
            for server in &servers {
                // The engine reports the failures if no other server is asked.
                for failure in failures.iter().skip(reported) {
                    on_step(CallStep::ServerFailed(failure.text().to_owned()));
                }
                reported = failures.len();
                match self.place_at(call, (trunk, server, &servers), on_step).await {
                    Attempt::Placed(line) => return Ok(self.remember(line)),
                    Attempt::Failed(refused) => {
                        return Err(PlaceError { failure: self.with_registrations(refused.failure), ..refused });
                    }
                    Attempt::TryNext(failure) => failures.push(failure),
                }
            }
        }
        let reason = failures.last().map_or(FailureReason::CannotPlace, Failure::reason);
        let texts: Vec<_> = failures.iter().map(Failure::text).collect();
        let failure = self.with_registrations(Failure::verbatim(reason, texts.join(" ")));
        Err(PlaceError { may_ring: MayRing::No, failure })
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let Some(line) = self.line(reference) else {
            let sentence = "The call was in progress in another process, which has ended, and a SIP call ends with it.";
            return Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence));
        };
        match &mut *line.lock().await {
            Line::Over(failure) => Outcome::Failed(failure.clone()),
            Line::Live(live) => {
                if let Some(outcome) = &live.outcome {
                    return outcome.clone();
                }
                let outcome = live.follow(self, approver, on_step).await;
                live.outcome = Some(outcome.clone());
                outcome
            }
        }
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let Some(line) = self.line(reference) else { return Ok(()) };
        match &mut *line.lock().await {
            Line::Over(_) => Ok(()),
            Line::Live(live) => live.hang_up().await.map_err(|problem| {
                Failure::new(FailureReason::CannotPlace, format_args!("The call may go on: {problem}."))
            }),
        }
    }

    /// Says goodbye, and hangs up: the host has its answer already.
    async fn clean_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let Some(line) = self.line(reference) else { return Ok(()) };
        if let Line::Live(live) = &mut *line.lock().await
            && live.is_up()
        {
            // Whoever does not listen to the end is hung up on all the same.
            let _ = tokio::time::timeout(FAREWELL_WITHIN, live.say_goodbye()).await;
        }
        let ended = self.hang_up(reference).await;
        name(reference).and_then(|name| self.calls.lock().remove(&name));
        ended
    }

    async fn keep_up(&self, tell: HealthSink<'_>, is_service: bool) {
        if !is_service {
            self.leave_registrations_to_service();
            return self.reconnect_for_calls().await;
        }
        let probed = self.settings.trunks.iter().map(|trunk| self.keep_probing(trunk, tell));
        let registering = self.settings.trunks.iter().filter(|_| self.settings.registers);
        let registered = registering.map(|trunk| self.keep_registered(trunk, tell));
        tokio::join!(
            futures_util::future::join_all(probed),
            futures_util::future::join_all(registered),
            self.reconnect_for_calls()
        );
    }

    /// Waits for a short time until the registrars have confirmed that our contacts are removed.
    async fn close(&self) {
        if self.settings.registers {
            let removed = self.driver().shared().all_unregistered();
            let _ = tokio::time::timeout(UNREGISTERED_WITHIN, removed).await;
        }
    }

    fn summary(&self, reference: &CallRef) -> Option<String> {
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
                let flow = self.flow(&server).await.map_err(cannot)?;
                let ignored = self.settings.flow.trusted.ignored();
                let credentials = self.settings.credentials.clone();
                let asked = flow.shared().probe(flow.id, &trunk.uri.to_string(), PROBE_WITHIN, credentials).await;
                let status = asked.ok_or_else(|| {
                    if !flow.is_open() {
                        return cannot(flow.why_lost());
                    }
                    let problem = format!("{}: no answer within {} s", server.address, PROBE_WITHIN.as_secs());
                    cannot(self.settings.flow.trusted.explain(problem, ignored))
                })?;
                // Any response but a challenge shows that the trunk is there: some forbid OPTIONS.
                if matches!(status, 401 | 407) {
                    let sentence = format_args!(
                        "The trunk does not accept the user name and password: the trunk answered {status}."
                    );
                    return Err(Failure::new(FailureReason::NotConfigured, sentence));
                }
                words.push(format!("{} over {}", server.address, transport_name(server.transport)));
            }
            if self.settings.registers {
                self.ask_registrar(trunk)
                    .await
                    .map_err(|problem| cannot(format!("it does not register: {problem}")))?;
            }
        }
        Ok(format!("sip; {}", words.join(", ")))
    }
}

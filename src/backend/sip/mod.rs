//! Calls over a SIP trunk: any PBX, session border controller or carrier, without a cloud.
//!
//! # The path of a call
//!
//! 1. `place` (`placing`) takes the trunks in their order, and resolves the servers of each by DNS (`target`). It skips
//!    servers that do not respond (`health`), and sends an INVITE to the next one through the `driver`. It returns
//!    (`outbound_call`) at the first provisional response above 100, which counts as ringing, at the 2xx, or at the end.
//!
//!    Between 1 and 2, each response goes from `driver::datagrams` (over TCP and TLS, `driver::connections`) to `UserAgent`,
//!    `State::dispatch` and `CallHandle::next`.
//! 2. A final response other than 2xx becomes a failure in `outcome`, which also decides what may be tried next. A 486,
//!    for example, becomes [`FailureReason::Unreachable`], and no other server or backend is tried: a phone may have rung.
//!    So `place` returns a reference to a call that has ended, and `follow` returns its failure: the number is released at
//!    once, not at the deadline. After a 180, `place` has returned already, and `call` reads the final response.
//! 3. `follow` (`call`) waits for the 2xx, applies its SDP answer (`media`), and runs the dialogue (`ivr`).
//! 4. `ivr` plays prompts, and passes digits to `phonegate_approval`, which alone decides what they mean. [`Approver`] turns its
//!    result into [`Outcome::Verified`]. Nothing else in this module can approve a call.
//! 5. `clean_up` plays the farewell, and hangs up.
//!
//! # What is trusted
//!
//! Over UDP, only datagrams from addresses of the trunk are parsed (`trust`). `phonegate_sip` checks that a message
//! belongs to its call, and `phonegate_media` that a packet belongs to the negotiated audio. The text of a peer is shown
//! only sanitized.

mod call;
mod config;
mod dial_string;
mod driver;
mod dscp;
mod health;
mod ivr;
mod media;
mod outbound_call;
mod outcome;
mod placing;
mod registration;
mod settings;
mod target;
mod trust;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Interval, MissedTickBehavior};
use uuid::Uuid;

use super::random_id::random_id;
use super::{
    BackendContext, CallRef, CallStep, HANG_UP_LIMIT, HealthSink, MayRing, PlaceError, StepSink, TelephonyBackend,
};
use crate::approval::Approver;
use crate::call::{Call, Failure, FailureReason, Outcome};
use crate::config::ConfigError;
use crate::prompts::Prompts;
use call::SipCall;
pub use config::{CallerIdHeader, MediaEncryption, NumberFormat, OneOrMany, PortRange, SipConfig};
pub use dial_string::DialStringFormat;
use driver::{Driver, Flows, OpenFlow};
use placing::ServerResult;
use settings::Settings;
use target::{Server, Target};

/// Maximum time for the farewell. The rest of [`HANG_UP_LIMIT`] remains for hanging up.
const FAREWELL_WITHIN: Duration = Duration::from_secs(6);

const _: () = assert!(FAREWELL_WITHIN.as_secs() < HANG_UP_LIMIT.as_secs(), "time remains for hanging up");

/// Maximum time for a response to the OPTIONS of a check.
const PROBE_WITHIN: Duration = Duration::from_secs(5);

/// Maximum time that shutdown waits for the registrars to remove this side's contacts.
const UNREGISTERED_WITHIN: Duration = Duration::from_secs(1);

/// Minimum time between the INVITEs of two calls. A server could lose datagrams of a larger burst.
const CALL_INTERVAL: Duration = Duration::from_millis(2);

/// A SIP trunk.
struct SipTrunk {
    settings: Settings,
    prompts: Prompts,
    flows: Flows,
    driver: std::sync::OnceLock<Driver>,
    call_interval: tokio::sync::OnceCell<tokio::sync::Mutex<Interval>>,
    calls: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<CallState>>>>,
    /// Hosts of trunks that should be registered and are not, with the reason.
    unregistered: Mutex<BTreeMap<String, String>>,
}

/// The state of a call that was placed.
enum CallState {
    /// It rings or is established.
    Active(Box<SipCall>),
    /// It ended before `place` returned, and a phone may have rung.
    Ended(Failure),
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
            call_interval: tokio::sync::OnceCell::new(),
            unregistered: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// Returns a flow to a server, a new one if there is none that works.
    async fn flow(&self, server: &Server) -> Result<Arc<OpenFlow>, String> {
        self.flows.flow(self.driver().shared(), server, &self.settings.flow).await
    }

    /// Returns the driver. Starts it at the first use, within the runtime.
    fn driver(&self) -> &Driver {
        self.driver.get_or_init(|| {
            let driver = Driver::new();
            driver.run_timers();
            driver
        })
    }

    /// Waits until one more call may be started.
    async fn wait_for_turn(&self) {
        let interval = self.call_interval.get_or_init(|| async {
            let mut interval = tokio::time::interval(CALL_INTERVAL);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::sync::Mutex::new(interval)
        });
        interval.await.lock().await.tick().await;
    }

    /// Returns the first hop to a trunk: the outbound proxy, or the trunk itself.
    fn first_hop<'a>(&'a self, trunk: &'a Target) -> &'a Target {
        self.settings.proxy.as_ref().unwrap_or(trunk)
    }

    /// Resolves the servers of the first hop to a trunk. SIP over UDP is then accepted from these servers, and no longer from
    /// earlier addresses of the name.
    async fn servers(&self, trunk: &Target) -> Result<Vec<Server>, String> {
        let (hop, trusted) = (self.first_hop(trunk), &self.settings.flow.trusted);
        let behind_proxy = if self.settings.proxy.is_some() { self.settings.trunks.as_slice() } else { &[] };
        let (servers, ()) = tokio::join!(hop.servers(self.settings.loopback), trusted.look_up(behind_proxy));
        let servers = servers?;
        // Servers in use stay accepted, even if the name no longer resolves to them, so that their calls continue.
        let (name, addresses) = (hop.host(), servers.iter().map(|server| server.address.ip()));
        trusted.record(&name, addresses.chain(self.flows.in_use(&name)));
        Ok(servers)
    }

    fn add_call(&self, id: Uuid, state: CallState) -> CallRef {
        self.calls.lock().insert(id, Arc::new(tokio::sync::Mutex::new(state)));
        CallRef::new(id.to_string())
    }

    fn call(&self, reference: &CallRef) -> Option<Arc<tokio::sync::Mutex<CallState>>> {
        self.calls.lock().get(&call_id(reference)?).map(Arc::clone)
    }
}

/// Returns the key of a call in [`SipTrunk::calls`].
fn call_id(reference: &CallRef) -> Option<Uuid> {
    Uuid::try_parse(reference.as_str()).ok()
}

#[async_trait]
impl TelephonyBackend for SipTrunk {
    async fn place(&self, call: &Call, on_step: StepSink<'_>) -> Result<CallRef, PlaceError> {
        // Unique across all processes, so that a process that claims this call after a crash finds no call of its own.
        let id = random_id().map_err(|failure| PlaceError { may_ring: MayRing::No, failure })?;
        let mut failures: Vec<Failure> = Vec::new();
        let mut reported = 0;
        for trunk in &self.settings.trunks {
            let servers = match self.servers(trunk).await {
                Ok(servers) => servers,
                Err(problem) => {
                    let sentence = format_args!("The trunk cannot be found: {problem}.");
                    failures.push(Failure::new(FailureReason::CannotPlace, sentence).of_backend());
                    continue;
                }
            };
            for server in &servers {
                // The engine reports the failures if no other server is tried.
                for failure in failures.iter().skip(reported) {
                    on_step(CallStep::ServerFailed(failure.text().to_owned()));
                }
                reported = failures.len();
                match self.place_at(call, (trunk, server, &servers), on_step).await {
                    ServerResult::Placed(state) => return Ok(self.add_call(id, state)),
                    ServerResult::Failed(error) => {
                        return Err(PlaceError { failure: self.with_registrations(error.failure), ..error });
                    }
                    ServerResult::TryNext(failure) => failures.push(failure),
                }
            }
        }
        let reason = failures.last().map_or(FailureReason::CannotPlace, Failure::reason);
        let texts: Vec<_> = failures.iter().map(Failure::text).collect();
        // One server that answered may have refused the number.
        let is_of_backend = failures.iter().all(Failure::is_of_backend);
        let failure = Failure::verbatim(reason, texts.join(" ")).of_backend_if(is_of_backend);
        let failure = self.with_registrations(failure);
        Err(PlaceError { may_ring: MayRing::No, failure })
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let Some(state) = self.call(reference) else {
            let sentence =
                "The call was in progress in another process that has ended, and a SIP call ends with its process.";
            return Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence));
        };
        match &mut *state.lock().await {
            CallState::Ended(failure) => Outcome::Failed(failure.clone()),
            CallState::Active(call) => {
                if let Some(outcome) = &call.outcome {
                    return outcome.clone();
                }
                let outcome = call.follow(self, approver, on_step).await;
                call.outcome = Some(outcome.clone());
                outcome
            }
        }
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let Some(state) = self.call(reference) else { return Ok(()) };
        match &mut *state.lock().await {
            CallState::Ended(_) => Ok(()),
            CallState::Active(call) => call.hang_up().await.map_err(|problem| {
                Failure::new(FailureReason::CannotPlace, format_args!("The call may continue: {problem}."))
            }),
        }
    }

    /// Plays the farewell, and hangs up. The host has its result already.
    async fn clean_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let Some(state) = self.call(reference) else { return Ok(()) };
        if let CallState::Active(call) = &mut *state.lock().await
            && call.is_up()
        {
            // The call is hung up even if the farewell takes too long.
            let _ = tokio::time::timeout(FAREWELL_WITHIN, call.play_farewell()).await;
        }
        let ended = self.hang_up(reference).await;
        call_id(reference).and_then(|id| self.calls.lock().remove(&id));
        ended
    }

    async fn run_background(&self, report: HealthSink<'_>, is_service: bool) {
        if !is_service {
            self.leave_registrations_to_service();
            return self.reconnect_for_calls().await;
        }
        let probed = self.settings.trunks.iter().map(|trunk| self.probe_loop(trunk, report));
        let registering = self.settings.trunks.iter().filter(|_| self.settings.registers);
        let registered = registering.map(|trunk| self.registration_loop(trunk, report));
        tokio::join!(
            futures_util::future::join_all(probed),
            futures_util::future::join_all(registered),
            self.reconnect_for_calls()
        );
    }

    /// Waits up to [`UNREGISTERED_WITHIN`] for the registrars to remove this side's contacts.
    async fn close(&self) {
        if self.settings.registers {
            let removed = self.driver().shared().all_unregistered();
            let _ = tokio::time::timeout(UNREGISTERED_WITHIN, removed).await;
        }
    }

    fn summary(&self, reference: &CallRef) -> Option<String> {
        match &*self.call(reference)?.try_lock().ok()? {
            CallState::Active(call) if call.is_answered => Some(call.media.summary().to_string()),
            _ => None,
        }
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<String, Failure> {
        let mut servers_found = Vec::new();
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
                let status = flow.shared().probe(flow.id, &trunk.uri.to_string(), PROBE_WITHIN, credentials).await;
                let status = status.ok_or_else(|| {
                    if !flow.is_open() {
                        return cannot(flow.why_lost());
                    }
                    let problem = format!("{}: no answer within {} s", server.address, PROBE_WITHIN.as_secs());
                    cannot(self.settings.flow.trusted.explain(problem, ignored))
                })?;
                // Any response but a challenge shows that the trunk is reachable: some reject OPTIONS.
                if matches!(status, 401 | 407) {
                    let sentence = format_args!(
                        "The trunk does not accept the user name and password: the trunk answered {status}."
                    );
                    return Err(Failure::new(FailureReason::NotConfigured, sentence));
                }
                servers_found.push(format!("{} over {}", server.address, server.transport.name()));
            }
            if self.settings.registers {
                self.query_registrar(trunk)
                    .await
                    .map_err(|problem| cannot(format!("it does not register: {problem}")))?;
            }
        }
        Ok(format!("sip; {}", servers_found.join(", ")))
    }
}

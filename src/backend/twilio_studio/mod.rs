//! Calls by a flow in Twilio Studio, by outbound HTTPS only.
//!
//! A call is an Execution of the flow. Its parameters are what the flow says, and a nonce. The flow reports what was
//! pressed in variables of the Execution's context, and PhoneGate judges it. `flow` generates the flow.
//! The API: <https://www.twilio.com/docs/studio/rest-api/v2/execution>.

mod api;
mod config;
mod execution_ref;
mod flow;
mod outcome;
mod parameters;

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::backoff::{PollSchedule, retry};
use super::random_id::random_bytes;
use super::replies::with_proxy;
use super::reported::Reported;
use super::start_queue::{StartQueue, may_ring_after};
use super::{
    BackendContext, CallRef, CallStep, HANG_UP_LIMIT, HealthSink, MayRing, PlaceError, StepSink, TelephonyBackend,
    abandon,
};
use crate::approval::Approver;
use crate::call::{Call, Country, Failure, FailureReason, Outcome, Progress};
use crate::config::{ConfigError, is_e164};
use crate::redact::diagnostic_text;
use api::{Api, ApiError, is_sid};
use execution_ref::{ExecutionRef, Nonce};
use flow::Plan;
use outcome::{Context, Expected};
use parameters::Parameters;

pub use config::TwilioStudioConfig;
pub use flow::{Installed, flow_definition, install_flow};

/// Pause between the first polls of a call.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Pause between later polls.
const LATER_PAUSE: Duration = Duration::from_secs(2);

/// Interval at which the context of an answered call is read. The context shows that the call has ended.
const CONTEXT_INTERVAL: Duration = Duration::from_secs(4);

/// How long an Execution may stay active after its call has ended. Studio may miss the end, and then keeps it active:
/// <https://support.twilio.com/hc/en-us/articles/360019383714>.
///
/// The call must fail within 15 s of its end. The context that shows the end is read up to 4 s after it
/// ([`CONTEXT_INTERVAL`]). With up to 2 s between polls, the poll that ends the call comes up to 6 s later. Ending the
/// Execution takes up to 2 s ([`END_AFTER_CALL_LIMIT`]). This leaves 3 s for Twilio's replies to the polls.
const ACTIVE_AFTER_CALL: Duration = Duration::from_secs(5);

/// How long the outcome of an ended call waits until its Execution is ended. No phone rings, so this may fail: the
/// Execution is deleted next in any case.
const END_AFTER_CALL_LIMIT: Duration = Duration::from_secs(2);

/// A flow in a Twilio account.
struct TwilioStudio {
    api: Api,
    flow: String,
    from: String,
    /// The settings that the flow must have been generated for.
    plan: Plan,
    start_queue: StartQueue,
}

#[derive(Deserialize)]
struct Execution {
    sid: String,
    flow_sid: String,
    /// The number that the Execution was started for.
    contact_channel_address: String,
    status: String,
}

impl TwilioStudio {
    /// # Errors
    /// A setting cannot work, or a secret cannot be read.
    fn new(config: &TwilioStudioConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        if !is_sid("FW", &config.flow_sid) {
            let problem = "must be FW and 32 hexadecimal digits; `phonegate twilio install-flow` prints it";
            return Err(context.invalid("flow_sid", problem));
        }
        if !is_e164(&config.from) {
            let problem = "must be a number of the account in E.164, such as +14255550100";
            return Err(context.invalid("from", problem));
        }
        let api = Api::new(&context.path, config, context.network, context.base)?;
        let (flow, from) = (config.flow_sid.clone(), config.from.clone());
        let plan = Plan::new(context.policy, context.fraud_key, context.prompts)?;
        Ok(Self { api, flow, from, plan, start_queue: StartQueue::default() })
    }

    fn executions(&self) -> [&str; 4] {
        ["v2", "Flows", &self.flow, "Executions"]
    }

    fn execution<'a>(&'a self, call: &ExecutionRef<'a>, more: &[&'a str]) -> Vec<&'a str> {
        let mut path = self.executions().to_vec();
        path.push(call.execution);
        path.extend_from_slice(more);
        path
    }

    async fn start(&self, call: &Call, parameters: &Parameters) -> Result<Execution, ApiError> {
        let from = call.caller_id.as_deref().unwrap_or(&self.from);
        let form = [("To", call.number.e164()), ("From", from), ("Parameters", parameters.as_json())];
        self.api.post_at_once(&self.executions(), &form).await
    }

    /// Asks Twilio once for the state of the call. Returns its outcome, if there is one.
    async fn poll(
        &self,
        (call, nonce): (&ExecutionRef<'_>, &str),
        approver: &Approver,
        state: &mut PollState,
        on_step: StepSink<'_>,
    ) -> Result<Option<Outcome>, ApiError> {
        let execution: Execution = self.api.get(&self.execution(call, &[])).await?;
        if execution.sid != call.execution || execution.flow_sid != self.flow {
            return Err(ApiError::Malformed);
        }
        let ended = match execution.status.as_str() {
            "active" => false,
            "ended" => true,
            _ => return Err(ApiError::Malformed),
        };
        if !ended && state.answered && !state.context_is_due() {
            return Ok(None);
        }
        let context: Context = self.api.get(&self.execution(call, &["Context"])).await?;
        if context.execution_sid != call.execution || context.flow_sid != self.flow {
            return Err(ApiError::Malformed);
        }
        if context.is_answered() && !state.answered {
            state.answered = true;
            on_step(CallStep::Progress(Progress::Answered));
        }
        let expected = Expected { nonce, contact: &execution.contact_channel_address };
        if ended {
            return Ok(Some(judge(context.answer(&expected, state.answered), approver).await));
        }
        state.context_read = Some(Instant::now());
        if !context.call_has_completed() {
            return Ok(None);
        }
        let completed = *state.completed.get_or_insert_with(Instant::now);
        if completed.elapsed() < ACTIVE_AFTER_CALL {
            return Ok(None);
        }
        // The call has ended, so an error here is ignored: the deletion that follows logs it if Twilio refuses again.
        let _ = tokio::time::timeout(END_AFTER_CALL_LIMIT, self.end(call)).await;
        Ok(Some(match judge(context.answer(&expected, true), approver).await {
            // The flow writes an entry as its last step, and this Execution has not ended.
            Outcome::Verified(_) => {
                let sentence = "The call ended before the flow did, so its approval does not count.";
                Outcome::Failed(Failure::new(FailureReason::CallEnded, sentence))
            }
            failed => failed,
        }))
    }

    async fn end(&self, call: &ExecutionRef<'_>) -> Result<(), Failure> {
        let path = self.execution(call, &[]);
        let ended = retry(|| self.api.post(&path, &[("Status", "ended")])).await;
        ended.map(|_: IgnoredAny| ()).map_err(|error| error.failure())
    }
}

/// The results of the polls of a call so far.
#[derive(Default)]
struct PollState {
    answered: bool,
    /// When the context of the active Execution was last read.
    context_read: Option<Instant>,
    /// When the context first showed that the call has ended.
    completed: Option<Instant>,
}

impl PollState {
    fn context_is_due(&self) -> bool {
        self.completed.is_some() || self.context_read.is_none_or(|at| at.elapsed() >= CONTEXT_INTERVAL)
    }
}

#[async_trait]
impl TelephonyBackend for TwilioStudio {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let not_rung = |failure| PlaceError { may_ring: MayRing::No, failure };
        let nonce = Nonce::new(random_bytes().map_err(not_rung)?);
        let speech = self.plan.languages.choose(call.language.as_deref(), call.number.country().map(Country::as_str));
        let parameters = Parameters::new(call, speech, self.plan.fraud_key, &nonce);
        let failed = |error: &ApiError| PlaceError { may_ring: may_ring(error), failure: error.failure() };
        let execution = self.start_queue.start(&call.deadline, || self.start(call, &parameters), failed).await?;
        let may_ring = |failure| PlaceError { may_ring: MayRing::Yes, failure };
        let Some(reference) = ExecutionRef::of(&execution.sid, &nonce) else {
            return Err(may_ring(ApiError::Malformed.failure()));
        };
        if execution.contact_channel_address == call.number.e164() && execution.flow_sid == self.flow {
            return Ok(reference);
        }
        let ended = tokio::time::timeout(HANG_UP_LIMIT, self.hang_up(&reference)).await;
        let rings_on = if matches!(ended, Ok(Ok(()))) { "" } else { " Another phone may ring on." };
        let sentence = format_args!("Twilio started another call than the one that was requested.{rings_on}");
        Err(may_ring(Failure::new(FailureReason::CannotPlace, sentence)))
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let call = match ExecutionRef::parse(reference) {
            Ok(call) => call,
            Err(failure) => return Outcome::Failed(failure),
        };
        let Some(nonce) = call.nonce else {
            let sentence = "An earlier version of PhoneGate placed the call, so its result cannot be checked.";
            return Outcome::Failed(abandon(self.end(&call), Failure::new(FailureReason::Interrupted, sentence)).await);
        };
        on_step(CallStep::Progress(Progress::Ringing));
        let (mut schedule, mut state) = (PollSchedule::new(FIRST_PAUSE, LATER_PAUSE), PollState::default());
        loop {
            tokio::time::sleep(schedule.next_pause()).await;
            let error = match self.poll((&call, nonce), approver, &mut state, on_step).await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {
                    schedule.poll_succeeded();
                    continue;
                }
                Err(error) => error,
            };
            if !schedule.poll_failed(&error) {
                return Outcome::Failed(abandon(self.end(&call), error.failure()).await);
            }
        }
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        self.end(&ExecutionRef::parse(reference)?).await
    }

    async fn clean_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let call = ExecutionRef::parse(reference)?;
        let path = self.execution(&call, &[]);
        retry(|| self.api.delete(&path)).await.map_err(|error: ApiError| error.failure())
    }

    async fn run_background(&self, _: HealthSink<'_>, _: bool) {
        self.start_queue.keep_open().await;
    }

    fn outlives_its_process(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Flow {
            friendly_name: String,
            status: String,
            revision: u64,
            #[serde(default)]
            valid: Option<bool>,
            #[serde(default)]
            definition: serde_json::Value,
        }
        let proxy = &self.api.proxy;
        let flow = self.api.get(&["v2", "Flows", &self.flow]).await;
        let flow: Flow = flow.map_err(|error: ApiError| with_proxy(error.failure(), proxy))?;
        let name = diagnostic_text(&flow.friendly_name);
        if flow.status != "published" || flow.valid == Some(false) {
            let problem = format!("The flow \"{name}\" is not published, or not valid; install it again.");
            return Err(Failure::new(FailureReason::NotConfigured, problem));
        }
        if let Some(mismatch) = self.plan.mismatch(&flow.definition) {
            let problem = format!("The flow \"{name}\" {mismatch}; install it again: phonegate twilio install-flow.");
            return Err(Failure::new(FailureReason::NotConfigured, problem));
        }
        let description = format!("flow \"{name}\", revision {}, published {proxy}", flow.revision);
        Ok(description.trim_end().to_owned())
    }

    async fn time(&self) -> Option<SystemTime> {
        self.api.date().await
    }
}

async fn judge(reported: Result<Reported, Failure>, approver: &Approver) -> Outcome {
    match reported {
        Ok(reported) => reported.judge(approver).await,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// Returns whether the phone may ring although the start failed.
fn may_ring(error: &ApiError) -> MayRing {
    match error {
        ApiError::NotSent(_) => MayRing::No,
        ApiError::Refused(refusal) => may_ring_after(refusal.status, refusal.reason()),
        ApiError::Lost(_) | ApiError::Malformed => MayRing::Yes,
    }
}

//! Calls by a flow in Twilio Studio: started, followed and ended by outbound HTTPS alone.
//!
//! One call is one Execution of the flow, whose parameters are what it says and a nonce. The flow reports what was
//! pressed, in variables of the Execution's context, and PhoneGate judges. `flow` generates the flow.
//! The API: <https://www.twilio.com/docs/studio/rest-api/v2/execution>.

mod api;
mod call_ref;
mod config;
mod flow;
mod outcome;
mod pace;
mod parameters;
mod starts;

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use phonegate_approval::verdict::Answer;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{
    BackendContext, CallRef, CallStep, HANG_UP_LIMIT, HealthSink, MayRing, PlaceError, StepSink, TelephonyBackend,
};
use crate::approval::Approver;
use crate::call::{Call, Country, Failure, FailureReason, Outcome, Progress};
use crate::clock::Moment;
use crate::config::ConfigError;
use crate::telemetry::diagnostic_text;
use api::{Api, ApiError, is_sid};
use call_ref::{ExecutionRef, Nonce};
use flow::Plan;
use outcome::{Context, Expected};
use pace::Pace;
use parameters::Parameters;
use starts::Starts;

pub use config::TwilioStudioConfig;
pub use flow::{Installed, flow_definition, install_flow};

/// A start that Twilio refuses with 429 was not processed, and is repeated so often.
const START_TRIES: u32 = 3;

/// Ending a call and deleting it do no harm when they are repeated. The pauses between the tries leave most of
/// [`HANG_UP_LIMIT`] to the requests.
const END_PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];

/// So many replies in a row that make no sense end a call.
const MALFORMED_REPLIES: u32 = 3;

/// Interval at which the context of an answered call is read. The context shows that the call has ended.
const CONTEXT_EVERY: Duration = Duration::from_secs(4);

/// How long an Execution may stay active after its call has ended. Studio may miss the end, and keeps it active then:
/// <https://support.twilio.com/hc/en-us/articles/360019383714>.
///
/// The call is to fail within 15 s of its end. The context that shows the end is read up to 4 s after it
/// ([`CONTEXT_EVERY`]); with up to 2 s between polls, the poll that ends the call comes up to 6 s later; ending the
/// Execution takes up to 2 s ([`END_AFTER_CALL_LIMIT`]). Of the 15 s, 3 s are left for Twilio's replies to the polls.
const ACTIVE_AFTER_CALL: Duration = Duration::from_secs(5);

/// How long the outcome of a call that is over waits until its Execution is ended. No phone rings, so this may fail: the
/// Execution is deleted next in any case.
const END_AFTER_CALL_LIMIT: Duration = Duration::from_secs(2);

/// The flow and who calls.
struct TwilioStudio {
    api: Api,
    flow: String,
    from: String,
    /// What the flow must have been generated for.
    plan: Plan,
    starts: Starts,
}

#[derive(Deserialize)]
struct Execution {
    sid: String,
    flow_sid: String,
    /// The number that it was started for.
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
        Ok(Self { api, flow, from, plan, starts: Starts::default() })
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
        let form = [("To", call.number.e164()), ("From", &self.from), ("Parameters", parameters.as_json())];
        self.api.post_at_once(&self.executions(), &form).await
    }

    /// Asks Twilio to start the call, again if that is safe.
    async fn start_in_turn(&self, call: &Call, parameters: &Parameters) -> Result<Execution, PlaceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let turn = self.starts.turn(&call.deadline).await;
            let turn = turn.map_err(|failure| PlaceError { may_ring: MayRing::No, failure })?;
            let started = self.start(call, parameters).await;
            drop(turn);
            let error = match started {
                Ok(execution) => return Ok(execution),
                Err(error) => error,
            };
            let pause = pace::before_start(error.retry_after());
            let in_time = pause.is_some_and(|pause| pause < call.deadline.left(Moment::now()));
            match pause {
                Some(pause) if error.is_throttled() && tries < START_TRIES && in_time => {
                    tokio::time::sleep(pause).await
                }
                _ => return Err(PlaceError { may_ring: rang(&error), failure: error.failure() }),
            }
        }
    }

    /// One look at the call: its outcome, or none yet.
    async fn look(
        &self,
        (call, nonce): (&ExecutionRef<'_>, &str),
        approver: &Approver,
        seen: &mut Seen,
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
        if !ended && seen.answered && !seen.context_is_due() {
            return Ok(None);
        }
        let context: Context = self.api.get(&self.execution(call, &["Context"])).await?;
        if context.execution_sid != call.execution || context.flow_sid != self.flow {
            return Err(ApiError::Malformed);
        }
        if context.is_answered() && !seen.answered {
            seen.answered = true;
            on_step(CallStep::Progress(Progress::Answered));
        }
        let expected = Expected { nonce, contact: &execution.contact_channel_address };
        if ended {
            return Ok(Some(judge(context.answer(&expected, seen.answered), approver).await));
        }
        seen.context_read = Some(Instant::now());
        if !context.call_has_completed() {
            return Ok(None);
        }
        let completed = *seen.completed.get_or_insert_with(Instant::now);
        if completed.elapsed() < ACTIVE_AFTER_CALL {
            return Ok(None);
        }
        // The call is over, so an error here does no harm: the later deletion logs it if Twilio refuses again.
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
        insist(|| self.api.post(&path, &[("Status", "ended")])).await.map(|_: IgnoredAny| ())
    }

    /// Ends a call that is no longer followed. Returns `failure`; if the call cannot be ended, its text says so.
    async fn give_up(&self, call: &ExecutionRef<'_>, failure: Failure) -> Failure {
        match tokio::time::timeout(HANG_UP_LIMIT, self.end(call)).await {
            Ok(Ok(())) => failure,
            _ => Failure::verbatim(failure.reason(), format!("{failure} The phone may ring on.")),
        }
    }
}

/// What following a call has shown so far.
#[derive(Default)]
struct Seen {
    answered: bool,
    malformed: u32,
    /// When the context of the active Execution was read last.
    context_read: Option<Instant>,
    /// When it was first read that the call has ended.
    completed: Option<Instant>,
}

impl Seen {
    fn context_is_due(&self) -> bool {
        self.completed.is_some() || self.context_read.is_none_or(|at| at.elapsed() >= CONTEXT_EVERY)
    }
}

#[async_trait]
impl TelephonyBackend for TwilioStudio {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let not_rung = |failure| PlaceError { may_ring: MayRing::No, failure };
        let Ok(nonce) = Nonce::draw(|bytes| SystemRandom::new().fill(bytes)) else {
            let sentence = "No call can be placed: the operating system provides no random numbers.";
            return Err(not_rung(Failure::new(FailureReason::Internal, sentence)));
        };
        let speech = self.plan.languages.choose(call.language.as_deref(), call.number.country().map(Country::as_str));
        let parameters = Parameters::new(call, speech, self.plan.fraud_key, &nonce);
        let execution = self.start_in_turn(call, &parameters).await?;
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
        let call = ExecutionRef::parse(reference);
        let Some(nonce) = call.nonce else {
            let sentence = "An earlier version of PhoneGate placed the call, so its result cannot be checked.";
            return Outcome::Failed(self.give_up(&call, Failure::new(FailureReason::Interrupted, sentence)).await);
        };
        on_step(CallStep::Progress(Progress::Ringing));
        let (mut pace, mut seen) = (Pace::new(), Seen::default());
        loop {
            tokio::time::sleep(pace.next()).await;
            let error = match self.look((&call, nonce), approver, &mut seen, on_step).await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {
                    seen.malformed = 0;
                    pace.went_well();
                    continue;
                }
                Err(error) => error,
            };
            seen.malformed = if matches!(error, ApiError::Malformed) { seen.malformed + 1 } else { 0 };
            if !error.may_pass() || seen.malformed == MALFORMED_REPLIES {
                return Outcome::Failed(self.give_up(&call, error.failure()).await);
            }
            pace.went_wrong(error.retry_after());
        }
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        self.end(&ExecutionRef::parse(reference)).await
    }

    async fn clean_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let path = self.execution(&ExecutionRef::parse(reference), &[]);
        insist(|| self.api.delete(&path)).await
    }

    async fn keep_up(&self, _tell: HealthSink<'_>, _is_service: bool) {
        self.starts.while_open().await;
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
        let way_out = &self.api.way_out;
        let flow = self.api.get(&["v2", "Flows", &self.flow]).await;
        let flow: Flow = flow.map_err(|error: ApiError| with_way(&error.failure(), way_out))?;
        let name = diagnostic_text(&flow.friendly_name);
        if flow.status != "published" || flow.valid == Some(false) {
            let problem = format!("The flow \"{name}\" is not published, or not valid; install it again.");
            return Err(Failure::new(FailureReason::NotConfigured, problem));
        }
        if let Some(mismatch) = self.plan.mismatch(&flow.definition) {
            let problem = format!("The flow \"{name}\" {mismatch}; install it again: phonegate twilio install-flow.");
            return Err(Failure::new(FailureReason::NotConfigured, problem));
        }
        let words = format!("flow \"{name}\", revision {}, published {way_out}", flow.revision);
        Ok(words.trim_end().to_owned())
    }

    async fn time(&self) -> Option<SystemTime> {
        self.api.date().await
    }
}

/// A failure and the way on which it happened, for an administrator.
fn with_way(failure: &Failure, way: &str) -> Failure {
    let asked = if way.is_empty() { String::new() } else { format!(" Asked {way}.") };
    Failure::verbatim(failure.reason(), format!("{}{asked}", failure.text()))
}

/// Asks again while that may help. Whoever waits for it limits its time.
async fn insist<T, A>(ask: impl Fn() -> A) -> Result<T, Failure>
where
    A: Future<Output = Result<T, ApiError>>,
{
    for pause in END_PAUSES {
        match ask().await {
            Err(error) if error.may_pass() => {
                tokio::time::sleep(error.retry_after().max(pause.mul_f64(pace::jitter()))).await;
            }
            done => return done.map_err(|error| error.failure()),
        }
    }
    ask().await.map_err(|error| error.failure())
}

async fn judge(answer: Result<Answer, Failure>, approver: &Approver) -> Outcome {
    match answer {
        Ok(answer) => approver.judge(answer).await,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// May the phone have rung although the start failed?
fn rang(error: &ApiError) -> MayRing {
    match error {
        ApiError::NotSent(_) => MayRing::No,
        // 408 leaves open what was done; with 409 the phone may be ringing for another Execution.
        ApiError::Refused(refusal) if matches!(refusal.status, 400..=407 | 410..=499) => MayRing::No,
        ApiError::Refused(_) | ApiError::Lost(_) | ApiError::Malformed => MayRing::Yes,
    }
}

fn is_e164(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

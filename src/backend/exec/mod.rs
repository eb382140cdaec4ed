//! Calls by a program of the administrator, which is started for each call.
//!
//! The program reads one object of JSON ([`input`]), and writes lines of JSON ([`event`]). [`session`] follows them to the
//! end of the program ([`process`]), and the [`Approver`] judges the keys that the program reports. The protocol is in
//! docs/backends.md. A call ends with its program, and the program with PhoneGate's process.

mod cleaner;
mod command;
mod config;
mod event;
mod input;
mod process;
mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::random_id::random_id;
use super::{BackendContext, CallRef, MayRing, PlaceError, StepSink, TelephonyBackend};
use crate::approval::Approver;
use crate::call::{Call, Country, Failure, FailureReason, Outcome};
use crate::clock::Moment;
use crate::config::{ConfigError, FraudKey};
use crate::prompts::Prompts;
use crate::redact::diagnostic_text;
use cleaner::Cleaner;
use command::ProgramCommand;
pub(super) use config::ExecConfig;
use process::{Ending, Process};
use session::{Session, Task};

/// Maximum time that a call waits until fewer programs run.
const QUEUE_LIMIT: Duration = Duration::from_secs(10);

/// Maximum time for the first line. Only a program that says in this time that no phone rang lets the next backend be
/// tried.
const FIRST_LINE_LIMIT: Duration = Duration::from_secs(10);

/// Maximum time of a check.
const CHECK_LIMIT: Duration = Duration::from_secs(15);

/// A program that places calls.
struct Exec {
    command: ProgramCommand,
    supports_check: bool,
    fraud_key: FraudKey,
    prompts: Prompts,
    /// One permit for each program that may run.
    programs: Arc<Semaphore>,
    /// Cancelled at shutdown.
    closing: CancellationToken,
    calls: Mutex<HashMap<Uuid, Arc<ProgramCall>>>,
}

/// A call that a program places. When it is dropped, the program is killed.
struct ProgramCall {
    process: Arc<Process>,
    session: tokio::sync::Mutex<Session>,
}

impl Exec {
    /// # Errors
    /// A setting cannot work.
    fn new(config: &ExecConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let programs = usize::try_from(config.max_programs.get()).unwrap_or(1);
        Ok(Self {
            command: ProgramCommand::new(config, context)?,
            supports_check: config.supports_check,
            fraud_key: context.fraud_key,
            prompts: context.recordings.clone(),
            programs: Arc::new(Semaphore::new(programs)),
            closing: CancellationToken::new(),
            calls: Mutex::default(),
        })
    }

    /// Waits until one more program may run, for at most `limit`.
    async fn permit(&self, limit: Duration) -> Result<OwnedSemaphorePermit, Failure> {
        let acquire = Arc::clone(&self.programs).acquire_owned();
        match tokio::time::timeout(limit.min(QUEUE_LIMIT), acquire).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Failure::new(FailureReason::Interrupted, "PhoneGate is being shut down.")),
            Err(_) => {
                let sentence = "Too many programs run at once (`max_programs`). Try again later.";
                Err(Failure::new(FailureReason::Throttled, sentence))
            }
        }
    }

    /// Starts the program.
    ///
    /// # Errors
    /// It was certainly not started.
    async fn start(
        &self,
        input: Zeroizing<String>,
        permit: OwnedSemaphorePermit,
        task: Task,
        cleaner: Cleaner,
    ) -> Result<ProgramCall, Failure> {
        let command = self.command.clone();
        let start = move || {
            command.check_files().map_err(Failure::of_backend)?;
            Process::start(&mut command.to_command(), &input, permit).map_err(|error| {
                let sentence = format!("The program could not be started: {}.", diagnostic_text(&error.to_string()));
                Failure::new(FailureReason::CannotPlace, sentence).of_backend()
            })
        };
        let started = tokio::task::spawn_blocking(start).await;
        let (process, output) = started.unwrap_or_else(|error| {
            let sentence = format!("The program could not be started: {}.", diagnostic_text(&error.to_string()));
            Err(Failure::new(FailureReason::Internal, sentence))
        })?;
        let process = Arc::new(process);
        let session = Session::new(Arc::clone(&process), output, task, cleaner);
        Ok(ProgramCall { process, session: tokio::sync::Mutex::new(session) })
    }

    fn call(&self, reference: &CallRef) -> Result<Arc<ProgramCall>, Failure> {
        let id = Uuid::try_parse(reference.as_str()).ok();
        let call = id.and_then(|id| self.calls.lock().get(&id).map(Arc::clone));
        call.ok_or_else(|| {
            let sentence = "The reference of the call is not one of a program that this process runs.";
            Failure::new(FailureReason::Interrupted, sentence)
        })
    }
}

#[async_trait]
impl TelephonyBackend for Exec {
    async fn place(&self, call: &Call, on_step: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let not_started = |failure| PlaceError { may_ring: MayRing::No, failure };
        let permit = self.permit(call.deadline.left(Moment::now())).await.map_err(not_started)?;
        if call.deadline.passed(Moment::now()) {
            let sentence = "The call's deadline passed before it could be placed.";
            return Err(not_started(Failure::new(FailureReason::DeadlinePassed, sentence)));
        }
        // Unique for all time: a program may use it as the provider's key of the request.
        let id = random_id().map_err(not_started)?;
        let language = self.prompts.language_for(call.language.as_deref(), call.number.country().map(Country::as_str));
        let input = input::of_call(call, id, language.tag(), self.fraud_key);
        let task = Task::Call { attempts: call.attempts.policy().attempts() };
        let started = self.start(input, permit, task, Cleaner::new(&call.attempts)).await.map_err(not_started)?;
        // From here on, a dropped future kills the program.
        let limit = FIRST_LINE_LIMIT.min(call.deadline.left(Moment::now()));
        let refusal = async { started.session.lock().await.refusal(limit, on_step).await };
        // At shutdown the call is placed, whatever its first line would say: only then it is hung up.
        if let Some(Some(failure)) = self.closing.run_until_cancelled(refusal).await {
            return Err(PlaceError { may_ring: MayRing::No, failure });
        }
        self.calls.lock().insert(id, Arc::new(started));
        Ok(CallRef::new(id.to_string()))
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        match self.call(reference) {
            Ok(call) => call.session.lock().await.follow(approver, on_step).await,
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let call = self.call(reference)?;
        let sentence = match call.process.end().await {
            Ending::Success => return Ok(()),
            Ending::Failure => "The program did not end with success when it should hang up; the phone may ring on.",
            Ending::Killed => "The program did not hang up within 5 s and was killed; the phone may ring on.",
            Ending::Remains => "The program did not hang up and cannot be killed; the phone may ring on.",
        };
        Err(Failure::new(FailureReason::CannotPlace, sentence))
    }

    /// The program has ended: this removes what is known of it.
    async fn clean_up(&self, reference: &CallRef) -> Result<(), Failure> {
        let id = Uuid::try_parse(reference.as_str()).ok();
        let call = id.and_then(|id| self.calls.lock().remove(&id));
        drop(call);
        Ok(())
    }

    /// Lets every program hang up, and kills those that do not.
    async fn close(&self) {
        self.programs.close();
        self.closing.cancel();
        let calls: Vec<_> = self.calls.lock().values().map(Arc::clone).collect();
        join_all(calls.iter().map(|call| call.process.end())).await;
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<String, Failure> {
        let name = self.command.name();
        if !self.supports_check {
            let command = self.command.clone();
            let checked = tokio::task::spawn_blocking(move || command.check_files()).await;
            checked.map_err(|error| Failure::new(FailureReason::Internal, error))??;
            return Ok(format!("{name}; only administrators can change it. It was not started (`supports_check`)"));
        }
        let permit = self.permit(QUEUE_LIMIT).await?;
        let checked = self.start(input::of_check(), permit, Task::Check, Cleaner::without_codes()).await?;
        let text = checked.session.lock().await.checked(CHECK_LIMIT).await?;
        Ok(if text.is_empty() { format!("{name}; it is ready") } else { format!("{name}; it is ready: {text}") })
    }
}

//! `phonegate call`: places one call through the same gate as the service, and shows its progress.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use clap::Args;
use phonegate::call::{CallId, CallStatus, Failure, FailureReason};
use phonegate::gate::{CallRequest, Gate, ShutdownIncomplete};
use phonegate::telemetry::ObservedEvent;
use phonegate_approval::policy::Method;
use tempfile::TempDir;
use uuid::Uuid;

use crate::Globals;
use crate::call_progress::CallProgress;
use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::store_reader;

/// Interval at which the state of the call and Ctrl-C are polled while no event arrives.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Maximum number of events that wait to be shown. A call has a few dozen.
const MAX_WAITING_EVENTS: usize = 1024;

/// Maximum time to hang up and clean up, including the reply to a request that still places the call.
const END_WITHIN: Duration = Duration::from_secs(45);

/// Maximum time to write the record of the call to the store.
const RECORD_WITHIN: Duration = Duration::from_secs(5);

const HELP: &str = "\
Examples:
  phonegate call --demo +1 4255551212     calls a simulated phone, which answers and approves; reads no configuration
  phonegate call +1 4255551212 --json     prints JSON lines for scripts
  phonegate call --store +1 4255551212    counts like a call of the service: limits and the block list apply, and
                                          `phonegate calls` lists it

--json prints one object a line. Each has `event`; all but warning and error also have `id`, the call's id:
  calling           number, masked
  dialling          backend, ms (milliseconds since the call was requested)
  backend_refused   backend, ms, reason, text; the next backend may be tried
  ringing           backend, ms
  answered          backend, ms
  warning           text
  verified          backend, ms
  failed            backend, ms, reason (a name from the documentation), code (that of Azure MFA, if it had one), text
  error             text: no call was placed, see exit codes 1 and 2
Each call has exactly one verified or failed. A field that does not apply is left out; more fields may be added.

Exit codes:
  0    verified
  1    failed; the reason is shown. With --store also: the store cannot be used
  2    usage or configuration
  130  interrupted by Ctrl-C; the call was hung up, or a message says why not";

/// The arguments of `phonegate call`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The number to call, such as +1 4255551212. Spaces need no quotation marks.
    #[arg(required = true, value_name = "NUMBER")]
    number: Vec<String>,
    /// Calls a simulated phone, without a configuration. Accepts numbers of the US.
    #[arg(long)]
    demo: bool,
    /// Records the call in the configured store, and applies its limits and its block list. Without this option, nothing
    /// of the call is recorded.
    #[arg(long, conflicts_with = "demo")]
    store: bool,
}

/// Places a call and follows it until it ends.
pub(crate) fn run(arguments: &Arguments, globals: &Globals) -> Result<Exit, CommandError> {
    let interrupt = Interrupt::install()?;
    let Some(id) = CallId::new(Uuid::new_v4()) else {
        return Err(CommandError::failed("the random numbers of this machine are all zero"));
    };
    // The folder of a demonstration is removed when this variable is dropped.
    let (_folder, context) = context(arguments, globals.config(), globals.json)?;
    let method = Method::from(context.loaded.config.approval.method);
    if method.has_pin() && !arguments.store && !arguments.demo {
        let message = format!("approval.method is `{}`, and the PINs are in the store: add --store", method.name());
        return Err(CommandError::usage(message));
    }
    let (observer, events) = mpsc::sync_channel(MAX_WAITING_EVENTS);
    let gate = if arguments.store {
        store_reader::must_open(&context)?;
        context.start_with_store(Some(observer))?
    } else {
        context.start(Some(observer))?
    };
    let progress = CallProgress::new(id, globals.json);
    Ok(RunningCall { gate: &gate, id, events, interrupt, progress }.run(&arguments.number.join(" ")))
}

/// Places a call by the configuration, without recording it, and follows it until it ends.
pub(crate) fn place(number: &str, globals: &Globals) -> Result<Exit, CommandError> {
    run(&Arguments { number: vec![number.to_owned()], demo: false, store: false }, globals)
}

/// Reads the configuration, or makes that of a demonstration, with the folder of its log.
fn context(
    arguments: &Arguments,
    config: Option<&Path>,
    json: bool,
) -> Result<(Option<TempDir>, Context), CommandError> {
    if !arguments.demo {
        let context = Context::load(config)?;
        context.loaded.config.warnings().iter().for_each(|text| output::warning(json, text));
        return Ok((None, context));
    }
    if config.is_some() {
        return Err(CommandError::usage("--demo needs no configuration; leave out --config, or --demo"));
    }
    let folder = tempfile::tempdir()
        .map_err(|error| CommandError::usage(format!("cannot make a temporary folder for the log: {error}")))?;
    let context = Context::demo(folder.path())?;
    Ok((Some(folder), context))
}

/// Whether the user asked to end the call: by Ctrl-C, and on Unix also by SIGTERM or SIGHUP.
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the handler. The second interrupt ends the process at once.
    fn install() -> Result<Self, CommandError> {
        let requested = Arc::new(AtomicBool::new(false));
        let interrupt = Self(Arc::clone(&requested));
        ctrlc::set_handler(move || {
            if requested.swap(true, Ordering::SeqCst) {
                output::note("Ended at once: the phone may still ring.");
                std::process::exit(Exit::Interrupted as i32);
            }
        })
        .map_err(|error| {
            CommandError::failed(format!("cannot install a Ctrl-C handler, so no call was placed: {error}"))
        })?;
        Ok(interrupt)
    }

    fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The step that failed at the end of a call.
struct Unfinished {
    text: String,
    may_ring: bool,
}

/// A call that this command places and follows.
struct RunningCall<'a> {
    gate: &'a Gate,
    id: CallId,
    events: Receiver<ObservedEvent>,
    interrupt: Interrupt,
    progress: CallProgress,
}

impl RunningCall<'_> {
    fn run(mut self, number: &str) -> Exit {
        if self.interrupt.is_requested() {
            self.gate.shut_down(RECORD_WITHIN);
            self.progress.note("Interrupted before the call was placed.");
            return Exit::Interrupted;
        }
        self.gate.initiate(CallRequest { id: self.id, number, attributes: Vec::new(), language: None });
        if self.follow() {
            return self.interrupted();
        }
        let outcome = self.outcome();
        self.progress.show_outcome(&outcome, None);
        self.progress.set_activity("cleaning up");
        if let Err(unfinished) = self.end() {
            self.progress.warn(&unfinished.text);
        }
        exit(&outcome)
    }

    /// Shows the progress of the call until it ends. Returns true if the user interrupted it.
    fn follow(&mut self) -> bool {
        loop {
            if let Ok(event) = self.events.recv_timeout(POLL_EVERY) {
                self.progress.show(event);
            }
            if self.interrupt.is_requested() {
                return true;
            }
            if self.gate.snapshot(self.id).is_none_or(|snapshot| snapshot.status != CallStatus::Pending) {
                // The event of the outcome may not have been sent yet.
                self.gate.finish_publishing();
                self.show_events();
                return false;
            }
        }
    }

    /// Shows the events that have arrived.
    fn show_events(&mut self) {
        self.events.try_iter().for_each(|event| self.progress.show(event));
    }

    /// Hangs up a call that the user interrupted.
    fn interrupted(mut self) -> Exit {
        self.progress.note("Interrupted: hanging up. Press Ctrl-C again to end at once.");
        self.progress.set_activity("hanging up");
        let ended = self.end();
        let outcome = self.outcome();
        if let Err(unfinished) = &ended {
            self.progress.warn(&unfinished.text);
        }
        let had_ended = !outcome.as_ref().is_err_and(|failure| failure.reason() == FailureReason::Interrupted);
        if had_ended {
            self.progress.show_outcome(&outcome, None);
            return exit(&outcome);
        }
        let summary = match ended {
            Err(Unfinished { may_ring: true, .. }) => "Interrupted, but the call may not have been hung up.",
            _ if self.progress.may_ring() => {
                self.progress.warn("the phone may ring: the provider has not said whether it placed the call");
                "Interrupted, but the call may not have been hung up."
            }
            _ => "Interrupted: the call was hung up.",
        };
        self.progress.show_outcome(&outcome, Some(summary));
        Exit::Interrupted
    }

    /// Hangs up the call if it is pending, cleans up, and shows the events of that.
    fn end(&mut self) -> Result<(), Unfinished> {
        let ended = self.gate.end(END_WITHIN, RECORD_WITHIN);
        self.show_events();
        if let Some(failure) = self.progress.hang_up_failure() {
            let text = format!("the phone may still be ringing, because hanging up failed: {failure}");
            return Err(Unfinished { text, may_ring: true });
        }
        ended.map_err(|incomplete| {
            let text = match incomplete {
                ShutdownIncomplete::HangingUp => "the provider did not confirm the end of the call in time",
                ShutdownIncomplete::Recording => {
                    "the store did not write the record of this call in time; run `phonegate check`"
                }
                ShutdownIncomplete::Closing => "the store or the log could not be closed in time",
            };
            Unfinished { text: text.to_owned(), may_ring: incomplete == ShutdownIncomplete::HangingUp }
        })
    }

    fn outcome(&self) -> Result<(), Failure> {
        let snapshot = self.gate.snapshot(self.id);
        if snapshot.as_ref().is_some_and(|snapshot| snapshot.status == CallStatus::Success) {
            return Ok(());
        }
        Err(snapshot
            .and_then(|snapshot| snapshot.failure)
            .unwrap_or_else(|| Failure::new(FailureReason::Internal, "The call ended without an outcome.")))
    }
}

fn exit(outcome: &Result<(), Failure>) -> Exit {
    if outcome.is_ok() { Exit::Done } else { Exit::Failed }
}

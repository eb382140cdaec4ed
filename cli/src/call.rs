//! `phonegate call`: one call through the same gate as a host's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use clap::Args;
use phonegate::call::{CallId, CallStatus, Failure, FailureReason};
use phonegate::gate::{CallRequest, Gate, ShutdownIncomplete};
use phonegate_approval::policy::Method;
use uuid::Uuid;

use crate::context::Context;
use crate::error::{CommandError, Exit};
use crate::output;
use crate::steps::Steps;
use crate::store_reader;

/// How often the call's state is looked at while nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The outcome's log line comes within milliseconds of the outcome; the log may drop lines, though.
const LOG_LAG: Duration = Duration::from_secs(5);

/// A provider may be slow to hang up: the placing request that is still under way, the hang-up and the clean-up.
const END_WITHIN: Duration = Duration::from_secs(45);

/// A store that takes nothing holds nobody up for longer.
const RECORD_WITHIN: Duration = Duration::from_secs(5);

const HELP: &str = "\
Examples:
  phonegate call --demo +1 4255551212     a simulated phone answers and approves; no configuration is read
  phonegate call +1 4255551212 --json     JSON lines for scripts
  phonegate call --store +1 4255551212    counts like a call of the service's: limits and the block list hold, and
                                          `phonegate calls` lists it

--json prints one object a line, each with `event` and all but warning and error with `id`, the call's id:
  calling           number, masked
  dialling          backend, ms (milliseconds since the call began)
  backend_refused   backend, ms, reason, text; the next backend may be tried
  ringing           backend, ms
  answered          backend, ms
  warning           text
  verified          backend, ms
  failed            backend, ms, reason (a name from the documentation), code (Azure MFA's, if it had one), text
  error             text: no call was placed, see exit codes 1 and 2
There is one verified or failed for each call. A field that does not apply is left out; more may be added.

Exit codes:
  0    verified
  1    failed; the reason is shown. With --store also: the store cannot be used
  2    usage or configuration
  130  interrupted by Ctrl-C; the call was hung up, or it is said why not";

/// The arguments of `phonegate call`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Whom to ring, as +1 4255551212; spaces need no quotation marks.
    #[arg(required = true, value_name = "NUMBER")]
    number: Vec<String>,
    /// Calls a simulated phone, without any configuration. Takes numbers of the US.
    #[arg(long)]
    demo: bool,
    /// Keeps the call in the configured store. Otherwise nothing is kept of it, and limits and the block list of the
    /// store do not concern it.
    #[arg(long, conflicts_with = "demo")]
    store: bool,
    /// Prints JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the call waits for.
enum Message {
    LogLine(String),
    Interrupt,
}

/// Places a call and follows it to its end.
pub(crate) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<Exit, CommandError> {
    let (sender, inbox) = mpsc::channel();
    on_interrupt(sender.clone())?;
    let Some(id) = CallId::new(Uuid::new_v4()) else {
        return Err(CommandError::failed("this machine's random numbers are all zero".to_owned()));
    };
    let tee = Arc::new(move |_, line: &str| {
        // Nobody reads any more once the call is over.
        let _ = sender.send(Message::LogLine(line.to_owned()));
    });
    // The demonstration leaves nothing behind: the folder goes with the name.
    let (_folder, context) = if arguments.demo {
        if config.is_some() {
            return Err(CommandError::usage("--demo needs no configuration; leave out --config, or --demo"));
        }
        let folder = tempfile::tempdir()
            .map_err(|error| CommandError::usage(format!("cannot make a temporary folder for the log: {error}")))?;
        let context = Context::demo(folder.path())?;
        (Some(folder), context)
    } else {
        let context = Context::load(config)?;
        context.loaded.config.warnings().iter().for_each(|text| output::warning(arguments.json, text));
        (None, context)
    };
    let method = Method::from(context.loaded.config.approval.method);
    if method.has_pin() && !arguments.store && !arguments.demo {
        return Err(CommandError::usage(format!(
            "approval.method is `{}`, and the PINs are in the store: add --store",
            method.name()
        )));
    }
    let gate = if arguments.store {
        store_reader::must_open(&context)?;
        context.start_with_store(Some(tee))?
    } else {
        context.start(Some(tee))?
    };
    let steps = Steps::new(id, arguments.json);
    Ok(place(&gate, id, &arguments.number.join(" "), &inbox, steps))
}

fn place(gate: &Gate, id: CallId, number: &str, inbox: &Receiver<Message>, mut steps: Steps) -> Exit {
    if drain(inbox, &mut steps) {
        gate.shut_down(RECORD_WITHIN);
        steps.remark("Interrupted before the call was placed.");
        return Exit::Interrupted;
    }
    gate.initiate(CallRequest { id, number, attributes: Vec::new(), language: None });
    if follow(gate, id, inbox, &mut steps) {
        return interrupt(gate, id, inbox, steps);
    }
    let outcome = outcome(gate, id);
    steps.outcome(&outcome, None);
    steps.now("clearing up");
    if let Err(left) = end(gate, inbox, &mut steps) {
        steps.warn(&left.why);
    }
    exit(&outcome)
}

/// Ends a call that the user does not want any more.
fn interrupt(gate: &Gate, id: CallId, inbox: &Receiver<Message>, mut steps: Steps) -> Exit {
    steps.remark("Interrupted: hanging up. Ctrl-C again leaves at once.");
    steps.now("hanging up");
    let ended = end(gate, inbox, &mut steps);
    let outcome = outcome(gate, id);
    let outcome_came_first = !outcome.as_ref().is_err_and(|failure| failure.reason() == FailureReason::Interrupted);
    if let Err(left) = &ended {
        steps.warn(&left.why);
    }
    if outcome_came_first {
        steps.outcome(&outcome, None);
        return exit(&outcome);
    }
    let words = match ended {
        Err(Left { may_ring: true, .. }) => "Interrupted, but perhaps not hung up.",
        _ if steps.may_ring() => {
            steps.warn("the phone may ring: the provider has not said whether it placed the call");
            "Interrupted, but perhaps not hung up."
        }
        _ => "Interrupted: the call was hung up.",
    };
    steps.outcome(&outcome, Some(words));
    Exit::Interrupted
}

/// What the end of a call has left undone.
struct Left {
    why: String,
    may_ring: bool,
}

/// Hangs up what is in flight, clears up, and shows what is told meanwhile.
fn end(gate: &Gate, inbox: &Receiver<Message>, steps: &mut Steps) -> Result<(), Left> {
    let ended = gate.end(END_WITHIN, RECORD_WITHIN);
    drain(inbox, steps);
    if let Some(why) = steps.not_hung_up() {
        let why = format!("the phone may still be ringing, since hanging up failed: {why}");
        return Err(Left { why, may_ring: true });
    }
    ended.map_err(|cut_short| {
        let why = match cut_short {
            ShutdownIncomplete::HangingUp => "the provider did not confirm the end of the call in time",
            ShutdownIncomplete::Recording => {
                "the store did not take the record of this call; `phonegate check` says more"
            }
            ShutdownIncomplete::Closing => "the store or the log could not be closed in time",
        };
        Left { why: why.to_owned(), may_ring: cut_short == ShutdownIncomplete::HangingUp }
    })
}

/// Shows the call's progress until it ends. True where the user interrupted it.
fn follow(gate: &Gate, id: CallId, inbox: &Receiver<Message>, steps: &mut Steps) -> bool {
    let mut ended: Option<Instant> = None;
    loop {
        match inbox.recv_timeout(LOOK_EVERY) {
            Ok(Message::LogLine(line)) => steps.show(&line),
            Ok(Message::Interrupt) => return true,
            Err(_) => {}
        }
        if gate.snapshot(id).is_none_or(|snapshot| snapshot.status != CallStatus::Pending) {
            let since = ended.get_or_insert_with(Instant::now);
            if steps.have_ended() || since.elapsed() > LOG_LAG {
                return false;
            }
        }
    }
}

/// Shows what has been told so far. True where the user interrupted meanwhile.
fn drain(inbox: &Receiver<Message>, steps: &mut Steps) -> bool {
    let mut interrupted = false;
    for message in inbox.try_iter() {
        match message {
            Message::LogLine(line) => steps.show(&line),
            Message::Interrupt => interrupted = true,
        }
    }
    interrupted
}

fn outcome(gate: &Gate, id: CallId) -> Result<(), Failure> {
    let snapshot = gate.snapshot(id);
    if snapshot.as_ref().is_some_and(|snapshot| snapshot.status == CallStatus::Success) {
        return Ok(());
    }
    Err(snapshot
        .and_then(|snapshot| snapshot.failure)
        .unwrap_or_else(|| Failure::new(FailureReason::Internal, "The call ended without an outcome.")))
}

fn exit(outcome: &Result<(), Failure>) -> Exit {
    if outcome.is_ok() { Exit::Done } else { Exit::Failed }
}

/// Ctrl-C, and on Unix also SIGTERM and SIGHUP: the first is told to the call, the second ends the process.
fn on_interrupt(inbox: Sender<Message>) -> Result<(), CommandError> {
    let again = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if again.swap(true, Ordering::SeqCst) {
            output::note("Left at once: a phone that was ringing may ring on.");
            std::process::exit(Exit::Interrupted as i32);
        }
        // Nobody reads any more once the call is over.
        let _ = inbox.send(Message::Interrupt);
    })
    .map_err(|error| CommandError::failed(format!("cannot be told of Ctrl-C, so no call: {error}")))
}

//! What a program reports about one call, up to its end.
//!
//! A verdict counts only if it is the last line and the program then ends with success. So whatever goes wrong after it
//! fails the call, too.

use std::sync::Arc;
use std::time::Duration;

use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, EndedBy};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::cleaner::Cleaner;
use super::event::Event;
use super::process::{Ending, Exit, Output, Process};
use crate::approval::Approver;
use crate::backend::{CallStep, StepSink};
use crate::call::{Failure, FailureReason, Outcome, Progress};

/// Maximum time from the verdict, or from the end of the output, to the end of the program.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Maximum time from the end of the program to that of its streams, which a process outside of its group may hold.
const STREAM_LIMIT: Duration = Duration::from_secs(2);

/// What the program was started for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A call with this number of attempts.
    Call { attempts: u8 },
    /// A check, in which no phone rings.
    Check,
}

/// The last line of a program.
enum Verdict {
    Entry { attempt: u8, digits: Entry, ended_by: EndedBy },
    Failed { failure: Failure, may_ring: bool },
    Ready(String),
}

/// One run of a program.
pub(super) struct Session {
    process: Arc<Process>,
    output: UnboundedReceiver<Output>,
    task: Task,
    cleaner: Cleaner,
    /// The number of lines so far.
    lines: usize,
    /// The progress that is not reported yet.
    progress: Option<Progress>,
    verdict: Option<Verdict>,
    /// What is wrong, as a sentence.
    problem: Option<String>,
    /// The last line of standard error.
    last_error: Option<String>,
    are_streams_over: bool,
    exit: Option<Exit>,
    /// When the program must have ended, and what is wrong if it has not.
    limit: Option<(Instant, &'static str)>,
    /// Whether the program's part is over, and it has ended.
    is_run: bool,
    is_judged: bool,
}

impl Session {
    pub(super) fn new(process: Arc<Process>, output: UnboundedReceiver<Output>, task: Task, cleaner: Cleaner) -> Self {
        Self {
            process,
            output,
            task,
            cleaner,
            lines: 0,
            progress: None,
            verdict: None,
            problem: None,
            last_error: None,
            are_streams_over: false,
            exit: None,
            limit: None,
            is_run: false,
            is_judged: false,
        }
    }

    /// Waits for the first line, for at most `limit`. If it says that no phone rang, returns why, once the program has
    /// ended.
    pub(super) async fn refusal(&mut self, limit: Duration, on_step: StepSink<'_>) -> Option<Failure> {
        let first = async { while self.lines == 0 && !self.advance(on_step).await {} };
        // A later line is for `follow`.
        let _ = tokio::time::timeout(limit, first).await;
        if !matches!(self.verdict, Some(Verdict::Failed { may_ring: false, .. })) {
            return None;
        }
        self.run(on_step).await;
        match (&self.verdict, &self.problem) {
            (Some(Verdict::Failed { failure, may_ring: false }), None) => Some(failure.clone()),
            _ => None,
        }
    }

    /// Follows the call to its outcome. The program has ended then. The future can be dropped, and this called again.
    pub(super) async fn follow(&mut self, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        self.run(on_step).await;
        if std::mem::replace(&mut self.is_judged, true) {
            let sentence = "The program's report about the call was judged before.";
            return Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence));
        }
        let problem = self.problem.take();
        let outcome = match self.verdict.take() {
            // Judged in any case, since a denial and a wrong PIN count whatever the program does next.
            Some(Verdict::Entry { attempt, digits, ended_by }) => {
                approver.judge(Answer::Entry { attempt, digits, ended_by }).await
            }
            Some(Verdict::Failed { failure, .. }) => Outcome::Failed(failure),
            Some(Verdict::Ready(_)) | None => Outcome::Failed(defect()),
        };
        match (outcome, problem) {
            (outcome, None) => outcome,
            (Outcome::Failed(failure), Some(problem)) if counts_anyway(failure.reason()) => {
                Outcome::Failed(failure.explained(problem))
            }
            (_, Some(problem)) => Outcome::Failed(Failure::new(FailureReason::CannotPlace, problem)),
        }
    }

    /// Waits for the end of a check, and returns the program's text.
    ///
    /// # Errors
    /// What the program reports, or what is wrong with it.
    pub(super) async fn checked(&mut self, limit: Duration) -> Result<String, Failure> {
        if tokio::time::timeout(limit, self.run(&|_| {})).await.is_err() {
            self.process.end().await;
            let sentence = format!("The program did not end its check within {} s.", limit.as_secs());
            return Err(Failure::new(FailureReason::NotConfigured, sentence));
        }
        match (self.verdict.take(), self.problem.take()) {
            (Some(Verdict::Ready(text)), None) => Ok(text),
            (Some(Verdict::Failed { failure, .. }), None) => Err(failure),
            (_, Some(problem)) => Err(Failure::new(FailureReason::NotConfigured, problem)),
            (_, None) => Err(defect()),
        }
    }

    /// Runs to the end of the program. If something is wrong, ends the program, and `problem` says what.
    async fn run(&mut self, on_step: StepSink<'_>) {
        while !self.is_run {
            let is_over = self.advance(on_step).await;
            if let Some(progress) = self.progress.take() {
                on_step(CallStep::Progress(progress));
            }
            if is_over {
                self.end(on_step).await;
                self.is_run = true;
            }
        }
    }

    /// Ends a program whose part is over. If it did not end in order, `problem` says so.
    async fn end(&mut self, on_step: StepSink<'_>) {
        if self.problem.is_none() && self.is_valid_end() {
            return;
        }
        let ending = self.process.end().await;
        while let Ok(output) = self.output.try_recv() {
            if let Output::ErrorLine(line) = output {
                self.error_line(&line, on_step);
            }
        }
        let problem = self.problem.take().unwrap_or_else(|| self.without_verdict());
        self.problem = Some(match ending {
            Ending::Success | Ending::Failure => problem,
            Ending::Killed => format!("{problem} It was killed, so the phone may ring on."),
            Ending::Remains => format!("{problem} It cannot be killed, so the phone may ring on."),
        });
    }

    /// Handles the next thing that happens. Returns whether the program's part is over.
    async fn advance(&mut self, on_step: StepSink<'_>) -> bool {
        if !self.is_over() {
            // Without a limit, the branch that waits for it is disabled.
            let limit = self.limit.map_or_else(Instant::now, |(limit, _)| limit);
            let has_limit = self.limit.is_some();
            let process = Arc::clone(&self.process);
            tokio::select! {
                biased;
                output = self.output.recv(), if !self.are_streams_over => match output {
                    Some(Output::Line(line)) => self.line(&line),
                    Some(Output::ErrorLine(line)) => self.error_line(&line, on_step),
                    Some(Output::Problem(problem)) => self.fail(format!("The program {problem}.")),
                    None => {
                        self.are_streams_over = true;
                        self.limit_to(END_LIMIT, "The program closed its output, but did not end within 10 s.");
                    }
                },
                exit = process.ended(), if self.exit.is_none() => {
                    self.exit = Some(exit);
                    self.limit_to(STREAM_LIMIT, "The program has ended, but another process holds its output open.");
                }
                () = tokio::time::sleep_until(limit), if has_limit => {
                    let problem = self.limit.map_or("", |(_, problem)| problem);
                    self.fail(problem.to_owned());
                }
            }
        }
        self.is_over()
    }

    fn is_over(&self) -> bool {
        self.problem.is_some() || (self.are_streams_over && self.exit.is_some())
    }

    /// Returns whether the program reported a verdict and ended with success.
    fn is_valid_end(&self) -> bool {
        self.verdict.is_some() && self.exit.flatten().is_some_and(|status| status.success())
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let attempts = match self.task {
            Task::Call { attempts } => attempts,
            Task::Check => 0,
        };
        if self.verdict.is_some() {
            return self.fail("The program wrote a line after its verdict.".to_owned());
        }
        let is_check = self.task == Task::Check;
        let verdict = match Event::parse(line, attempts, &self.cleaner) {
            Err(problem) => return self.fail(format!("Line {} of the program {problem}.", self.lines)),
            Ok(Event::Ready(text)) if is_check => Verdict::Ready(text.unwrap_or_default()),
            Ok(Event::Failed { failure, may_ring }) if may_ring || self.lines == 1 => {
                Verdict::Failed { failure, may_ring }
            }
            Ok(Event::Failed { .. }) => {
                let problem = "says that no phone rang, but is not the first line";
                return self.fail(format!("Line {} of the program (failed) {problem}.", self.lines));
            }
            Ok(Event::Ringing) if !is_check => return self.progress = Some(Progress::Ringing),
            Ok(Event::Answered) if !is_check => return self.progress = Some(Progress::Answered),
            Ok(Event::Pressed { attempt, digits, ended_by, problem }) if !is_check => {
                self.progress = Some(Progress::Answered);
                if let Some(problem) = problem {
                    self.fail(format!("Line {} of the program {problem}.", self.lines));
                }
                Verdict::Entry { attempt, digits, ended_by }
            }
            Ok(_) => {
                let kind = if is_check { "a check" } else { "a call" };
                return self.fail(format!("Line {} of the program has an event that {kind} cannot have.", self.lines));
            }
        };
        self.verdict = Some(verdict);
        self.limit_to(END_LIMIT, "The program did not end within 10 s of its verdict.");
    }

    fn error_line(&mut self, line: &[u8], on_step: StepSink<'_>) {
        let text = self.cleaner.clean_line(&String::from_utf8_lossy(line));
        on_step(CallStep::ProgramOutput(text.clone()));
        self.last_error = Some(text);
    }

    fn fail(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// Sets the time by which the program must have ended, unless an earlier one is set.
    fn limit_to(&mut self, limit: Duration, problem: &'static str) {
        let until = Instant::now() + limit;
        if self.limit.is_none_or(|(earlier, _)| until < earlier) {
            self.limit = Some((until, problem));
        }
    }

    /// Describes the end of a program that reported no verdict, or ended without success.
    fn without_verdict(&self) -> String {
        let status = self.exit.flatten().map_or("the system does not report how".to_owned(), |exit| exit.to_string());
        let what = match self.verdict {
            None => "ended without a verdict",
            Some(_) => "did not end with success after its verdict",
        };
        match self.last_error.as_deref().map(|text| text.trim_end_matches('.')) {
            Some(text) if !text.is_empty() => format!("The program {what} ({status}): {text}."),
            _ => format!("The program {what} ({status})."),
        }
    }
}

/// Returns whether a failure with this reason counts whatever the program does after it: what the user did must count for
/// `limits.denials`, and not against the health of the backend.
fn counts_anyway(reason: FailureReason) -> bool {
    reason.is_denial() || matches!(reason, FailureReason::PinLocked | FailureReason::PinNotSet)
}

fn defect() -> Failure {
    Failure::new(FailureReason::Internal, "The program ended without a verdict and without a problem.")
}

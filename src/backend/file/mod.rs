//! Calls that a person or a script answers in a text file, as in Microsoft's sample provider. No phone rings.
//!
//! The file has one call a line, `requestId;phoneNumber;status;message`. A call appends a line with status `0`. Status
//! `1` approves it. Status `2` refuses it, and the message says why.

mod call_file;
mod config;

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phonegate_approval::verdict::Answer;
use tokio::sync::Mutex;

use super::{CallRef, CallStep, MayRing, PlaceError, StepSink, TelephonyBackend};
use crate::approval::Approver;
use crate::call::{Call, CallId, Failure, FailureReason, Outcome, PhoneNumber, Progress};
use crate::redact::sanitize_untrusted;
use call_file::{CallFile, CallLine, Status};
pub(super) use config::FileConfig;

/// Interval at which the file is read. All calls share one read.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Number of reads in a row with the same content after which an answer counts: an editor may be in the middle of writing.
const STEADY_READS: u32 = 2;

/// Number of reads in a row after which a missing line is deleted and an unreadable file is unusable: editors rewrite,
/// replace and lock a file.
const GONE_READS: u32 = 5;

/// The line break of the operating system, as .NET's `Environment.NewLine`.
const NEW_LINE: &str = if cfg!(windows) { "\r\n" } else { "\n" };

/// The backend of one file.
struct FileBackend {
    path: PathBuf,
    file: Arc<Mutex<CallFile>>,
}

/// The position of an attempt's line: the n-th line with the id of its call. So an attempt never reads the answer to an
/// earlier one.
#[derive(Clone, Copy)]
struct LineRef {
    id: CallId,
    nth: usize,
}

impl FileBackend {
    fn new(path: PathBuf) -> Self {
        Self { file: Arc::new(Mutex::new(CallFile::new(path.clone(), POLL_INTERVAL))), path }
    }

    /// Runs `work` on a thread that may block.
    async fn with_file<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut CallFile) -> io::Result<T> + Send + 'static,
    {
        let mut file = Arc::clone(&self.file).lock_owned().await;
        tokio::task::spawn_blocking(move || work(&mut file)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn cannot_place(&self, error: &io::Error) -> Failure {
        let file = self.path.display();
        let sentence = format_args!("The file of calls {file} cannot be used: {error}.");
        Failure::new(FailureReason::CannotPlace, sentence).of_backend()
    }
}

#[async_trait]
impl TelephonyBackend for FileBackend {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let id = call.attempt.id;
        let line = new_line(id, &call.number);
        let path = self.path.clone();
        let placed = self.with_file(move |file| {
            file.read()?;
            let nth = file.lines(id).len();
            append(&path, &line)?;
            Ok(LineRef { id, nth })
        });
        match placed.await {
            Ok(line) => Ok(line.into()),
            Err(error) => Err(PlaceError { may_ring: MayRing::No, failure: self.cannot_place(&error) }),
        }
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let line_ref = match LineRef::of(reference) {
            Ok(line_ref) => line_ref,
            Err(failure) => return Outcome::Failed(failure),
        };
        on_step(CallStep::Progress(Progress::Ringing));
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let outcome = match self.with_file(move |file| poll(file, line_ref)).await {
                Ok(Some((Some(line), reads))) if reads >= STEADY_READS => answer(line),
                Ok(Some((None, reads))) if reads >= GONE_READS => Some(Err(failed("Call ID is not found"))),
                Ok(_) => None,
                Err(error) => Some(Err(self.cannot_place(&error))),
            };
            match outcome {
                Some(Ok(answer)) => return approver.judge(answer).await,
                Some(Err(failure)) => return Outcome::Failed(failure),
                None => {}
            }
        }
    }

    /// No phone rings, and a later answer is not read.
    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        LineRef::of(reference).map(drop)
    }

    fn outlives_its_process(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<String, Failure> {
        let path = self.path.clone();
        let checked =
            tokio::task::spawn_blocking(move || match OpenOptions::new().read(true).append(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let folder = path.parent().unwrap_or(Path::new(""));
                    folder.metadata().map(|_| "the first call creates the file")
                }
                Err(error) => Err(error),
                Ok(_) => Ok("the file can be written"),
            });
        match checked.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(state) => Ok(format!("file; {state}")),
            Err(error) => Err(self.cannot_place(&error)),
        }
    }
}

/// Returns the line of a call, if it is there, and the number of reads in a row that found the same content. Returns
/// `None` if the read failed: an editor may have locked the file.
///
/// # Errors
/// [`GONE_READS`] reads in a row failed.
fn poll(file: &mut CallFile, line: LineRef) -> io::Result<Option<(Option<CallLine>, u32)>> {
    match file.refresh() {
        Ok(()) => Ok(Some((file.lines(line.id).get(line.nth).cloned(), file.same_reads()))),
        Err(_) if file.failed_reads() < GONE_READS => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the answer in the line of a call, or `None` if it is unanswered.
///
/// # Errors
/// The line refuses the call, or has no valid status.
fn answer(line: CallLine) -> Option<Result<Answer, Failure>> {
    match line.status {
        Status::Unanswered => None,
        Status::Approved => Some(Ok(Answer::ProviderApproved)),
        Status::Refused => Some(Err(match line.message.as_deref().map(sanitize_untrusted) {
            Some(message) if !message.is_empty() => failed(&message),
            _ => failed("Description is not found"),
        })),
        Status::Other(status) => {
            let status = sanitize_untrusted(&status);
            Some(Err(failed(&format!("The call's status in the file is `{status}`, but must be 0, 1 or 2"))))
        }
    }
}

fn failed(text: &str) -> Failure {
    Failure::verbatim(FailureReason::CannotPlace, text)
}

/// Returns the line of a new call. A valid number contains no separator and no line break, so it cannot forge a field.
fn new_line(id: CallId, number: &PhoneNumber) -> String {
    match number.extension() {
        Some(extension) => format!("{id};{}x{extension};0;{NEW_LINE}", number.e164()),
        None => format!("{id};{};0;{NEW_LINE}", number.e164()),
    }
}

/// Appends a line in one write. If the last line of the file has no line break, adds one before.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let start = if last == [b'\n'] { "" } else { NEW_LINE };
    file.write_all(format!("{start}{line}").as_bytes())
}

impl From<LineRef> for CallRef {
    fn from(line: LineRef) -> Self {
        CallRef::new(format!("{}#{}", line.id, line.nth))
    }
}

impl LineRef {
    /// # Errors
    /// The reference is not one of this backend.
    fn of(reference: &CallRef) -> Result<Self, Failure> {
        Self::parse(reference.as_str()).ok_or_else(|| {
            let sentence = "The reference of the call is not one of the file backend's.";
            Failure::new(FailureReason::Interrupted, sentence)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, nth) = text.split_once('#')?;
        Some(Self { id: CallId::parse(id).ok()?, nth: nth.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_unreadable_file_ends_a_call_only_if_it_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.txt");
        let mut file = CallFile::new(path.clone(), Duration::ZERO);
        let line_ref = LineRef::parse("00000000-0000-0000-0000-000000000001#0").unwrap();
        std::fs::create_dir(&path).unwrap();
        for _ in 1..GONE_READS {
            assert_eq!(poll(&mut file, line_ref).unwrap(), None);
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, format!("{};+14255551212;1;", line_ref.id)).unwrap();
        let (line, reads) = poll(&mut file, line_ref).unwrap().unwrap();
        assert_eq!((line.unwrap().status, reads), (Status::Approved, 1));

        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        for _ in 1..GONE_READS {
            assert_eq!(poll(&mut file, line_ref).unwrap(), None);
        }
        poll(&mut file, line_ref).unwrap_err();
    }
}

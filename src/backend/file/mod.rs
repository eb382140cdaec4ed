//! Calls that somebody, or a script, answers in a text file: Microsoft's sample provider without its faults. It rings
//! nobody.
//!
//! The file has one call a line, `requestId;phoneNumber;status;message`. A call appends a line with status `0`; who
//! edits the status to `1` approves, to `2` refuses, and the message then tells why.

mod config;
mod index;

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
use crate::telemetry::sanitize_untrusted;
pub(super) use config::FileConfig;
use index::{Line, Status, Watched};

/// How often a call looks for its answer. All calls share one look.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// An editor may be in the middle of writing: an answer counts once so many looks in a row showed the same.
const STEADY_LOOKS: u32 = 2;

/// Editors write a file anew, replace it by another or lock it: a line is gone, and a file unreadable, once so many
/// looks in a row showed the same.
const GONE_LOOKS: u32 = 5;

/// The line end of the operating system, as .NET's `Environment.NewLine`.
const NEW_LINE: &str = if cfg!(windows) { "\r\n" } else { "\n" };

/// One file of calls.
struct FileBackend {
    path: PathBuf,
    watched: Arc<Mutex<Watched>>,
}

/// A call's own line: the n-th with its id, so that a repeat never finds the answer to the attempt before it.
#[derive(Clone, Copy)]
struct Place {
    id: CallId,
    nth: usize,
}

impl FileBackend {
    fn new(path: PathBuf) -> Self {
        Self { watched: Arc::new(Mutex::new(Watched::new(path.clone(), POLL_EVERY))), path }
    }

    /// Does something with the watched file where blocking is allowed.
    async fn with_watched<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Watched) -> io::Result<T> + Send + 'static,
    {
        let mut watched = Arc::clone(&self.watched).lock_owned().await;
        tokio::task::spawn_blocking(move || work(&mut watched))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn cannot_place(&self, error: &io::Error) -> Failure {
        let file = self.path.display();
        Failure::new(FailureReason::CannotPlace, format_args!("The file of calls {file} cannot be used: {error}."))
    }
}

#[async_trait]
impl TelephonyBackend for FileBackend {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        let id = call.attempt.id;
        let line = new_line(id, &call.number);
        let path = self.path.clone();
        let placed = self.with_watched(move |watched| {
            watched.read()?;
            let nth = watched.lines(id).len();
            append(&path, &line)?;
            Ok(Place { id, nth })
        });
        match placed.await {
            Ok(place) => Ok(place.into()),
            Err(error) => Err(PlaceError { may_ring: MayRing::No, failure: self.cannot_place(&error) }),
        }
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let Some(place) = Place::parse(reference.as_str()) else {
            let sentence = "The reference of the call is not one of the file backend's.";
            return Outcome::Failed(Failure::new(FailureReason::Interrupted, sentence));
        };
        on_step(CallStep::Progress(Progress::Ringing));
        loop {
            tokio::time::sleep(POLL_EVERY).await;
            let outcome = match self.with_watched(move |watched| look(watched, place)).await {
                Ok(Some((Some(line), looks))) if looks >= STEADY_LOOKS => answer(line),
                Ok(Some((None, looks))) if looks >= GONE_LOOKS => Some(Err(failed("Call ID is not found"))),
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

    async fn hang_up(&self, _: &CallRef) -> Result<(), Failure> {
        // Nobody is ringing, and an answer that comes later is not read any more.
        Ok(())
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
                    folder.metadata().map(|_| "the first call makes the file")
                }
                Err(error) => Err(error),
                Ok(_) => Ok("the file can be written"),
            });
        match checked.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(words) => Ok(format!("file; {words}")),
            Err(error) => Err(self.cannot_place(&error)),
        }
    }
}

/// The call's line, and how many looks in a row showed the same. None while the file cannot be read, perhaps for a
/// moment only: whoever edits it may lock it.
fn look(watched: &mut Watched, place: Place) -> io::Result<Option<(Option<Line>, u32)>> {
    match watched.refresh() {
        Ok(()) => Ok(Some((watched.lines(place.id).get(place.nth).cloned(), watched.same_looks()))),
        Err(_) if watched.failed_looks() < GONE_LOOKS => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the call's line says, or None while it is unanswered.
fn answer(line: Line) -> Option<Result<Answer, Failure>> {
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

/// The line of a new call. A valid number has no separator and no line break in it, so it forges no field.
fn new_line(id: CallId, number: &PhoneNumber) -> String {
    match number.extension() {
        Some(extension) => format!("{id};{}x{extension};0;{NEW_LINE}", number.e164()),
        None => format!("{id};{};0;{NEW_LINE}", number.e164()),
    }
}

/// Appends a line in one write, on a line of its own also where the last one has no end.
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

impl From<Place> for CallRef {
    fn from(place: Place) -> Self {
        CallRef::new(format!("{}#{}", place.id, place.nth))
    }
}

impl Place {
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
    fn a_file_that_cannot_be_read_ends_a_call_only_where_it_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.txt");
        let mut watched = Watched::new(path.clone(), Duration::ZERO);
        let place = Place::parse("00000000-0000-0000-0000-000000000001#0").unwrap();
        std::fs::create_dir(&path).unwrap();
        for _ in 1..GONE_LOOKS {
            assert_eq!(look(&mut watched, place).unwrap(), None);
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, format!("{};+14255551212;1;", place.id)).unwrap();
        let (line, looks) = look(&mut watched, place).unwrap().unwrap();
        assert_eq!((line.unwrap().status, looks), (Status::Approved, 1));

        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        for _ in 1..GONE_LOOKS {
            assert_eq!(look(&mut watched, place).unwrap(), None);
        }
        look(&mut watched, place).unwrap_err();
    }
}

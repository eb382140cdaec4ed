//! What is in the file of calls, read anew only when the file has changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::call::CallId;
use crate::config::read_file;

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A file system may give two edits within this time the same time stamp (FAT counts in steps of 2 s), so a file as
/// young as that is read again although it looks unchanged.
const STAMP_STEP: Duration = Duration::from_secs(2);

/// A call's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) status: Status,
    /// None where the line is too short to have one.
    pub(super) message: Option<String>,
}

/// The third field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Unanswered,
    Approved,
    Refused,
    /// Anything else, also nothing.
    Other(String),
}

/// A file and what was last seen in it. A file that does not exist is seen as an empty one.
pub(super) struct Watched {
    path: PathBuf,
    look_every: Duration,
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    content: u64,
    lines: HashMap<CallId, Vec<Line>>,
    /// So many looks in a row showed the same, the last one included.
    same_looks: u32,
    /// When a look last counted, among those or the failed ones.
    counted: Option<Instant>,
    /// So many looks in a row failed.
    failed_looks: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
}

impl Watched {
    pub(super) fn new(path: PathBuf, look_every: Duration) -> Self {
        let (content, lines) = (0, HashMap::new());
        Self {
            path,
            look_every,
            looked: None,
            stamp: None,
            content,
            lines,
            same_looks: 0,
            counted: None,
            failed_looks: 0,
        }
    }

    /// Looks at the file, unless somebody just has.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let just_looked = self.looked.is_some_and(|looked| looked.elapsed() < self.look_every);
        if just_looked { Ok(()) } else { self.read() }
    }

    /// Looks at the file now, and reads it where it may have changed.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let seen_before = self.looked.is_some();
        self.looked = Some(Instant::now());
        let (stamp, bytes) = match self.changed() {
            Err(error) => {
                self.look_failed();
                return Err(error);
            }
            Ok(Some((stamp, bytes))) => (Some(stamp), bytes),
            Ok(None) if self.stamp.is_some() => {
                self.looked_the_same();
                return Ok(());
            }
            Ok(None) => (None, Vec::new()),
        };
        self.failed_looks = 0;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let content = hasher.finish();
        if seen_before && self.content == content {
            self.looked_the_same();
        } else {
            (self.same_looks, self.counted) = (1, Some(Instant::now()));
            self.content = content;
            self.lines = parse(&bytes);
        }
        self.stamp = stamp;
        Ok(())
    }

    /// The file's content where it may differ from what was seen. None, with the stamp kept, where it does not, and
    /// None without a stamp where there is no file.
    fn changed(&mut self) -> io::Result<Option<(Stamp, Vec<u8>)>> {
        let read = || -> io::Result<_> {
            let meta = std::fs::metadata(&self.path)?;
            let stamp = Stamp { modified: meta.modified()?, length: meta.len() };
            let is_old = stamp.modified.elapsed().is_ok_and(|age| age >= STAMP_STEP);
            if self.stamp == Some(stamp) && is_old {
                return Ok(None);
            }
            Ok(Some((stamp, read_file(&self.path, MAX_BYTES)?)))
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stamp = None;
                Ok(None)
            }
            other => other,
        }
    }

    /// Looks in quick succession, as where calls are placed, count as one.
    fn counts(&self) -> bool {
        self.counted.is_none_or(|counted| counted.elapsed() >= self.look_every)
    }

    fn look_failed(&mut self) {
        self.same_looks = 0;
        if self.failed_looks == 0 || self.counts() {
            self.failed_looks = self.failed_looks.saturating_add(1);
            self.counted = Some(Instant::now());
        }
    }

    fn looked_the_same(&mut self) {
        self.failed_looks = 0;
        if self.counts() {
            self.same_looks = self.same_looks.saturating_add(1);
            self.counted = Some(Instant::now());
        }
    }

    /// How many looks in a row failed, the last one included.
    pub(super) fn failed_looks(&self) -> u32 {
        self.failed_looks
    }

    /// How many looks in a row showed the same, the last one included.
    pub(super) fn same_looks(&self) -> u32 {
        self.same_looks
    }

    /// The lines with this id, from the first to the last.
    pub(super) fn lines(&self, id: CallId) -> &[Line] {
        self.lines.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn parse(bytes: &[u8]) -> HashMap<CallId, Vec<Line>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines: HashMap<CallId, Vec<Line>> = HashMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let id = fields.next().and_then(|id| std::str::from_utf8(id).ok()).and_then(|id| CallId::parse(id).ok());
        let Some(id) = id else { continue };
        let status = match fields.nth(1) {
            Some(b"0") => Status::Unanswered,
            Some(b"1") => Status::Approved,
            Some(b"2") => Status::Refused,
            other => Status::Other(String::from_utf8_lossy(other.unwrap_or_default()).into_owned()),
        };
        let message = fields.next().map(|message| String::from_utf8_lossy(message).into_owned());
        lines.entry(id).or_default().push(Line { status, message });
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn looks_in_quick_succession_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut hasty = Watched::new(folder.path().join("phone.txt"), HOUR);
        let mut patient = Watched::new(folder.path().join("phone.txt"), Duration::ZERO);
        for look in 1..=5 {
            hasty.read().unwrap();
            patient.read().unwrap();
            assert_eq!((hasty.same_looks(), patient.same_looks()), (1, look));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_for_a_moment_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.txt");
        let mut watched = Watched::new(path.clone(), Duration::ZERO);
        watched.read().unwrap();
        std::fs::create_dir(&path).unwrap();
        for look in 1..=3 {
            watched.read().unwrap_err();
            assert_eq!((watched.failed_looks(), watched.same_looks()), (look, 0));
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "x").unwrap();
        watched.read().unwrap();
        assert_eq!((watched.failed_looks(), watched.same_looks()), (0, 1));
    }

    #[test]
    fn failed_looks_in_quick_succession_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut hasty = Watched::new(folder.path().to_owned(), HOUR);
        for _ in 1..=9 {
            hasty.read().unwrap_err();
            assert_eq!(hasty.failed_looks(), 1);
        }
    }
}

//! The file of calls, which is read again only if it may have changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::call::CallId;
use crate::config::read_file;

/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Resolution of the time stamps of file systems (FAT: 2 s). Two edits within this time may have the same time stamp, so a
/// file that was modified since then is read again although its stamp is the same.
const STAMP_RESOLUTION: Duration = Duration::from_secs(2);

/// The line of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallLine {
    pub(super) status: Status,
    /// `None` if the line has no fourth field.
    pub(super) message: Option<String>,
}

/// The third field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Unanswered,
    Approved,
    Refused,
    /// Any other text, also an empty one.
    Other(String),
}

/// The file, and what the last read found in it. A file that does not exist counts as empty.
pub(super) struct CallFile {
    path: PathBuf,
    /// Interval of reads. Reads within it, such as those of calls that are placed, count as one.
    interval: Duration,
    last_read: Option<Instant>,
    stamp: Option<Stamp>,
    content_hash: u64,
    lines: HashMap<CallId, Vec<CallLine>>,
    same_reads: u32,
    failed_reads: u32,
    /// When a read was last counted, in either.
    counted: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
}

impl CallFile {
    pub(super) fn new(path: PathBuf, interval: Duration) -> Self {
        Self {
            path,
            interval,
            last_read: None,
            stamp: None,
            content_hash: 0,
            lines: HashMap::new(),
            same_reads: 0,
            failed_reads: 0,
            counted: None,
        }
    }

    /// Reads the file, unless it was read within the last interval.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let is_recent = self.last_read.is_some_and(|read| read.elapsed() < self.interval);
        if is_recent { Ok(()) } else { self.read() }
    }

    /// Reads the file if it may have changed.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let is_first = self.last_read.is_none();
        self.last_read = Some(Instant::now());
        let (stamp, bytes) = match self.changed() {
            Err(error) => {
                self.count_failed();
                return Err(error);
            }
            Ok(Some((stamp, bytes))) => (Some(stamp), bytes),
            Ok(None) if self.stamp.is_some() => {
                self.count_same();
                return Ok(());
            }
            Ok(None) => (None, Vec::new()),
        };
        self.failed_reads = 0;
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let content_hash = hasher.finish();
        if !is_first && self.content_hash == content_hash {
            self.count_same();
        } else {
            (self.same_reads, self.counted) = (1, Some(Instant::now()));
            self.content_hash = content_hash;
            self.lines = parse(&bytes);
        }
        self.stamp = stamp;
        Ok(())
    }

    /// Returns the content of the file if it may have changed since the last read. If the file does not exist, returns
    /// `None` and clears the stamp.
    fn changed(&mut self) -> io::Result<Option<(Stamp, Vec<u8>)>> {
        let read = || -> io::Result<_> {
            let meta = std::fs::metadata(&self.path)?;
            let stamp = Stamp { modified: meta.modified()?, length: meta.len() };
            let is_old = stamp.modified.elapsed().is_ok_and(|age| age >= STAMP_RESOLUTION);
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

    fn counts(&self) -> bool {
        self.counted.is_none_or(|counted| counted.elapsed() >= self.interval)
    }

    fn count_failed(&mut self) {
        self.same_reads = 0;
        if self.failed_reads == 0 || self.counts() {
            self.failed_reads = self.failed_reads.saturating_add(1);
            self.counted = Some(Instant::now());
        }
    }

    fn count_same(&mut self) {
        self.failed_reads = 0;
        if self.counts() {
            self.same_reads = self.same_reads.saturating_add(1);
            self.counted = Some(Instant::now());
        }
    }

    /// Returns the number of reads in a row, up to the last one, that failed.
    pub(super) fn failed_reads(&self) -> u32 {
        self.failed_reads
    }

    /// Returns the number of reads in a row, up to the last one, that found the same content.
    pub(super) fn same_reads(&self) -> u32 {
        self.same_reads
    }

    /// Returns the lines with this id, from the first to the last.
    pub(super) fn lines(&self, id: CallId) -> &[CallLine] {
        self.lines.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn parse(bytes: &[u8]) -> HashMap<CallId, Vec<CallLine>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines: HashMap<CallId, Vec<CallLine>> = HashMap::new();
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
        lines.entry(id).or_default().push(CallLine { status, message });
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn reads_within_an_interval_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut hourly = CallFile::new(folder.path().join("phone.txt"), HOUR);
        let mut every_time = CallFile::new(folder.path().join("phone.txt"), Duration::ZERO);
        for read in 1..=5 {
            hourly.read().unwrap();
            every_time.read().unwrap();
            assert_eq!((hourly.same_reads(), every_time.same_reads()), (1, read));
        }
    }

    #[test]
    fn a_file_is_read_again_after_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.txt");
        let mut file = CallFile::new(path.clone(), Duration::ZERO);
        file.read().unwrap();
        std::fs::create_dir(&path).unwrap();
        for read in 1..=3 {
            file.read().unwrap_err();
            assert_eq!((file.failed_reads(), file.same_reads()), (read, 0));
        }
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "x").unwrap();
        file.read().unwrap();
        assert_eq!((file.failed_reads(), file.same_reads()), (0, 1));
    }

    #[test]
    fn failed_reads_within_an_interval_count_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut hourly = CallFile::new(folder.path().to_owned(), HOUR);
        for _ in 1..=9 {
            hourly.read().unwrap_err();
            assert_eq!(hourly.failed_reads(), 1);
        }
    }
}

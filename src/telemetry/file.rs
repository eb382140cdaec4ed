//! A log file with a limit of its size. No crate has both a limit for all files together and no panic when a disk
//! fails.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::platform;

/// Number of files: the current one and the older parts, from `NAME.1` (the youngest) on.
const PARTS: u64 = 5;

/// A file that is renamed when it is full. The oldest part is overwritten.
pub(super) struct RollingFile {
    path: PathBuf,
    max_part: u64,
    file: Option<File>,
    length: u64,
    /// Whether the last write failed, which may have been in the middle of a line.
    torn: bool,
}

impl RollingFile {
    /// Opens `folder`/`name` for appending. All parts together have at most `max_bytes`.
    pub(super) fn open(folder: &Path, name: &str, max_bytes: u64) -> io::Result<Self> {
        let mut this =
            Self { path: folder.join(name), max_part: max_bytes / PARTS, file: None, length: 0, torn: false };
        this.file()?;
        Ok(this)
    }

    /// Appends a line. After an error, the next line opens the file again.
    pub(super) fn write_line(&mut self, line: &str) -> io::Result<()> {
        let size = line.len() as u64 + 2;
        if self.length > 0 && self.length.saturating_add(size) > self.max_part {
            self.file = None;
            self.roll()?;
        }
        let text = if self.torn { format!("\n{line}\n") } else { format!("{line}\n") };
        let written = self.file().and_then(|file| file.write_all(text.as_bytes()));
        self.torn = written.is_err();
        match written {
            Ok(()) => self.length = self.length.saturating_add(text.len() as u64),
            Err(_) => self.file = None,
        }
        written
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = platform::private_file().append(true).create(true).open(&self.path)?;
                self.length = file.metadata()?.len();
                file
            }
        };
        Ok(self.file.insert(file))
    }

    fn roll(&self) -> io::Result<()> {
        for part in (1..PARTS).rev() {
            let younger = if part == 1 { self.path.clone() } else { self.part(part - 1) };
            match std::fs::rename(younger, self.part(part)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn part(&self, number: u64) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_log_stays_within_its_limit_and_keeps_the_newest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RollingFile::open(folder.path(), "phonegate.log", 5_000).unwrap();
        for n in 0..2_000 {
            log.write_line(&format!("line {n:06}")).unwrap();
            let total: u64 = folder.path().read_dir().unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
            assert!(total <= 5_000, "{total} bytes after line {n}");
        }
        let newest = std::fs::read_to_string(folder.path().join("phonegate.log")).unwrap();
        assert!(newest.ends_with("line 001999\n"), "{newest}");
        assert!(folder.path().join("phonegate.log.4").exists());
    }

    #[test]
    fn a_log_that_is_opened_again_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..2 {
            RollingFile::open(folder.path(), "phonegate.log", 5_000).unwrap().write_line(&n.to_string()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("phonegate.log")).unwrap(), "0\n1\n");
    }
}

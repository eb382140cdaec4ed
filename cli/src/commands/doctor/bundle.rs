//! Writes the zip file for support. Every text in it is scrubbed.

use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::calls::Tail;
use super::findings::Findings;
use super::scrub::Scrubber;
use crate::error::CommandError;
use phonegate_deploy::settings;

/// The contents of the zip file.
pub(super) struct Contents<'a> {
    pub(super) findings: &'a Findings,
    pub(super) config: Option<&'a str>,
    pub(super) mfa_settings: Option<&'a [u8]>,
    pub(super) logs: &'a [Tail],
}

/// Writes the zip file under another name first, so that an incomplete one never has its name.
///
/// # Errors
/// If the file exists already, or cannot be written.
pub(super) fn write(path: &Path, contents: &Contents<'_>, scrubber: &Scrubber) -> Result<(), CommandError> {
    let failed = |error: &dyn std::fmt::Display| CommandError::failed(format!("{}: {error}", path.display()));
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    fill(file.as_file_mut(), contents, scrubber).map_err(|error| failed(&error))?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
        persisted => persisted.map(drop).map_err(|error| failed(&error.error)),
    }
}

/// Returns the error for a file that exists already.
pub(super) fn exists(path: &Path) -> CommandError {
    CommandError::usage(format!("{} exists already", path.display())).hint("name another file")
}

fn fill(file: &mut std::fs::File, contents: &Contents<'_>, scrubber: &Scrubber) -> io::Result<()> {
    let Contents { findings, config, mfa_settings, logs } = contents;
    let mut zip = ZipWriter::new(file);
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let report = format!(
        "phonegate doctor {}, {now}\nSecrets and telephone numbers were removed from all files here.\n\n{}\n\n{}\n",
        env!("CARGO_PKG_VERSION"),
        findings.table(),
        findings.conclusion()
    );
    add(&mut zip, "report.txt", &report)?;
    let lines: Result<Vec<_>, _> = findings.0.iter().map(serde_json::to_string).collect();
    add(&mut zip, "report.jsonl", &(lines.map_err(io::Error::other)?.join("\n") + "\n"))?;
    if let Some(config) = config {
        let left_out = |why: String| format!("left out: {why}, so its secrets cannot be recognized\n");
        add(&mut zip, "phonegate.json", &scrubber.config(config).unwrap_or_else(left_out))?;
    }
    if let Some(mfa_settings) = mfa_settings {
        let masked = match settings::masked(mfa_settings) {
            Ok(masked) => scrubber.technical_text(&masked),
            Err(error) => format!("left out: {}\n", scrubber.technical_text(&error.message)),
        };
        add(&mut zip, settings::FILE_NAME, &masked)?;
    }
    for Tail { name, lines } in *logs {
        let lines: String = lines.iter().map(|line| scrubber.log_line(line) + "\n").collect();
        add(&mut zip, name, &lines)?;
    }
    zip.finish()?.flush()
}

fn add(zip: &mut ZipWriter<&mut std::fs::File>, name: &str, text: &str) -> io::Result<()> {
    zip.start_file(name, SimpleFileOptions::default())?;
    zip.write_all(text.as_bytes())
}

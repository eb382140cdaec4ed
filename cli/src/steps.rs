//! The steps of one call, from the gate's own log lines to what the user reads.

use phonegate::call::{CallId, Failure};
use serde::{Deserialize, Serialize};

use crate::output::{self, Spinner};

/// What of a log line is of use here.
#[derive(Deserialize)]
struct LogLine {
    event: String,
    id: Option<String>,
    number: Option<String>,
    backend: Option<String>,
    ms: Option<u64>,
    reason: Option<String>,
    text: Option<String>,
}

/// A line of `--json`. Its names are documented in `phonegate call --help`, and scripts depend on them.
#[derive(Default, Serialize)]
struct Record<'a> {
    event: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// Shows one call.
pub(crate) struct Steps {
    id: String,
    json: bool,
    spinner: Spinner,
    /// The log's line of the outcome: when, and by which backend.
    end: Option<(Option<u64>, Option<String>)>,
    /// Was a backend asked to ring the phone?
    dialled: bool,
    /// What became of hanging up, where that was tried.
    hung_up: Option<Result<(), String>>,
}

impl Steps {
    pub(crate) fn new(id: CallId, json: bool) -> Self {
        Self { id: id.to_string(), json, spinner: Spinner::start(json), end: None, dialled: false, hung_up: None }
    }

    /// What goes on now.
    pub(crate) fn now(&self, text: &str) {
        self.spinner.set_message(text);
    }

    /// A remark for a human reader.
    pub(crate) fn remark(&self, text: &str) {
        self.spinner.print(text);
    }

    /// Shows what a line of the gate's log tells.
    pub(crate) fn show(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<LogLine>(line) else { return };
        if line.id.as_ref().is_some_and(|id| *id != self.id) {
            return;
        }
        let text = line.text.as_deref().unwrap_or_default();
        match line.event.as_str() {
            "started_call" => self.step("calling", &line, &format!("Calling {}", line.number.as_deref().unwrap_or(""))),
            "dialling" => {
                self.dialled = true;
                self.step("dialling", &line, &format!("dialling{}", through(&line)));
            }
            "ringing" => self.step("ringing", &line, "ringing"),
            "answered" => self.step("answered", &line, "answered"),
            "backend_refused" => self.step("backend_refused", &line, &format!("refused{}: {text}", through(&line))),
            "verified" | "failed" | "refused" => self.end = Some((line.ms, line.backend)),
            "hang_up" => self.hung_up = Some(line.reason.as_ref().map_or(Ok(()), |_| Err(text.to_owned()))),
            "clean_up" if line.reason.is_some() => self.warn(&format!("the provider keeps data of the call: {text}")),
            _ => {}
        }
    }

    /// Has the outcome's own line been seen, which is the last step's?
    pub(crate) fn have_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Why hanging up failed.
    pub(crate) fn not_hung_up(&self) -> Option<&str> {
        self.hung_up.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// Of a call without an outcome: may its phone ring, since it was dialled and nobody confirmed that it was hung up?
    pub(crate) fn may_ring(&self) -> bool {
        self.dialled && self.hung_up != Some(Ok(()))
    }

    /// Says something that somebody should look at.
    pub(crate) fn warn(&self, text: &str) {
        self.spinner.suspend(|| output::warning(self.json, text));
    }

    /// Shows the outcome, to a human reader by `words` where there are better ones.
    pub(crate) fn outcome(&self, outcome: &Result<(), Failure>, words: Option<&str>) {
        if self.json {
            let (ms, backend) = self.end.as_ref().map_or((None, None), |(ms, backend)| (*ms, backend.as_deref()));
            let record = Record { id: &self.id, ms, backend, ..Record::default() };
            return output::json_line(&match outcome {
                Ok(()) => Record { event: "verified", ..record },
                Err(failure) => Record {
                    event: "failed",
                    reason: Some(failure.reason().name()),
                    code: failure.reason().azure_code(),
                    text: Some(failure.text()),
                    ..record
                },
            });
        }
        let usual = match outcome {
            Ok(()) => "Verified: the user approved.".to_owned(),
            Err(failure) => format!("Failed: {}", with_reason(failure)),
        };
        self.spinner.suspend(|| output::print(words.unwrap_or(&usual)));
    }

    fn step(&self, event: &str, line: &LogLine, words: &str) {
        if self.json {
            output::json_line(&Record {
                event,
                id: &self.id,
                number: line.number.as_deref(),
                backend: line.backend.as_deref(),
                ms: line.ms,
                reason: line.reason.as_deref(),
                text: line.text.as_deref(),
                code: None,
            });
        }
        match line.ms {
            // Milliseconds, shown in tenths of a second.
            Some(ms) => self.spinner.print(&format!("{:>4}.{} s  {words}", ms / 1000, ms % 1000 / 100)),
            None => self.spinner.print(words),
        }
        self.spinner.set_message(words.to_owned());
    }
}

fn through(line: &LogLine) -> String {
    line.backend.as_ref().map(|backend| format!(" by {backend}")).unwrap_or_default()
}

/// The failure's text, which mostly ends with the reason already.
pub(crate) fn with_reason(failure: &Failure) -> String {
    let (text, reason) = (failure.text(), failure.reason().to_string());
    if text.contains(&reason) { text.to_owned() } else { format!("{text} ({reason})") }
}

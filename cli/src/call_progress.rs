//! Shows the progress of one call, from the events that the gate reports.

use phonegate::call::{CallEvent, CallId, Failure};
use phonegate::telemetry::ObservedEvent;
use serde::Serialize;

use crate::output::{self, Spinner};

/// A line of `--json`. `phonegate call --help` documents its fields, and scripts depend on them.
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
pub(crate) struct CallProgress {
    call: CallId,
    id: String,
    json: bool,
    spinner: Spinner,
    /// The event of the outcome.
    end: Option<ObservedEvent>,
    /// Whether a backend was asked to place the call.
    was_dialled: bool,
    /// The result of hanging up, if that was tried.
    hung_up: Option<Result<(), Failure>>,
}

impl CallProgress {
    pub(crate) fn new(call: CallId, json: bool) -> Self {
        let (id, spinner) = (call.to_string(), Spinner::start(json));
        Self { call, id, json, spinner, end: None, was_dialled: false, hung_up: None }
    }

    /// Shows what PhoneGate is doing, on a terminal.
    pub(crate) fn set_activity(&self, text: &str) {
        self.spinner.set_message(text);
    }

    /// Prints a note for a human reader.
    pub(crate) fn note(&self, text: &str) {
        self.spinner.print(text);
    }

    /// Shows an event, if it is one of this call.
    pub(crate) fn show(&mut self, event: ObservedEvent) {
        if event.id != Some(self.call) {
            return;
        }
        let failure = event.failure.as_ref();
        let text = failure.map(Failure::text).unwrap_or_default();
        match event.event {
            CallEvent::Requested => {
                let number = event.number.as_deref().unwrap_or_default();
                self.step("calling", &event, &format!("Calling {number}"));
            }
            CallEvent::Dialling => {
                self.was_dialled = true;
                self.step(event.event.name(), &event, &format!("dialling{}", by(&event)));
            }
            CallEvent::Ringing | CallEvent::Answered => self.step(event.event.name(), &event, event.event.name()),
            CallEvent::BackendRefused => {
                self.step(event.event.name(), &event, &format!("refused{}: {text}", by(&event)));
            }
            CallEvent::HungUp => self.hung_up = Some(failure.map_or(Ok(()), |failure| Err(failure.clone()))),
            CallEvent::CleanedUp if failure.is_some() => {
                self.warn(&format!("the provider keeps data of the call: {text}"));
            }
            CallEvent::Verified | CallEvent::Failed | CallEvent::Refused => self.end = Some(event),
            _ => {}
        }
    }

    /// Returns why hanging up failed, if it did.
    pub(crate) fn hang_up_failure(&self) -> Option<&Failure> {
        self.hung_up.as_ref()?.as_ref().err()
    }

    /// Returns whether the phone of a call without an outcome may still ring: it was dialled, and the provider did not
    /// confirm that it was hung up.
    pub(crate) fn may_ring(&self) -> bool {
        self.was_dialled && self.hung_up != Some(Ok(()))
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, text: &str) {
        self.spinner.suspend(|| output::warning(self.json, text));
    }

    /// Shows the outcome. `summary` replaces the usual sentence for a human reader.
    pub(crate) fn show_outcome(&self, outcome: &Result<(), Failure>, summary: Option<&str>) {
        if self.json {
            let (ms, backend) = self.end.as_ref().map_or((None, None), |end| (end.ms, end.backend.as_deref()));
            let record = Record { id: &self.id, ms, backend, ..Record::default() };
            return output::json_line(&match outcome {
                Ok(()) => Record { event: CallEvent::Verified.name(), ..record },
                Err(failure) => Record {
                    event: CallEvent::Failed.name(),
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
        self.spinner.suspend(|| output::print(summary.unwrap_or(&usual)));
    }

    fn step(&self, name: &str, event: &ObservedEvent, text: &str) {
        if self.json {
            output::json_line(&Record {
                event: name,
                id: &self.id,
                number: event.number.as_deref(),
                backend: event.backend.as_deref(),
                ms: event.ms,
                reason: event.failure.as_ref().map(|failure| failure.reason().name()),
                text: event.failure.as_ref().map(Failure::text),
                code: None,
            });
        }
        match event.ms {
            // In tenths of a second.
            Some(ms) => self.spinner.print(&format!("{:>4}.{} s  {text}", ms / 1000, ms % 1000 / 100)),
            None => self.spinner.print(text),
        }
        self.spinner.set_message(text.to_owned());
    }
}

fn by(event: &ObservedEvent) -> String {
    event.backend.as_ref().map(|backend| format!(" by {backend}")).unwrap_or_default()
}

/// Returns the text of a failure, with the reason. Most texts already end with the reason.
pub(crate) fn with_reason(failure: &Failure) -> String {
    let (text, reason) = (failure.text(), failure.reason().to_string());
    if text.contains(&reason) { text.to_owned() } else { format!("{text} ({reason})") }
}

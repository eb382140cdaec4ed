//! Reports the events of calls to another part of the program, as values.

use std::sync::mpsc::SyncSender;

use super::{LogEntry, LogEvent};
use crate::call::{CallEvent, CallId, Failure};

/// Receives the events of all calls of a gate, at every log level. It is bounded: if the channel is full, or its receiver
/// is gone, an event is dropped, so that no call waits for an observer.
pub type CallObserver = SyncSender<ObservedEvent>;

/// An event of a call. What is not known is `None`. Without personal data.
#[derive(Debug, Clone)]
pub struct ObservedEvent {
    /// What happened.
    pub event: CallEvent,
    /// The call. `None` for a request without a valid id.
    pub id: Option<CallId>,
    /// The number, masked.
    pub number: Option<Box<str>>,
    /// The backend's name.
    pub backend: Option<Box<str>>,
    /// Milliseconds since the call was requested.
    pub ms: Option<u64>,
    /// Why the call failed, or what could not be done for it.
    pub failure: Option<Failure>,
}

/// Sends an entry of the log to an observer, if it is about a call. Never waits.
pub(super) fn observe(observer: &CallObserver, entry: &LogEntry<'_>) {
    let LogEvent::Call(event) = entry.event else { return };
    // A full channel drops the event: see `CallObserver`.
    let _ = observer.try_send(ObservedEvent {
        event,
        id: entry.id.or(entry.attempt.map(|attempt| attempt.id)),
        number: entry.number.map(Into::into),
        backend: entry.backend.map(Into::into),
        ms: entry.ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        failure: entry.failure.cloned(),
    });
}

//! Events for the operating system's own log, the Windows Event Log: the few that concern the machine rather than a
//! call. Their ids are stable, and documented in docs/operations.md. Their texts are in `windows/messages.mc`.

use super::entry::{LogEntry, LogEvent};
use crate::call::{CallEvent, Failure, FailureReason, GateEvent};
use crate::level::Level;
use crate::platform::{EventLog, EventSeverity};

/// The source's name in the Event Log.
pub const SOURCE: &str = "PhoneGate";

/// The id of an event, which the Event Viewer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum SystemEventId {
    /// The gate has started.
    Started = 1000,
    /// The gate cannot start: the configuration was refused.
    NotConfigured = 1001,
    /// A backend cannot place calls.
    BackendDown = 1002,
    /// A backend places calls again.
    BackendUp = 1003,
    /// A user reported that a call was not theirs.
    FraudReported = 1004,
    /// A defect of PhoneGate.
    Defect = 1005,
    /// Other accounts can change the configuration or a file that it names.
    UnsafePermissions = 1006,
    /// A number is locked, because its calls were not approved.
    LockedOut = 1007,
    /// A daily limit is reached.
    CapReached = 1008,
    /// An administrator has ended the lock of a number.
    Unlocked = 1009,
}

/// An event, and the strings that its text takes.
#[derive(Debug, PartialEq, Eq)]
pub struct SystemEvent {
    /// Its id, which selects the text.
    pub id: SystemEventId,
    /// The strings for `%1`, `%2` and so on. They have no personal data.
    pub strings: Vec<String>,
}

/// Receives the events. It is called on the log's own thread.
pub type SystemLog = Box<dyn FnMut(&SystemEvent) + Send>;

impl SystemEventId {
    /// Returns how much the event matters.
    pub fn severity(self) -> EventSeverity {
        match self {
            Self::Started | Self::BackendUp | Self::Unlocked => EventSeverity::Information,
            Self::BackendDown | Self::FraudReported | Self::UnsafePermissions | Self::LockedOut | Self::CapReached => {
                EventSeverity::Warning
            }
            Self::NotConfigured | Self::Defect => EventSeverity::Error,
        }
    }

    /// Returns the number in the message table, which has the severity in its two highest bits:
    /// <https://learn.microsoft.com/windows/win32/eventlog/event-identifiers>.
    pub fn message(self) -> u32 {
        let severity = match self.severity() {
            EventSeverity::Error => 3,
            EventSeverity::Warning => 2,
            EventSeverity::Information => 1,
        };
        severity << 30 | u32::from(self as u16)
    }
}

impl SystemEvent {
    /// Returns the event for the system's log that an event of the log causes. Most cause none.
    pub(super) fn of(entry: &LogEntry<'_>) -> Option<Self> {
        let reason = entry.failure.map(Failure::reason);
        let id = match entry.event {
            LogEvent::Gate(GateEvent::Started) => SystemEventId::Started,
            LogEvent::Gate(GateEvent::NotConfigured) => SystemEventId::NotConfigured,
            LogEvent::Gate(GateEvent::BackendDown) => SystemEventId::BackendDown,
            LogEvent::Gate(GateEvent::BackendUp) => SystemEventId::BackendUp,
            LogEvent::Gate(GateEvent::UnsafePermissions) => SystemEventId::UnsafePermissions,
            LogEvent::Gate(GateEvent::Unlocked) => SystemEventId::Unlocked,
            LogEvent::Call(CallEvent::LockedOut) => SystemEventId::LockedOut,
            LogEvent::Call(CallEvent::CapReached) => SystemEventId::CapReached,
            LogEvent::Call(CallEvent::Failed) if reason == Some(FailureReason::FraudReported) => {
                SystemEventId::FraudReported
            }
            _ if entry.level == Level::Error => SystemEventId::Defect,
            _ => return None,
        };
        let text = entry.text.or(entry.failure.map(Failure::text)).unwrap_or("-").to_owned();
        let call = entry.id.or(entry.attempt.map(|attempt| attempt.id)).map_or("-".to_owned(), |id| id.to_string());
        let backend = entry.backend.unwrap_or("-").to_owned();
        let strings = match id {
            SystemEventId::Started | SystemEventId::NotConfigured | SystemEventId::UnsafePermissions => vec![text],
            SystemEventId::BackendDown => vec![backend, text],
            SystemEventId::BackendUp => vec![backend],
            SystemEventId::FraudReported => {
                let lift = format!("phonegate blocks remove {call}");
                vec![call, lift]
            }
            SystemEventId::LockedOut => vec![call, text],
            SystemEventId::CapReached => vec![text],
            SystemEventId::Unlocked => vec![entry.number.unwrap_or("-").to_owned(), text],
            SystemEventId::Defect => vec![text, call],
        };
        Some(Self { id, strings })
    }
}

/// Returns a receiver that writes to this machine's Event Log, which it opens at the first event. It ignores errors,
/// because the log file has the same events. On other systems it does nothing.
pub fn system_log() -> SystemLog {
    let mut log = None;
    Box::new(move |event| {
        if log.is_none() {
            log = EventLog::open(SOURCE).ok();
        }
        if let Some(log) = &log {
            let _ = log.report(event.id.severity(), event.id.message(), &event.strings);
        }
    })
}

//! What is told to the operating system's own log, the Windows Event Log: few events, for who watches the machine and
//! not each call. Their ids are stable, and documented in docs/operations.md; their words are in
//! `windows/messages.mc`.

use super::entry::{LogEntry, LogEvent};
use crate::call::{CallEvent, Failure, FailureReason, GateEvent};
use crate::level::Level;
use crate::platform::{EventLog, EventSeverity};

/// The source's name in the Event Log.
pub const SOURCE: &str = "PhoneGate";

/// Which event. The numbers are those that the Event Viewer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum SystemEventId {
    /// The gate has started.
    Started = 1000,
    /// The gate cannot start: the configuration was refused.
    NotConfigured = 1001,
    /// A backend cannot place calls.
    BackendDown = 1002,
    /// It places calls again.
    BackendUp = 1003,
    /// A user said that a call was not theirs.
    FraudReported = 1004,
    /// A defect of PhoneGate's.
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

/// An event, and what is put into its words.
#[derive(Debug, PartialEq, Eq)]
pub struct SystemEvent {
    /// Which one.
    pub id: SystemEventId,
    /// For `%1`, `%2` and so on. Without personal data.
    pub strings: Vec<String>,
}

/// Who takes them. Called on the log's own thread.
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

    /// The number in the message table, which has the severity in its two highest bits:
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
    /// The event to report to the system about an entry of the log. `None` for most entries.
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

/// The Event Log of this machine, opened at the first event. Where there is none, or it takes none, that is no reason
/// to fail: the log's file has it all too.
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

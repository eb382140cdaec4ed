//! The events of calls and of the gate: their names, levels and fields in the log.
//!
//! The names are part of the interface: administrators and scripts search for them, and databases contain those of a
//! call. The table in docs/operations.md has the same texts; a test compares them.

use super::Progress;
use crate::level::Level;

/// Defines an enum of events. The doc comment of a variant is also its description in docs/operations.md.
macro_rules! events {
    (
        $(#[$attribute:meta])*
        pub enum $Events:ident {
            $( $(#[doc = $line:literal])+ $Event:ident = $name:literal, $level:ident, [$($field:ident),*]; )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Events {
            $( $(#[doc = $line])+ $Event, )+
        }

        impl $Events {
            /// All events, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$Event),+];

            /// Returns the name in the log and in the store.
            pub fn name(self) -> &'static str {
                match self { $( Self::$Event => $name, )+ }
            }

            /// Returns the level at which the event is logged, unless its description names another one.
            pub fn level(self) -> Level {
                match self { $( Self::$Event => Level::$level, )+ }
            }

            /// Returns the fields that a line of the log may have besides `time`, `level` and `event`.
            pub fn fields(self) -> &'static [&'static str] {
                match self { $( Self::$Event => &[$(stringify!($field)),*], )+ }
            }

            /// Returns when the event is logged, in the words of docs/operations.md.
            pub fn description(self) -> &'static str {
                match self { $( Self::$Event => concat!($($line),+).trim_ascii(), )+ }
            }
        }
    };
}

events! {
    /// An event of one call. An attempt's steps in the store have these names.
    pub enum CallEvent {
        /// A call was requested.
        Requested = "started_call", Info, [id, attempt, number, attributes];
        /// The same call was requested again while it is pending.
        RequestRepeated = "repeated_call", Info, [id, number];
        /// A request was refused at once. `warn` if another request is ringing the number, or if the request is malformed.
        Refused = "refused", Info, [id, number, status, reason, text];
        /// A pending call was requested again with a number that is refused. The pending call continues.
        RepeatRefused = "repeat_refused", Info, [id, number, status, reason, text];
        /// The status of a call was requested that is not known.
        Unknown = "unknown_call", Info, [id, status, reason, text];
        /// A backend is asked to place the call.
        Dialling = "dialling", Info, [id, attempt, backend, ms];
        /// A backend that is down is not asked, because another one can be. It is asked last, if no other one places the
        /// call.
        Skipped = "skipped", Info, [id, attempt, backend, ms, text];
        /// A backend that is down is asked all the same, to find out whether it works again.
        Probed = "probed", Info, [id, attempt, backend, ms];
        /// A backend could not place the call. The next backend is asked if the phone certainly did not ring.
        BackendRefused = "backend_refused", Warn, [id, attempt, backend, reason, ms, text];
        /// The backend accepted the call.
        Placed = "placed", Info, [id, attempt, backend, ms];
        /// A server of the trunk could not take the call; the next server is asked.
        ServerFailed = "server_failed", Warn, [id, attempt, backend, ms, text];
        /// The trunk redirected the call to another server, which is asked now.
        Redirected = "redirected", Info, [id, attempt, backend, ms, text];
        /// The call was requested from the trunk again, with other parameters: for example after a challenge.
        Retried = "retried", Debug, [id, attempt, backend, ms, text];
        /// The call is forwarded to another phone.
        Forwarded = "forwarded", Info, [id, attempt, backend, ms];
        /// The program that places the call wrote this line to its standard error; the text is without numbers and codes.
        ProgramOutput = "program_output", Info, [id, attempt, backend, ms, text];
        /// The phone rings, as far as the backend can know.
        Ringing = "ringing", Info, [id, attempt, backend, ms];
        /// A person or a machine answered.
        Answered = "answered", Info, [id, attempt, backend, ms];
        /// The user approved the call.
        Verified = "verified", Info, [id, attempt, backend, ms];
        /// The call failed. `error` if the reason is `Internal`; `warn` if it is `NotConfigured`, `CannotPlace` or
        /// `FraudReported`, or if the call was verified and its approval is lost.
        Failed = "failed", Info, [id, attempt, number, backend, reason, limit, ms, text];
        /// PhoneGate hung up a call without an outcome. `warn`, with a reason, if that failed.
        HungUp = "hang_up", Debug, [id, attempt, backend, reason, ms, text];
        /// PhoneGate removed the provider's record of a call. `warn`, with a reason, if that failed.
        CleanedUp = "clean_up", Debug, [id, attempt, backend, reason, ms, text];
        /// An answered SIP call ended: packets, loss and jitter of both directions, and how many packets were dropped.
        Media = "media", Info, [id, attempt, backend, ms, text];
        /// A user reported fraud, and the number was blocked.
        Blocked = "blocked", Warn, [id, attempt, number, text];
        /// A number was locked, because its last calls were not approved.
        LockedOut = "locked_out", Warn, [id, attempt, number, text];
        /// A daily limit was reached. Logged at most once an hour for each limit, and for each number or country that it
        /// counts.
        CapReached = "cap_reached", Warn, [id, attempt, number, text];
        /// This process claimed a pending call whose process is gone, and continues it.
        Claimed = "claimed", Info, [id, attempt, ms];
        /// Another process handles the call; this one waits for the outcome in the store.
        Remote = "remote", Info, [id, attempt, ms];
        /// Another process claimed the call, because this one did not renew its lease in time.
        OwnershipLost = "ownership_lost", Warn, [id, attempt, ms];
        /// A poll asked for an approval that a poll on another thread, process or node had used (`call.single_use`).
        AlreadyUsed = "already_used", Warn, [id, text];
    }
}

events! {
    /// An event of the gate itself, or a change that an administrator made with the command `phonegate`.
    pub enum GateEvent {
        /// PhoneGate started; the text has its version, backends and store.
        Started = "started", Info, [text];
        /// PhoneGate ended in order.
        Ended = "ended", Info, [];
        /// The configuration was refused: every call fails.
        NotConfigured = "not_configured", Warn, [text];
        /// The configuration works, but should be changed: the text says what, and why.
        Configuration = "configuration", Warn, [text];
        /// An account that is not trusted can change the configuration or a file that it names.
        UnsafePermissions = "unsafe_permissions", Warn, [text];
        /// Two calls in a row failed by the fault of a backend, or five whose numbers may be the cause; or its registration
        /// failed twice; or two operations of the store failed in a row. Logged once, until it works again.
        BackendDown = "backend_down", Warn, [backend, reason, text];
        /// That backend, or the store, works again.
        BackendUp = "backend_up", Info, [backend];
        /// A PIN could not be checked, so the call fails. `error` if it is a defect of PhoneGate.
        PinNotChecked = "pin_not_checked", Warn, [text];
        /// The store refused to record something, permanently; or it has records that this version cannot read, which is
        /// logged once for each kind.
        StoreRefused = "store_refused", Error, [text];
        /// A defect of PhoneGate. Without a reason, calls continue. With a reason, PhoneGate could not start, so every
        /// call fails.
        Defect = "defect", Error, [reason, text];
        /// `count` lines are missing here: they found no room in the queue, or could not be written.
        LinesDropped = "lines_dropped", Warn, [count];
        /// The file of `metrics.textfile` cannot be written. Logged once, until it can be written again.
        MetricsFail = "metrics_fail", Warn, [text];
        /// The file of `metrics.textfile` can be written again.
        MetricsWork = "metrics_work", Info, [];
        /// An alert was delivered.
        AlertSent = "alert_sent", Info, [id, number, backend, text];
        /// A delivery failed and will be repeated, or the alerts that wait could not be read from the store. Logged once an
        /// hour for each destination, and for the store.
        AlertFailed = "alert_failed", Warn, [id, number, backend, text];
        /// A delivery failed and will not be repeated: the destination refused the alert permanently, the alert is 7 days
        /// old, or its kind is `store_down` or `configuration`.
        AlertGivenUp = "alert_given_up", Warn, [id, number, backend, text];
        /// `count` alerts were dropped, because too many waited (1,000 for a destination and 16,000 in all in the store, 256
        /// in the process) or the store refused them.
        AlertsDropped = "alerts_dropped", Warn, [count, text];
        /// An administrator ended the lock of a number.
        Unlocked = "unlocked", Info, [number, text];
        /// An administrator reset the denials of a number that was not locked.
        DenialsReset = "denials_reset", Info, [number, text];
        /// An administrator blocked a number.
        BlockAdded = "block_added", Info, [number, text];
        /// An administrator removed the block of a number.
        BlockRemoved = "block_removed", Info, [number, text];
        /// An administrator set the PIN of a number.
        PinSet = "pin_set", Info, [number, text];
        /// An administrator removed the PIN of a number.
        PinRemoved = "pin_removed", Info, [number, text];
        /// An administrator ended the lock of a PIN.
        PinUnlocked = "pin_unlocked", Info, [number, text];
    }
}

/// Names that versions before 0.1.0 wrote. A database may still contain them.
const FORMER_NAMES: [(&str, CallEvent); 3] =
    [("elsewhere", CallEvent::Remote), ("taken_up", CallEvent::Claimed), ("taken_over", CallEvent::OwnershipLost)];

impl CallEvent {
    /// Returns the event with this name, or that had it before. `None` for a name that only a newer version knows.
    pub fn from_name(name: &str) -> Option<Self> {
        let current = Self::ALL.iter().map(|event| (event.name(), *event));
        current.chain(FORMER_NAMES).find(|(known, _)| *known == name).map(|(_, event)| event)
    }
}

impl From<Progress> for CallEvent {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Dialling => Self::Dialling,
            Progress::Ringing => Self::Ringing,
            Progress::Answered => Self::Answered,
        }
    }
}

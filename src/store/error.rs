//! Why a store operation failed.

use std::fmt;

/// Why a store operation failed. Without personal data and secrets.
///
/// Displayed, it is a phrase without a full stop: `the store is busy: no answer within 5 s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct StoreError {
    kind: StoreErrorKind,
    cause: Option<StoreErrorCause>,
    detail: Box<str>,
}

/// What a caller can do about a failed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store cannot be reached now. The same operation may succeed later.
    Unavailable,
    /// The store works, but has more to do than it can do in time. The same operation may succeed later.
    Busy,
    /// The store does not accept this operation. A repetition fails in the same way.
    Refused,
}

/// What an administrator has to correct, if the store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorCause {
    /// Another program keeps the file locked.
    FileLocked,
    /// The file is damaged, or is not a database of PhoneGate.
    FileDamaged,
    /// The disk with the file is full.
    DiskFull,
    /// The file or its folder cannot be opened, read or written.
    FileInaccessible,
    /// The Redis user may not run a command or use a key (`NOPERM`).
    PermissionMissing,
    /// The certificate of the Redis server is not trusted, or is for another name.
    CertificateRejected,
    /// Too few replicas are connected to the Redis server (`NOREPLICAS`).
    ReplicasMissing,
    /// The memory of the Redis server is full (`OOM`).
    MemoryFull,
    /// The Redis server cannot write to its own disk (`MISCONF`).
    ServerDiskFailed,
    /// Redis rejects the user or the password, or `store.url` has none.
    CredentialsRejected,
    /// Redis accepts the password and rejects the rest of the login, such as the number of the database.
    LoginRejected,
}

impl StoreError {
    /// An error of this kind. `detail` has no full stop at its end.
    pub fn new(kind: StoreErrorKind, detail: impl fmt::Display) -> Self {
        Self { kind, cause: None, detail: detail.to_string().into() }
    }

    /// The store cannot be reached.
    pub fn unavailable(detail: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Unavailable, detail)
    }

    /// The store works, but not in time.
    pub fn busy(detail: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Busy, detail)
    }

    /// The store does not accept the operation.
    pub fn refused(detail: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Refused, detail)
    }

    /// Adds what an administrator has to correct.
    pub(super) fn caused_by(self, cause: Option<StoreErrorCause>) -> Self {
        Self { cause, ..self }
    }

    /// The attempt that should begin has ended already (S3).
    pub(super) fn already_ended() -> Self {
        Self::refused("this attempt has ended already")
    }

    /// What the caller can do.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What an administrator has to correct. `None` if the store does not know it.
    pub fn cause(&self) -> Option<StoreErrorCause> {
        self.cause
    }

    /// The problem, without a full stop.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The error, followed by the advice for its kind. Ends without a full stop.
    pub fn with_advice(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| match self.kind.advice() {
            Some(advice) => write!(f, "{self}. {advice}"),
            None => write!(f, "{self}"),
        })
    }
}

impl StoreErrorKind {
    /// What to do about it, as a sentence without a full stop. `None` if that depends on the cause.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::Busy => Some(
                "Try again in a minute; if this happens often, use a faster disk or server for the store, or lower \
                 limits.calls_per_minute",
            ),
            Self::Unavailable | Self::Refused => None,
        }
    }
}

/// `the store is busy`.
impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the store cannot be reached",
            Self::Busy => "the store is busy",
            Self::Refused => "the store refused",
        })
    }
}

//! Errors of Redis, and of the connection to it.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::redact::diagnostic_text;
use crate::store::{StoreError, StoreErrorCause};

/// Why an operation failed.
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) text: String,
    pub(super) cause: Option<StoreErrorCause>,
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), cause: None }
    }
}

impl From<RedisError> for Problem {
    fn from(error: RedisError) -> Self {
        Self { cause: cause(&error), text: error_text(&error) }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        let text = diagnostic_text(&error.to_string());
        let rejected = error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(|error| {
            matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
        });
        Self { text, cause: rejected.then_some(StoreErrorCause::CertificateRejected) }
    }
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        Self::unavailable(problem.text).caused_by(problem.cause)
    }
}

/// Returns the code of an error: of a command in a script, if it failed there.
///
/// Redis before version 7 reports the error of such a command inside of a text about the script, with the code `ERR`.
fn error_code(error: &RedisError) -> Option<&str> {
    match error.detail().and_then(command_in_script) {
        Some(of_command) => of_command.split(' ').next(),
        None => error.code(),
    }
}

/// Returns the error of a command in a script, in the form in which Redis before version 7 reports it: without the text
/// about the script.
fn command_in_script(detail: &str) -> Option<&str> {
    let (_, of_command) = detail.strip_prefix("Error running script ")?.split_once(": -")?;
    Some(of_command)
}

/// Returns whether another server has the keys now.
pub(super) fn has_moved(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, MasterDown, Moved, ReadOnly};
    matches!(error.kind(), ErrorKind::Server(Moved | Ask | ReadOnly | MasterDown | ClusterDown))
        || matches!(error_code(error), Some("READONLY" | "MASTERDOWN" | "CLUSTERDOWN"))
}

fn cause(error: &RedisError) -> Option<StoreErrorCause> {
    match error_code(error)? {
        "NOPERM" => Some(StoreErrorCause::PermissionMissing),
        "NOREPLICAS" => Some(StoreErrorCause::ReplicasMissing),
        "OOM" => Some(StoreErrorCause::MemoryFull),
        "MISCONF" => Some(StoreErrorCause::ServerDiskFailed),
        "NOAUTH" | "WRONGPASS" => Some(StoreErrorCause::CredentialsRejected),
        _ => None,
    }
}

fn error_text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some("NOAUTH"), _) => "Redis wants a password, and store.url has none".to_owned(),
        (Some(code), Some(detail)) => format!("Redis answers {code}: {}", diagnostic_text(without_script(detail))),
        (Some(code), None) => format!("Redis answers {code}"),
        (None, _) => diagnostic_text(&error.to_string()),
    }
}

/// Returns what Redis reports of a command, without the text about the script.
fn without_script(detail: &str) -> &str {
    let detail = detail.split_once(" script: ").map_or(detail, |(of_command, _)| of_command);
    command_in_script(detail).unwrap_or(detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn error(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn a_server_that_became_a_replica_is_left() {
        let by_6 = "ERR Error running script (call to f_c2fc432068bf23ae): @user_script:43: @user_script: 43: \
                    -READONLY You can't write against a read only replica.";
        let by_7 =
            "READONLY You can't write against a read only replica. script: c2fc432068bf23ae, on @user_script:43.";
        for line in [by_6, by_7] {
            assert!(has_moved(&error(line)), "{line}");
            assert!(error_text(&error(line)).ends_with("You can't write against a read only replica."), "{line}");
            assert!(!error_text(&error(line)).contains("script"), "{line}");
        }
        assert!(!has_moved(&error("OOM command not allowed when used memory > 'maxmemory'.")));
        assert!(!has_moved(&error("ERR unknown command 'READONLY'")));
    }
}

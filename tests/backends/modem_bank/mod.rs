//! An example of a complete backend: calls through a bank of modems, which speaks a protocol of lines over TCP. It is not
//! part of the library. CONTRIBUTING.md ("Add a backend") explains it, and the conformance suite runs it.
//!
//! A connection carries one request, `TOKEN VERB …`, and its replies:
//!
//! | request | replies |
//! |---|---|
//! | `HELLO` | `READY` |
//! | `CALL id number extension code` | `ACCEPTED`, or `REFUSED reason` |
//! | `FOLLOW id` | `RINGING` and `ANSWERED`, then `PRESSED keys POUND`, `PRESSED keys PAUSE` or `FAILED reason` |
//! | `END id` | `ENDED`: the phone no longer rings |
//!
//! After the answer, the modem dials the extension, says the code in English, and takes one entry. `-` is for no extension
//! and for no code. The call is over after `PRESSED` and after `FAILED`. A line has at most 256 bytes.

pub mod stand_in;
mod tests;

use std::str;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use phonegate::approval::Approver;
use phonegate::backend::{
    BackendContext, BuildBackend, CallRef, CallStep, HANG_UP_LIMIT, MayRing, PlaceError, StepSink, TelephonyBackend,
    backend_type,
};
use phonegate::call::{Call, Failure, FailureReason, Outcome, Progress};
use phonegate::config::{ApprovalConfig, BackendSettings, BackendType, ConfigError, Secret, Types};
use phonegate::redact::{diagnostic_text, sanitize_untrusted};
use phonegate_approval::secret::{Code, Entry};
use phonegate_approval::verdict::{Answer, EndedBy};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use uuid::Uuid;

/// The table with the line of this backend. A real one adds its line to `phonegate::backend::BACKENDS`.
pub const TYPES: Types = Types { backends: BACKENDS, stores: phonegate::store::STORES };
const BACKENDS: &[BackendType] = &[backend_type::<ModemBankConfig>("modem_bank")];

/// Time limit of a request's first reply.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// Pause before a lost connection is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Number of attempts in a row to follow a call that fail before the call does.
const MAX_FOLLOW_TRIES: u32 = 3;

/// Maximum length of a reply with its line break, in bytes.
const MAX_REPLY: u64 = 256;

/// In place of a longer reply. It is none of the protocol.
const TOO_LONG: &str = "a line of more than 256 bytes";

/// Calls through a bank of modems.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModemBankConfig {
    /// The host and port of the bank.
    address: String,
    /// The token that the bank expects in each request.
    token: Secret,
}

impl BackendSettings for ModemBankConfig {
    fn secrets(&self) -> Vec<(&'static str, Option<&Secret>)> {
        vec![("token", Some(&self.token))]
    }

    /// The connection is not encrypted, so PINs are refused.
    fn check_pins(&self, path: &str, _: &ApprovalConfig) -> Result<(), ConfigError> {
        Err(ConfigError::invalid(path, "is of type modem_bank, which cannot protect PINs; remove it from `use`"))
    }
}

impl BuildBackend for ModemBankConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        if !self.address.contains(':') {
            return Err(context.invalid("address", "must be a host and a port, such as modems.contoso.local:7000"));
        }
        Ok(Arc::new(ModemBank { address: self.address.clone(), token: context.resolve("token", &self.token)? }))
    }
}

struct ModemBank {
    address: String,
    token: SecretString,
}

/// Why a request has no reply.
enum RequestError {
    /// The request was certainly not sent.
    NotSent(String),
    /// The request may have been processed.
    Lost(String),
}

impl RequestError {
    fn failure(&self) -> Failure {
        let (Self::NotSent(cause) | Self::Lost(cause)) = self;
        let sentence = format!("The modem bank cannot be reached: {}.", diagnostic_text(cause));
        Failure::new(FailureReason::CannotPlace, sentence)
    }
}

/// The replies to a request.
struct Replies(BufReader<TcpStream>);

impl Replies {
    /// Waits for the next reply: [`TOO_LONG`] if it is too long. `None`: the connection was lost.
    async fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        // Whatever a provider sends needs a limit.
        let length = (&mut self.0).take(MAX_REPLY).read_line(&mut line).await.ok()?;
        match line.strip_suffix('\n') {
            Some(reply) => Some(reply.trim_end().to_owned()),
            None => (u64::try_from(length) == Ok(MAX_REPLY)).then(|| TOO_LONG.to_owned()),
        }
    }
}

impl ModemBank {
    /// Sends a request.
    async fn send(&self, request: &str) -> Result<Replies, RequestError> {
        let connected = tokio::time::timeout(REPLY_LIMIT, TcpStream::connect(&self.address)).await;
        let connected = connected.map_err(|_| RequestError::NotSent("no connection in time".to_owned()))?;
        let mut connection = connected.map_err(|error| RequestError::NotSent(error.to_string()))?;
        let line = format!("{} {request}\n", self.token.expose_secret());
        connection.write_all(line.as_bytes()).await.map_err(|error| RequestError::Lost(error.to_string()))?;
        Ok(Replies(BufReader::new(connection)))
    }

    /// Sends a request, and waits for its first reply.
    async fn ask(&self, request: &str) -> Result<String, RequestError> {
        let mut replies = self.send(request).await?;
        let reply = tokio::time::timeout(REPLY_LIMIT, replies.next()).await.ok().flatten();
        reply.ok_or_else(|| RequestError::Lost("there was no reply".to_owned()))
    }

    /// Follows a call over one connection. `None`: the connection was lost before the call's end.
    async fn follow_once(&self, id: Uuid, approver: &Approver, on_step: StepSink<'_>) -> Option<Outcome> {
        let mut replies = self.send(&format!("FOLLOW {id}")).await.ok()?;
        loop {
            let reply = replies.next().await?;
            match reply.split(' ').collect::<Vec<_>>()[..] {
                ["RINGING"] => on_step(CallStep::Progress(Progress::Ringing)),
                ["ANSWERED"] => on_step(CallStep::Progress(Progress::Answered)),
                // B8: the approver judges, and nothing else here approves.
                ["PRESSED", keys, end] => return Some(approver.judge(answer(keys, end)).await),
                ["FAILED", reason] => return Some(Outcome::Failed(call_failure(reason))),
                // B9: anything else is a failure. The phone may still ring.
                _ => return Some(Outcome::Failed(self.abandon(id, malformed(&reply)).await)),
            }
        }
    }

    async fn end(&self, id: Uuid) -> Result<(), Failure> {
        match self.ask(&format!("END {id}")).await {
            Ok(reply) if reply == "ENDED" => Ok(()),
            Ok(reply) => Err(malformed(&reply)),
            Err(error) => Err(error.failure()),
        }
    }

    /// B21: hangs up a call that is no longer followed, and returns `failure`. If the call cannot be ended, its text says so.
    async fn abandon(&self, id: Uuid, failure: Failure) -> Failure {
        match tokio::time::timeout(HANG_UP_LIMIT, self.end(id)).await {
            Ok(Ok(())) => failure,
            _ => failure.explained("The phone may ring on."),
        }
    }
}

#[async_trait]
impl TelephonyBackend for ModemBank {
    async fn place(&self, call: &Call, _: StepSink<'_>) -> Result<CallRef, PlaceError> {
        // B5 and B6: unique for all time, without personal data.
        let id = Uuid::new_v4();
        // B22: the modem dials the extension.
        let extension = call.number.extension().unwrap_or("-");
        let code = code_to_say(call);
        // B10: only a request that was not sent, and a refusal, certainly ring no phone.
        match self.ask(&format!("CALL {id} {} {extension} {code}", call.number.e164())).await {
            Ok(reply) if reply == "ACCEPTED" => Ok(CallRef::new(id.to_string())),
            Ok(reply) => Err(match reply.strip_prefix("REFUSED ") {
                Some(reason) => PlaceError { may_ring: MayRing::No, failure: refusal(reason) },
                None => PlaceError { may_ring: MayRing::Yes, failure: malformed(&reply) },
            }),
            Err(error) => {
                let may_ring = if matches!(error, RequestError::NotSent(_)) { MayRing::No } else { MayRing::Yes };
                Err(PlaceError { may_ring, failure: error.failure() })
            }
        }
    }

    async fn follow(&self, reference: &CallRef, approver: &Approver, on_step: StepSink<'_>) -> Outcome {
        let id = match call_id(reference) {
            Ok(id) => id,
            Err(failure) => return Outcome::Failed(failure),
        };
        // B13: the bank repeats the steps of a call, so following can be dropped and begun again.
        for _ in 0..MAX_FOLLOW_TRIES {
            if let Some(outcome) = self.follow_once(id, approver, on_step).await {
                return outcome;
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
        let sentence = "The connection to the modem bank was lost during the call.";
        Outcome::Failed(self.abandon(id, Failure::new(FailureReason::CannotPlace, sentence)).await)
    }

    async fn hang_up(&self, reference: &CallRef) -> Result<(), Failure> {
        self.end(call_id(reference)?).await
    }

    // B11: a call goes on at the bank when this process ends.
    fn outlives_its_process(&self) -> bool {
        true
    }

    async fn check(&self) -> Result<String, Failure> {
        match self.ask("HELLO").await {
            Ok(reply) if reply == "READY" => Ok("modem bank; ready".to_owned()),
            Ok(reply) => Err(malformed(&reply)),
            Err(error) => Err(error.failure()),
        }
    }
}

/// B7: any text may come back as a reference, so it is sent only if it is an id.
fn call_id(reference: &CallRef) -> Result<Uuid, Failure> {
    Uuid::try_parse(reference.as_str()).map_err(|_| {
        let sentence = "The reference of the call is not one of a modem bank.";
        Failure::new(FailureReason::Interrupted, sentence)
    })
}

/// Returns the digits that the modem says, `-` if the method has no code.
fn code_to_say(call: &Call) -> &str {
    let digits = call.attempts.code(1).map(Code::as_bytes);
    digits.and_then(|digits| str::from_utf8(digits).ok()).unwrap_or("-")
}

fn answer(keys: &str, end: &str) -> Answer {
    let digits = if keys == "-" { Entry::default() } else { Entry::from_text(keys) };
    let ended_by = if end == "POUND" { EndedBy::Pound } else { EndedBy::Pause };
    Answer::Entry { attempt: 1, digits, ended_by }
}

fn call_failure(reason: &str) -> Failure {
    let (reason, sentence) = match reason {
        "BUSY" => (FailureReason::Unreachable, "The phone is busy."),
        "NO-ANSWER" => (FailureReason::Unreachable, "The phone was not answered."),
        "HUNG-UP" => (FailureReason::CallEnded, "The call was answered and hung up without a key."),
        other => return malformed(other),
    };
    Failure::new(reason, sentence)
}

fn refusal(reason: &str) -> Failure {
    let (reason, sentence) = match reason {
        "NUMBER" => (FailureReason::InvalidNumber, "The modem bank cannot dial the number."),
        "TOKEN" => (FailureReason::NotConfigured, "The modem bank does not accept the token."),
        "FULL" => (FailureReason::Throttled, "All modems are in use."),
        other => return malformed(other),
    };
    Failure::new(reason, sentence)
}

/// B19: text of the provider is sanitized.
fn malformed(reply: &str) -> Failure {
    let sentence = format!("The modem bank replied \"{}\", which is not known.", sanitize_untrusted(reply));
    Failure::new(FailureReason::CannotPlace, sentence)
}

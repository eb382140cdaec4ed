//! What an agent reports, and what it is asked for.

use std::fmt;

use crate::agent::flow::FlowId;
use crate::auth::{AuthError, Credentials};
use crate::message::{Host, SipUri};

/// Identifies a call of one agent. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(crate) u64);

/// Identifies a registration of one agent. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId(pub(crate) u64);

/// Identifies a probe of one agent. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(crate) u64);

/// Identifies a request of the peer that waits for the caller's response. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// A call to place.
///
/// URIs are written without angle brackets.
#[derive(Clone)]
pub struct OutboundCall {
    /// The Request-URI: a `sip:` or `sips:` URI with a user part.
    pub target: String,
    /// The URI of To. It should have neither port nor transport (RFC 3261, 19.1.1, table 1).
    pub to: String,
    /// The URI of From.
    pub from: String,
    /// The display name of From. Empty: none.
    pub from_name: String,
    /// The user part of Contact. Empty: none.
    pub contact_user: String,
    /// URIs of Route headers of the INVITE: outbound proxies, the first one first.
    pub routes: Vec<String>,
    /// More headers of the INVITE, such as P-Asserted-Identity.
    pub headers: Vec<(String, String)>,
    /// The session description that the INVITE offers.
    pub offer: Vec<u8>,
    /// Answers challenges. `None`: a challenge refuses the call.
    pub credentials: Option<Credentials>,
    /// Whether reliable provisional responses are supported (100rel, RFC 3262).
    pub reliable_provisional: bool,
    /// The session interval that is proposed, in seconds, at least 90 (RFC 4028). `None`: the INVITE proposes none.
    pub session_interval: Option<u32>,
    /// The trunk's own hosts. A redirection to the same user part at one of them is followed, any other is refused.
    pub trunk: Vec<Host>,
}

/// Shows sizes only, because the rest is personal.
impl fmt::Debug for OutboundCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundCall")
            .field("routes", &self.routes.len())
            .field("headers", &self.headers.len())
            .field("offer", &self.offer.len())
            .finish_non_exhaustive()
    }
}

/// What an agent reports.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Something about a call.
    Call(CallId, CallEvent),
    /// Something about a registration.
    Registration(RegistrationId, RegistrationEvent),
    /// The result of a probe, after which its id is unknown.
    Probe(ProbeId, ProbeResult),
    /// The stream cannot be read any further. Close the connection and report that by
    /// [`UserAgent::close_flow`](crate::agent::UserAgent::close_flow).
    FlowFailed(FlowId),
}

/// What happens to a call. [`CallEvent::Ended`] is the last event of each call.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum CallEvent {
    /// The INVITE is sent again for this reason.
    Retried(RetryReason),
    /// The trunk redirects the call to one of its own servers. Open a flow to it and call
    /// [`UserAgent::follow_redirect`](crate::agent::UserAgent::follow_redirect), or hang up.
    Redirected(SipUri),
    /// A provisional response above 100.
    Progress(Progress),
    /// The call is answered.
    Answered(Answered),
    /// The peer asks for another session. Respond with [`UserAgent::respond`](crate::agent::UserAgent::respond).
    Offer {
        /// The request to respond to.
        request: RequestId,
        /// The peer's offer, to be answered. `None`: the peer wants an offer, and its answer is in
        /// [`CallEvent::SessionAnswer`].
        description: Option<Vec<u8>>,
    },
    /// The peer answered an offer of this side in a later session. `None`: it sent no answer, so that the session stays
    /// as it was.
    SessionAnswer(Option<Vec<u8>>),
    /// An INFO. Respond with [`UserAgent::respond`](crate::agent::UserAgent::respond): 200, or 415 if it cannot be used.
    Info {
        /// The request to respond to.
        request: RequestId,
        /// The media type in lower case, without parameters. Empty if the header is missing or malformed.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
    /// The call has ended.
    Ended(Ended),
}

/// Shows no description and no body, because they may hold keys and digits.
impl fmt::Debug for CallEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retried(reason) => f.debug_tuple("Retried").field(reason).finish(),
            Self::Redirected(_) => f.write_str("Redirected"),
            Self::Progress(progress) => f.debug_tuple("Progress").field(progress).finish(),
            Self::Answered(answered) => f.debug_tuple("Answered").field(answered).finish(),
            Self::Offer { request, .. } => f.debug_struct("Offer").field("request", request).finish_non_exhaustive(),
            Self::SessionAnswer(answer) => f.debug_tuple("SessionAnswer").field(&answer.is_some()).finish(),
            Self::Info { request, .. } => f.debug_struct("Info").field("request", request).finish_non_exhaustive(),
            Self::Ended(ended) => f.debug_tuple("Ended").field(ended).finish(),
        }
    }
}

/// A provisional response (RFC 3261, 21.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Progress {
    /// The status, 101 to 199.
    pub status: u16,
    /// The session description, if the response has one: early media.
    pub description: Option<Vec<u8>>,
    /// Whether the peer says that it forwards the call: 181, Diversion or History-Info.
    pub is_forwarded: bool,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("status", &self.status)
            .field("has_description", &self.description.is_some())
            .field("is_forwarded", &self.is_forwarded)
            .finish()
    }
}

/// The answer to a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Answered {
    /// The peer's description that counts: the answer in the 2xx or in an earlier response of the same dialog, or its
    /// later offer. `None`: the peer sent none.
    pub description: Option<Vec<u8>>,
    /// Whether the description is an offer that the caller has responded to already, in an UPDATE before the answer.
    pub is_updated: bool,
    /// Whether the peer says that it forwarded the call.
    pub is_forwarded: bool,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered")
            .field("has_description", &self.description.is_some())
            .field("is_updated", &self.is_updated)
            .field("is_forwarded", &self.is_forwarded)
            .finish()
    }
}

/// Why an INVITE is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryReason {
    /// The server or a proxy asked for credentials.
    Challenged,
    /// The session interval was too short (422).
    SessionInterval,
    /// The trunk redirected the call, and the caller follows.
    Redirected,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Why.
    pub cause: EndCause,
    /// Whether a phone may have rung. False only if that is certain: no byte of an INVITE was sent, or a final response
    /// says that no phone was rung and no earlier response says that one was.
    pub may_have_rung: bool,
    /// Whether a phone may still ring or be in a call: a server does not respond. The agent cancels or hangs up as soon
    /// as it hears from the server, for as long as that makes sense.
    pub may_still_ring: bool,
}

/// Why a call has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// A final response refused the call.
    Refused(Refusal),
    /// The trunk redirected the call to another number or to a foreign host, or too often.
    RedirectRefused(Refusal),
    /// The challenge of the server or a proxy cannot be answered.
    AuthenticationFailed(Refusal, AuthError),
    /// The caller hung up before an answer.
    Cancelled,
    /// The caller hung up after the answer.
    HungUp,
    /// The peer hung up.
    PeerHungUp {
        /// The first cause of Q.850 in the BYE, if there is one.
        q850: Option<u16>,
        /// The value of Reason in the BYE, if there is one.
        reason: Option<PeerText>,
    },
    /// No final response came in time: to the INVITE at all, or before [`Config::max_ringing`](super::Config).
    NoResponse,
    /// The connection closed, or the INVITE could not be sent, before the call was answered.
    ConnectionLost,
    /// The peer no longer knows the call, does not acknowledge, or did not refresh the session in time (RFC 4028).
    SessionLost,
}

/// Text of the peer as it was written: at most 256 bytes, which may be any. `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerText(Vec<u8>);

impl PeerText {
    /// Keeps the first 256 bytes.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(text.get(..256).unwrap_or(text).to_vec())
    }

    /// Returns the bytes. They may hold personal data and control characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerText({} bytes)", self.0.len())
    }
}

/// A final response that refused a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status, 300 to 699.
    pub status: u16,
    /// The reason phrase.
    pub phrase: PeerText,
    /// The value of Reason, if there is one.
    pub reason: Option<PeerText>,
    /// The first cause of Q.850 in Reason, if there is one.
    pub q850: Option<u16>,
    /// Retry-After in seconds, if there is one.
    pub retry_after: Option<u32>,
}

/// The caller's response to [`CallEvent::Offer`] or [`CallEvent::Info`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// 200. To an offer: the answer, or the offer if the peer wants one. To INFO: `None`.
    Accept(Option<Vec<u8>>),
    /// A refusal with this status, 300 to 699: 488 to an offer, 415 to an INFO.
    Refuse(u16),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(description) => f.debug_tuple("Accept").field(&description.is_some()).finish(),
            Self::Refuse(status) => f.debug_tuple("Refuse").field(status).finish(),
        }
    }
}

/// A registration to make (RFC 3261, 10).
#[derive(Clone)]
pub struct NewRegistration {
    /// The URI of the registrar: a host without a user part.
    pub registrar: String,
    /// The address of record: the URI of To and From.
    pub address: String,
    /// The user part of Contact.
    pub contact_user: String,
    /// URIs of Route headers: outbound proxies.
    pub routes: Vec<String>,
    /// Proposed lifetime in seconds. Less than 60 counts as 60, more than 86,400 as that.
    pub expires: u32,
    /// Answers challenges.
    pub credentials: Option<Credentials>,
    /// Whether the contact is registered and kept. False: the registrar is asked once what it knows, without a
    /// Contact, so that nothing changes there.
    pub registers_contact: bool,
}

/// Shows sizes only, because the rest is personal.
impl fmt::Debug for NewRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRegistration")
            .field("routes", &self.routes.len())
            .field("expires", &self.expires)
            .field("registers_contact", &self.registers_contact)
            .finish_non_exhaustive()
    }
}

/// What happens to a registration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistrationEvent {
    /// The registrar accepted, for this many seconds. 0: it was asked without a contact.
    Registered {
        /// Seconds until the contact expires.
        expires: u32,
    },
    /// An attempt failed. The agent tries again, unless the registrar was asked without a contact.
    Failed(RegistrationFailure),
    /// The contact was removed, or could not be removed in time. The id is unknown after it.
    Ended,
}

/// Why an attempt to register failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistrationFailure {
    /// The registrar refused.
    Refused(Refusal),
    /// The challenge cannot be answered.
    AuthenticationFailed(Refusal, AuthError),
    /// No response came, or the connection closed.
    NoResponse,
    /// The registrar accepted the request, but keeps the contact for 0 seconds.
    NotKept,
}

/// The result of a probe by OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeResult {
    /// The server responded with this status. Any response shows that it is alive.
    Responded(u16),
    /// No response came in time, or the connection closed.
    NoResponse,
}

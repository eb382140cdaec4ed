//! Events of an agent, and the parameters of its commands.

use std::fmt;

use crate::agent::flow::FlowId;
use crate::auth::{AuthError, Credentials};
use crate::message::{Host, SipUri};

/// Identifies a call of one agent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub(crate) u64);

/// Identifies a registration of one agent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistrationId(pub(crate) u64);

/// Identifies a probe of one agent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(pub(crate) u64);

/// Identifies a request of the peer that waits for the caller's response. Never reused.
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
    /// The display name of From. May be empty.
    pub from_name: String,
    /// The user part of Contact. May be empty.
    pub contact_user: String,
    /// URIs of Route headers of the INVITE: outbound proxies, the first one first.
    pub routes: Vec<String>,
    /// Additional headers of the INVITE, such as P-Asserted-Identity.
    pub headers: Vec<(String, String)>,
    /// The session description that the INVITE offers.
    pub offer: Vec<u8>,
    /// Credentials for digest challenges. `None`: a challenge ends the call with [`EndCause::Rejected`].
    pub credentials: Option<Credentials>,
    /// Whether reliable provisional responses are supported (100rel, RFC 3262).
    pub reliable_provisional: bool,
    /// The proposed session interval in seconds (RFC 4028). Values below 90 are raised to 90. `None`: none is proposed.
    pub session_interval: Option<u32>,
    /// The trunk's hosts, in addition to that of `target`. A redirection to the same user part at one of them can be
    /// followed; any other ends the call.
    pub trunk: Vec<Host>,
}

/// Shows only sizes: the rest is personal data.
impl fmt::Debug for OutboundCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundCall")
            .field("routes", &self.routes.len())
            .field("headers", &self.headers.len())
            .field("offer", &self.offer.len())
            .finish_non_exhaustive()
    }
}

/// An event that [`UserAgent::poll_event`](crate::agent::UserAgent::poll_event) returns.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// An event of a call.
    Call(CallId, CallEvent),
    /// An event of a registration.
    Registration(RegistrationId, RegistrationEvent),
    /// The result of a probe. Its id is invalid afterwards.
    Probe(ProbeId, ProbeResult),
    /// The stream can no longer be parsed. Close the connection, then call
    /// [`UserAgent::close_flow`](crate::agent::UserAgent::close_flow).
    FlowFailed(FlowId),
}

/// An event of a call. [`CallEvent::Ended`] is the last one of each call.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum CallEvent {
    /// The INVITE was sent again, with other content, for this reason.
    Retried(RetryReason),
    /// The trunk redirects the call to one of its own servers. Open a flow to it and call
    /// [`UserAgent::follow_redirect`](crate::agent::UserAgent::follow_redirect), or hang up.
    Redirected(SipUri),
    /// A provisional response above 100.
    Provisional(ProvisionalResponse),
    /// A 2xx established the call.
    Established(Established),
    /// The peer wants to change the session. Respond with [`UserAgent::respond`](crate::agent::UserAgent::respond).
    SdpOffer {
        /// The request to respond to.
        request: RequestId,
        /// The SDP offer of the peer. `None`: the peer wants an offer from this side, and its SDP answer will follow in
        /// [`CallEvent::SdpAnswer`].
        description: Option<Vec<u8>>,
    },
    /// The SDP answer to an offer that this side sent during the call.
    SdpAnswer {
        /// The offer. That of a refresh repeats the latest description of this side, be it an offer or an answer.
        offer: Vec<u8>,
        /// The answer. `None`: the peer sent none, so the session does not change.
        description: Option<Vec<u8>>,
    },
    /// An INFO. Respond with [`UserAgent::respond`](crate::agent::UserAgent::respond): 200, or 415 if the body is not
    /// supported.
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

/// Shows neither descriptions nor bodies: they may contain keys and digits.
impl fmt::Debug for CallEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retried(reason) => f.debug_tuple("Retried").field(reason).finish(),
            Self::Redirected(_) => f.write_str("Redirected"),
            Self::Provisional(response) => f.debug_tuple("Provisional").field(response).finish(),
            Self::Established(answered) => f.debug_tuple("Established").field(answered).finish(),
            Self::SdpOffer { request, .. } => {
                f.debug_struct("SdpOffer").field("request", request).finish_non_exhaustive()
            }
            Self::SdpAnswer { description, .. } => f.debug_tuple("SdpAnswer").field(&description.is_some()).finish(),
            Self::Info { request, .. } => f.debug_struct("Info").field("request", request).finish_non_exhaustive(),
            Self::Ended(ended) => f.debug_tuple("Ended").field(ended).finish(),
        }
    }
}

/// A provisional response (RFC 3261, 21.1).
#[derive(Clone, PartialEq, Eq)]
pub struct ProvisionalResponse {
    /// The status, 101 to 199.
    pub status: u16,
    /// The session description, if the response has one: early media.
    pub description: Option<Vec<u8>>,
    /// Whether the peer reported that the call is forwarded: by 181, by Diversion, or by an entry of History-Info for
    /// another phone.
    pub is_forwarded: bool,
}

impl fmt::Debug for ProvisionalResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisionalResponse")
            .field("status", &self.status)
            .field("has_description", &self.description.is_some())
            .field("is_forwarded", &self.is_forwarded)
            .finish()
    }
}

/// The 2xx that established a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Established {
    /// The peer's description that is in effect: the SDP answer in the 2xx or in an earlier response of the same dialog,
    /// or its later offer. `None`: the peer sent none.
    pub description: Option<Vec<u8>>,
    /// Whether the description is the offer of an UPDATE before the 2xx, to which the caller has already responded.
    pub is_updated: bool,
    /// Whether the peer reported that the call was forwarded.
    pub is_forwarded: bool,
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("has_description", &self.description.is_some())
            .field("is_updated", &self.is_updated)
            .field("is_forwarded", &self.is_forwarded)
            .finish()
    }
}

/// Why an INVITE was sent again with other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryReason {
    /// The server or a proxy asked for credentials.
    Challenged,
    /// The session interval was too short (422).
    SessionInterval,
    /// The trunk redirected the call, and the caller followed.
    Redirected,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// What ended the call.
    pub cause: EndCause,
    /// Whether a phone may have rung. False only if it is certain that none did: no byte of an INVITE was sent, or the
    /// final response rules it out and no earlier response reported ringing.
    pub may_have_rung: bool,
    /// Whether a phone may still ring or be off the hook, because the server did not respond. While the INVITE is open,
    /// the agent cancels or hangs up as soon as the server responds; it stops waiting after
    /// [`Config::max_ringing`](super::Config) or 64 times T1, whichever is longer.
    pub may_still_ring: bool,
}

/// Why a call has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// A final response rejected the call.
    Rejected(Rejection),
    /// The trunk redirected the call to another number or to a host that is not the trunk's, or too often.
    RedirectRejected(Rejection),
    /// No credentials can be sent for the challenge of the server or a proxy.
    AuthenticationFailed(Rejection, AuthError),
    /// The caller hung up before the call was established.
    Cancelled,
    /// The caller hung up after the call was established.
    HungUp,
    /// The peer hung up.
    PeerHungUp {
        /// The first Q.850 cause in the BYE, if any.
        q850: Option<u16>,
        /// The value of Reason in the BYE, if any.
        reason: Option<PeerText>,
    },
    /// No response to the INVITE came within 64 times T1, or only provisional ones within
    /// [`Config::max_ringing`](super::Config). In the second case, a phone may have rung:
    /// [`Ended::may_have_rung`] says so if one was reported to ring.
    NoResponse,
    /// The connection closed, or the INVITE could not be sent, before the call was established.
    ConnectionLost,
    /// The peer no longer knows the call, does not acknowledge, or did not refresh the session in time (RFC 4028).
    SessionLost,
}

/// Text from the peer, cut to 256 bytes. It may contain any bytes. `Debug` shows only the length.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerText(Vec<u8>);

impl PeerText {
    /// Keeps the first 256 bytes.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(text.get(..256).unwrap_or(text).to_vec())
    }

    /// Returns the bytes. They may contain personal data and control characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerText({} bytes)", self.0.len())
    }
}

/// A final response that rejected a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status, 300 to 699.
    pub status: u16,
    /// The reason phrase.
    pub phrase: PeerText,
    /// The value of the first Reason, if any.
    pub reason: Option<PeerText>,
    /// The first Q.850 cause in Reason, if any.
    pub q850: Option<u16>,
    /// Retry-After in seconds, if any.
    pub retry_after: Option<u32>,
}

/// The caller's response to [`CallEvent::SdpOffer`] or [`CallEvent::Info`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// 200. For an SDP offer: the SDP answer, or an offer if the peer wants one. For INFO: `None`.
    Accept(Option<Vec<u8>>),
    /// A final response with this status, 300 to 699; any other value is sent as 500. Usually 488 for an offer, 415 for
    /// an INFO.
    Reject(u16),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(description) => f.debug_tuple("Accept").field(&description.is_some()).finish(),
            Self::Reject(status) => f.debug_tuple("Reject").field(status).finish(),
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
    /// Proposed lifetime in seconds, 60 to 86,400. Other values are raised or lowered to that range.
    pub expires: u32,
    /// Credentials for digest challenges. `None`: a challenge fails the attempt.
    pub credentials: Option<Credentials>,
    /// Whether to register the contact and keep it registered. False: the agent sends one REGISTER without Contact, a
    /// query that changes nothing at the registrar.
    pub registers_contact: bool,
}

/// Shows only sizes: the rest is personal data.
impl fmt::Debug for NewRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRegistration")
            .field("routes", &self.routes.len())
            .field("expires", &self.expires)
            .field("registers_contact", &self.registers_contact)
            .finish_non_exhaustive()
    }
}

/// An event of a registration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistrationEvent {
    /// The registrar accepted the REGISTER.
    Registered {
        /// Seconds until the contact expires. 0 after a query without a contact.
        expires: u32,
    },
    /// An attempt failed. The agent retries, unless it was a query without a contact.
    Failed(RegistrationFailure),
    /// The registration has ended: the contact was removed or could not be removed in time, or the query is complete.
    /// The id is invalid afterwards.
    Ended,
}

/// Why an attempt to register failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RegistrationFailure {
    /// The registrar rejected.
    Rejected(Rejection),
    /// No credentials can be sent for the challenge.
    AuthenticationFailed(Rejection, AuthError),
    /// No response came, the connection closed, or the request could not be sent.
    NoResponse,
    /// The registrar accepted the request, but granted a lifetime of 0 s.
    NotKept,
}

/// The result of a probe by OPTIONS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeResult {
    /// The server responded with this status. Any status means that the server is alive.
    Responded(u16),
    /// No response came in time, the connection closed, or the request could not be sent.
    NoResponse,
}

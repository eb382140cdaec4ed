//! Commands that an agent rejects, and why.

use thiserror::Error;

use super::event::OutboundCall;
use crate::message::{Host, MessageBuilder, Method, Uri, limits};

/// Why the agent rejected a command. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The limit in [`Config`](super::Config) is reached, or there are more than 8 routes.
    #[error("there are too many {0}")]
    TooMany(&'static str),
    /// The flow is closed.
    #[error("the flow is closed")]
    UnknownFlow,
    /// The call is not waiting for [`UserAgent::follow_redirect`](super::UserAgent::follow_redirect).
    #[error("the call is not waiting for a redirection to be followed")]
    NotRedirected,
    /// A redirection from an encrypted flow must be followed over an encrypted flow.
    #[error("the redirection leads from an encrypted connection to one without encryption")]
    WeakerTransport,
    /// A URI is malformed, has another scheme or an unspecified address; a text cannot be written into a header; or the
    /// offer is too long.
    #[error("{0} cannot be used")]
    Unusable(&'static str),
}

/// Checks the parameters of a call.
pub(super) fn check_call(call: &OutboundCall) -> Result<(), AgentError> {
    let target = check_uri(&call.target, "the Request-URI")?;
    let has_user = target.as_sip().is_some_and(|uri| uri.user().is_some());
    if !has_user {
        return Err(AgentError::Unusable("the Request-URI"));
    }
    check_uri(&call.to, "the URI of To")?;
    check_uri(&call.from, "the URI of From")?;
    check_routes(&call.routes)?;
    check_contact_user(&call.contact_user)?;
    let mut written = MessageBuilder::request(&Method::Invite, &call.target).header("From", &call.from_name);
    for (name, value) in &call.headers {
        written = written.header(name, value);
    }
    if written.build().is_err() {
        return Err(AgentError::Unusable("a header"));
    }
    if call.offer.len() > limits::MESSAGE / 2 {
        return Err(AgentError::Unusable("the offer"));
    }
    Ok(())
}

/// Checks that a URI is `sip:` or `sips:`, and that its host is not an unspecified address.
pub(super) fn check_uri(text: &str, name: &'static str) -> Result<Uri, AgentError> {
    let uri = Uri::parse(text).map_err(|_| AgentError::Unusable(name))?;
    let is_reachable = uri.as_sip().is_some_and(|uri| !matches!(uri.host(), Host::Ip(ip) if ip.is_unspecified()));
    if is_reachable { Ok(uri) } else { Err(AgentError::Unusable(name)) }
}

/// Maximum outbound proxies of a call or a registration.
const MAX_ROUTES: usize = 8;

/// Checks the URIs of outbound proxies.
pub(super) fn check_routes(routes: &[String]) -> Result<(), AgentError> {
    if routes.len() > MAX_ROUTES {
        return Err(AgentError::TooMany("routes"));
    }
    routes.iter().try_for_each(|route| check_uri(route, "the URI of a route").map(drop))
}

/// Checks that a user part needs no escape in a URI.
pub(super) fn check_contact_user(user: &str) -> Result<(), AgentError> {
    let uri = format!("sip:{user}@192.0.2.1");
    let is_user =
        user.is_empty() || Uri::parse(&uri).is_ok_and(|uri| uri.as_sip().is_some_and(|uri| uri.user() == Some(user)));
    if is_user && user.len() <= limits::URI / 2 {
        Ok(())
    } else {
        Err(AgentError::Unusable("the user part of Contact"))
    }
}

//! INVITEs that are sent again after a rejection: with credentials, another session interval, or to another server.

use super::responses::challenges;
use super::{Call, Stage};
use crate::agent::AgentError;
use crate::agent::core::Core;
use crate::agent::event::{CallEvent, EndCause, Rejection, RetryReason};
use crate::agent::flow::{FlowId, Transport};
use crate::auth::{AuthError, RequestAuth};
use crate::dialog::writable;
use crate::message::{Host, Message, NameAddr, SipUri, Uri};

impl Call {
    /// Sends the INVITE again with credentials. Returns the end cause if that is impossible.
    pub(super) fn authorize_again(
        &mut self,
        core: &mut Core,
        rejection: Rejection,
        response: &Message,
    ) -> Option<EndCause> {
        let Some(auth) = &mut self.auth else { return Some(EndCause::Rejected(rejection)) };
        if let Err(error) = auth.challenged(&mut self.invite_auth, challenges(response)) {
            return Some(EndCause::AuthenticationFailed(rejection, error));
        }
        if !self.may_retry() {
            return Some(EndCause::AuthenticationFailed(rejection, AuthError::TooManyChallenges));
        }
        self.retry(core, RetryReason::Challenged);
        None
    }

    /// Sends the INVITE again with the session interval that the peer requires (RFC 4028, 7.4). Returns the end cause
    /// if that is impossible.
    pub(super) fn raise_interval(
        &mut self,
        core: &mut Core,
        rejection: Rejection,
        response: &Message,
    ) -> Option<EndCause> {
        let minimum = response.min_se().ok().flatten();
        let current = self.session_interval.unwrap_or(0).max(self.min_interval.unwrap_or(0));
        let Some(minimum) = minimum.filter(|minimum| *minimum > current) else {
            return Some(EndCause::Rejected(rejection));
        };
        if !self.may_retry() {
            return Some(EndCause::Rejected(rejection));
        }
        self.session_interval = Some(minimum);
        self.min_interval = Some(minimum);
        self.retry(core, RetryReason::SessionInterval);
        None
    }

    /// Asks the caller to follow a redirection to one of the trunk's own servers. Returns the end cause if it leads
    /// elsewhere.
    pub(super) fn redirect(&mut self, core: &mut Core, rejection: Rejection, response: &Message) -> Option<EndCause> {
        let mut contacts = response.contacts().unwrap_or_default();
        // The most preferred one first; those of one preference stay in their order.
        contacts.sort_by(|one, other| preference(other).total_cmp(&preference(one)));
        let target = contacts.into_iter().find_map(|contact| match contact.uri() {
            Ok(Uri::Sip(uri)) if self.is_own_server(&uri) && !self.was_target(&writable(&uri)) => Some(uri),
            _ => None,
        });
        let Some(target) = target.filter(|_| self.may_retry()) else {
            return Some(EndCause::RedirectRejected(rejection));
        };
        self.targets.push(std::mem::replace(&mut self.setup.target, writable(&target)));
        self.stage = Stage::Redirecting;
        self.stage_ends_at = Some(core.now.saturating_add(core.config.max_ringing));
        self.emit(core, CallEvent::Redirected(target));
        None
    }

    /// Returns whether the call was sent to this Request-URI already.
    fn was_target(&self, uri: &str) -> bool {
        self.setup.target == uri || self.targets.iter().any(|target| target == uri)
    }

    /// Returns whether a redirection leads to the same number at one of the trunk's own servers, and is not less secure.
    fn is_own_server(&self, uri: &SipUri) -> bool {
        let Ok(Uri::Sip(asked)) = Uri::parse(&self.setup.target) else { return false };
        let is_trunk = *uri.host() == *asked.host() || self.setup.trunk.contains(uri.host());
        let is_safe = uri.is_secure() || !asked.is_secure();
        // `maddr` would name another host than the one that is checked here (RFC 3261, 19.1.1).
        let is_trunk = is_trunk && !uri.params().has("maddr");
        asked.user().is_some()
            && uri.has_same_user(&asked)
            && is_trunk
            && is_safe
            && !matches!(uri.host(), Host::Ip(ip) if ip.is_unspecified())
    }

    /// Sends the INVITE to the server that a redirection named.
    pub(crate) fn follow_redirect(
        &mut self,
        core: &mut Core,
        flow: FlowId,
        transport: Transport,
    ) -> Result<(), AgentError> {
        if self.stage != Stage::Redirecting {
            return Err(AgentError::NotRedirected);
        }
        if self.is_encrypted && transport != Transport::Tls {
            return Err(AgentError::WeakerTransport);
        }
        self.flow = flow;
        self.path = core.flow(flow).or(self.path);
        if let Some(auth) = &mut self.auth {
            auth.forget_challenges();
        }
        self.invite_auth = RequestAuth::default();
        self.retry(core, RetryReason::Redirected);
        self.update_timer(core);
        Ok(())
    }
}

/// The preference of a Contact, from 0 to 1 (RFC 3261, 20.10).
fn preference(contact: &NameAddr) -> f32 {
    let q = contact.params().get("q").and_then(|q| q.parse().ok());
    q.filter(|q: &f32| (0.0..=1.0).contains(q)).unwrap_or(1.0)
}

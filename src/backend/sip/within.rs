//! Our own requests within a call, and its end.
//!
//! The stack would send them too, but it cannot answer their challenges as [`digest`](super::digest) does, and takes a
//! challenge for the end of the call: the trunk would then never hear of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rsipstack::dialog::dialog::DialogState;
use rsipstack::dialog::invitation::InviteAsyncResult;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::platform::JoinHandle;
use rsipstack::sip::{Header, Method, Response, StatusCodeKind, ToTypedHeader};

use super::digest::{Challenges, Credentials};
use super::link::Link;
use super::trust::route;

/// How long an INVITE may go on after its CANCEL (RFC 3261, section 9.1: 64 times T1).
const CANCELLED_WITHIN: Duration = Duration::from_secs(32);

/// What our requests within a call have in common. The last one that holds it makes the link forget the call.
pub(super) struct Within {
    link: Arc<Link>,
    pub(super) dialog: InviteDialog,
    /// The number of the last request that is not the stack's; 0 before the first.
    sequence: AtomicU32,
    challenges: Mutex<Challenges>,
    credentials: Option<Credentials>,
}

impl Within {
    pub(super) fn new(
        link: &Arc<Link>,
        dialog: InviteDialog,
        challenges: Challenges,
        credentials: Option<Credentials>,
    ) -> Self {
        link.calls.remember(&dialog.id().call_id);
        let (sequence, challenges) = (AtomicU32::new(0), Mutex::new(challenges));
        Self { link: Arc::clone(link), dialog, sequence, challenges, credentials }
    }

    /// Waits until the connection to the server is lost, if it is one.
    pub(super) async fn lost(&self) {
        self.link.lost().await;
    }

    /// Why the other side hung up, in its own words.
    pub(super) fn reason_of_bye(&self) -> Option<String> {
        self.link.calls.reason(&self.dialog.id().call_id)
    }

    /// Sends a request, answering challenges, and returns the final answer.
    ///
    /// # Errors
    /// Why there was none.
    pub(super) async fn request(&self, method: Method, headers: &[Header], body: &[u8]) -> Result<Response, String> {
        loop {
            let dialog = self.dialog.snapshot();
            let sequence = self.next_sequence(dialog.local_cseq);
            let uri = dialog.remote_uri;
            let call_id = Some(dialog.id.call_id.into());
            let mut request = self.link.make_request(method, uri.clone(), dialog.from, dialog.to, sequence, call_id)?;
            for header in dialog.local_contact.iter().map(|uri| Header::Contact(format!("<{uri}>").into())) {
                request.headers.push(header);
            }
            let first_hop = dialog.route_set.first().and_then(|route| route.typed().ok()).map(|route| route.uri);
            let destination = self.link.guard.next_hop(first_hop.as_ref().unwrap_or(&uri));
            for route in &dialog.route_set {
                request.headers.push(Header::Route(route.clone()));
            }
            if dialog.route_set.is_empty() && method == Method::Invite {
                // The stack sends the ACK to where the answer's Contact leads, unless the request had a route.
                request.headers.push(Header::Route(route(&destination.addr).into()));
            }
            for header in headers {
                request.headers.push(header.clone());
            }
            if let Some(credentials) = &self.credentials {
                let method = method.to_string();
                for header in self.challenges.lock().answers(credentials, &method, &uri.to_string(), body) {
                    request.headers.push(header);
                }
            }
            request.body = body.to_vec();
            let response = self.link.exchange(request, destination).await?;
            let is_challenge = matches!(response.status_code.code(), 401 | 407) && self.credentials.is_some();
            if !is_challenge || !self.challenges.lock().learn(&response) {
                return Ok(response);
            }
        }
    }

    /// The number of our next request, given the last one of the stack's.
    fn next_sequence(&self, stack: u32) -> u32 {
        let next = |last: u32| last.max(stack).saturating_add(1);
        match self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))) {
            Ok(last) | Err(last) => next(last),
        }
    }

    /// Ends the call, whatever has become of it: BYE, or CANCEL and, where the answer crosses it, BYE.
    ///
    /// # Errors
    /// Why it may go on.
    pub(super) async fn end(self: Arc<Self>, invite: Option<JoinHandle<InviteAsyncResult>>) -> Result<(), String> {
        if let Some(mut invite) = invite {
            // From its first poll on the stack itself ends an answer that crosses the CANCEL.
            let cancelled = tokio::select! {
                biased;
                cancelled = self.dialog.cancel() => Some(cancelled.map_err(|error| error.to_string())),
                _ = &mut invite => None,
            };
            if let Some(cancelled) = cancelled {
                if matches!(self.dialog.state(), DialogState::Calling(_)) {
                    // Nobody has answered yet. Dropped, the INVITE is sent no more, and cancelled if somebody does.
                    invite.abort();
                    let _ = invite.await;
                } else if tokio::time::timeout(CANCELLED_WITHIN, &mut invite).await.is_err() {
                    invite.abort();
                    return cancelled.and(Err("the trunk did not end it when it was told to".to_owned()));
                }
            }
            if !self.dialog.state().is_confirmed() {
                return Ok(());
            }
        }
        self.bye().await
    }

    /// # Errors
    /// Why the call may go on.
    pub(super) async fn bye(&self) -> Result<(), String> {
        let response = self.request(Method::Bye, &[], b"").await?;
        match response.status_code.code() {
            // It is gone already (RFC 3261, section 15.1.1).
            408 | 481 => Ok(()),
            _ if response.status_code.kind() == StatusCodeKind::Successful => Ok(()),
            code => Err(format!("the trunk answered {code} to BYE")),
        }
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let id = self.dialog.id();
        self.link.dialogs.remove_dialog(&id);
        self.link.calls.forget(&id.call_id);
    }
}

//! The end of a call: CANCEL, BYE, and what may still ring.

use super::{Call, Closing, PeerRequestKind, Purpose, Stage};
use crate::agent::core::Core;
use crate::agent::event::{CallEvent, EndCause, Ended};

impl Call {
    /// Hangs up: by CANCEL before the 2xx, by BYE after it. The end is reported when the peer confirms it or fails to
    /// respond in time.
    pub(crate) fn hang_up(&mut self, core: &mut Core) {
        match self.stage {
            Stage::Inviting => {
                self.is_hang_up_requested = true;
                // Before a provisional response the server may not know the INVITE yet (RFC 3261, 9.1).
                if self.invite.as_ref().is_some_and(|invite| invite.is_proceeding) {
                    self.send_cancel(core);
                }
            }
            Stage::Redirecting => self.finish(core, EndCause::Cancelled),
            Stage::Established(fork) => {
                self.send_bye(core, fork);
                self.close(core, Closing::HungUp);
            }
            Stage::Closing(_) | Stage::Over => {}
        }
        self.update_timer(core);
    }

    /// Enters the stage that waits for the peer's confirmation of a BYE.
    pub(super) fn close(&mut self, core: &mut Core, closing: Closing) {
        self.stage = Stage::Closing(closing);
        self.stage_ends_at = None;
        self.reject_peer_requests(core);
    }

    /// Handles the response to a BYE, or its timeout.
    pub(super) fn handle_hung_up(&mut self, core: &mut Core, is_confirmed: bool) {
        self.has_failed_bye |= !is_confirmed;
        let Stage::Closing(closing) = self.stage else { return };
        if self.is_hanging_up() {
            return;
        }
        self.report_end(core, closing.cause(), self.has_failed_bye || self.invite_is_open());
    }

    /// Reports the end now. Phones that may still ring are cancelled when the server responds.
    pub(super) fn finish(&mut self, core: &mut Core, cause: EndCause) {
        let may_still_ring = self.invite_is_open() || self.is_hanging_up() || self.has_failed_bye;
        self.report_end(core, cause, may_still_ring);
    }

    fn report_end(&mut self, core: &mut Core, cause: EndCause, may_still_ring: bool) {
        self.stage = Stage::Over;
        self.reject_peer_requests(core);
        self.drop_requests(core, |request| request.purpose != Purpose::Bye);
        let may_have_rung = self.may_have_rung || may_still_ring;
        self.emit(core, CallEvent::Ended(Ended { cause, may_have_rung, may_still_ring }));
        self.setup.offer = Vec::new();
        self.setup.headers = Vec::new();
        for fork in &mut self.forks {
            fork.timer = None;
            fork.description = None;
            fork.local_description = Vec::new();
        }
        if self.invite_is_open() {
            let is_proceeding = self.invite.as_ref().is_some_and(|invite| invite.is_proceeding);
            // After a hang-up, the first CANCEL had no effect. The next one is sent when a response shows that the
            // phone still rings.
            if is_proceeding && !self.is_hang_up_requested {
                self.send_cancel(core);
            }
            let wait = core.config.max_ringing.max(core.config.timers.timeout());
            self.stage_ends_at = Some(core.now.saturating_add(wait));
        } else {
            self.keep_for_retransmissions(core);
        }
    }

    /// Keeps an ended call while retransmissions of its messages, or 2xx of late forks, may arrive.
    pub(super) fn keep_for_retransmissions(&mut self, core: &mut Core) {
        if self.stage == Stage::Over {
            self.stage_ends_at = Some(core.now.saturating_add(core.config.timers.timeout()));
        }
    }

    /// Handles the timeout of the stage.
    pub(super) fn handle_stage_timeout(&mut self, core: &mut Core) {
        match self.stage {
            Stage::Inviting if self.is_hang_up_requested => self.finish(core, EndCause::Cancelled),
            // It rang for too long.
            Stage::Inviting => self.finish(core, EndCause::NoResponse),
            Stage::Redirecting => self.finish(core, EndCause::Cancelled),
            Stage::Over => {
                // The server never sent a final response to the INVITE. By now it has dropped the transaction.
                if let Some(invite) = &mut self.invite {
                    invite.is_final = true;
                    core.remove_client(invite.key);
                    core.remove_client(invite.key.cancel());
                }
            }
            Stage::Established(_) | Stage::Closing(_) => {}
        }
    }

    /// Rejects the requests of the peer that the caller has not responded to.
    fn reject_peer_requests(&mut self, core: &mut Core) {
        for request in std::mem::take(&mut self.peer_requests) {
            let status = match request.kind {
                PeerRequestKind::Offer { is_invite: true, .. } => 487,
                PeerRequestKind::Offer { .. } | PeerRequestKind::Info => 481,
            };
            core.respond(request.id, status, |response| response);
        }
    }

    fn is_hanging_up(&self) -> bool {
        self.requests.iter().any(|request| request.purpose == Purpose::Bye)
    }
}

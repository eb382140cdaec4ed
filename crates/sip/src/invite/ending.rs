//! The end of a call: CANCEL, BYE, and what may still ring.

use super::{Call, Closing, PeerRequestKind, Purpose, Stage};
use crate::agent::core::Core;
use crate::agent::event::{CallEvent, EndCause, Ended};

impl Call {
    /// Ends the call by what fits: CANCEL before the answer, BYE after it. The end is reported when the peer has confirmed
    /// it, or does not respond in time.
    pub(crate) fn hang_up(&mut self, core: &mut Core) {
        match self.stage {
            Stage::Inviting => {
                self.hang_up_wanted = true;
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

    /// Waits for the peer's confirmation of a BYE.
    pub(super) fn close(&mut self, core: &mut Core, closing: Closing) {
        self.stage = Stage::Closing(closing);
        self.give_up_at = None;
        self.refuse_peer_requests(core);
    }

    /// The BYE was answered, or was not answered in time.
    pub(super) fn handle_hung_up(&mut self, core: &mut Core, is_confirmed: bool) {
        self.has_failed_bye |= !is_confirmed;
        let Stage::Closing(closing) = self.stage else { return };
        if self.is_hanging_up() {
            return;
        }
        self.report_end(core, closing.cause(), self.has_failed_bye);
    }

    /// Reports the end now. What may still ring is ended later.
    pub(super) fn finish(&mut self, core: &mut Core, cause: EndCause) {
        let may_still_ring = self.invite_is_open() || self.is_hanging_up() || self.has_failed_bye;
        self.report_end(core, cause, may_still_ring);
    }

    fn report_end(&mut self, core: &mut Core, cause: EndCause, may_still_ring: bool) {
        self.stage = Stage::Over;
        self.refuse_peer_requests(core);
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
            // After a hang-up, the CANCEL had no effect so far: another one waits for a sign that the phone still rings.
            if is_proceeding && !self.hang_up_wanted {
                self.send_cancel(core);
            }
            let wait = core.config.max_ringing.max(core.config.timers.timeout());
            self.give_up_at = Some(core.now.saturating_add(wait));
        } else {
            self.keep_for_repetitions(core);
        }
    }

    /// Keeps an ended call for as long as repetitions of its messages may arrive, and answers of late forks.
    pub(super) fn keep_for_repetitions(&mut self, core: &mut Core) {
        if self.stage == Stage::Over {
            self.give_up_at = Some(core.now.saturating_add(core.config.timers.timeout()));
        }
    }

    /// The stage lasted too long.
    pub(super) fn handle_give_up(&mut self, core: &mut Core) {
        match self.stage {
            Stage::Inviting if self.hang_up_wanted => self.finish(core, EndCause::Cancelled),
            // It rang for too long.
            Stage::Inviting => self.finish(core, EndCause::NoResponse),
            Stage::Redirecting => self.finish(core, EndCause::Cancelled),
            Stage::Over => {
                // Nothing was heard of the INVITE: the server has forgotten it by now.
                if let Some(invite) = &mut self.invite {
                    invite.is_final = true;
                    core.remove_client(invite.key);
                    core.remove_client(invite.key.cancel());
                }
            }
            Stage::Established(_) | Stage::Closing(_) => {}
        }
    }

    /// Responds to what the peer asked and the caller has not answered.
    fn refuse_peer_requests(&mut self, core: &mut Core) {
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

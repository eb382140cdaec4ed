//! A dialog of a call.

use super::SessionTimer;
use crate::agent::flow::FlowId;
use crate::dialog::Dialog;

/// A dialog that a response to the INVITE created.
pub(super) struct Fork {
    pub(super) id: u32,
    pub(super) dialog: Dialog,
    /// The flow to its server: that of its INVITE, or its replacement.
    pub(super) flow: FlowId,
    /// Whether the INVITE succeeded in this dialog.
    pub(super) is_confirmed: bool,
    /// Whether the peer has sent BYE, which may arrive before its 2xx.
    pub(super) is_ended_by_peer: bool,
    /// Whether this side's BYE got no response. It is sent again when the peer sends something.
    pub(super) is_bye_unconfirmed: bool,
    /// The ACKs of the latest INVITEs in this dialog, by CSeq, newest last. Sent again for each retransmitted 2xx.
    pub(super) acks: Vec<(u32, Vec<u8>)>,
    /// The RSeq of the last reliable provisional response (RFC 3262, 4).
    pub(super) rseq: Option<u32>,
    /// The peer's latest description.
    pub(super) description: Option<Vec<u8>>,
    /// Whether the INVITE's offer has its SDP answer, so that a description in a later response is ignored.
    pub(super) is_agreed: bool,
    /// Whether the description is an offer of the peer that this side has accepted.
    pub(super) is_updated: bool,
    /// The description that this side sent last.
    pub(super) local_description: Vec<u8>,
    pub(super) allows_update: bool,
    pub(super) timer: Option<SessionTimer>,
}

impl Fork {
    /// Creates a fork without a 2xx. `offer` is the description that this side sent in the INVITE.
    pub(super) fn new(id: u32, dialog: Dialog, flow: FlowId, offer: Vec<u8>) -> Self {
        Self {
            id,
            dialog,
            flow,
            is_confirmed: false,
            is_ended_by_peer: false,
            is_bye_unconfirmed: false,
            acks: Vec::new(),
            rseq: None,
            description: None,
            is_agreed: false,
            is_updated: false,
            local_description: offer,
            allows_update: false,
            timer: None,
        }
    }
}

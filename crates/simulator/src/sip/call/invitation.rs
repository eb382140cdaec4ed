//! The INVITE that begins a call.

use std::net::SocketAddr;

use phonegate_media::sdp::{Codec, Encryption, LocalSession, PeerOffer};
use phonegate_sip::agent::response::ResponseBuilder;
use phonegate_sip::body::session_description;
use phonegate_sip::message::{Essentials, Message, header};

use super::super::requests::{Peer, number_in, required_extensions, response};
use super::dialog::RequestKey;

/// An INVITE that can begin a call.
pub(in crate::sip) struct Invitation {
    /// The request.
    pub(in crate::sip) invite: Message,
    /// Where it came from.
    pub(in crate::sip) peer: Peer,
    pub(super) offer: PeerOffer,
    pub(super) key: RequestKey,
    /// The number that is called.
    pub(in crate::sip) number: String,
    /// The number that calls.
    pub(in crate::sip) caller: String,
}

impl Invitation {
    /// Checks an INVITE. Returns the response if it cannot begin a call.
    pub(in crate::sip) fn read(
        invite: &Message,
        essentials: &Essentials<'_>,
        peer: Peer,
        (local, tag): (SocketAddr, &str),
    ) -> Result<Self, ResponseBuilder> {
        let refuse = |status| response(invite, peer, status, tag);
        if let Some(extensions) = required_extensions(invite) {
            return Err(refuse(420).header(header::UNSUPPORTED, extensions));
        }
        let Ok(Some(uri)) = invite.request_uri() else { return Err(refuse(400)) };
        let Some(description) = session_description(invite) else { return Err(refuse(488)) };
        let session = LocalSession::new(local, 0, Encryption::Off);
        let offer = session.check_offer(description).map_err(|error| {
            // RFC 3261, 20.43: 399 is a warning of any other kind.
            let problem = error.to_string().replace(['"', '\\'], "'");
            refuse(488).header(header::WARNING, format!("399 simulator \"cannot be used: {problem}\""))
        })?;
        if offer.remote().codec != Codec::Pcmu {
            return Err(refuse(488).header(header::WARNING, "399 simulator \"only PCMU is supported\""));
        }
        Ok(Self {
            invite: invite.clone(),
            peer,
            offer,
            key: RequestKey::new(essentials),
            number: number_in(&uri),
            caller: essentials.from.uri().map(|uri| number_in(&uri)).unwrap_or_default(),
        })
    }
}

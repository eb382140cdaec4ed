//! What the other side wants changed in a call (re-INVITE, UPDATE), and the timers that keep a session alive (RFC 4028).

use std::time::Duration;

use rsipstack::dialog::dialog::TransactionHandle;
use rsipstack::sip::message::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, StatusCode};

/// The shortest session that is agreed to, in seconds: what RFC 4028 (section 5) recommends.
const MIN_SESSION: u64 = 90;

/// A re-INVITE or an UPDATE.
#[derive(Debug)]
pub(super) struct Offer {
    /// None where it only keeps the session alive, or wants an offer of ours.
    pub(super) sdp: Option<Vec<u8>>,
    wants_offer: bool,
    session: Option<Session>,
    handle: TransactionHandle,
}

/// How long a session lives without being refreshed, and who refreshes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    seconds: u64,
    pub(super) ours_to_refresh: bool,
}

impl Offer {
    pub(super) fn new(request: Request, handle: TransactionHandle) -> Self {
        let session = Session::of_request(&request);
        let sdp = Some(request.body).filter(|body| !body.is_empty());
        Self { wants_offer: request.method == Method::Invite && sdp.is_none(), sdp, session, handle }
    }

    /// Must the answer have an offer of ours in it?
    pub(super) fn wants_offer(&self) -> bool {
        self.wants_offer
    }

    pub(super) fn session(&self) -> Option<Session> {
        self.session
    }

    /// Accepts it with a session description, or refuses it: 488.
    pub(super) async fn answer(self, sdp: Result<Option<String>, ()>) {
        let (status, mut headers) = match sdp {
            Ok(_) => (StatusCode::OK, vec![Header::Supported("timer".into())]),
            Err(()) => (StatusCode::NotAcceptableHere, Vec::new()),
        };
        if let (StatusCode::OK, Some(session)) = (&status, self.session) {
            let refresher = if session.ours_to_refresh { "uas" } else { "uac" };
            headers.push(Header::SessionExpires(format!("{};refresher={refresher}", session.seconds).into()));
            if !session.ours_to_refresh {
                headers.push(Header::Require("timer".into()));
            }
        }
        let body = sdp.ok().flatten();
        if body.is_some() {
            headers.push(Header::ContentType("application/sdp".into()));
        }
        // Where the other side has gone meanwhile there is nobody to tell.
        let _ = self.handle.respond(status, Some(headers), body.map(String::into_bytes)).await;
    }

    /// Refuses a session that is too short: it would have both sides refresh it all the time.
    pub(super) async fn refuse_as_too_short(self) {
        let headers = vec![Header::MinSE(MIN_SESSION.to_string().into())];
        let _ = self.handle.respond(StatusCode::SessionIntervalTooSmall, Some(headers), None).await;
    }
}

impl Session {
    /// What a request of the other side asks for. Without a word it refreshes itself, if it can (RFC 4028, section 9).
    fn of_request(request: &Request) -> Option<Self> {
        let (seconds, refresher) = parse(&request.header_value("Session-Expires")?)?;
        let theirs = match refresher.as_deref() {
            Some(refresher) => refresher == "uac",
            None => request.header_contains_token("Supported", "timer"),
        };
        Some(Self { seconds, ours_to_refresh: !theirs })
    }

    /// What was agreed on by the answer to a request of ours.
    pub(super) fn of_answer(response: &Response) -> Option<Self> {
        let (seconds, refresher) = parse(&response.header_value("Session-Expires")?)?;
        Some(Self { seconds, ours_to_refresh: refresher.as_deref() != Some("uas") })
    }

    pub(super) fn is_too_short(self) -> bool {
        self.seconds < MIN_SESSION
    }

    /// How often it is refreshed: at half of its time (RFC 4028, section 10).
    pub(super) fn refresh_every(self) -> Duration {
        Duration::from_secs((self.seconds / 2).max(1))
    }
}

fn parse(value: &str) -> Option<(u64, Option<String>)> {
    let value = value.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let seconds = parts.next()?.parse().ok()?;
    let refresher = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        (name.trim() == "refresher").then(|| value.trim().to_owned())
    });
    Some((seconds, refresher))
}

/// The headers of an INVITE whose session was refused as too short (422), so that it is not again.
pub(super) fn longer_session(response: &Response) -> Option<Vec<Header>> {
    let value = response.header_value("Min-SE")?;
    let seconds: u32 = value.split(';').next()?.trim().parse().ok()?;
    Some(vec![Header::SessionExpires(seconds.to_string().into()), Header::MinSE(seconds.to_string().into())])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn who_refreshes_a_session_is_told_from_its_header() {
        for (header, supported, expected) in [
            ("1800;refresher=uac", "timer", Some((1800, false))),
            ("1800 ; Refresher = UAS", "timer", Some((1800, true))),
            ("1800", "100rel, timer", Some((1800, false))),
            ("1800;x=y", "100rel", Some((1800, true))),
            ("soon", "timer", None),
            ("", "timer", None),
        ] {
            let headers = vec![Header::SessionExpires(header.into()), Header::Supported(supported.into())];
            let request = Request {
                method: Method::Update,
                uri: "sip:1@x".try_into().unwrap(),
                version: Default::default(),
                headers: headers.clone().into(),
                body: Vec::new(),
            };
            let found = Session::of_request(&request).map(|session| (session.seconds, session.ours_to_refresh));
            assert_eq!(found, expected, "{header}");
        }
    }

    #[test]
    fn in_an_answer_we_are_the_uac() {
        for (header, ours) in [("100;refresher=uac", true), ("100;refresher=uas", false), ("100", true)] {
            let headers = vec![Header::SessionExpires(header.into())];
            let response = Response { headers: headers.into(), ..Response::default() };
            let session = Session::of_answer(&response).unwrap();
            assert_eq!((session.ours_to_refresh, session.refresh_every()), (ours, Duration::from_secs(50)), "{header}");
        }
    }
}

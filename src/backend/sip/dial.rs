//! Ringing a number over one connection: the INVITE, its challenges and its redirects.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::{Header, Host, Response, Uri};

use super::digest::Challenges;
use super::leg::{Leg, LegEvent};
use super::link::Link;
use super::media::Media;
use super::offer::longer_session;
use super::peer::Peer;
use super::settings::Settings;

/// The longest that is waited for the first answer of any kind.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often a call may be redirected (3xx).
const REDIRECTS: usize = 3;

/// What became of an INVITE.
pub(super) enum Dialled {
    /// The phone rings, or somebody answered.
    Ringing(Box<Leg>),
    /// Refused before any phone rang.
    Refused(Box<Response>),
    /// The trunk asked for the password again, by a weaker algorithm than before.
    Weakened(Box<Response>),
    /// There was no answer of any kind.
    Silent(String),
    /// The trunk took it, and nothing more is known.
    Broken(String),
}

/// Rings `target` and waits until its phone rings.
pub(super) async fn dial(settings: &Settings, link: &Arc<Link>, trunk: &Peer, target: Uri, media: &Media) -> Dialled {
    let mut target = target;
    let mut visited = vec![target.to_string()];
    let mut challenges = Challenges::default();
    let mut session: Option<Vec<Header>> = None;
    let call_id = format!("{}@{}", uuid::Uuid::from_u128(fastrand::u128(..)).simple(), link.local.ip());
    loop {
        let offer = media.offer();
        let mut headers = session.clone().unwrap_or_default();
        if let Some(credentials) = &settings.credentials {
            headers.extend(challenges.answers(credentials, "INVITE", &target.to_string(), offer.as_bytes()));
        }
        let option = match settings.invite(link, trunk, &target, offer, headers, call_id.clone()) {
            Ok(option) => option,
            Err(problem) => return Dialled::Silent(problem),
        };
        link.pace().await;
        let leg = match Leg::invite(link, option, challenges.clone(), settings.credentials.clone()) {
            Ok(leg) => leg,
            Err(problem) => return Dialled::Silent(problem),
        };
        let response = match ring(leg).await {
            Dialled::Refused(response) => response,
            other => return other,
        };
        match response.status_code.code() {
            401 | 407 if settings.credentials.is_some() && challenges.learn(&response) => {}
            401 | 407 if challenges.is_weakened() => return Dialled::Weakened(response),
            422 if session.is_none() => match longer_session(&response) {
                Some(headers) => session = Some(headers),
                None => return Dialled::Refused(response),
            },
            300..=399 => match redirected_to(&response, trunk, link, &target, &visited) {
                Some(next) if visited.len() <= REDIRECTS => {
                    visited.push(next.to_string());
                    target = next;
                    challenges = challenges.of_another_target();
                }
                _ => return Dialled::Refused(response),
            },
            _ => return Dialled::Refused(response),
        }
    }
}

async fn ring(mut leg: Leg) -> Dialled {
    let mut heard = false;
    loop {
        let event = if heard {
            leg.next().await
        } else {
            match tokio::time::timeout(FIRST_ANSWER_WITHIN, leg.next()).await {
                Ok(event) => event,
                Err(_) => return Dialled::Silent(format!("no answer within {} s", FIRST_ANSWER_WITHIN.as_secs())),
            }
        };
        match event {
            LegEvent::Provisional(100) => {}
            LegEvent::Provisional(_) | LegEvent::Answered(_) => {
                leg.replay(event);
                return Dialled::Ringing(Box::new(leg));
            }
            LegEvent::Refused(response) => return Dialled::Refused(response),
            LegEvent::Broken(problem) if heard => return Dialled::Broken(problem),
            LegEvent::Broken(problem) => return Dialled::Silent(problem),
            LegEvent::HungUp(_) => return Dialled::Broken("the other side hung up before it answered".to_owned()),
            LegEvent::Info(info) => info.answer(false).await,
            LegEvent::Offer(_) => {}
        }
        heard = true;
    }
}

/// Returns the target of a 3xx response if it is the same number at the same trunk. Port and parameters may differ;
/// another number was not admitted. Of several targets, returns the one with the highest q that was not tried yet.
fn redirected_to(response: &Response, trunk: &Peer, link: &Link, target: &Uri, visited: &[String]) -> Option<Uri> {
    let is_same_number = |uri: &Uri| uri.auth.as_ref().is_some_and(|auth| target.auth.as_ref() == Some(auth));
    let is_at_trunk = |uri: &Uri| {
        let host = &uri.host_with_port.host;
        *host == trunk.uri.host_with_port.host || *host == Host::IpAddr(link.server.address.ip())
    };
    let contacts = response.headers.iter().filter_map(|header| match header {
        Header::Contact(value) => Some(value.value()),
        _ => None,
    });
    let mut targets: Vec<(f32, Uri)> = contacts.flat_map(contacts_of).filter(|(_, uri)| is_at_trunk(uri)).collect();
    // Stable: the first among equals stays so.
    targets.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    targets
        .into_iter()
        .map(|(_, uri)| uri)
        .find(|uri| is_same_number(uri) && Peer::from_uri(uri.clone()).is_some() && !visited.contains(&uri.to_string()))
}

/// The URIs of a Contact header with their preference.
fn contacts_of(value: &str) -> Vec<(f32, Uri)> {
    let mut found = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        // The comma that ends a contact is not in its quoted name, nor in its URI.
        let (mut quoted, mut in_uri) = (false, false);
        let end = rest.find(|c| {
            match c {
                '"' => quoted = !quoted,
                '<' | '>' if !quoted => in_uri = c == '<',
                _ => {}
            }
            c == ',' && !quoted && !in_uri
        });
        let (contact, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.trim_start_matches(',');
        let (uri, parameters) = match contact.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')) {
            Some(found) => found,
            None => contact.split_once(';').unwrap_or((contact, "")),
        };
        let q = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().ok())?
        });
        if let Ok(mut uri) = Uri::try_from(uri.trim()) {
            uri.headers.clear();
            found.push((q.unwrap_or(1.0), uri));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn contacts_are_read_with_their_preference() {
        for (value, expected) in [
            ("<sip:1@a>", vec![(1.0, "sip:1@a")]),
            ("sip:1@a;q=0.3;x=y", vec![(0.3, "sip:1@a")]),
            (
                r#""Doe, <J>" <sip:1@a;transport=tcp>;q=0.5, <sip:2@a> ; Q = 0.9"#,
                vec![(0.5, "sip:1@a;transport=TCP"), (0.9, "sip:2@a")],
            ),
            ("<sip:1,2@a>,<sip:2@a?Subject=x>", vec![(1.0, "sip:1,2@a"), (1.0, "sip:2@a")]),
            ("*", vec![(1.0, "*")]),
            ("", vec![]),
        ] {
            let found: Vec<_> = contacts_of(value).into_iter().map(|(q, uri)| (q, uri.to_string())).collect();
            let expected: Vec<_> = expected.into_iter().map(|(q, uri)| (q, uri.to_owned())).collect();
            assert_eq!(found, expected, "{value}");
        }
    }
}

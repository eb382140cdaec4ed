//! Ringing a number over one link: the INVITE, its challenges, and where it is forwarded to.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::headers::Header;
use rsipstack::sip::{Response, Uri};

use super::digest::Challenge;
use super::leg::{Leg, LegEvent};
use super::link::{Link, may_answer};
use super::media::Media;
use super::peer::Peer;
use super::settings::Settings;

/// The longest that is waited for the first answer of any kind.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often a call may be forwarded (3xx).
const FORWARDS: usize = 3;

/// What became of an INVITE.
pub(super) enum Dialled {
    /// The phone rings, or somebody answered.
    Ringing(Box<Leg>),
    /// Refused before any phone rang.
    Refused(Box<Response>),
    /// There was no answer, or it broke.
    Silent(String),
}

/// Rings `target` and waits until its phone rings.
pub(super) async fn dial(settings: &Settings, link: &Arc<Link>, trunk: &Peer, target: Uri, media: &Media) -> Dialled {
    let mut target = target;
    let mut visited = vec![target.to_string()];
    let mut challenge: Option<Challenge> = None;
    let mut requests = 0;
    let call_id = format!("{}@{}", uuid::Uuid::from_u128(fastrand::u128(..)).simple(), link.local.ip());
    loop {
        requests += 1;
        let offer = media.offer();
        let answer = match (&mut challenge, &settings.credentials) {
            (Some(challenge), Some(credentials)) => {
                challenge.answer(credentials, "INVITE", &target.to_string(), offer.as_bytes())
            }
            _ => None,
        };
        let option = match settings.invite(link, trunk, &target, offer, answer, call_id.clone()) {
            Ok(option) => option,
            Err(problem) => return Dialled::Silent(problem),
        };
        let for_bye = challenge.clone().zip(settings.credentials.clone());
        let response = match ring(link, option, for_bye).await {
            Dialled::Refused(response) => response,
            other => return other,
        };
        match response.status_code.code() {
            401 | 407 if settings.credentials.is_some() => match Challenge::strongest(&response.headers) {
                Some(next) if may_answer(challenge.is_some(), &next, requests) => challenge = Some(next),
                _ => return Dialled::Refused(response),
            },
            300..=399 => match forwarded_to(&response, trunk) {
                Some(next) if visited.len() <= FORWARDS && !visited.contains(&next.to_string()) => {
                    visited.push(next.to_string());
                    target = next;
                    // The new target may challenge anew.
                    challenge = None;
                    requests = 0;
                }
                _ => return Dialled::Refused(response),
            },
            _ => return Dialled::Refused(response),
        }
    }
}

async fn ring(
    link: &Arc<Link>,
    option: rsipstack::dialog::invitation::InviteOption,
    challenge: Option<(Challenge, super::digest::Credentials)>,
) -> Dialled {
    link.pace().await;
    let mut leg = match Leg::invite(link, option, challenge) {
        Ok(leg) => leg,
        Err(problem) => return Dialled::Silent(problem),
    };
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
        heard = true;
        match event {
            LegEvent::Provisional(100) => {}
            LegEvent::Provisional(_) | LegEvent::Answered(_) => {
                leg.replay(event);
                return Dialled::Ringing(Box::new(leg));
            }
            LegEvent::Refused(response) => return Dialled::Refused(response),
            LegEvent::Broken(problem) => return Dialled::Silent(problem),
            LegEvent::HungUp(_) => return Dialled::Silent("the other side hung up before it answered".to_owned()),
            LegEvent::Key(_) | LegEvent::Offer(_) => {}
        }
    }
}

/// Where a 3xx forwards the call to, if that is at the same trunk: a trunk may tell another number or another user
/// of its own, but not have us call just anybody.
fn forwarded_to(response: &Response, trunk: &Peer) -> Option<Uri> {
    let contact = response.headers.iter().find_map(|header| match header {
        Header::Contact(value) => Some(value.value().to_owned()),
        _ => None,
    })?;
    let uri = match contact.split_once('<') {
        Some((_, rest)) => rest.split('>').next()?,
        None => contact.split([';', ',']).next()?,
    };
    let mut uri = Uri::try_from(uri.trim()).ok()?;
    uri.headers.clear();
    let same_host = uri.host_with_port.host == trunk.uri.host_with_port.host;
    (same_host && uri.auth.is_some() && Peer::from_uri(uri.clone()).is_some()).then_some(uri)
}

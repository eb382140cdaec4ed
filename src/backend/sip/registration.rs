//! Registrations at trunks, kept alive (RFC 3261, section 10).

use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::message::HeadersExt;
use rsipstack::sip::{Header, Method, Response, StatusCodeKind, Uri};

use super::SipTrunk;
use super::link::Link;
use super::outcome::reply;
use super::peer::Peer;
use crate::backend::OnState;
use crate::call::{Failure, FailureReason};

/// For how long a registration is asked for, in seconds, and the longest that a trunk may make it.
const REGISTERED_FOR: (u64, u64) = (300, 86_400);

/// The shortest registration that is kept alive as it is, in seconds: a trunk cannot have us ask all the time.
const SHORTEST: u64 = 10;

/// The wait before a registration that failed is tried again: the first one, and the longest.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));

impl SipTrunk {
    /// Registers at a trunk. Returns after what time it must be done again, and the way over which it was done.
    ///
    /// # Errors
    /// Why it is not registered.
    pub(super) async fn register(&self, trunk: &Peer) -> Result<(Duration, Arc<Link>), String> {
        let mut problems = Vec::new();
        for server in self.servers(trunk).await? {
            let registered = match self.link(&server).await {
                Ok(link) => self.register_over(&link, trunk).await.map(|again| (again, link)),
                Err(problem) => Err(problem),
            };
            match registered {
                Ok(registered) => return Ok(registered),
                Err(problem) => problems.push(problem),
            }
        }
        Err(if problems.is_empty() { "it has no server".to_owned() } else { problems.join("; ") })
    }

    async fn register_over(&self, link: &Link, trunk: &Peer) -> Result<Duration, String> {
        let us = self.settings.registered(trunk)?;
        let contact = link.contact(self.settings.contact_user())?;
        let credentials = self.settings.credentials.as_ref();
        let (mut seconds, longest) = REGISTERED_FOR;
        loop {
            let headers = [Header::Contact(format!("<{contact}>").into()), Header::Expires(seconds.to_string().into())];
            let response = link.request(Method::Register, &trunk.uri, &us, &headers, credentials).await?;
            let at_least = response.header_value("Min-Expires").and_then(|value| value.parse().ok());
            match (response.status_code.code(), at_least) {
                // Once: it is longer each time.
                (423, Some(at_least)) if at_least > seconds && at_least <= longest => seconds = at_least,
                _ if response.status_code.kind() == StatusCodeKind::Successful => {
                    let granted = granted(&response, &contact).unwrap_or(seconds);
                    return Ok(Duration::from_secs(granted.clamp(SHORTEST, longest)) / 2);
                }
                _ => return Err(format!("the trunk answered {}", reply(&response))),
            }
        }
    }

    /// Registers at a trunk for ever: before it runs out, and at once where the connection was lost.
    pub(super) async fn keep_registered(&self, trunk: &Peer, tell: OnState<'_>) {
        let (first, longest) = AGAIN_AFTER;
        let mut pause = first;
        loop {
            match self.register(trunk).await {
                Ok((again, link)) => {
                    self.unregistered.lock().remove(&trunk.host());
                    tell(&trunk.host(), Ok(()));
                    pause = first;
                    // Not sooner than after the first pause: a trunk may close each connection at once.
                    tokio::time::sleep(first.min(again)).await;
                    let rest = again.saturating_sub(first);
                    let _ = tokio::time::timeout(rest, link.lost()).await;
                }
                Err(problem) => {
                    let sentence = format!("The registration failed: {problem}.");
                    tell(&trunk.host(), Err(Failure::new(FailureReason::CannotPlace, sentence)));
                    self.unregistered.lock().insert(trunk.host(), problem);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    /// Tells with a failure to place a call what may be its cause.
    pub(super) fn with_registrations(&self, failure: Failure) -> Failure {
        let unregistered = self.unregistered.lock();
        if unregistered.is_empty() {
            return failure;
        }
        let told: Vec<_> =
            unregistered.iter().map(|(host, why)| format!("We are not registered at {host}: {why}.")).collect();
        Failure::verbatim(failure.reason(), format!("{} {}", failure.text(), told.join(" ")))
    }
}

/// The seconds for which our contact is registered. The answer has those of other devices too.
fn granted(response: &Response, ours: &Uri) -> Option<u64> {
    let ours = ours.host_with_port.to_string();
    let contacts = response.headers.iter().filter_map(|header| match header {
        Header::Contact(value) => Some(value.value()),
        _ => None,
    });
    let mut each = contacts.flat_map(|value| value.split(',')).filter(|contact| contact.contains(&ours));
    let of_contact = each.find_map(|contact| {
        contact.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("expires").then(|| value.trim_matches(['"', ' ', '>']).parse().ok())?
        })
    });
    of_contact.or_else(|| response.header_value("Expires")?.parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn our_contacts_time_is_taken_and_no_other_ones() {
        let ours: Uri = "sip:mim@10.0.0.1:5070".try_into().unwrap();
        for (headers, expected) in [
            (vec![Header::Contact("<sip:mim@10.0.0.1:5070>;expires=60".into())], Some(60)),
            (
                vec![Header::Contact("<sip:x@10.0.0.2:5070>;expires=9, <sip:mim@10.0.0.1:5070> ; Expires = 30".into())],
                Some(30),
            ),
            (
                vec![
                    Header::Contact("<sip:x@10.0.0.2:5070>;expires=9".into()),
                    Header::Contact("<sip:mim@10.0.0.1:5070>".into()),
                    Header::Expires("45".into()),
                ],
                Some(45),
            ),
            (vec![Header::Contact("<sip:x@10.0.0.2:5070>;expires=9".into())], None),
        ] {
            let response = Response { headers: headers.clone().into(), ..Response::default() };
            assert_eq!(granted(&response, &ours), expected, "{headers:?}");
        }
    }
}

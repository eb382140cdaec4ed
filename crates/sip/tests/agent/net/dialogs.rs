//! What a strict peer remembers of one Call-ID: INVITEs, their responses, and dialogs.

use std::net::SocketAddr;

use phonegate_sip::message::{Message, Method, Uri};

use super::inspect::demand;

/// All that was seen with one Call-ID.
#[derive(Default)]
pub struct CallSeen {
    invites: Vec<Invite>,
    dialogs: Vec<Dialog>,
    /// The greatest number of CSeq outside of dialogs.
    last_cseq: u32,
    from_tag: Option<String>,
    /// Whether a PRACK was challenged, so that it may be sent again.
    prack_was_challenged: bool,
}

/// An INVITE that the agent sent.
pub struct Invite {
    message: Message,
    branch: String,
    has_response: bool,
    /// The value of To of a final response that is no 2xx.
    rejected: Option<Vec<u8>>,
    accepted: bool,
}

/// A dialog, early or confirmed, as the agent must see it.
struct Dialog {
    /// The peer's tag.
    tag: String,
    /// The route set in the agent's order.
    routes: Vec<String>,
    /// The remote target, or several if the agent may believe either. Empty: the peer sent none that can be read.
    targets: Vec<String>,
    confirmed: bool,
    last_cseq: u32,
    /// CSeq and RSeq of reliable responses that came.
    reliable: Vec<(u32, u32)>,
    acknowledged: Vec<(u32, u32)>,
    has_bye: bool,
}

impl CallSeen {
    pub fn invite(&self, branch: &str) -> Option<&Invite> {
        self.invites.iter().find(|invite| invite.branch == branch)
    }

    fn dialog(&mut self, tag: &str) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|dialog| dialog.tag == tag)
    }

    /// Records a response that the agent received.
    pub fn response_received(&mut self, branch: &str, method: &Method, status: u16, message: &Message) {
        let tag = message.to_header().ok().and_then(|to| to.tag().map(str::to_owned));
        if *method == Method::Prack && matches!(status, 401 | 407) {
            self.prack_was_challenged = true;
        }
        if let (Some(tag), Method::Update, 200..=299) = (&tag, method, status) {
            let contact = contact_of(message);
            if let (Some(dialog), Some(contact)) = (self.dialog(tag), contact) {
                dialog.targets = vec![contact];
            }
        }
        let Some(invite) = self.invites.iter_mut().find(|invite| invite.branch == branch) else { return };
        if *method != Method::Invite {
            return;
        }
        invite.has_response = true;
        if status >= 300 {
            invite.rejected = message.header_values("To").next().map(<[u8]>::to_vec);
            return;
        }
        invite.accepted |= status >= 200;
        let Some(tag) = tag.filter(|_| status > 100) else { return };
        let Ok(cseq) = message.cseq() else { return };
        let routes = message.record_routes().unwrap_or_default();
        let mut routes: Vec<String> = routes.iter().map(|route| route.uri_text().to_owned()).collect();
        routes.reverse();
        if self.dialog(&tag).is_none() {
            self.dialogs.push(Dialog {
                tag: tag.clone(),
                routes: routes.clone(),
                targets: Vec::new(),
                confirmed: false,
                last_cseq: cseq.number,
                reliable: Vec::new(),
                acknowledged: Vec::new(),
                has_bye: false,
            });
        }
        let Some(dialog) = self.dialog(&tag) else { return };
        let contact = contact_of(message);
        if status >= 200 {
            if !dialog.confirmed {
                dialog.routes = routes;
            }
            if let (Some(contact), false) = (contact, dialog.confirmed && dialog.last_cseq != cseq.number) {
                dialog.targets = vec![contact];
            }
            dialog.confirmed = true;
        } else {
            dialog.targets.extend(contact);
            if message.has_option("100rel")
                && let Ok(Some(rseq)) = message.rseq()
            {
                dialog.reliable.push((cseq.number, rseq));
            }
        }
    }

    /// Records a request that the agent received.
    pub fn request_received(&mut self, message: &Message) {
        let tag = message.from_header().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        if let Some(contact) = contact_of(message)
            && matches!(message.method(), Some(Method::Invite | Method::Update))
            && let Some(dialog) = self.dialog(&tag)
        {
            // Until the agent accepts the request, both targets are right.
            dialog.targets.push(contact);
        }
    }

    /// Records the response of the agent to a request.
    pub fn response_sent(&mut self, request: &Message, status: u16) {
        let tag = request.from_header().ok().and_then(|from| from.tag().map(str::to_owned)).unwrap_or_default();
        if let Some(contact) = contact_of(request)
            && matches!(request.method(), Some(Method::Invite | Method::Update))
            && status >= 200
            && let Some(dialog) = self.dialog(&tag)
        {
            match status {
                200..=299 => dialog.targets = vec![contact],
                _ if dialog.targets.len() > 1 => dialog.targets.retain(|target| *target != contact),
                _ => {}
            }
        }
    }

    /// Checks a request that the agent sends for the first time.
    pub fn request_sent(
        &mut self,
        message: &Message,
        method: &Method,
        branch: &str,
        local: SocketAddr,
    ) -> Result<(), String> {
        let essentials = message.essentials().map_err(|error| error.to_string())?;
        let from_tag = essentials.from.tag().map(str::to_owned);
        if self.from_tag.is_none() {
            self.from_tag = from_tag.clone();
        }
        demand(self.from_tag == from_tag, "the tag of From differs from that of earlier requests")?;
        let number = essentials.cseq.number;
        match method {
            Method::Cancel => return self.check_cancel(message, branch, local),
            Method::Ack => match self.invite(branch) {
                Some(invite) => return invite.check_ack(message),
                None => demand(essentials.to.tag().is_some(), "an ACK has neither the branch of an INVITE nor a tag")?,
            },
            _ => {}
        }
        let Some(tag) = essentials.to.tag() else {
            demand(number > self.last_cseq, "CSeq does not grow")?;
            self.last_cseq = number;
            self.note_invite(message, method, branch);
            return Ok(());
        };
        let invite = self.invites.iter().find(|invite| invite.message.cseq().is_ok_and(|cseq| cseq.number == number));
        let accepted = invite.map(|invite| (invite.accepted, credentials(&invite.message)));
        let retried = self.prack_was_challenged;
        let dialog = self.dialog(tag).ok_or("the tag of To is none that the peer sent")?;
        dialog.check_route(message)?;
        if *method == Method::Ack {
            let (accepted, credentials_of_invite) = accepted.ok_or("the CSeq of an ACK is that of no INVITE")?;
            demand(accepted && dialog.confirmed, "an ACK comes before its 2xx")?;
            return demand(credentials(message) == credentials_of_invite, "an ACK repeats other credentials");
        }
        demand(number > dialog.last_cseq, "CSeq does not grow in the dialog")?;
        dialog.last_cseq = number;
        demand(!dialog.has_bye || *method == Method::Bye, "a request follows the BYE of its dialog")?;
        dialog.has_bye |= *method == Method::Bye;
        if *method == Method::Prack {
            dialog.check_prack(message, retried)?;
        }
        self.note_invite(message, method, branch);
        Ok(())
    }

    fn note_invite(&mut self, message: &Message, method: &Method, branch: &str) {
        if *method == Method::Invite {
            self.invites.push(Invite {
                message: message.clone(),
                branch: branch.to_owned(),
                has_response: false,
                rejected: None,
                accepted: false,
            });
        }
    }

    /// Checks a CANCEL (RFC 3261, 9.1). It cannot overtake its INVITE once the INVITE's connection is gone.
    fn check_cancel(&self, message: &Message, branch: &str, local: SocketAddr) -> Result<(), String> {
        let invite = self.invite(branch).ok_or("a CANCEL has the branch of no INVITE")?;
        let via = invite.message.top_via().map_err(|error| error.to_string())?;
        let is_elsewhere = via.port() != Some(local.port());
        demand(invite.has_response || is_elsewhere, "a CANCEL goes out before any response")?;
        demand(invite.rejected.is_none(), "a CANCEL follows a final response")?;
        invite.check_copy(message, &["Via", "Route", "From", "To", "Call-ID"])
    }
}

impl Invite {
    /// Checks the ACK of a final response that is no 2xx (RFC 3261, 17.1.1.3).
    fn check_ack(&self, message: &Message) -> Result<(), String> {
        let to = self.rejected.as_deref().ok_or("an ACK with the INVITE's branch follows no rejection")?;
        demand(message.header_values("To").next() == Some(to), "the To of an ACK is not that of the response")?;
        demand(message.body().is_empty(), "an ACK of a rejection has a body")?;
        self.check_copy(message, &["Via", "Route", "From", "Call-ID"])
    }

    fn check_copy(&self, message: &Message, names: &[&str]) -> Result<(), String> {
        let same_uri = message.request_uri_bytes() == self.message.request_uri_bytes();
        demand(same_uri, "the Request-URI is not the INVITE's")?;
        for name in names {
            let same = message.header_values(name).eq(self.message.header_values(name));
            demand(same, &format!("{name} is not the INVITE's"))?;
        }
        let number = |message: &Message| message.cseq().map(|cseq| cseq.number);
        demand(number(message) == number(&self.message), "the number of CSeq is not the INVITE's")
    }
}

impl Dialog {
    /// Checks the Request-URI and Route of a request within the dialog (RFC 3261, 12.2.1.1).
    fn check_route(&self, message: &Message) -> Result<(), String> {
        let uri = String::from_utf8_lossy(message.request_uri_bytes().unwrap_or_default()).into_owned();
        let routes = message.routes().map_err(|error| error.to_string())?;
        let routes: Vec<String> = routes.iter().map(|route| route.uri_text().to_owned()).collect();
        if self.targets.is_empty() {
            return Ok(());
        }
        let mut wanted = String::new();
        for target in &self.targets {
            let (expected_uri, expected_routes) = match self.routes.split_first() {
                Some((first, rest)) if !is_loose(first) => {
                    (request_uri(first), [rest, std::slice::from_ref(target)].concat())
                }
                _ => (request_uri(target), self.routes.clone()),
            };
            if uri == expected_uri && routes == expected_routes {
                return Ok(());
            }
            wanted = format!("{expected_uri} by {expected_routes:?}");
        }
        Err(format!("goes to {uri} by {routes:?} instead of {wanted}"))
    }

    /// Checks a PRACK (RFC 3262, 4 and 7.2).
    fn check_prack(&mut self, message: &Message, retried: bool) -> Result<(), String> {
        let rack = message.rack().map_err(|error| error.to_string())?.ok_or("a PRACK has no RAck")?;
        demand(rack.cseq.method == Method::Invite, "RAck names another method than INVITE")?;
        let response = (rack.cseq.number, rack.rseq);
        demand(self.reliable.contains(&response), "a PRACK acknowledges no response of its dialog")?;
        demand(retried || !self.acknowledged.contains(&response), "a response is acknowledged twice")?;
        let last = self.acknowledged.iter().filter(|(cseq, _)| *cseq == response.0).map(|(_, rseq)| *rseq).max();
        let in_order = last.is_none_or(|last| response.1 == last + 1 || response.1 == last);
        demand(in_order, "a reliable response is acknowledged before the one ahead of it")?;
        self.acknowledged.push(response);
        Ok(())
    }
}

/// Returns the URI of a message's only Contact, if it can be used.
fn contact_of(message: &Message) -> Option<String> {
    let contacts = message.contacts().ok()?;
    let contact = contacts.first()?;
    contact.uri().ok()?.as_sip()?;
    Some(contact.uri_text().to_owned())
}

fn credentials(message: &Message) -> Vec<Vec<u8>> {
    let names = ["Authorization", "Proxy-Authorization"];
    names.iter().flat_map(|name| message.header_values(name)).map(<[u8]>::to_vec).collect()
}

fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|uri| uri.as_sip().is_some_and(|uri| uri.is_loose_router()))
}

fn request_uri(uri: &str) -> String {
    Uri::parse(uri).ok().and_then(|uri| uri.as_sip().map(|uri| uri.to_request_uri())).unwrap_or(uri.to_owned())
}

//! Checks of a strict peer: each message of the agent is compared with all earlier ones.

use std::collections::{HashMap, HashSet};

use phonegate_sip::agent::{Flow, Transport};
use phonegate_sip::message::{Essentials, Host, Message, Method, NameAddr, Rport};

use super::dialogs::CallSeen;
use super::digest::{self, Issued};
use super::text::{header, name};

/// Records what the agent sent and received, and finds what a strict peer would reject.
#[derive(Default)]
pub struct Inspector {
    /// The only user and password that the agent may prove.
    pub secret: Option<(String, String)>,
    issued: Vec<Issued>,
    /// Counts of nonces that were used.
    counts: HashSet<(String, String)>,
    sent: HashSet<Vec<u8>>,
    branches: HashSet<String>,
    /// Branch and method of requests that a response ended.
    finished: HashSet<(String, String)>,
    calls: HashMap<String, CallSeen>,
    /// Requests of peers by branch and method.
    requests: HashMap<(String, String), Message>,
}

/// Fails with this text unless the condition holds.
pub fn demand(condition: bool, rejection: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(rejection.to_owned()) }
}

impl Inspector {
    /// Records what the agent received.
    pub fn agent_received(&mut self, message: &Message) {
        let Ok(Essentials { via, cseq, call_id, .. }) = message.essentials() else { return };
        let branch = via.branch().unwrap_or_default().to_owned();
        let Some(status) = message.status() else {
            self.requests.insert((branch, cseq.method.to_string()), message.clone());
            if let Some(call) = self.calls.get_mut(call_id) {
                call.request_received(message);
            }
            return;
        };
        if !self.branches.contains(&branch) {
            return;
        }
        if matches!(status, 401 | 407) {
            for challenge in ["WWW-Authenticate", "Proxy-Authenticate"] {
                for value in message.header_values(challenge) {
                    self.issued.push(Issued::read(&String::from_utf8_lossy(value)));
                }
            }
        }
        if status >= 200 || cseq.method == Method::Invite {
            self.finished.insert((branch.clone(), cseq.method.to_string()));
        }
        if let Some(call) = self.calls.get_mut(call_id) {
            call.response_received(&branch, &cseq.method, status, message);
        }
    }

    /// Checks what the agent sends.
    ///
    /// # Errors
    /// Says what a strict peer would reject.
    pub fn agent_sent(&mut self, flow: &Flow, message: &Message) -> Result<(), String> {
        let essentials = message.essentials().map_err(|error| error.to_string())?;
        demand(message.header_values("Content-Length").count() == 1, "there is not one Content-Length")?;
        if message.status().is_some() {
            return self.response_sent(message).map_err(|error| format!("{}: {error}", name(message)));
        }
        let method = essentials.cseq.method.clone();
        let branch = essentials.via.branch().unwrap_or_default().to_owned();
        self.request_sent(flow, message, &method, &branch).map_err(|error| format!("{method}: {error}"))
    }

    fn request_sent(&mut self, flow: &Flow, message: &Message, method: &Method, branch: &str) -> Result<(), String> {
        let key = (branch.to_owned(), method.to_string());
        if !self.sent.insert(message.as_bytes().to_vec()) {
            if *method == Method::Ack {
                return Ok(());
            }
            // A retransmission: over UDP only, or a CANCEL on another connection, and never after the final response.
            let may_repeat = flow.transport == Transport::Udp || *method == Method::Cancel;
            demand(may_repeat, "a request is sent again over a reliable transport")?;
            return demand(!self.finished.contains(&key), "a request is sent again after its response");
        }
        self.check_credentials(message, method)?;
        let call_id = header(message, "Call-ID");
        let call = self.calls.entry(call_id).or_default();
        let shares_branch = *method == Method::Cancel || *method == Method::Ack && call.invite(branch).is_some();
        check_form(flow, message, branch, shares_branch)?;
        demand(shares_branch == self.branches.contains(branch), "the branch is not that of its transaction")?;
        self.branches.insert(branch.to_owned());
        call.request_sent(message, method, branch, flow.local)
    }

    /// Checks that credentials answer a challenge that the agent received.
    fn check_credentials(&mut self, message: &Message, method: &Method) -> Result<(), String> {
        let uri = String::from_utf8_lossy(message.request_uri_bytes().unwrap_or_default());
        for value in ["Authorization", "Proxy-Authorization"].iter().flat_map(|name| message.header_values(name)) {
            let answer = String::from_utf8_lossy(value);
            let params = digest::params(&answer);
            let get = |name| digest::param(&params, name).to_owned();
            let (user, password) = self.secret.as_ref().ok_or("credentials are sent, although the test has none")?;
            let issued = self.issued.iter().find(|of| of.nonce == get("nonce") && of.realm == get("realm"));
            let issued = issued.ok_or("credentials answer a challenge that no peer sent")?;
            // An ACK repeats the credentials of its INVITE, whose method they are made for (RFC 3261, 22.1).
            let covered = if *method == Method::Ack { "INVITE" } else { method.as_str() };
            let answered = issued.check(&answer, covered, &uri, user, password);
            if *method == Method::Ack {
                // Its Request-URI may differ from that of the INVITE, so only the repetition can be checked.
                continue;
            }
            answered?;
            demand(*method != Method::Cancel, "a CANCEL has credentials")?;
            if issued.qop {
                demand(self.counts.insert((get("nonce"), get("nc"))), "a nonce is used twice with one count")?;
            }
        }
        Ok(())
    }

    fn response_sent(&mut self, message: &Message) -> Result<(), String> {
        let essentials = message.essentials().map_err(|error| error.to_string())?;
        let branch = essentials.via.branch().unwrap_or_default().to_owned();
        let method = essentials.cseq.method.to_string();
        let request = self.requests.get(&(branch, method)).ok_or("the request of a response never came")?;
        let status = message.status().unwrap_or_default();
        demand(essentials.cseq.method != Method::Ack, "an ACK is answered")?;
        demand(request.header_values("Via").count() == message.header_values("Via").count(), "Via is not copied")?;
        for copied in ["From", "Call-ID", "CSeq"] {
            let same = request.header_values(copied).eq(message.header_values(copied));
            demand(same, "From, Call-ID or CSeq is not copied")?;
        }
        let to = request.to_header().map_err(|error| error.to_string())?;
        demand(to.tag().is_none() || to.tag() == essentials.to.tag(), "the tag of To is not copied")?;
        demand(status == 100 || essentials.to.tag().is_some(), "To has no tag")?;
        demand(status != 405 || message.has_header("Allow"), "a 405 has no Allow")?;
        demand(status != 420 || message.has_header("Unsupported"), "a 420 has no Unsupported")?;
        if essentials.cseq.method == Method::Invite && (200..300).contains(&status) {
            demand(message.contacts().is_ok_and(|contacts| contacts.len() == 1), "a 2xx to INVITE has no Contact")?;
            demand(!message.body().is_empty(), "a 2xx to a re-INVITE has no description")?;
        }
        if let Some(call) = self.calls.get_mut(essentials.call_id) {
            call.response_sent(request, status);
        }
        Ok(())
    }
}

/// Checks what every request must have (RFC 3261, 8.1.1, 18.1.1; RFC 3581, 3).
///
/// A CANCEL, and the ACK of a rejection, share the branch of their INVITE, and so its Via, also over a connection that took
/// the place of the INVITE's.
fn check_form(flow: &Flow, message: &Message, branch: &str, shares_branch: bool) -> Result<(), String> {
    let method = message.method().map_or("", Method::as_str);
    let vias = message.vias().map_err(|error| error.to_string())?;
    let [via] = vias.as_slice() else { return Err("a user agent client writes one Via".to_owned()) };
    let transport = match flow.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
    };
    demand(branch.starts_with("z9hG4bK") && branch.len() > 20, "the branch cannot be unique")?;
    demand(via.transport() == transport, "Via has another transport")?;
    if !shares_branch {
        demand(*via.host() == Host::Ip(flow.local.ip()), "Via has another host than the flow")?;
        demand(via.port() == Some(flow.local.port()), "Via has another port than the flow")?;
    }
    let asks = via.rport() == Rport::Requested;
    demand(asks || flow.transport != Transport::Udp, "Via does not ask for rport")?;
    let forwards: u32 = header(message, "Max-Forwards").parse().map_err(|_| "Max-Forwards is no number")?;
    demand((20..=70).contains(&forwards), "Max-Forwards is not about 70")?;
    let from = message.from_header().map_err(|error| error.to_string())?;
    demand(from.tag().is_some_and(|tag| tag.len() >= 8), "the tag of From cannot be unique")?;
    let contacts = message.contacts().map_err(|error| error.to_string())?;
    if matches!(method, "INVITE" | "UPDATE" | "SUBSCRIBE" | "REFER") {
        demand(contacts.len() == 1, "there is not one Contact")?;
    }
    // A REGISTER from a new flow may remove the contact of the old one, too.
    let removes = |contact: &&NameAddr| method == "REGISTER" && contact.params().get("expires") == Some("0");
    if let Some(contact) = contacts.iter().find(|contact| contacts.len() == 1 || !removes(contact)) {
        let uri = contact.uri().map_err(|error| error.to_string())?;
        let uri = uri.as_sip().ok_or("Contact is no SIP URI")?.clone();
        demand(*uri.host() == Host::Ip(flow.local.ip()), "Contact has another host than the flow")?;
        demand(uri.port() == Some(flow.local.port()), "Contact has another port than the flow")?;
        let named = uri.transport().unwrap_or(if uri.is_secure() { "TLS" } else { "UDP" });
        demand(named.eq_ignore_ascii_case(transport), "Contact has another transport than the flow")?;
    }
    if matches!(method, "ACK" | "CANCEL") {
        demand(!message.has_header("Require"), "an ACK or a CANCEL requires something")?;
    }
    demand(message.body().is_empty() || message.has_header("Content-Type"), "a body has no Content-Type")
}

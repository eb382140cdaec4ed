//! An attacker with an address of its own that knows the whole identity of a call.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::sipp::Callee;

/// How long an attacker waits for a response. It gets one only if its request is accepted.
const RESPONSE_WITHIN: Duration = Duration::from_millis(1000);

/// The identity of a call, as the trunk knows it.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    /// The caller with its tag: the From of the INVITE.
    caller: String,
    /// The callee with its tag: the To of the answer.
    callee: String,
    /// The Via of the INVITE, with its branch.
    via: String,
    cseq: String,
    /// The address at which PhoneGate receives SIP.
    gate: SocketAddr,
}

impl Dialog {
    /// Reads the identity of the call that a callee has answered from the callee's log of messages.
    pub fn of(callee: &Callee) -> Self {
        super::wait_until("the callee has answered", || callee.messages().contains("\nSIP/2.0 200 "));
        let messages = callee.messages();
        Self::answered(&messages, &messages[messages.find("\nSIP/2.0 200 ").unwrap()..])
    }

    /// Reads the identity of a call from its INVITE and its 200.
    pub fn answered(invite: &str, answer: &str) -> Self {
        let value = |text: &str, name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
        };
        let gate = gate_of(&value(invite, "Contact:"));
        Self {
            call_id: value(answer, "Call-ID:"),
            caller: value(answer, "From:"),
            callee: value(answer, "To:"),
            via: value(answer, "Via:"),
            cseq: value(answer, "CSeq:"),
            gate,
        }
    }

    /// The same call, as PhoneGate could receive it at the address from which it sent another request.
    pub fn at_sender_of(&self, request: &str) -> Self {
        let contact = request.lines().find(|line| line.starts_with("Contact:")).expect("a Contact");
        Self { gate: gate_of(contact), ..self.clone() }
    }

    /// Returns a request as the callee would send it, from `source`, without Content-Length and the empty line.
    pub fn request(&self, (transport, source): (&str, SocketAddr), cseq: u32, method: &str) -> String {
        let Self { call_id, caller, callee, gate, .. } = self;
        format!(
            "{method} sip:{gate} SIP/2.0\r\nVia: SIP/2.0/{transport} {source};branch=z9hG4bK{method}{cseq}\r\n\
             From: {callee}\r\nTo: {caller}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:attacker@{source}>\r\n"
        )
    }

    /// The same call, with another tag of the callee.
    pub fn with_another_callee(&self) -> Self {
        Self { callee: another_tag(&self.callee), ..self.clone() }
    }

    /// The same call, with another tag of the caller.
    pub fn with_another_caller(&self) -> Self {
        Self { caller: another_tag(&self.caller), ..self.clone() }
    }

    /// The same call, with another branch of its INVITE.
    pub fn with_another_branch(&self) -> Self {
        let (before, branch) = self.via.split_once("branch=").expect("a branch");
        let after = branch.find(';').map_or("", |end| &branch[end..]);
        Self { via: format!("{before}branch=z9hG4bKforged{after}"), ..self.clone() }
    }
}

/// Reads PhoneGate's address from a Contact.
fn gate_of(contact: &str) -> SocketAddr {
    let gate = contact.trim_end_matches('>').rsplit(['@', ':']).take(2).collect::<Vec<_>>();
    let gate = gate[0].split([';', '>']).next().map(|port| format!("{}:{port}", gate[1]));
    gate.and_then(|gate| gate.parse().ok()).unwrap_or_else(|| panic!("no address in {contact}"))
}

fn another_tag(party: &str) -> String {
    let (party, _) = party.split_once(";tag=").expect("a tag");
    format!("{party};tag=forged")
}

/// A UDP socket from which a test sends forged SIP messages.
pub struct Attacker {
    socket: UdpSocket,
}

impl Attacker {
    /// An attacker on an address of this machine.
    pub fn on(address: &str) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(RESPONSE_WITHIN)).unwrap();
        Self { socket }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends a request as the callee of the dialog would, and returns the response, if there is one.
    pub fn sends(&self, dialog: &Dialog, method: &str, kind: &str, body: &str) -> Option<String> {
        self.requests(dialog, method, kind, body);
        let response = self.receives()?;
        if method == "INVITE" {
            let ack = format!("{}Content-Length: 0\r\n\r\n", dialog.request(("UDP", self.address()), 4711, "ACK"));
            self.send(dialog, ack.as_bytes());
        }
        Some(response)
    }

    /// Sends a request as the callee of the dialog would, and does not wait.
    pub fn requests(&self, dialog: &Dialog, method: &str, kind: &str, body: &str) {
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let body = body.replace("\r\n", "\n").replace('\n', "\r\n");
        let whole = format!(
            "{}{kind}Content-Length: {}\r\n\r\n{body}",
            dialog.request(("UDP", self.address()), 4711, method),
            body.len()
        );
        self.send(dialog, whole.as_bytes());
    }

    /// Sends a response to the INVITE of the dialog as its callee would, with this description.
    pub fn responds(&self, dialog: &Dialog, status: &str, sdp: &str) {
        let Dialog { call_id, caller, callee, via, cseq, .. } = dialog;
        let sdp = sdp.replace("\r\n", "\n").replace('\n', "\r\n");
        let response = format!(
            "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {caller}\r\nTo: {callee}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             Contact: <sip:attacker@{}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            self.address(),
            sdp.len()
        );
        self.send(dialog, response.as_bytes());
    }

    /// Sends bytes to PhoneGate's SIP address in this call.
    pub fn send(&self, dialog: &Dialog, bytes: &[u8]) {
        self.socket.send_to(bytes, dialog.gate).unwrap();
    }

    /// Returns the next received message, if one arrives in time.
    pub fn receives(&self) -> Option<String> {
        let mut buffer = [0; 65_536];
        let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

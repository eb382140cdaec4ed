//! An attacker on the network: it has an address of its own, and knows everything about a call.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::sipp::Callee;

/// How long an attacker waits for a response, which it gets only if its request is accepted.
const RESPONSE_WITHIN: Duration = Duration::from_millis(1000);

/// The identity of a call, as the trunk knows it.
#[derive(Debug)]
pub struct Dialog {
    call_id: String,
    caller: String,
    callee: String,
    /// Where PhoneGate receives SIP.
    gate: SocketAddr,
}

impl Dialog {
    /// Reads the identity of the call that a callee has answered from the callee's log of messages.
    pub fn of(callee: &Callee) -> Self {
        super::wait_until("the callee has answered", || callee.messages().contains("\nSIP/2.0 200 "));
        let messages = callee.messages();
        let answer = &messages[messages.find("\nSIP/2.0 200 ").unwrap()..];
        let value = |text: &str, name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
        };
        let contact = value(&messages, "Contact:");
        let gate = contact.trim_matches(['<', '>']).rsplit(['@', ':']).take(2).collect::<Vec<_>>();
        let gate = format!("{}:{}", gate[1], gate[0]).parse().unwrap_or_else(|_| panic!("no address in {contact}"));
        Self { call_id: value(answer, "Call-ID:"), caller: value(answer, "From:"), callee: value(answer, "To:"), gate }
    }
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
        let Dialog { call_id, caller, callee, gate } = dialog;
        let (us, kind) =
            (self.address(), if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") });
        let body = body.replace("\r\n", "\n").replace('\n', "\r\n");
        let request = |method: &str| {
            format!(
                "{method} sip:{gate} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bKattack{method}\r\nFrom: {callee}\r\n\
                 To: {caller}\r\nCall-ID: {call_id}\r\nCSeq: 4711 {method}\r\nMax-Forwards: 70\r\n\
                 Contact: <sip:attacker@{us}>\r\n"
            )
        };
        let whole = format!("{}{kind}Content-Length: {}\r\n\r\n{body}", request(method), body.len());
        self.socket.send_to(whole.as_bytes(), gate).unwrap();
        let response = self.receives()?;
        if method == "INVITE" {
            self.socket.send_to(format!("{}Content-Length: 0\r\n\r\n", request("ACK")).as_bytes(), gate).unwrap();
        }
        Some(response)
    }

    /// The next message that it receives, unless there is none.
    pub fn receives(&self) -> Option<String> {
        let mut buffer = [0; 65_536];
        let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

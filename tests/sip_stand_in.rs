//! The callee that sipp plays in the tests: messages that are repeated or late do not end its call, and a message that
//! its scenario does not expect fails the test.

mod support;

use std::net::UdpSocket;

use support::sipp::{Callee, Step};

/// A scripted caller.
struct Caller {
    socket: UdpSocket,
}

impl Caller {
    fn of(callee: &Callee) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(support::EVENT_TIMEOUT)).unwrap();
        socket.connect(("127.0.0.1", callee.port)).unwrap();
        Self { socket }
    }

    /// Sends a request.
    fn sends(&self, method: &str, number: u32) {
        // ACK and CANCEL belong to the INVITE.
        let branch = if method == "CANCEL" { "INVITE" } else { method };
        let port = self.socket.local_addr().unwrap().port();
        let message = format!(
            "{method} sip:callee@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch}{number}\r\n\
             From: <sip:caller@127.0.0.1>;tag=caller\r\nTo: <sip:callee@127.0.0.1>\r\nCall-ID: the-call\r\n\
             CSeq: {number} {method}\r\nContact: <sip:caller@127.0.0.1:{port}>\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.send(message.as_bytes()).unwrap();
    }

    /// Waits for a message that begins with this text, and returns it.
    fn receives(&self, words: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).expect("the message arrives");
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.starts_with(words) {
                return message;
            }
        }
    }

    /// Answers a request of the callee.
    fn answers(&self, request: &str) {
        let is_copied =
            |line: &&str| ["Via", "From", "To", "Call-ID", "CSeq"].contains(&line.split(':').next().unwrap());
        let headers: String = request.lines().filter(is_copied).map(|line| format!("{line}\r\n")).collect();
        self.socket.send(format!("SIP/2.0 200 OK\r\n{headers}Content-Length: 0\r\n\r\n").as_bytes()).unwrap();
    }
}

const RINGS: Step = Step::Answer(180, "Ringing", "");

#[test]
fn repeated_and_late_messages_do_not_end_the_callees_call() {
    let steps = [
        Step::Invite,
        RINGS,
        Step::PickUp,
        Step::Info("application/dtmf-relay", "Signal=#\r\n"),
        Step::Receive("UPDATE"),
        Step::Info("application/dtmf-relay", "Signal=1\r\n"),
        Step::Receive("BYE"),
    ];
    let callee = Callee::start(&steps, 1);
    let caller = Caller::of(&callee);
    caller.sends("INVITE", 1);
    caller.receives("SIP/2.0 200");
    caller.sends("INVITE", 1);
    // It retransmits its 200 until the ACK, and its INFO until the response.
    caller.receives("SIP/2.0 200");
    caller.sends("ACK", 1);
    let first = caller.receives("INFO");
    assert_eq!(caller.receives("INFO"), first);
    caller.answers(&first);
    caller.sends("INVITE", 1);
    caller.sends("ACK", 1);
    caller.answers(&first);
    caller.sends("UPDATE", 2);
    let second = caller.receives("INFO sip:caller@127.0.0.1");
    let second = if second == first { caller.receives("INFO") } else { second };
    for _ in 0..2 {
        caller.answers(&second);
        caller.answers(&first);
        caller.sends("UPDATE", 2);
        caller.sends("ACK", 1);
        caller.sends("INVITE", 1);
    }
    caller.sends("BYE", 3);
    callee.finish();
}

#[test]
fn a_repeated_cancel_does_not_end_the_callees_call() {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::Cancelled], 1);
    let caller = Caller::of(&callee);
    caller.sends("INVITE", 1);
    caller.receives("SIP/2.0 180");
    for _ in 0..3 {
        caller.sends("CANCEL", 1);
        caller.receives("SIP/2.0 487");
    }
    caller.sends("ACK", 1);
    callee.finish();
}

/// A call in which the callee waits for an UPDATE, and receives this request in its place.
fn receives_instead_of_an_update(method: &str) {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::PickUp, Step::Receive("UPDATE")], 1);
    let caller = Caller::of(&callee);
    caller.sends("INVITE", 1);
    caller.receives("SIP/2.0 200");
    caller.sends("ACK", 1);
    caller.sends(method, 2);
    callee.finish();
}

#[test]
#[should_panic(expected = "sipp received messages that its scenario does not expect")]
fn a_request_that_is_no_repetition_fails_the_test() {
    receives_instead_of_an_update("INFO");
}

#[test]
#[should_panic(expected = "sipp received messages that its scenario does not expect")]
fn another_invite_is_no_repetition() {
    receives_instead_of_an_update("INVITE");
}

#[test]
#[should_panic(expected = "sipp received messages that its scenario does not expect")]
fn a_bye_that_is_no_repetition_fails_the_test() {
    receives_instead_of_an_update("BYE");
}

#[test]
#[should_panic(expected = "sipp received messages that its scenario does not expect")]
fn a_wrong_message_fails_the_test_without_finish() {
    let callee = Callee::start(&[Step::Invite, RINGS, Step::Receive("UPDATE")], 1);
    let caller = Caller::of(&callee);
    caller.sends("INVITE", 1);
    caller.receives("SIP/2.0 180");
    caller.sends("INFO", 2);
    support::wait_until("sipp has received it", || callee.messages().contains("Unexpected"));
}

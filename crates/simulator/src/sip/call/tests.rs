use phonegate_sip::message::Limits;

use super::*;

const OFFER: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0 8 101\r\n";

const SIP: &str = "127.0.0.1:5080";

fn peer(connection: Option<u64>) -> Peer {
    Peer { address: "127.0.0.1:5070".parse().unwrap(), connection }
}

fn parse(text: &str) -> Message {
    Message::from_datagram(text.as_bytes(), &Limits::default()).unwrap()
}

/// Writes a request of the peer. `to_tag` begins with `;tag=`, or is empty.
fn request(method: &str, cseq: u32, to_tag: &str, body: &str) -> Message {
    // CANCEL and an ACK of a failure have the branch of their INVITE.
    let branch = if matches!(method, "CANCEL" | "INVITE") { cseq.to_string() } else { format!("{method}{cseq}") };
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    parse(&format!(
        "{method} sip:+14255551212;npdi@127.0.0.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=z9hG4bK{branch}\r\n\
         Record-Route: <sip:127.0.0.2;lr>, <sip:127.0.0.3;lr>\r\nFrom: <sip:+14255550100@127.0.0.1>;tag=a\r\n\
         To: <sip:+14255551212@127.0.0.1>{to_tag}\r\nCall-ID: call\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:phonegate@127.0.0.1:5070>\r\n{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

struct Test {
    call: Call,
    now: Duration,
    to_tag: String,
}

impl Test {
    fn begin(connection: Option<u64>) -> Self {
        let invite = request("INVITE", 1, "", OFFER);
        let sip: SocketAddr = SIP.parse().unwrap();
        let essentials = invite.essentials().unwrap();
        let invitation = Invitation::read(&invite, &essentials, peer(connection), (sip, "tag")).ok().unwrap();
        assert_eq!((invitation.number.as_str(), invitation.caller.as_str()), ("+14255551212", "+14255550100"));
        let call = Call::new(Duration::ZERO, invitation, sip, "127.0.0.1:4000".parse().unwrap(), 7);
        Self { call, now: Duration::ZERO, to_tag: format!(";tag={:016x}", 7) }
    }

    fn picked_up() -> Self {
        let mut test = Self::begin(None);
        test.call.ring(test.now);
        test.call.pick_up(test.now);
        assert_eq!(test.outputs(), ["100 INVITE", "180 INVITE", "200 INVITE", "media 127.0.0.1:6000"]);
        test
    }

    fn in_call() -> Self {
        let mut test = Self::picked_up();
        assert!(test.receive("ACK", 1, "").is_empty());
        test
    }

    fn messages(&mut self) -> Vec<Message> {
        let outputs = std::iter::from_fn(|| self.call.poll_output());
        let bytes = outputs.filter_map(|output| match output {
            Output::Send(_, bytes) => Some(bytes),
            _ => None,
        });
        bytes.map(|bytes| Message::from_datagram(&bytes, &Limits::default()).unwrap()).collect()
    }

    fn outputs(&mut self) -> Vec<String> {
        let outputs = std::iter::from_fn(|| self.call.poll_output());
        let text = outputs.map(|output| match output {
            Output::Send(_, bytes) => {
                let message = Message::from_datagram(&bytes, &Limits::default()).unwrap();
                let method = message.cseq().unwrap().method;
                message.status().map_or_else(|| method.to_string(), |status| format!("{status} {method}"))
            }
            Output::Media(remote) => format!("media {}", remote.rtp),
            Output::Ended(result) => result.to_owned(),
        });
        text.collect()
    }

    fn receive(&mut self, method: &str, cseq: u32, body: &str) -> Vec<String> {
        let to_tag = if method == "CANCEL" { String::new() } else { self.to_tag.clone() };
        self.call.receive(self.now, &request(method, cseq, &to_tag, body), peer(None));
        self.outputs()
    }

    /// Lets time pass. Returns each output with its time in milliseconds.
    fn pass(&mut self, time: Duration) -> Vec<(u128, String)> {
        let until = self.now + time;
        let mut all = Vec::new();
        while self.call.next_timeout() <= until && !self.call.is_finished(self.now) {
            self.now = self.call.next_timeout();
            self.call.handle_timeout(self.now);
            let now = self.now.as_millis();
            all.extend(self.outputs().into_iter().map(|output| (now, output)));
        }
        self.now = self.now.max(until);
        all
    }
}

#[test]
fn an_answer_is_repeated_until_it_is_acknowledged() {
    let mut test = Test::picked_up();
    let expected = [500, 1_500, 3_500, 7_500].map(|at| (at, "200 INVITE".to_owned()));
    assert_eq!(test.pass(Duration::from_secs(10)), expected);
    assert!(test.receive("ACK", 1, "").is_empty());
    assert!(test.pass(Duration::from_secs(60)).is_empty());
}

#[test]
fn an_answer_without_ack_ends_the_call_by_bye() {
    let mut test = Test::picked_up();
    let passed = test.pass(Duration::from_secs(32));
    let last: Vec<_> = passed.iter().rev().take(2).rev().map(|(at, what)| (*at, what.as_str())).collect();
    let ended = "PhoneGate did not acknowledge the answer, so the call ended.";
    assert_eq!(last, [(32_000, "BYE"), (32_000, ended)]);
}

#[test]
fn requests_that_are_sent_again_get_the_same_response() {
    let mut test = Test::begin(None);
    test.call.ring(test.now);
    test.outputs();
    test.call.receive(test.now, &request("INVITE", 1, "", OFFER), peer(None));
    assert_eq!(test.outputs(), ["180 INVITE"]);
    let mut test = Test::in_call();
    assert_eq!(test.receive("BYE", 2, ""), ["200 BYE", "PhoneGate hung up."]);
    assert_eq!(test.receive("BYE", 2, ""), ["200 BYE"]);
    assert_eq!(test.receive("UPDATE", 3, ""), ["481 UPDATE"]);
    assert!(test.pass(Duration::from_secs(33)).is_empty());
    assert!(test.call.is_finished(test.now));
}

#[test]
fn a_call_that_rings_can_be_cancelled() {
    let mut test = Test::begin(None);
    test.call.ring(test.now);
    test.outputs();
    assert_eq!(test.receive("CANCEL", 1, ""), ["200 CANCEL", "487 INVITE", "PhoneGate cancelled the call."]);
    test.call.pick_up(test.now);
    assert!(test.outputs().is_empty(), "it is too late to pick up");
    assert_eq!(test.pass(Duration::from_millis(500)), [(500, "487 INVITE".to_owned())]);
    assert!(test.receive("ACK", 1, "").is_empty());
    assert!(test.pass(Duration::from_secs(60)).is_empty());
}

#[test]
fn an_answered_call_cannot_be_cancelled() {
    let mut test = Test::in_call();
    assert_eq!(test.receive("CANCEL", 1, ""), ["200 CANCEL"]);
    assert_eq!(test.receive("CANCEL", 5, ""), ["481 CANCEL"]);
}

#[test]
fn a_busy_telephone_rejects_the_call() {
    let mut test = Test::begin(None);
    test.call.decline(test.now);
    assert_eq!(test.outputs(), ["100 INVITE", "486 INVITE", "The telephone rejected the call as busy."]);
}

#[test]
fn hanging_up_sends_bye_on_the_route_until_it_is_answered() {
    let mut test = Test::in_call();
    test.call.hang_up(test.now);
    let bye = test.messages().remove(0);
    assert_eq!(bye.request_uri_bytes(), Some(&b"sip:phonegate@127.0.0.1:5070"[..]));
    let routes: Vec<_> = bye.routes().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["<sip:127.0.0.2;lr>", "<sip:127.0.0.3;lr>"]);
    assert_eq!(bye.to_header().unwrap().tag(), Some("a"));
    assert_eq!(test.pass(Duration::from_secs(2)), [500, 1_500].map(|at| (at, "BYE".to_owned())));
    let via = String::from_utf8(bye.header_values("Via").next().unwrap().to_vec()).unwrap();
    let head = "From: <sip:+14255551212@127.0.0.1>;tag=0000000000000007\r\nTo: <sip:+14255550100@127.0.0.1>;tag=a";
    let ok = format!("SIP/2.0 200 OK\r\nVia: {via}\r\n{head}\r\nCall-ID: call\r\nCSeq: 1 BYE\r\n\r\n");
    test.call.receive(test.now, &parse(&ok), peer(None));
    assert!(test.pass(Duration::from_secs(60)).is_empty());
}

/// BYE must not be sent before the ACK (RFC 3261, 15).
#[test]
fn hanging_up_at_once_waits_for_the_ack() {
    let mut test = Test::picked_up();
    test.call.hang_up(test.now);
    assert_eq!(test.outputs(), ["The telephone hung up."]);
    assert_eq!(test.receive("ACK", 1, ""), ["BYE"]);
}

#[test]
fn the_audio_may_move_by_update_and_by_another_invite() {
    let mut test = Test::in_call();
    let moved = OFFER.replace("6000", "6002");
    assert_eq!(test.receive("UPDATE", 2, &moved), ["200 UPDATE", "media 127.0.0.1:6002"]);
    assert_eq!(test.receive("UPDATE", 3, ""), ["200 UPDATE"], "a refresh");
    assert_eq!(test.receive("INVITE", 4, OFFER), ["200 INVITE", "media 127.0.0.1:6000"]);
    assert_eq!(test.receive("INVITE", 5, OFFER), ["491 INVITE"], "the ACK is missing");
    assert!(test.receive("ACK", 4, "").is_empty());
    assert_eq!(test.receive("UPDATE", 6, "v=0\r\n"), ["488 UPDATE"]);
    assert!(test.pass(Duration::from_secs(60)).is_empty());
}

#[test]
fn requests_that_do_not_belong_to_the_call_change_nothing() {
    let mut test = Test::in_call();
    test.call.receive(test.now, &request("BYE", 2, ";tag=other", ""), peer(None));
    assert_eq!(test.outputs(), ["481 BYE"]);
    assert_eq!(test.receive("INFO", 3, ""), ["405 INFO"]);
    assert_eq!(test.receive("DANCE", 4, ""), ["501 DANCE"]);
    assert_eq!(test.receive("BYE", 1, ""), ["500 BYE"], "its number is old");
    assert_eq!(test.receive("OPTIONS", 5, ""), ["200 OPTIONS"]);
}

#[test]
fn a_call_ends_after_ten_minutes() {
    let mut test = Test::in_call();
    let passed: Vec<_> = test.pass(Duration::from_secs(600)).into_iter().map(|(_, what)| what).collect();
    assert_eq!(passed, ["BYE", "The call lasted ten minutes, so the simulator ended it."]);
}

#[test]
fn an_offer_that_cannot_be_answered_is_refused() {
    for (offer, warning) in [
        (OFFER.replace("RTP/AVP", "RTP/SAVP"), "encryption"),
        (OFFER.replace("0 8 101", "8 101"), "only PCMU"),
        (OFFER.replace("0 8 101", "9"), "no codec"),
    ] {
        let invite = request("INVITE", 1, "", &offer);
        let essentials = invite.essentials().unwrap();
        let refusal = Invitation::read(&invite, &essentials, peer(None), (SIP.parse().unwrap(), "tag")).err().unwrap();
        let bytes = refusal.build().unwrap().1;
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("SIP/2.0 488 ") && text.contains(warning), "{text}");
    }
}

#[test]
fn a_call_that_is_stopped_is_acknowledged_by_phonegate() {
    let mut ringing = Test::begin(None);
    ringing.call.ring(ringing.now);
    ringing.outputs();
    ringing.call.stop(ringing.now, "ended");
    assert_eq!(ringing.outputs(), ["480 INVITE", "ended"]);
    assert!(!ringing.call.is_acknowledged());
    assert!(ringing.receive("ACK", 1, "").is_empty());
    assert!(ringing.call.is_acknowledged());

    let mut answered = Test::picked_up();
    answered.call.stop(answered.now, "ended");
    assert_eq!(answered.outputs(), ["ended"], "no BYE before the ACK");
    answered.call.receive(answered.now, &request("ACK", 1, &answered.to_tag.clone(), ""), peer(None));
    let messages = answered.messages();
    let [bye] = messages.as_slice() else { panic!("one BYE") };
    assert!(!answered.call.is_acknowledged());
    let via = String::from_utf8_lossy(bye.header_values("Via").next().unwrap()).into_owned();
    let reply = format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: <sip:+14255551212@127.0.0.1>{}\r\nTo: <sip:+14255550100@127.0.0.1>;tag=a\r\n\
         Call-ID: call\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        answered.to_tag
    );
    answered.call.receive(answered.now, &parse(&reply), peer(None));
    assert!(answered.call.is_acknowledged());
}

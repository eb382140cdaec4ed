//! The end of a call that the peer does not confirm.

#[path = "support/wire.rs"]
mod wire;

use phonegate_sip::agent::{CallEvent, Event};
use phonegate_sip::message::Method;
use wire::{Wire, request, seconds};

/// A server that did not respond to the BYE is sent another one as soon as it sends something of the call.
#[test]
fn unanswered_bye_is_sent_again_when_the_peer_is_back() {
    for is_request in [false, true] {
        let mut wire = Wire::udp();
        let (call, invite, _) = wire.establish(wire::call(), "");
        wire.agent.hang_up(wire.now, call);
        let first = wire.sent_one();
        wire.run(seconds(32));
        assert!(
            wire.events()
                .iter()
                .any(|event| matches!(event, Event::Call(_, CallEvent::Ended(end)) if end.may_still_ring))
        );
        match is_request {
            true => wire.receive(&request(&invite, "OPTIONS", 7, "", "")),
            false => wire.reply(&invite, 200, "Contact: <sip:pbx@192.0.2.9>\r\n", ""),
        }
        let again: Vec<_> = wire.sent().into_iter().filter(|sent| sent.method() == Some(&Method::Bye)).collect();
        let [again] = again.as_slice() else { panic!("one BYE is sent, request: {is_request}") };
        assert!(again.cseq().unwrap().number > first.cseq().unwrap().number);
        wire.reply(again, 200, "", "");
        wire.assert_empty();
    }
}

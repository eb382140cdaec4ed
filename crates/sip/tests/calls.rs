//! A call from its INVITE to its end, message by message.

#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, Config, EndCause, Event, UserAgent};
use phonegate_sip::message::{Limits, Message, Method};
use server::{ADDRESS, agent, outbound_call, write};

fn sent(agent: &mut UserAgent) -> Vec<Message> {
    std::iter::from_fn(|| agent.poll_transmit())
        .map(|transmit| Message::from_datagram(&transmit.bytes, &Limits::default()).unwrap())
        .collect()
}

#[test]
fn answered_call_is_hung_up_and_leaves_nothing() {
    let (mut agent, flow) = agent(Config::default());
    let (source, now) = (ADDRESS.parse().unwrap(), Duration::from_secs(1));
    let id = agent.place_call(now, flow, outbound_call()).unwrap();
    let invite = sent(&mut agent).remove(0);
    agent.handle_datagram(now, flow, source, write(&invite, 180, "").as_bytes());
    agent.handle_datagram(now, flow, source, write(&invite, 200, "v=0\r\n").as_bytes());
    assert_eq!(sent(&mut agent).remove(0).method(), Some(&Method::Ack));
    let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
    assert!(
        matches!(&events[0], Event::Call(call, CallEvent::Progress(progress)) if *call == id && progress.status == 180)
    );
    assert!(matches!(&events[1], Event::Call(_, CallEvent::Answered(answer)) if answer.description.is_some()));
    agent.hang_up(now, id);
    let bye = sent(&mut agent).remove(0);
    assert_eq!(bye.method(), Some(&Method::Bye));
    agent.handle_datagram(now, flow, source, write(&bye, 200, "").as_bytes());
    let ended = agent.poll_event();
    assert!(
        matches!(&ended, Some(Event::Call(_, CallEvent::Ended(ended))) if ended.cause == EndCause::HungUp),
        "{ended:?}"
    );
    while let Some(at) = agent.next_timeout() {
        agent.handle_timeout(at);
    }
    assert!(sent(&mut agent).is_empty());
    let usage = agent.usage();
    assert_eq!((usage.calls, usage.client_transactions, usage.server_transactions, usage.timers), (0, 0, 0, 0));
}

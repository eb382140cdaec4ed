//! A call from its INVITE to its end.

#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use phonegate_sip::agent::{AgentError, CallEvent, Config, EndCause, Event, OutboundCall};
use server::{Server, agent, outbound_call};

#[test]
fn established_call_is_hung_up_and_leaves_nothing() {
    let (mut agent, flow) = agent(Config::default());
    let (mut server, now) = (Server::default(), Duration::from_secs(1));
    let id = agent.place_call(now, flow, outbound_call()).unwrap();
    server.exchange(&mut agent, flow, now);
    assert_eq!(server.messages, 4, "INVITE, 180, 200, ACK");
    let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
    assert!(
        matches!(&events[0], Event::Call(call, CallEvent::Provisional(progress)) if *call == id && progress.status == 180)
    );
    assert!(matches!(&events[1], Event::Call(_, CallEvent::Established(answer)) if answer.description.is_some()));
    agent.hang_up(now, id);
    server.exchange(&mut agent, flow, now);
    let ended = agent.poll_event();
    assert!(
        matches!(&ended, Some(Event::Call(_, CallEvent::Ended(end))) if end.cause == EndCause::HungUp),
        "{ended:?}"
    );
    while let Some(at) = agent.next_timeout() {
        agent.handle_timeout(at);
    }
    server.exchange(&mut agent, flow, now);
    assert_eq!(server.messages, 6, "and BYE, 200");
    let usage = agent.usage();
    assert_eq!((usage.calls, usage.client_transactions, usage.server_transactions, usage.timers), (0, 0, 0, 0));
}

#[test]
fn unwritable_contact_is_rejected_when_calling() {
    let (mut agent, flow) = agent(Config::default());
    let call = OutboundCall { contact_user: "a\r\nb".into(), ..outbound_call() };
    let rejected = agent.place_call(Duration::ZERO, flow, call);
    assert!(matches!(rejected, Err(AgentError::Unusable(_))), "{rejected:?}");
    assert!(agent.poll_transmit().is_none() && agent.usage().calls == 0, "nothing is sent or kept");
}

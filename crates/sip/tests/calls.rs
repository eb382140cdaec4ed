//! A call from its INVITE to its end, message by message.

use std::time::Duration;

use phonegate_sip::agent::{CallEvent, Config, EndCause, Event, Flow, FlowId, OutboundCall, Transport, UserAgent};
use phonegate_sip::message::{Limits, Message, Method};

const SERVER: &str = "192.0.2.9:5060";

fn agent() -> (UserAgent, FlowId) {
    let mut next = 0_u8;
    let mut agent = UserAgent::new(Config::default(), move |bytes| {
        next = next.wrapping_add(1);
        bytes.fill(next);
    });
    let flow =
        Flow { transport: Transport::Udp, local: "192.0.2.1:5070".parse().unwrap(), remote: SERVER.parse().unwrap() };
    let flow = agent.open_flow(flow).unwrap();
    (agent, flow)
}

fn call() -> OutboundCall {
    OutboundCall {
        target: "sip:+14255550100@trunk.example.com".into(),
        to: "sip:+14255550100@trunk.example.com".into(),
        from: "sip:gate@trunk.example.com".into(),
        from_name: "Gate".into(),
        contact_user: "gate".into(),
        routes: Vec::new(),
        headers: Vec::new(),
        offer: b"v=0\r\n".to_vec(),
        credentials: None,
        reliable_provisional: true,
        session_interval: None,
        trunk: Vec::new(),
    }
}

fn sent(agent: &mut UserAgent) -> Vec<Message> {
    std::iter::from_fn(|| agent.poll_transmit())
        .map(|transmit| Message::from_datagram(&transmit.bytes, &Limits::default()).unwrap())
        .collect()
}

fn reply(request: &Message, status: u16, more: &str, body: &str) -> Vec<u8> {
    let header = |name| String::from_utf8_lossy(request.header_values(name).next().unwrap()).into_owned();
    format!(
        "SIP/2.0 {status} Any\r\nVia: {}\r\nFrom: {}\r\nTo: <{}>;tag=peer\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        header("Via"),
        header("From"),
        "sip:+14255550100@trunk.example.com",
        header("Call-ID"),
        header("CSeq"),
        body.len(),
    )
    .into_bytes()
}

#[test]
fn answered_call_is_hung_up_and_leaves_nothing() {
    let (mut agent, flow) = agent();
    let (source, now) = (SERVER.parse().unwrap(), Duration::from_secs(1));
    let id = agent.place_call(now, flow, call()).unwrap();
    let invite = sent(&mut agent).remove(0);
    agent.handle_datagram(now, flow, source, &reply(&invite, 180, "Contact: <sip:pbx@192.0.2.9>\r\n", ""));
    let answer = "Contact: <sip:pbx@192.0.2.9>\r\nContent-Type: application/sdp\r\n";
    agent.handle_datagram(now, flow, source, &reply(&invite, 200, answer, "v=0\r\n"));
    assert_eq!(sent(&mut agent).remove(0).method(), Some(&Method::Ack));
    let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
    assert!(
        matches!(&events[0], Event::Call(call, CallEvent::Progress(progress)) if *call == id && progress.status == 180)
    );
    assert!(matches!(&events[1], Event::Call(_, CallEvent::Answered(answer)) if answer.description.is_some()));
    agent.hang_up(now, id);
    let bye = sent(&mut agent).remove(0);
    assert_eq!(bye.method(), Some(&Method::Bye));
    agent.handle_datagram(now, flow, source, &reply(&bye, 200, "", ""));
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

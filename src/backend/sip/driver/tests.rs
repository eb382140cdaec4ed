//! The settings that the driver gives to its user agent.
#![allow(clippy::unwrap_used, reason = "tests")]

use phonegate_sip::agent::{Flow, Transport};
use serde_json::json;

use super::*;
use crate::config::CallConfig;

/// Returns a response to a request, with the headers that it repeats (RFC 3261, 8.2.6).
fn response(request: &[u8], status: &str) -> Vec<u8> {
    let request = std::str::from_utf8(request).unwrap();
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines() {
        if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
            let tag = if line.starts_with("To:") { ";tag=callee" } else { "" };
            text += &format!("{line}{tag}\r\n");
        }
    }
    (text + "Content-Length: 0\r\n\r\n").into_bytes()
}

/// If the agent ended the call first, the failure would say that the trunk did not respond.
#[test]
fn agent_lets_a_phone_ring_until_the_longest_deadline() {
    let deadline = |seconds: u64| serde_json::from_value::<CallConfig>(json!({ "deadline_s": seconds }));
    assert!(deadline(MAX_DEADLINE_S + 1).is_err(), "no deadline is longer");
    let deadline = deadline(MAX_DEADLINE_S).unwrap().deadline_s.seconds();
    let mut agent = UserAgent::new(agent_config(), |bytes| bytes.fill(7));
    let [local, remote] = [5080, 5060].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let flow = agent.open_flow(Flow { transport: Transport::Udp, local, remote }).unwrap();
    let uri = "sip:+14255551212@127.0.0.1".to_owned();
    let call = OutboundCall {
        target: uri.clone(),
        to: uri.clone(),
        from: uri,
        from_name: String::new(),
        contact_user: String::new(),
        routes: Vec::new(),
        headers: Vec::new(),
        offer: Vec::new(),
        credentials: None,
        reliable_provisional: false,
        session_interval: None,
        trunk: Vec::new(),
    };
    agent.place_call(Duration::ZERO, flow, call).unwrap();
    let invite = agent.poll_transmit().unwrap();
    agent.handle_datagram(Duration::ZERO, flow, remote, &response(&invite.bytes, "180 Ringing"));
    assert!(matches!(agent.poll_event(), Some(Event::Call(_, CallEvent::Provisional(_)))), "the phone rings");
    agent.handle_timeout(deadline);
    assert_eq!(agent.poll_event(), None, "the phone still rings at the deadline");
}

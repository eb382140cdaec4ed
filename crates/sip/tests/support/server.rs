//! A server that accepts everything immediately: each INVITE rings and is answered.

use std::net::SocketAddr;
use std::time::Duration;

use phonegate_sip::agent::{Config, Flow, FlowId, OutboundCall, Transport, UserAgent};
use phonegate_sip::message::{Limits, Message, Method};

/// The server's address.
pub const ADDRESS: &str = "192.0.2.9:5060";

/// An answer to the offer, of the usual size.
const DESCRIPTION: &str = "v=0\r\no=pbx 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";

/// An agent with a flow to the server over UDP. Its random numbers are a sequence.
pub fn agent(config: Config) -> (UserAgent, FlowId) {
    let mut next = 0_u128;
    let mut agent = UserAgent::new(config, move |bytes| {
        next = next.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        bytes.copy_from_slice(&next.to_be_bytes()[..bytes.len()]);
    });
    let flow = Flow {
        transport: Transport::Udp,
        local: "192.0.2.1:5070".parse().expect("an address"),
        remote: ADDRESS.parse().expect("an address"),
    };
    let flow = agent.open_flow(flow).expect("there is room");
    (agent, flow)
}

/// A call with an offer of the usual size.
pub fn outbound_call() -> OutboundCall {
    OutboundCall {
        target: "sip:+14255550100@trunk.example.com".into(),
        to: "sip:+14255550100@trunk.example.com".into(),
        from: "sip:gate@trunk.example.com".into(),
        from_name: "Gate".into(),
        contact_user: "gate".into(),
        routes: Vec::new(),
        headers: Vec::new(),
        offer: DESCRIPTION.into(),
        credentials: None,
        reliable_provisional: true,
        session_interval: None,
        trunk: Vec::new(),
    }
}

/// The counts of the server.
#[derive(Default)]
pub struct Server {
    /// Messages in both directions.
    pub messages: u64,
}

impl Server {
    /// Delivers everything between the agent and the server until both are silent.
    pub fn exchange(&mut self, agent: &mut UserAgent, flow: FlowId, now: Duration) {
        let source: SocketAddr = ADDRESS.parse().expect("an address");
        while let Some(transmit) = agent.poll_transmit() {
            self.messages += 1;
            let message = Message::from_datagram(&transmit.bytes, &Limits::default()).expect("the agent writes SIP");
            for response in respond(&message) {
                self.messages += 1;
                agent.handle_datagram(now, flow, source, response.as_bytes());
            }
        }
    }
}

fn respond(request: &Message) -> Vec<String> {
    match request.method() {
        Some(Method::Invite) => vec![write(request, 180, ""), write(request, 200, DESCRIPTION)],
        Some(Method::Ack) | None => Vec::new(),
        Some(_) => vec![write(request, 200, "")],
    }
}

/// Writes a response that has what the agent needs.
fn write(request: &Message, status: u16, description: &str) -> String {
    let header = |name| String::from_utf8_lossy(request.header_values(name).next().unwrap_or_default()).into_owned();
    let to = header("To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=pbx" };
    let content = if description.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status} Any\r\nVia: {};received=192.0.2.1\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:pbx@192.0.2.9:5060>\r\nAllow: INVITE, ACK, CANCEL, BYE, UPDATE\r\n{content}\
         Content-Length: {}\r\n\r\n{description}",
        header("Via"),
        header("From"),
        header("Call-ID"),
        header("CSeq"),
        description.len(),
    )
}

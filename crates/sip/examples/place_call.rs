//! Places a call over UDP, prints the events, and hangs up three seconds after the answer.
//!
//! ```sh
//! sipp -sn uas -i 127.0.0.1 -p 5099 &
//! cargo run -p phonegate-sip --example place_call -- 127.0.0.1:5099 +14255550100
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use phonegate_sip::agent::{CallEvent, CallId, Config, Event, Flow, FlowId, OutboundCall, Transport, UserAgent};

/// How long the call lasts once it is answered.
const CONVERSATION: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(number)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: place_call SERVER:PORT NUMBER");
        return ExitCode::from(2);
    };
    match server.parse().map_err(|_| format!("{server} is not an address with a port")) {
        Ok(server) => match run(server, &number) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("place_call: {error}");
    ExitCode::FAILURE
}

fn run(server: SocketAddr, number: &str) -> Result<(), Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(server)?;
    let mut random = File::open("/dev/urandom")?;
    let mut agent = UserAgent::new(Config::default(), move |bytes| {
        random.read_exact(bytes).expect("/dev/urandom has no end");
    });
    let flow = agent.open_flow(Flow { transport: Transport::Udp, local: socket.local_addr()?, remote: server })?;
    let start = Instant::now();
    let call = agent.place_call(start.elapsed(), flow, outbound_call(server, number, socket.local_addr()?))?;
    let mut hang_up_at = None;
    loop {
        // The contract of the agent: poll until both queues are empty, wait for bytes or the next timeout, and handle
        // it.
        while let Some(transmit) = agent.poll_transmit() {
            socket.send(&transmit.bytes)?;
        }
        while let Some(event) = agent.poll_event() {
            println!("{:>6} ms  {event:?}", start.elapsed().as_millis());
            match event {
                Event::Call(_, CallEvent::Established(_)) => hang_up_at = Some(start.elapsed() + CONVERSATION),
                Event::Call(_, CallEvent::Ended(_)) => return Ok(()),
                _ => {}
            }
        }
        wait(&mut agent, (&socket, flow, server), start, hang_up_at)?;
        hang_up(&mut agent, call, start, &mut hang_up_at);
    }
}

/// Waits for a datagram or the next deadline, and handles it.
fn wait(
    agent: &mut UserAgent,
    (socket, flow, server): (&UdpSocket, FlowId, SocketAddr),
    start: Instant,
    hang_up_at: Option<Duration>,
) -> std::io::Result<()> {
    let next = [agent.next_timeout(), hang_up_at].into_iter().flatten().min();
    let wait = next.map_or(Duration::from_secs(1), |at| at.saturating_sub(start.elapsed()));
    socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
    let mut buffer = [0; 65_536];
    match socket.recv(&mut buffer) {
        Ok(length) => agent.handle_datagram(start.elapsed(), flow, server, &buffer[..length]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        // The server is not running yet. The agent retransmits.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) => return Err(error),
    }
    agent.handle_timeout(start.elapsed());
    Ok(())
}

fn hang_up(agent: &mut UserAgent, call: CallId, start: Instant, at: &mut Option<Duration>) {
    if at.is_some_and(|at| at <= start.elapsed()) {
        *at = None;
        agent.hang_up(start.elapsed(), call);
    }
}

fn outbound_call(server: SocketAddr, number: &str, local: SocketAddr) -> OutboundCall {
    let ip = local.ip();
    let version = if ip.is_ipv4() { "IP4" } else { "IP6" };
    OutboundCall {
        target: format!("sip:{number}@{server}"),
        to: format!("sip:{number}@{}", server.ip()),
        from: "sip:example@example.com".into(),
        from_name: String::new(),
        contact_user: "example".into(),
        routes: Vec::new(),
        headers: Vec::new(),
        // The discard port: this example neither sends nor receives audio.
        offer: format!(
            "v=0\r\no=- 1 1 IN {version} {ip}\r\ns=-\r\nc=IN {version} {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
        )
        .into(),
        credentials: None,
        reliable_provisional: true,
        session_interval: None,
        trunk: Vec::new(),
    }
}

//! Floods of 8 KB messages from the trunk's own address and from elsewhere: calls continue, and memory stays bounded.
//!
//! The process of a test is the host: it has loaded the built library. The trunk and the flood run in it too, and need a
//! few MB and some threads.

mod support;

use std::collections::HashSet;
use std::ffi::CString;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::json;
use support::flood::{DatagramFlood, Flooded, Messages, flood_stream};
use support::handset::Handset;
use support::ports::free_port;
use support::service::Service;
use support::sip::config;
use support::trunk::{RingingCall, Trunk};

/// The trunk's address, and another one.
const TRUNK: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.0.0.66";

/// Most memory that a host's process may need, in KB.
const MEMORY: u64 = 150 * 1024;

/// Additional memory that may be in use after a flood, in KB: what the allocator keeps.
const KEPT: u64 = 16 * 1024;

/// The files of a socket or connection for SIP: the service has two of a socket; of a connection it has one, and the
/// trunk has two.
const FILES: usize = 3;

/// A service and its trunk.
struct Site {
    trunk: Trunk,
    service: Service,
    /// The address at which the service receives SIP over UDP.
    sip: SocketAddr,
}

/// A call that was placed.
struct Placed<'a> {
    id: CString,
    call: RingingCall<'a>,
    handset: Handset,
}

impl Site {
    fn over(transport: &'static str) -> Self {
        let (trunk, port) = (Trunk::over(transport), free_port());
        let mut settings = trunk.settings();
        settings["local_port"] = json!(port);
        let mut config = config(settings, 120);
        config["prompts"]["repeat"] = json!(10);
        Self { trunk, service: Service::start(config), sip: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Places a call, whose phone rings.
    fn rings(&self, number: &str) -> Placed<'_> {
        let id = self.service.initiate(number);
        Placed { id, call: self.trunk.rings(number), handset: Handset::on(TRUNK) }
    }

    /// Presses the key of a call that was answered, and sees it verified.
    fn verifies(&self, placed: &Placed<'_>) {
        placed.handset.press(placed.handset.hear_prompt().from, '#');
        assert_eq!(self.service.ends(&placed.id), None);
    }

    /// Places a call that is verified, and waits until it is over. Returns what the process needs from then on.
    fn is_tried(&self) -> Needs {
        let files = Needs::now().files;
        let placed = self.rings(&number(0));
        placed.call.pick_up(&placed.handset);
        self.verifies(&placed);
        drop(placed);
        support::wait_until("only the socket or connection for SIP is left of the call", || {
            Needs::now().files <= files + FILES
        });
        Needs::now()
    }

    /// Places calls that are verified, one after the other, as long as the flood continues. Returns their number.
    fn verifies_while(&self, floods: impl Fn() -> bool) -> usize {
        let mut calls = 0;
        while floods() {
            let placed = self.rings(&number(100 + calls));
            placed.call.pick_up(&placed.handset);
            self.verifies(&placed);
            calls += 1;
        }
        calls
    }
}

fn number(n: usize) -> String {
    format!("+1 425555{:04}", 1000 + n)
}

/// The resources of this process.
#[derive(Debug)]
struct Needs {
    /// Resident memory, and the most of it so far, in KB.
    memory: u64,
    most: u64,
    threads: u64,
    files: usize,
}

impl Needs {
    fn now() -> Self {
        // SAFETY: it may be called at any time. Memory that is free, but that the allocator keeps, is not in use.
        unsafe { libc::malloc_trim(0) };
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self {
            memory: value("VmRSS:"),
            most: value("VmHWM:"),
            threads: value("Threads:"),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }
}

/// Fails if more than `MEMORY` was needed, and waits until usage is as low as before.
fn has_left_nothing(before: &Needs) {
    let needs = Needs::now();
    println!("before: {before:?}; after: {needs:?}");
    assert!(needs.most < MEMORY, "{needs:?}");
    let mut now = needs;
    support::wait_until("nothing of the flood is left", || {
        now = Needs::now();
        now.memory < before.memory + KEPT && now.threads <= before.threads && now.files <= before.files
    });
}

/// Calls that ring and calls that were answered, then a flood, during which further calls are placed; all are verified.
fn calls_go_on(from: &str) -> Flooded {
    let site = Site::over("udp");
    let before = site.is_tried();
    let placed: Vec<_> = (1..=4).map(|n| site.rings(&number(n))).collect();
    let (ringing, answered) = placed.split_at(2);
    answered.iter().for_each(|placed| placed.call.pick_up(&placed.handset));
    let flood = DatagramFlood::start(from.parse().unwrap(), site.sip);
    support::wait_until("the flood has begun", || flood.sent() > 10_000);
    ringing[0].call.pick_up(&ringing[0].handset);
    site.verifies(&ringing[0]);
    let calls = site.verifies_while(|| flood.is_running());
    println!("{calls} calls were placed and verified during the flood");
    assert!(calls > 0, "a call is placed and verified during the flood");
    let flooded = flood.ends();
    ringing[1].call.pick_up(&ringing[1].handset);
    placed[1..].iter().for_each(|placed| site.verifies(placed));
    drop(placed);
    has_left_nothing(&before);
    flooded
}

#[test]
fn calls_continue_under_a_flood_from_the_trunks_address_long() {
    let flooded = calls_go_on(TRUNK);
    assert!(flooded.responses < flooded.sent / 10, "a flood is not answered by a flood: {flooded:?}");
}

#[test]
fn calls_continue_under_a_flood_from_elsewhere_long() {
    let flooded = calls_go_on(ELSEWHERE);
    assert_eq!(flooded.responses, 0, "nothing is sent to where the trunk is not");
}

/// The trunk itself floods the connection that its calls use. It offers at least 12,000 messages a second; TCP accepts as
/// many as the service reads, which may be fewer. All that was accepted is read, because later calls use the same
/// connection.
#[test]
fn calls_continue_under_a_flood_on_their_connection_long() {
    let site = Site::over("tcp");
    let before = site.is_tried();
    let placed: Vec<_> = (1..=4).map(|n| site.rings(&number(n))).collect();
    let (ringing, answered) = placed.split_at(2);
    answered.iter().for_each(|placed| placed.call.pick_up(&placed.handset));
    let connection = site.trunk.connection();
    let mut messages = Messages::outside_of_calls(site.sip, "TCP");
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood_stream(&mut messages, |message| connection.write(message)));
        ringing[0].call.pick_up(&ringing[0].handset);
        site.verifies(&ringing[0]);
        let calls = site.verifies_while(|| !flood.is_finished());
        println!("{calls} calls were placed and verified during the flood");
        assert!(calls > 0, "a call is placed and verified during the flood");
        flood.join().unwrap();
    });
    ringing[1].call.pick_up(&ringing[1].handset);
    placed[1..].iter().for_each(|placed| site.verifies(placed));
    drop(placed);
    assert_eq!(site.trunk.connections(), 1, "the connection was kept");
    has_left_nothing(&before);
}

/// If the end of a message cannot be found, the connection is closed. Calls that were answered go on, and the next one
/// goes over a new connection.
#[test]
fn a_stream_without_messages_costs_one_connection_long() {
    let site = Site::over("tcp");
    let before = site.is_tried();
    let endless = b"OPTIONS sip:mim@127.0.0.1 SIP/2.0\r\n".to_vec();
    let huge = b"OPTIONS sip:mim@127.0.0.1 SIP/2.0\r\nContent-Length: 4294967296\r\n\r\n".to_vec();
    for (n, start) in [endless, huge].into_iter().cycle().take(10).enumerate() {
        let placed = site.rings(&number(1 + n));
        placed.call.pick_up(&placed.handset);
        let audio = placed.handset.hear_prompt().from;
        let connections = site.trunk.connections();
        let filler = b"X-Filler: not needed by any\r\n".repeat(100);
        // Only on this connection: the service soon has a new one, which must stay open.
        let connection = site.trunk.connection();
        let mut written = connection.write(&start);
        while written.is_ok() {
            written = connection.write(&filler);
        }
        placed.handset.press(audio, '#');
        assert_eq!(site.service.ends(&placed.id), None);
        let next = site.rings(&number(101 + n));
        assert_eq!(site.trunk.connections(), connections + 1, "the next call has a new connection");
        next.call.pick_up(&next.handset);
        site.verifies(&next);
    }
    site.trunk.forget_calls();
    has_left_nothing(&before);
}

/// A server that floods its connection and reads nothing has it closed before its responses fill the memory.
#[test]
fn a_flooding_server_that_reads_nothing_is_disconnected_long() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let trunk = json!({ "type": "sip", "trunk": format!("sip:{address};transport=tcp") });
    let service = Service::start(config(trunk, 120));
    let id = service.initiate(&number(0));
    let (mut connection, _) = server.accept().unwrap();
    let mut messages = Messages::outside_of_calls(address, "TCP");
    let mut sent = 0u64;
    while connection.write_all(messages.next()).is_ok() {
        sent += 1;
    }
    println!("{sent} messages were accepted before the connection was closed");
    assert!(service.ends(&id).is_some(), "the call fails");
    let needs = Needs::now();
    println!("{needs:?}");
    assert!(needs.most < MEMORY, "{needs:?}");
}

/// Re-INVITEs of 60 KB within many calls are refused, because they are older than the request before, and none of the
/// rejections is acknowledged: the service keeps them, so that it can repeat them.
#[test]
fn long_requests_within_calls_fill_no_memory_long() {
    const ROUNDS: u32 = 64;
    let site = Site::over("tcp");
    let placed: Vec<_> = (0..60).map(|n| site.rings(&number(n))).collect();
    placed.iter().for_each(|placed| placed.call.pick_up(&placed.handset));
    let via = format!("Via: {}SIP/2.0/TCP 192.0.2.1\r\n", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKbelow, ".repeat(60));
    for round in 0..=ROUNDS {
        for placed in &placed {
            let method = if round == 0 { "INFO" } else { "INVITE" };
            let request = placed.call.dialog().request(("TCP", site.sip), 4711 - round, method);
            let request = format!("{request}{}Content-Length: 0\r\n\r\n", via.repeat(20));
            site.trunk.connection().write(request.as_bytes()).expect("the service keeps the connection");
        }
    }
    placed.iter().for_each(|placed| site.verifies(placed));
    let needs = Needs::now();
    println!("{needs:?} after requests of {} KB", via.len() * 20 / 1024);
    assert!(needs.most < MEMORY, "{needs:?}");
}

/// The service accepts no connections, whatever its transport.
#[test]
fn the_service_listens_on_no_tcp_port() {
    for transport in ["udp", "tcp"] {
        let site = Site::over(transport);
        let placed = site.rings(&number(0));
        placed.call.pick_up(&placed.handset);
        site.verifies(&placed);
        let trunk = (transport == "tcp").then_some(site.trunk.port());
        assert_eq!(listening_ports(), Vec::from_iter(trunk), "the trunk's own alone, over {transport}");
    }
}

/// The TCP ports on which this process listens (proc(5)).
fn listening_ports() -> Vec<u16> {
    const LISTENS: &str = "0A";
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let sockets: HashSet<_> = files.flat_map(|file| std::fs::read_link(file.path())).collect();
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let ours = lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == LISTENS && sockets.contains(Path::new(&format!("socket:[{}]", fields[9]))));
    ours.map(|fields| u16::from_str_radix(fields[1].rsplit(':').next().unwrap(), 16).unwrap()).collect()
}

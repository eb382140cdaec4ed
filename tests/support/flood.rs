//! Floods: SIP messages and garbage of 8 KB, no two alike.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The length of a message, in bytes.
pub const LENGTH: usize = 8 * 1024;

/// How long a flood lasts.
pub const LASTS: Duration = Duration::from_secs(30);

/// Messages a second that a flood must offer.
pub const MIN_RATE: u64 = 12_000;

/// Datagrams a second that are sent if the machine allows it.
const RATE: u64 = 15_000;

/// Datagrams that are sent without a pause.
const BURST: u64 = 30;

/// Marks a response in a list of methods.
const RESPONSE: &str = "a response";

/// The placeholder that a number replaces in each message.
const MARK: &[u8] = b"00000000";

/// The messages of a flood.
pub struct Messages {
    templates: Vec<(Vec<u8>, Vec<usize>)>,
    count: usize,
}

impl Messages {
    /// Requests and responses outside of calls that can be parsed, and are long for different reasons.
    pub fn outside_of_calls(from: SocketAddr, transport: &str) -> Self {
        let methods = ["OPTIONS", "INVITE", "BYE", "NOTIFY", "PING", "REGISTER", RESPONSE];
        let many = |line: &str| line.repeat(150);
        let paddings = [
            String::new(),
            many("X-Padding: an unneeded header\r\n"),
            format!("Via: {}SIP/2.0/UDP 192.0.2.1\r\n", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKbelow, ".repeat(100)),
            format!("Record-Route: {}<sip:192.0.2.1;lr>\r\n", "<sip:192.0.2.1;lr>, ".repeat(60)),
            format!("Subject: {}\r\n", "s".repeat(6_000)),
            format!("Require: {}\r\n", "\"<,;".repeat(1_500)),
        ];
        let request = |method: &str, padding: &str| {
            let start = match method {
                RESPONSE => "SIP/2.0 200 OK".to_owned(),
                method => format!("{method} sip:mim@127.0.0.1 SIP/2.0"),
            };
            let cseq = if method == RESPONSE { "INVITE" } else { method };
            let head = format!(
                "{start}\r\nVia: SIP/2.0/{transport} {from};rport;branch=z9hG4bK00000000\r\n\
                 From: <sip:flood@{from}>;tag=00000000\r\nTo: <sip:mim@127.0.0.1>\r\nCall-ID: flood-00000000\r\n\
                 CSeq: 1 {cseq}\r\nContact: <sip:flood@{from}>\r\nMax-Forwards: 70\r\n{padding}Content-Length: "
            );
            // Four digits and the empty line.
            let body = LENGTH - head.len() - 8;
            format!("{head}{body:04}\r\n\r\n{}", "b".repeat(body)).into_bytes()
        };
        let of_method = |method| paddings.iter().map(move |padding| request(method, padding));
        Self::of(methods.into_iter().flat_map(of_method).collect())
    }

    /// Garbage: noise, line ends, a start line alone, and headers without end.
    pub fn garbage() -> Self {
        let endless = |line: &str| line.repeat(LENGTH / line.len() + 1).into_bytes();
        let noise = (0..LENGTH).map(|_| fastrand::u8(..)).collect();
        Self::of(vec![
            noise,
            endless("\n"),
            endless("OPTIONS "),
            endless("Via: "),
            endless(" \r\n "),
            endless("a:\r\n"),
        ])
    }

    /// Adds the messages of another flood.
    pub fn and(mut self, mut other: Self) -> Self {
        self.templates.append(&mut other.templates);
        self
    }

    fn of(messages: Vec<Vec<u8>>) -> Self {
        let marks = |message: &[u8]| {
            let places = message.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
            places.map(|(place, _)| place).collect::<Vec<_>>()
        };
        let cut = |mut message: Vec<u8>| {
            message.truncate(LENGTH);
            (message.clone(), marks(&message))
        };
        Self { templates: messages.into_iter().map(cut).collect(), count: 0 }
    }

    /// The next message.
    pub fn next(&mut self) -> &[u8] {
        self.count += 1;
        let count = self.templates.len();
        let (message, marks) = &mut self.templates[self.count % count];
        let number = format!("{:08}", self.count);
        for mark in marks {
            message[*mark..*mark + MARK.len()].copy_from_slice(number.as_bytes());
        }
        message
    }
}

/// The result of a flood over a connection.
#[derive(Debug)]
pub struct StreamFlooded {
    /// Messages a second that the connection accepted.
    pub accepted: u64,
    /// Messages a second that would have been sent if the connection had accepted each one at once.
    pub offered: u64,
}

/// Floods a connection without pauses for [`LASTS`]. Fails if the connection is closed, or if the machine was too slow to
/// offer [`MIN_RATE`].
///
/// TCP makes the sender wait while the receiver does not read. So `accepted` is what the receiver reads, and depends on the
/// machine; the time that the sender spends outside of `write` gives `offered`.
pub fn flood_stream(messages: &mut Messages, write: impl Fn(&[u8]) -> std::io::Result<()>) -> StreamFlooded {
    let (start, mut sent, mut waited) = (Instant::now(), 0u64, Duration::ZERO);
    while start.elapsed() < LASTS {
        let message = messages.next();
        let before = Instant::now();
        write(message).expect("the service keeps the connection");
        waited += before.elapsed();
        sent += 1;
    }
    let rate = |time: Duration| (sent as f64 / time.as_secs_f64()) as u64;
    let lasted = start.elapsed();
    let flooded = StreamFlooded { accepted: rate(lasted), offered: rate(lasted - waited) };
    println!("{flooded:?}");
    assert!(flooded.offered >= MIN_RATE, "this machine is too busy to offer {MIN_RATE} messages a second: {flooded:?}");
    flooded
}

/// A flood of datagrams in a thread of its own.
pub struct DatagramFlood {
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Duration>,
    responses: Arc<AtomicU64>,
    response_bytes: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    listener: JoinHandle<()>,
}

/// The result of a flood.
#[derive(Debug)]
pub struct Flooded {
    pub sent: u64,
    /// Datagrams a second.
    pub rate: u64,
    pub responses: u64,
    pub response_bytes: u64,
}

impl DatagramFlood {
    /// Floods this port for [`LASTS`] from another port of `from`.
    pub fn start(from: IpAddr, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        let mut messages = Messages::outside_of_calls(socket.local_addr().unwrap(), "UDP").and(Messages::garbage());
        let [sent, responses, response_bytes] = std::array::from_fn(|_| Arc::new(AtomicU64::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let receiver = socket.try_clone().unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let listener = {
            let (responses, bytes, is_over) =
                (Arc::clone(&responses), Arc::clone(&response_bytes), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while !is_over.load(Ordering::Relaxed) {
                    if let Ok((length, _)) = receiver.recv_from(&mut buffer) {
                        responses.fetch_add(1, Ordering::Relaxed);
                        bytes.fetch_add(length as u64, Ordering::Relaxed);
                    }
                }
            })
        };
        let counter = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < LASTS {
                let due = start.elapsed().as_micros() as u64 * RATE / 1_000_000;
                if counter.load(Ordering::Relaxed) + BURST > due {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                for _ in 0..BURST {
                    socket.send_to(messages.next(), to).unwrap();
                }
                counter.fetch_add(BURST, Ordering::Relaxed);
            }
            start.elapsed()
        });
        Self { sent, thread, responses, response_bytes, is_over, listener }
    }

    /// Returns whether the flood is running.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The datagrams that were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits for the end of the flood. Fails if the machine was too slow to send it.
    pub fn ends(self) -> Flooded {
        let lasted = self.thread.join().unwrap();
        self.is_over.store(true, Ordering::Relaxed);
        self.listener.join().unwrap();
        let sent = self.sent.load(Ordering::Relaxed);
        let rate = (sent as f64 / lasted.as_secs_f64()) as u64;
        let [responses, response_bytes] = [&self.responses, &self.response_bytes].map(|n| n.load(Ordering::Relaxed));
        let flooded = Flooded { sent, rate, responses, response_bytes };
        println!("{flooded:?}");
        assert!(rate >= MIN_RATE, "this machine is too busy for a flood of {MIN_RATE} datagrams a second: {flooded:?}");
        flooded
    }
}

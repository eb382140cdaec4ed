//! A name server with the records that a test gives it. It needs a network of its own: see [`network`](super::network).

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// The address of the name server.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// Maximum length of a response over UDP. A longer one is truncated, and requested again over TCP.
const MAX_DATAGRAM: usize = 512;

/// A running name server. It ends with the test's process.
pub struct NameServer {
    is_silent: Arc<AtomicBool>,
    records: Arc<Mutex<Vec<Record>>>,
    asked: Arc<Mutex<HashSet<String>>>,
}

impl NameServer {
    /// Moves the test into a network of its own, and starts a name server with these records there.
    pub fn start(records: Vec<Record>) -> Self {
        super::network::isolate(ADDRESS);
        let records = Arc::new(Mutex::new(records));
        let is_silent = Arc::new(AtomicBool::new(false));
        let socket = UdpSocket::bind((ADDRESS, 53)).unwrap();
        let listener = TcpListener::bind((ADDRESS, 53)).unwrap();
        let asked = Arc::new(Mutex::new(HashSet::new()));
        let (known, silent, names) = (Arc::clone(&records), Arc::clone(&is_silent), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                let query = Message::from_vec(&buffer[..length]).unwrap();
                names.lock().unwrap().insert(query.queries[0].name().to_string());
                if !silent.load(Ordering::Relaxed) {
                    let answer = answer(&buffer[..length], &known.lock().unwrap(), MAX_DATAGRAM);
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        let known = Arc::clone(&records);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, known) = (stream.unwrap(), Arc::clone(&known));
                std::thread::spawn(move || {
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut query = vec![0; u16::from_be_bytes(length).into()];
                        stream.read_exact(&mut query).unwrap();
                        let answer = answer(&query, &known.lock().unwrap(), u16::MAX.into());
                        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        stream.write_all(&[&length, &*answer].concat()).unwrap();
                    }
                });
            }
        });
        Self { is_silent, records, asked }
    }

    /// Replaces the records.
    pub fn change(&self, records: Vec<Record>) {
        *self.records.lock().unwrap() = records;
    }

    /// The names that it was asked for over UDP.
    pub fn asked(&self) -> HashSet<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Stops responding.
    pub fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }
}

fn answer(query: &[u8], records: &[Record], limit: usize) -> Vec<u8> {
    let mut message = Message::from_vec(query).unwrap();
    let query = message.queries[0].clone();
    message.metadata.message_type = MessageType::Response;
    message.metadata.authoritative = true;
    message.metadata.recursion_available = true;
    message.additionals.clear();
    let of_name = || records.iter().filter(|record| record.name == *query.name());
    let is_asked = |record: &&Record| [query.query_type(), RecordType::CNAME].contains(&record.record_type());
    message.answers = of_name().filter(is_asked).cloned().collect();
    if of_name().next().is_none() {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    let whole = message.to_vec().unwrap();
    if whole.len() <= limit {
        return whole;
    }
    message.answers.clear();
    message.metadata.truncation = true;
    message.to_vec().unwrap()
}

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

/// Returns an A record.
pub fn a(owner: &str, address: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A(address.parse().unwrap())))
}

/// Returns a CNAME record.
pub fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
}

/// Returns an SRV record.
pub fn srv(owner: &str, priority: u16, port: u16, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::SRV(SRV::new(priority, 1, port, name(target))))
}

/// Returns a NAPTR record for a service such as `SIPS+D2T`.
pub fn naptr(owner: &str, order: u16, service: &str, replacement: &str) -> Record {
    let text = |text: &str| text.as_bytes().into();
    let rule = NAPTR::new(order, 1, text("s"), text(service), text(""), name(replacement));
    Record::from_rdata(name(owner), 60, RData::NAPTR(rule))
}

/// An address of the test's network.
pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

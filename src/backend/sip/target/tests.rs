//! Look-ups through a name server on this machine. Hosts are resolved by the operating system: `localhost`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use std::net::Ipv4Addr;
use std::str::FromStr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, Record};
use tokio::net::UdpSocket;

use super::*;

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

fn srv(owner: &str, priority: u16, port: u16) -> Record {
    Record::from_rdata(name(owner), 60, RData::SRV(SRV::new(priority, 1, port, name("localhost."))))
}

fn naptr(order: u16, service: &str, replacement: &str) -> Record {
    let text = |text: &str| text.as_bytes().into();
    let rule = NAPTR::new(order, 1, text("s"), text(service), text(""), name(replacement));
    Record::from_rdata(name("pbx.example."), 60, RData::NAPTR(rule))
}

/// Returns a resolver whose name server has these records.
async fn resolver(records: Vec<Record>) -> TokioResolver {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut connection = ConnectionConfig::udp();
    connection.port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            let query = message.queries[0].clone();
            message.metadata.message_type = MessageType::Response;
            message.metadata.authoritative = true;
            message.answers = records
                .iter()
                .filter(|record| &record.name == query.name() && record.record_type() == query.query_type())
                .cloned()
                .collect();
            if message.answers.is_empty() {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap()
}

/// Resolves a URI. Returns the transport and port of each server with an IPv4 address.
async fn found(uri: &str, records: Vec<Record>) -> Vec<(Transport, u16)> {
    let target = Target::parse("trunk", uri).unwrap();
    let port = target.uri.port();
    let servers = target.look_up(Some(&resolver(records).await), &target.host(), port).await.unwrap();
    assert!(servers.iter().all(|server| server.name == target.host()), "the certificate's name is the trunk's");
    let ipv4 = servers.iter().filter(|server| server.address.is_ipv4());
    ipv4.map(|server| (server.transport, server.address.port())).collect()
}

#[tokio::test]
async fn naptr_orders_the_transports() {
    let mut records = vec![
        naptr(20, "SIP+D2U", "_sip._udp.pbx.example."),
        naptr(10, "SIP+D2T", "_sip._tcp.pbx.example."),
        naptr(5, "E2U+email", "elsewhere.example."),
        srv("_sip._udp.pbx.example.", 1, 5070),
        srv("_sip._tcp.pbx.example.", 1, 5072),
        srv("_sips._tcp.pbx.example.", 1, 5071),
    ];
    assert_eq!(found("sip:pbx.example", records.clone()).await, [(Transport::Tcp, 5072), (Transport::Udp, 5070)]);
    records.push(naptr(7, "SIPS+D2T", "_sips._tcp.pbx.example."));
    assert_eq!(found("sip:pbx.example", records).await, [(Transport::Tls, 5071)], "TLS first means TLS alone");
}

#[tokio::test]
async fn srv_targets_come_first_in_proportion_to_their_weight() {
    let weighted = |port, weight| {
        let rdata = SRV::new(1, weight, port, name("localhost."));
        Record::from_rdata(name("_sip._udp.pbx.example."), 60, RData::SRV(rdata))
    };
    let resolver = resolver(vec![weighted(5071, 3), weighted(5072, 1), weighted(5073, 0)]).await;
    let mut first = std::collections::HashMap::new();
    for _ in 0..400 {
        let targets = super::srv(&resolver, "_sip._udp.pbx.example.").await;
        assert_eq!(targets.len(), 3);
        *first.entry(targets[0].1).or_insert(0) += 1;
    }
    // 300, 100 and about 1 are expected; the limits are eight standard deviations away.
    assert!((230..=370).contains(&first[&5071]), "{first:?}");
    assert!((30..=170).contains(&first[&5072]), "{first:?}");
}

#[tokio::test]
async fn root_as_an_srv_target_is_no_server() {
    let rdata = SRV::new(1, 1, 5070, Name::root());
    let none = Record::from_rdata(name("_sip._udp.pbx.example."), 60, RData::SRV(rdata));
    let resolver = resolver(vec![none]).await;
    assert!(super::srv(&resolver, "_sip._udp.pbx.example.").await.is_empty());
}

#[tokio::test]
async fn srv_orders_the_servers_by_priority() {
    let records = vec![
        srv("_sip._tcp.pbx.example.", 20, 5082),
        srv("_sip._tcp.pbx.example.", 10, 5081),
        srv("_sip._udp.pbx.example.", 1, 5070),
    ];
    let over_tcp = found("sip:pbx.example;transport=tcp", records.clone()).await;
    assert_eq!(over_tcp, [(Transport::Tcp, 5081), (Transport::Tcp, 5082)]);
    assert_eq!(found("sip:pbx.example", records).await[0], (Transport::Udp, 5070));
}

#[tokio::test]
async fn without_records_or_with_a_port_the_host_is_the_server() {
    assert_eq!(found("sip:localhost", Vec::new()).await, [(Transport::Udp, 5060)]);
    assert_eq!(found("sips:localhost", Vec::new()).await, [(Transport::Tls, 5061)]);
    let ignored = vec![srv("_sip._udp.localhost.", 1, 5070)];
    assert_eq!(found("sip:localhost:5090;transport=tcp", ignored).await, [(Transport::Tcp, 5090)]);
}

#[tokio::test]
async fn a_server_on_loopback_is_refused_unless_allowed() {
    for uri in ["sip:127.0.0.1", "sip:[::ffff:127.0.0.1]", "sip:localhost:5060", "sip:localhost:5061;transport=tls"] {
        let target = Target::parse("trunk", uri).unwrap();
        let problem = target.servers(Loopback::Refused).await.unwrap_err();
        assert!(problem.contains("this machine") && problem.contains("\"local_peer\": true"), "{uri}: {problem}");
        assert!(!target.servers(Loopback::Allowed).await.unwrap().is_empty(), "{uri}");
    }
}

#[tokio::test]
async fn an_ip_address_needs_no_look_up() {
    for (uri, address, transport) in [
        ("sip:192.0.2.1", "192.0.2.1:5060", Transport::Udp),
        ("sips:192.0.2.1", "192.0.2.1:5061", Transport::Tls),
        ("sip:[2001:db8::1]:5070;transport=tls", "[2001:db8::1]:5070", Transport::Tls),
    ] {
        let servers = Target::parse("trunk", uri).unwrap().servers(Loopback::Allowed).await.unwrap();
        assert_eq!(servers.len(), 1);
        assert_eq!((servers[0].address.to_string().as_str(), servers[0].transport), (address, transport));
    }
}

//! Requests within a dialog: their destination and their content (RFC 3261, 12).

#[path = "support/wire.rs"]
mod wire;

use std::net::SocketAddr;

use phonegate_sip::agent::{CallEvent, CallId, Event, OutboundCall, Reply, Transport};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::{Message, Method};
use wire::{LOCAL, SERVER, Wire, parse, request, seconds, value, values};

/// Hangs up, and returns the BYE and its destination.
fn bye(wire: &mut Wire, id: CallId) -> (SocketAddr, Message) {
    wire.sent();
    wire.agent.hang_up(wire.now, id);
    let transmit = wire.transmits().pop().unwrap();
    let bye = parse(&transmit.bytes);
    assert_eq!(bye.method(), Some(&Method::Bye));
    (transmit.destination, bye)
}

/// Establishes a call whose 2xx has these headers, and returns Request-URI and Route of its ACK and its BYE.
#[track_caller]
fn routed(headers: &str) -> (String, Vec<String>) {
    let mut wire = Wire::udp();
    let (id, _, ack) = wire.establish(wire::call(), headers);
    let (_, bye) = bye(&mut wire, id);
    let read = |message: &Message| {
        let uri = String::from_utf8_lossy(message.request_uri_bytes().unwrap()).into_owned();
        (uri, values(message, "Route"))
    };
    assert_eq!(read(&ack), read(&bye), "ACK and BYE have the same route");
    read(&bye)
}

/// The route set is the Record-Route of the response, the last element first, with all parameters (12.1.2).
#[test]
fn route_set_is_reversed_record_route() {
    let (uri, routes) = routed(
        "Contact: <sip:pbx@192.0.2.30:5080;ob?X=1>\r\nRecord-Route: <sip:p3;lr>;x=\"1;2\", \"N\" <sip:p2;lr=on>\r\n\
         Record-Route: sip:p1;lr\r\n",
    );
    assert_eq!(uri, "sip:pbx@192.0.2.30:5080;ob");
    assert_eq!(routes, ["<sip:p1;lr>", "\"N\" <sip:p2;lr=on>", "<sip:p3;lr>;x=\"1;2\""]);
}

/// A first router without `lr` becomes the Request-URI, without what that cannot have, and the target the last route
/// (12.2.1.1). Later routers are as they are.
#[test]
fn strict_router_becomes_the_request_uri() {
    let contact = "Contact: <sip:pbx@192.0.2.30>\r\n";
    let cases = [
        ("<sip:p1>", "sip:p1", vec!["<sip:pbx@192.0.2.30>"]),
        ("<sip:p2>, <sip:p1>", "sip:p1", vec!["<sip:p2>", "<sip:pbx@192.0.2.30>"]),
        (
            "<sip:p2;lr>, <sip:u@p1:5080;transport=udp;method=BYE?a=b>;x",
            "sip:u@p1:5080;transport=udp",
            vec!["<sip:p2;lr>", "<sip:pbx@192.0.2.30>"],
        ),
        ("<sip:p2>, <sip:p1;lr>", "sip:pbx@192.0.2.30", vec!["<sip:p1;lr>", "<sip:p2>"]),
    ];
    for (record_route, uri, routes) in cases {
        let found = routed(&format!("{contact}Record-Route: {record_route}\r\n"));
        assert_eq!(found, (uri.to_owned(), routes.into_iter().map(str::to_owned).collect()), "{record_route}");
    }
}

/// An unreadable Record-Route element is skipped, so that a BYE still arrives.
#[test]
fn unreadable_router_is_left_out() {
    let contact = "Contact: <sip:pbx@192.0.2.30>\r\n";
    for bad in ["<sip:p9;lr", "<>", "<tel:+1>", "<sip:>", "junk here"] {
        let (_, routes) = routed(&format!("{contact}Record-Route: {bad}\r\nRecord-Route: <sip:p1;lr>\r\n"));
        assert_eq!(routes, ["<sip:p1;lr>"], "{bad}");
    }
}

/// The 2xx decides on the route set, whatever an early response said (13.2.2.4).
#[test]
fn success_replaces_the_early_route_set() {
    for (record_route, expected) in [("", vec![]), ("Record-Route: <sip:late;lr>\r\n", vec!["<sip:late;lr>"])] {
        let mut wire = Wire::udp();
        let (id, invite) = wire.place(wire::call());
        let early = "Contact: <sip:early@192.0.2.30>\r\nRequire: 100rel\r\nRSeq: 1\r\n";
        wire.reply(&invite, 183, &format!("{early}Record-Route: <sip:early;lr>\r\n"), "");
        let prack = wire.sent_one();
        assert_eq!(value(&prack, "Route"), "<sip:early;lr>");
        assert_eq!(prack.request_uri_bytes(), Some(&b"sip:early@192.0.2.30"[..]));
        wire.reply(&invite, 200, &format!("Contact: <sip:late@192.0.2.30>\r\n{record_route}"), "");
        let (_, bye) = bye(&mut wire, id);
        assert_eq!(values(&bye, "Route"), expected);
        assert_eq!(bye.request_uri_bytes(), Some(&b"sip:late@192.0.2.30"[..]));
    }
}

/// A Contact that cannot be used leaves the target as it was: here, the Request-URI of the INVITE.
#[test]
fn unusable_contact_leaves_the_target() {
    let target = "sip:+14255550100@trunk.example.com";
    for contact in ["", "*", "tel:+1", "<sip:a@>", "<sip:a@b", "<mailto:a@b>", "<sip:a b@c>", "<sip:[::1>"] {
        let (uri, _) = routed(&format!("Contact: {contact}\r\n"));
        assert_eq!(uri, target, "Contact: {contact}");
    }
    let (uri, _) = routed("");
    assert_eq!(uri, target, "no Contact");
    let (uri, _) = routed("Contact: <sip:a@192.0.2.30>, <sip:b@192.0.2.31>\r\n");
    assert_eq!(uri, "sip:a@192.0.2.30");
}

/// A digest answer cannot contain a backslash, so the Request-URI of the BYE has an escape instead.
#[test]
fn contact_with_backslash_does_not_prevent_the_bye() {
    let challenge = "WWW-Authenticate: Digest realm=\"a\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";
    for header in ["Contact: <sip:a\\b@192.0.2.30>", "Record-Route: <sip:a\\b@192.0.2.30>"] {
        let mut wire = Wire::udp();
        let credentials = Some(Credentials::new("gate", "made-up").unwrap());
        let (id, invite) = wire.place(OutboundCall { credentials, ..wire::call() });
        wire.reply(&invite, 401, challenge, "");
        let invite = wire.sent().pop().unwrap();
        wire.reply(&invite, 200, &format!("{header}\r\n"), "");
        let (_, bye) = bye(&mut wire, id);
        assert_eq!(bye.request_uri_bytes(), Some(&b"sip:a%5Cb@192.0.2.30"[..]));
        assert!(value(&bye, "Authorization").contains("uri=\"sip:a%5Cb@192.0.2.30\""));
    }
}

/// The target follows the Contact of the peer's re-INVITE and UPDATE, and of the responses to this side's (12.2.1.2).
#[test]
fn target_is_refreshed_by_reinvite_and_update() {
    let mut wire = Wire::udp();
    let call = OutboundCall { session_interval: Some(200), ..wire::call() };
    let headers = "Allow: UPDATE\r\nSession-Expires: 200;refresher=uac\r\nRecord-Route: <sip:p;lr>\r\n";
    let (id, invite, _) = wire.establish(call, headers);
    let update = wire.run(seconds(100)).remove(0).1;
    wire.reply(&update, 200, "Session-Expires: 200\r\nContact: <sip:one@a>\r\nRecord-Route: <sip:q;lr>\r\n", "");
    let update = wire.run(seconds(100)).remove(0).1;
    assert_eq!(update.request_uri_bytes(), Some(&b"sip:one@a"[..]));
    assert_eq!(value(&update, "Route"), "<sip:p;lr>", "the route set stays");
    wire.reply(&update, 200, "Session-Expires: 2000\r\n", "");
    wire.receive(&request(&invite, "UPDATE", 1, "Contact: <sip:two@a>\r\nRecord-Route: <sip:q;lr>\r\n", ""));
    wire.sent();
    wire.events();
    let description = "Contact: <sip:three@a>\r\nContent-Type: application/sdp\r\n";
    wire.receive(&request(&invite, "INVITE", 2, description, "v=0\r\n"));
    let Some(Event::Call(_, CallEvent::SdpOffer { request: offer, .. })) = wire.agent.poll_event() else {
        panic!("the offer is reported")
    };
    wire.agent.respond(wire.now, offer, Reply::Accept(Some(b"v=0\r\n".to_vec())));
    let (_, bye) = bye(&mut wire, id);
    assert_eq!(bye.request_uri_bytes(), Some(&b"sip:three@a"[..]));
    assert_eq!(value(&bye, "Route"), "<sip:p;lr>");
}

/// Over UDP, a request goes to the server, perhaps to another port of it, and never to another host.
#[test]
fn requests_go_to_the_server_only() {
    let cases = [
        ("Contact: <sip:a@192.0.2.9>", 5_060),
        ("Contact: <sip:a@192.0.2.9:5080>", 5_080),
        ("Contact: <sip:a@192.0.2.9:5080;transport=UDP>", 5_080),
        ("Contact: <sip:a@192.0.2.9:0>", 5_060),
        ("Contact: <sip:a@198.51.100.1:5080>", 5_060),
        ("Contact: <sip:a@evil.example.com:5080>", 5_060),
        ("Contact: <sip:a@192.0.2.9.example.com:5080>", 5_060),
        ("Contact: <sips:a@192.0.2.9:5080>", 5_060),
        ("Contact: <sip:a@192.0.2.9:5080;transport=tcp>", 5_060),
        ("Contact: <sip:a@198.51.100.1:5080;maddr=192.0.2.9>", 5_060),
        ("Contact: <sip:a@[::ffff:192.0.2.9]:5080>", 5_080),
        ("Contact: <sip:a@192.0.2.9:5080>\r\nRecord-Route: <sip:198.51.100.1:5090;lr>", 5_060),
        ("Contact: <sip:a@198.51.100.1>\r\nRecord-Route: <sip:x:1;lr>, <sip:192.0.2.9:5090;lr>", 5_090),
        ("Contact: <sip:a@198.51.100.1>\r\nRecord-Route: <sip:192.0.2.9:5090>", 5_090),
    ];
    for (headers, port) in cases {
        let mut wire = Wire::udp();
        let (id, _, _) = wire.establish(wire::call(), &format!("{headers}\r\n"));
        let (destination, _) = bye(&mut wire, id);
        assert_eq!(destination, SocketAddr::new(wire.server.ip(), port), "{headers}");
    }
}

/// A host with `maddr` goes to the server's own address, too.
#[test]
fn maddr_never_names_another_host() {
    let mut wire = Wire::udp();
    let (id, _, _) = wire.establish(wire::call(), "Contact: <sip:a@192.0.2.9;maddr=198.51.100.1>\r\n");
    assert_eq!(bye(&mut wire, id).0.ip(), wire.server.ip());
}

#[test]
fn ipv6_targets_go_to_the_server() {
    let cases = [
        ("[2001:db8::9]:5060", "<sip:a@[2001:db8::9]:5080>", 5_080),
        ("[2001:db8::9]:5060", "<sip:a@[2001:DB8:0:0::9]>", 5_060),
        ("[2001:db8::9]:5060", "<sip:a@[2001:db8::8]:5080>", 5_060),
        ("[fe80::9%7]:5060", "<sip:a@[fe80::9]:5080>", 5_080),
    ];
    for (server, contact, port) in cases {
        let mut wire = Wire::between(Transport::Udp, "[2001:db8::1]:5070", server);
        let (id, invite, _) = wire.establish(wire::call(), &format!("Contact: {contact}\r\n"));
        assert!(value(&invite, "Via").starts_with("SIP/2.0/UDP [2001:db8::1]:5070;"));
        assert_eq!(value(&invite, "Contact"), "<sip:gate@[2001:db8::1]:5070>");
        let mut expected: SocketAddr = server.parse().unwrap();
        expected.set_port(port);
        assert_eq!(bye(&mut wire, id).0, expected, "{contact} at {server}");
    }
}

/// Over a stream, whatever the peer names, the connection is used.
#[test]
fn stream_requests_go_on_their_connection() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut wire = Wire::between(transport, LOCAL, SERVER);
        let headers = "Contact: <sip:a@198.51.100.1:5080>\r\nRecord-Route: <sip:192.0.2.9:5090;lr>\r\n";
        let (id, _, _) = wire.establish(wire::call(), headers);
        assert_eq!(bye(&mut wire, id).0, wire.server);
    }
}

/// A request of the peer needs a higher CSeq than all before; gaps are allowed (12.2.2).
#[test]
fn remote_cseq_must_rise() {
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "");
    let greatest = (1 << 31) - 1;
    let cases = [(0, 200), (0, 500), (7, 200), (6, 500), (7, 500), (1_000_000, 200), (greatest, 200), (greatest, 500)];
    for (index, (cseq, status)) in cases.into_iter().enumerate() {
        let bytes = request(&invite, "OPTIONS", cseq, "", "");
        let bytes = String::from_utf8(bytes).unwrap().replace("z9hG4bK", &format!("z9hG4bK{index}"));
        wire.receive(bytes.as_bytes());
        assert_eq!(wire.sent_one().status(), Some(status), "CSeq {cseq}, request {index}");
    }
    wire.receive(&request(&invite, "BYE", greatest, "", ""));
    assert_eq!(wire.sent_one().status(), Some(500), "a BYE with a CSeq that was used ends nothing");
    assert!(wire.events().is_empty());
}

/// Both tags and the Call-ID must be those of the dialog.
#[test]
fn request_of_another_dialog_gets_481() {
    let mut wire = Wire::udp();
    let (_, invite, _) = wire.establish(wire::call(), "");
    let tag = value(&invite, "From").split(";tag=").nth(1).unwrap().to_owned();
    let call_id = value(&invite, "Call-ID");
    let cases = [
        (tag.as_str(), "other"),
        (&tag, &tag[1..]),
        (";tag=peer", ";tag=Peer"),
        (";tag=peer", ";tag=peer2"),
        (";tag=peer", ""),
        (&call_id, "other"),
    ];
    for (index, (part, instead)) in cases.into_iter().enumerate() {
        let bytes = request(&invite, "BYE", 10 + u32::try_from(index).unwrap(), "", "");
        wire.receive(String::from_utf8(bytes).unwrap().replace(part, instead).as_bytes());
        assert_eq!(wire.sent_one().status(), Some(481), "{part:?} replaced by {instead:?}");
    }
    assert!(wire.events().is_empty());
    wire.receive(&request(&invite, "BYE", 1, "", ""));
    assert_eq!(wire.sent_one().status(), Some(200));
}

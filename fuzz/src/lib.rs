//! Checks of parsed messages that several fuzz targets share.
#![forbid(unsafe_code)]

pub mod server;

use phonegate_sip::message::{BuildError, Limits, Message, MessageBuilder, Method, NameAddr, Uri, header, limits};

/// Asserts that accessors of two messages return the same values.
macro_rules! assert_same {
    ($first:expr, $second:expr, $($reader:ident)*) => {
        $(assert_eq!($first.$reader(), $second.$reader(), concat!(stringify!($reader), " of the message written again"));)*
    };
}

/// Reads every part of a parsed message, and checks the promises about the results.
pub fn check_message(message: &Message) {
    assert_ne!(message.is_request(), message.status().is_some());
    assert!(message.status().is_none_or(|status| (100..=699).contains(&status)));
    assert!(message.headers().count() <= limits::HEADERS);
    assert!(message.headers().all(|header| !header.value.contains(&b'\n') && !header.name.is_empty()));
    assert!(message.as_bytes().ends_with(message.body()));
    assert!(!format!("{message:?}").contains('\n'), "nothing of the peer's text is shown");
    if let Ok(essentials) = message.essentials() {
        assert!((1..=limits::IDENTIFIER).contains(&essentials.call_id.len()));
        assert!(essentials.cseq.number < 1 << 31);
        assert!(message.method().is_none_or(|method| *method == essentials.cseq.method));
        assert!(message.vias().is_err() || message.vias().is_ok_and(|vias| vias.first() == Some(&essentials.via)));
    }
    for number in [message.rseq().ok().flatten(), message.rack().ok().flatten().map(|rack| rack.rseq)] {
        assert!(number.is_none_or(|number| number < 1 << 31));
    }
    for words in [message.supported(), message.require(), message.allow()].into_iter().flatten() {
        assert!(words.len() <= limits::LIST && words.iter().all(|word| !word.is_empty()));
    }
    for via in message.vias().into_iter().flatten() {
        let _ = (via.rport(), via.received(), via.maddr());
        assert!(via.branch().is_none_or(|branch| (1..=limits::IDENTIFIER).contains(&branch.len())));
    }
    if let Ok(Some(uri)) = message.request_uri() {
        check_uri(&uri);
    }
    let lists = [message.contacts(), message.diversions(), message.history()];
    lists.into_iter().flatten().for_each(|list| check_addresses(&list, header::CONTACT, Message::contacts));
    let lists = [message.routes(), message.record_routes()];
    lists.into_iter().flatten().for_each(|list| check_addresses(&list, header::ROUTE, Message::routes));
    check_response(message);
    check_rewritten(message);
}

/// Checks that addresses of a peer keep their number and values when they are written into a request.
fn check_addresses(
    list: &[NameAddr],
    name: &str,
    read: fn(&Message) -> Result<Vec<NameAddr>, phonegate_sip::message::MessageError>,
) {
    assert!(list.len() <= limits::LIST);
    let usable: Vec<_> = list.iter().filter_map(|address| Some((address, address.uri().ok()?))).collect();
    let mut request = MessageBuilder::request(&Method::Bye, "sip:192.0.2.1");
    for (address, uri) in &usable {
        check_uri(uri);
        assert!(address.params().iter().count() <= limits::PARAMETERS);
        assert!(address.tag().is_none_or(|tag| tag.bytes().all(|byte| byte.is_ascii_graphic())));
        request = request.header(name, address.to_string());
    }
    // A parameter may hold a character that is rejected here.
    let Ok(bytes) = request.build() else { return };
    let request = read_whole(&bytes);
    let again = read(&request).expect("addresses that were read can be read again");
    assert_eq!(again.len(), usable.len(), "no address becomes two");
    for (again, (address, uri)) in again.iter().zip(&usable) {
        assert_eq!((again.uri().as_ref(), again.tag()), (Ok(uri), address.tag()));
    }
}

/// Checks that a URI is parsed to the same value again, and that it can be the target of a request.
pub fn check_uri(uri: &Uri) {
    assert!(uri.as_str().len() <= limits::URI);
    assert_eq!(Uri::parse(uri.as_str()).as_ref(), Ok(uri));
    let Some(sip) = uri.as_sip() else { return };
    assert!(sip.params().iter().count() <= limits::PARAMETERS);
    assert!(sip.has_same_user(sip));
    let text = sip.to_request_uri();
    let target = Uri::parse(&text).expect("a Request-URI can be read");
    let target = target.as_sip().expect("it is a SIP URI");
    assert_eq!((target.user(), target.host(), target.port()), (sip.user(), sip.host(), sip.port()));
    assert_eq!((target.transport(), target.is_loose_router()), (sip.transport(), sip.is_loose_router()));
    assert!(target.is_secure() == sip.is_secure() && target.headers().is_none() && !target.params().has("method"));
    let request = MessageBuilder::request(&Method::Bye, &text).build().expect("a URI that was read can be written");
    assert_eq!(read_whole(&request).request_uri_bytes(), Some(text.as_bytes()));
}

/// Checks that the response to a request has its Via, From, To, Call-ID and CSeq.
fn check_response(message: &Message) {
    let built = MessageBuilder::response_to(message, 486, "Busy Here", Some("mine")).build();
    if !message.is_request() {
        assert_eq!(built, Err(BuildError::NotARequest));
        return;
    }
    let Ok(bytes) = built else { return };
    let response = read_whole(&bytes);
    assert_eq!(response.status(), Some(486));
    assert_same!(response, message, vias top_via from_header call_id cseq);
    if let Ok(to) = message.to_header() {
        let answered = response.to_header().expect("a To with a tag can be read");
        assert_eq!((answered.uri(), answered.tag()), (to.uri(), to.tag().or(Some("mine"))));
    }
}

/// Writes the message again with all its headers, and checks that it is parsed to the same values.
fn check_rewritten(message: &Message) {
    let mut builder = match (message.method(), message.status()) {
        (Some(method), _) => {
            let Ok(uri) = std::str::from_utf8(message.request_uri_bytes().unwrap_or_default()) else { return };
            MessageBuilder::request(method, uri)
        }
        (None, status) => {
            let Ok(reason) = std::str::from_utf8(message.reason_phrase().unwrap_or_default()) else { return };
            MessageBuilder::response(status.unwrap_or_default(), reason)
        }
    };
    let mut types = message.header_values(header::CONTENT_TYPE);
    let content_type = types.next().map_or("text/plain", |value| std::str::from_utf8(value).unwrap_or("a/b"));
    let others = message.headers().filter(|it| !it.is(header::CONTENT_LENGTH) && !it.is(header::CONTENT_TYPE));
    let mut count = 2;
    for header in others {
        builder = builder.header(std::str::from_utf8(header.name).expect("a name is a token"), header.value);
        count += 1;
    }
    // A value may hold CR or NUL, which are never written.
    let Ok(bytes) = builder.body(content_type, message.body()).build() else { return };
    let again = read_whole(&bytes);
    assert_eq!(again.headers().count(), count, "no header becomes two");
    assert_same!(again, message,
        body method status reason_phrase request_uri_bytes essentials vias contacts routes record_routes diversions
        history rack rseq session_expires min_se expires min_expires retry_after reasons supported require allow);
    if types.next().is_none() && message.has_header(header::CONTENT_TYPE) && content_type != "a/b" {
        assert_same!(again, message, content_type);
    }
}

/// Parses a message that was written here, which always succeeds.
fn read_whole(bytes: &[u8]) -> Message {
    let limits = Limits { datagram_request: limits::MESSAGE, ..Limits::default() };
    Message::from_datagram(bytes, &limits).expect("what is written can be read")
}

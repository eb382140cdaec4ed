//! The input is a datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;
use phonegate_fuzz::{check_message, check_uri};
use phonegate_sip::message::{Limits, Message, Uri};

fuzz_target!(|datagram: &[u8]| {
    if let Some(uri) = std::str::from_utf8(datagram).ok().and_then(|text| Uri::parse(text).ok()) {
        check_uri(&uri);
    }
    let limits = Limits::default();
    let Ok(message) = Message::from_datagram(datagram, &limits) else { return };
    assert!(message.as_bytes().len() <= datagram.len());
    assert!(!message.is_request() || message.as_bytes().len() <= limits.datagram_request);
    assert_eq!(Message::from_datagram(message.as_bytes(), &limits).as_ref(), Ok(&message), "it is read the same again");
    check_message(&message);
});

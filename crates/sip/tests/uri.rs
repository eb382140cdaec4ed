//! URIs.

use phonegate_sip::message::{Host, Uri, UriError};

/// The text, and the user, host, port and loose routing that are read from it.
type Expected = (&'static str, Option<&'static str>, &'static str, Option<u16>, bool);

const SIP_URIS: &[Expected] = &[
    ("sip:trunk.example.com", None, "trunk.example.com", None, false),
    ("SIP:Trunk.Example.COM;lr", None, "trunk.example.com", None, true),
    ("sip:192.0.2.7:5080;lr=on;transport=tcp", None, "192.0.2.7", Some(5080), true),
    ("sips:+14255550100@[2001:db8::7]:5061", Some("+14255550100"), "[2001:db8::7]", Some(5061), false),
    ("sip:[2001:db8::10:5070]", None, "[2001:db8::10:5070]", None, false),
    ("sip:[::ffff:192.0.2.10]:5060", None, "[::ffff:192.0.2.10]", Some(5060), false),
    ("sip:desk:secret@pbx_1.example.com", Some("desk"), "pbx_1.example.com", None, false),
    (
        "sip:+14255550100;tgrp=tg1;trunk-context=example.com@192.0.2.7:5062;user=phone",
        Some("+14255550100;tgrp=tg1;trunk-context=example.com"),
        "192.0.2.7",
        Some(5062),
        false,
    ),
    (
        "sip:+14255550100;npdi;rn=+14255550199@pbx.example.com",
        Some("+14255550100;npdi;rn=+14255550199"),
        "pbx.example.com",
        None,
        false,
    ),
    ("sip:what?;now@pbx.example.com?Subject=a%20b", Some("what?;now"), "pbx.example.com", None, false),
    ("sip:desk@pbx.example.com.;%6C%72", Some("desk"), "pbx.example.com.", None, true),
    ("sip:b\u{fc}ro@pbx.example.com", Some("b\u{fc}ro"), "pbx.example.com", None, false),
];

#[test]
fn sip_uris_have_their_parts() {
    for &(text, user, host, port, loose) in SIP_URIS {
        let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let sip = uri.as_sip().unwrap_or_else(|| panic!("{text} is a SIP URI"));
        assert_eq!(sip.user(), user, "user of {text}");
        assert_eq!(sip.host().to_string(), host, "host of {text}");
        assert_eq!(sip.port(), port, "port of {text}");
        assert_eq!(sip.is_loose_router(), loose, "lr of {text}");
        assert_eq!(sip.is_secure(), text.starts_with("sips"), "scheme of {text}");
        assert_eq!(uri.to_string(), text, "the text stays as it was written");
    }
}

#[test]
fn malformed_uris_are_rejected() {
    let long = format!("sip:{}@example.com", "a".repeat(5000));
    let many = format!("sip:example.com{}", ";a".repeat(65));
    let long_name = format!("sip:{}", "a".repeat(256));
    for (text, error) in [
        ("", UriError::Scheme),
        ("example.com", UriError::Scheme),
        ("1sip:example.com", UriError::Scheme),
        ("sip:", UriError::Scheme),
        ("sip:@example.com", UriError::User),
        ("sip:a@b@example.com", UriError::User),
        ("sip:a@example.com;x=b@192.0.2.9", UriError::User),
        ("sip:%4@example.com", UriError::Escape),
        ("sip:a@", UriError::Host),
        ("sip:a@exa..mple.com", UriError::Host),
        ("sip:a@exam/ple.com", UriError::Host),
        ("sip:a@192.0.2.300", UriError::Host),
        ("sip:a@192.0.2", UriError::Host),
        ("sip:2001:db8::10", UriError::Host),
        ("sip:[2001:db8:::192.0.2.1]", UriError::Host),
        ("sip:[2001:db8::1", UriError::Host),
        ("sip:[2001:db8::1]5060", UriError::Host),
        ("sip:example.com:", UriError::Port),
        ("sip:example.com:65536", UriError::Port),
        ("sip:example.com:+5060", UriError::Port),
        ("sip:a b@example.com", UriError::Character),
        ("sip:a@example.com;x=\"", UriError::Character),
        ("sip:a@ex\u{e4}mple.com", UriError::Character),
        ("<sip:a@example.com>", UriError::Character),
        ("sip:a\r\nTo:b@example.com", UriError::Character),
        (&long, UriError::TooLong),
        (&many, UriError::TooManyParameters),
        (&long_name, UriError::Host),
    ] {
        assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn uris_of_other_schemes_are_kept_as_text() {
    assert_eq!(Uri::parse("tel:+1-425-555-0100;ext=7"), Ok(Uri::Tel("tel:+1-425-555-0100;ext=7".to_owned())));
    assert_eq!(Uri::parse("novel+x:any@thing"), Ok(Uri::Other("novel+x:any@thing".to_owned())));
}

#[test]
fn a_request_uri_has_neither_method_nor_headers() {
    for (contact, request_uri) in [
        ("sip:a;x?y@example.com:5070;method=BYE;ob;%6dethod=X?Route=%3Csip:b%3E", "sip:a;x?y@example.com:5070;ob"),
        ("sip:example.com", "sip:example.com"),
        ("sips:a:b@[2001:db8::1];transport=tcp", "sips:a:b@[2001:db8::1];transport=tcp"),
    ] {
        let uri = Uri::parse(contact).expect("the URI is readable");
        assert_eq!(uri.as_sip().map(|sip| sip.to_request_uri()).as_deref(), Some(request_uri));
    }
}

#[test]
fn users_are_compared_without_escapes() {
    let same = |a: &str, b: &str| {
        let (a, b) = (Uri::parse(a).expect("readable"), Uri::parse(b).expect("readable"));
        a.as_sip().zip(b.as_sip()).is_some_and(|(a, b)| a.has_same_user(b))
    };
    assert!(same("sip:%2B14255550100@a.example.com", "sip:+14255550100@b.example.com:5070"));
    assert!(!same("sip:+14255550100@a.example.com", "sip:+14255550101@a.example.com"));
    assert!(!same("sip:a@a.example.com", "sip:a.example.com"));
}

#[test]
fn escapes_are_resolved_on_request_only() {
    let uri = Uri::parse("sip:null-%00-null@example.com;n%61me=v%61lue%2541").expect("the URI is readable");
    let sip = uri.as_sip().expect("it is a SIP URI");
    assert_eq!(sip.user(), Some("null-%00-null"));
    assert_eq!(sip.user_decoded(), Some(b"null-\0-null".to_vec()));
    assert_eq!(sip.params().get("NAME"), Some("v%61lue%2541"));
    assert_eq!(sip.params().get_decoded("name").as_deref(), Some("value%41"));
    assert_eq!(*sip.host(), Host::Name("example.com".to_owned()));
}

/// The examples of RFC 3261, 19.1.4.
#[test]
fn uris_are_equivalent_as_the_rfc_says() {
    let sip = |text: &str| match Uri::parse(text).unwrap() {
        Uri::Sip(uri) => uri,
        other => panic!("{other}"),
    };
    for (one, other) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ] {
        assert!(sip(one).is_equivalent(&sip(other)), "{one} {other}");
        assert!(sip(other).is_equivalent(&sip(one)), "{other} {one}");
    }
    for (one, other) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com;transport=udp", "sip:bob@biloxi.com;transport=tcp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:bob@biloxi.com;method=INVITE", "sip:bob@biloxi.com"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;maddr=192.0.2.1"),
    ] {
        assert!(!sip(one).is_equivalent(&sip(other)), "{one} {other}");
        assert!(!sip(other).is_equivalent(&sip(one)), "{other} {one}");
    }
}

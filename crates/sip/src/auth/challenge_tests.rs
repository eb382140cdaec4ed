#![allow(clippy::unwrap_used, clippy::string_slice, reason = "tests")]
use proptest::prelude::*;

use super::*;

fn read(value: impl AsRef<[u8]>) -> Result<Challenge, ChallengeError> {
    let mut all = Challenge::read_all(value.as_ref());
    assert_eq!(all.len(), 1, "expected one challenge: {all:?}");
    all.remove(0)
}

#[test]
fn spellings_of_real_servers_are_read() {
    let usual = read(r#"Digest realm="r", nonce="n", algorithm=MD5, qop="auth""#).unwrap();
    for spelling in [
        r#"digest REALM="r",Nonce=n,algorithm="md5",qop=auth"#,
        r#"DIGEST	realm	=	"r"	,	nonce="n",algorithm=" MD5 ",qop=" auth ""#,
        "Digest realm=\"r\"\r\n nonce=\"n\" algorithm=MD5 qop=\"token,auth\"",
        r#"Digest realm = "r", nonce= "n", algorithm=MD5, qop="AUTH , auth-int", domain="""#,
        r#"Digest qop=auth,auth-int, realm="r", nonce="n", algorithm=MD5,"#,
        r#", Digest , realm="r",, nonce="n", algorithm=MD5, qop=",auth,,""#,
        r#"Digest realm="r", nonce="n", stale=false, algorithm=MD5, qop="auth", charset=UTF-8, userhash=true"#,
        r#"Digest realm="r", nonce="n", stale="no", algorithm=MD5, qop="auth", x-a="1, b=\"2\"", x-a=3, x"#,
        r#"Digest realm="r", nonce="n", some-flag, algorithm=MD5, qop="auth", domain="sip:a", domain="sip:b""#,
    ] {
        assert_eq!(read(spelling).as_ref(), Ok(&usual), "{spelling}");
    }
    assert_eq!(read("Digest realm=\"r\", nonce=\"n\", x=\"\0\u{ff}\"").unwrap().qop, None);
}

#[test]
fn every_parameter_that_decides_is_read() {
    let full =
        read(r#"Digest realm="a, b", nonce="n=/+==", opaque="", stale="TRUE", algorithm=sha-256-SESS, qop=auth-int"#);
    let full = full.unwrap();
    assert_eq!((full.realm(), full.nonce.value()), (b"a, b".to_vec(), b"n=/+==".to_vec()));
    assert_eq!(full.opaque.as_ref().map(Text::value), Some(Vec::new()));
    assert!(full.is_stale() && full.session && full.is_named);
    assert_eq!((full.algorithm(), full.qop), (Algorithm::Sha256, Some(Qop::AuthInt)));

    let bare = read("Digest realm=, nonce=dGVzdA==, qop=\"\"").unwrap();
    assert_eq!((bare.realm(), bare.nonce.value()), (Vec::new(), b"dGVzdA==".to_vec()));
    assert!(!bare.is_stale() && !bare.session && !bare.is_named && bare.opaque.is_none());
    assert_eq!((bare.algorithm(), bare.qop), (Algorithm::Md5, None));
}

#[test]
fn escapes_are_kept_in_answers_and_removed_from_values() {
    for (quoted, value) in [
        (r#"a \"b\" \\ \c"#, r#"a "b" \ c"#),
        (r"\\", r"\"),
        (r#"a\\\""#, r#"a\""#),
        ("", ""),
        ("電話", "電話"),
        ("a\tb", "a\tb"),
    ] {
        let challenge = read(format!("Digest realm=\"{quoted}\", nonce=n")).unwrap();
        assert_eq!(challenge.realm(), value.as_bytes(), "{quoted}");
        assert_eq!(challenge.realm.quoted(), quoted.as_bytes(), "{quoted}");
    }
    let bare = read(r"Digest realm=a\b, nonce=n").unwrap();
    assert_eq!((bare.realm(), bare.realm.quoted()), (br"a\b".to_vec(), &br"a\\b"[..]));
}

#[test]
fn unusable_challenges_are_refused_with_their_reason() {
    use ChallengeError::*;
    let unsupported = |name: &str| UnsupportedAlgorithm(name.to_owned());
    for (value, reason) in [
        ("", Malformed),
        (" , ", Malformed),
        ("=", Malformed),
        ("realm=\"r\"", Malformed),
        ("\"Digest\"", Malformed),
        ("Digest realm=\"r\", nonce=\"n", Malformed),
        ("Digest realm=\"r\", nonce=\"n\\\"", Malformed),
        ("Digest realm=\"r\", nonce=\"n\", opaque=\"", Malformed),
        ("Digest realm=\"r\", nonce=n\"m", Malformed),
        ("Digest realm=\"r\"; nonce=\"n\"", Malformed),
        ("Digest realm=\"r\r\nX: y\", nonce=\"n\"", Malformed),
        ("Digest realm=\"r\", nonce=\"n\\\n\"", Malformed),
        ("Digest realm=\"r\", nonce=\"n\", opaque=\"\0\"", Malformed),
        ("Digest realm=\"r\", nonce=\"n\", opaque=\"\x7f\"", Malformed),
        ("Digest", MissingParameter("realm")),
        ("Digest nonce=\"n\"", MissingParameter("realm")),
        ("Digest realm=\"r\"", MissingParameter("nonce")),
        ("Digest realm=\"r\", nonce=\"\"", MissingParameter("nonce")),
        ("Digest realm=r, REALM=s, nonce=n", DuplicateParameter("realm")),
        ("Digest realm=r, nonce=n, nonce=n", DuplicateParameter("nonce")),
        ("Digest realm=r, nonce=n, opaque=a, opaque=b", DuplicateParameter("opaque")),
        ("Digest realm=r, nonce=n, stale=false, stale=true", DuplicateParameter("stale")),
        ("Digest realm=r, nonce=n, algorithm=SHA-256, algorithm=MD5", DuplicateParameter("algorithm")),
        ("Digest realm=r, nonce=n, qop=auth, qop=auth-int", DuplicateParameter("qop")),
        ("Digest realm=r, nonce=n, algorithm=AKAv1-MD5", unsupported("AKAv1-MD5")),
        ("Digest realm=r, nonce=n, algorithm=", unsupported("")),
        ("Digest realm=r, nonce=n, algorithm=\"a\nb\u{e4}\"", unsupported("a?b??")),
        ("Digest realm=r, nonce=n, qop=auth-conf", UnsupportedQop),
        ("Basic realm=\"r\"", UnsupportedScheme),
        ("Negotiate", UnsupportedScheme),
        ("Digestive realm=r, nonce=n", UnsupportedScheme),
    ] {
        assert_eq!(read(value), Err(reason), "{value:?}");
    }
}

#[test]
fn several_challenges_in_one_value_are_all_read() {
    let good = r#"Digest realm="r", nonce="n""#;
    for (value, expected) in [
        (format!("{good}, {good}"), "++"),
        (format!("Negotiate, {good}"), "-+"),
        (format!("Basic realm=\"Digest a=b\", {good}, Digest realm=x"), "-+-"),
        (format!("NTLM TlRMTVNT/+AAB==, {good}"), "-+"),
        (format!("Digest realm=r, realm=s, nonce=n, {good}"), "-+"),
        (format!("{good}, Digest realm=\"r"), "+-"),
        (format!("{good}, Bearer, {good}"), "++"),
        (format!("{good}, Basic realm=\"x\""), "+-"),
        ("Negotiate, Digest , realm=r, nonce=n".to_owned(), "-+"),
    ] {
        let read = Challenge::read_all(value.as_bytes());
        let shown: String = read.iter().map(|challenge| if challenge.is_ok() { '+' } else { '-' }).collect();
        assert_eq!(shown, expected, "{value}: {read:?}");
    }
}

#[test]
fn length_and_number_are_bounded() {
    let fill = |length: usize| {
        let start = "Digest realm=r, nonce=";
        format!("{start}{}", "n".repeat(length - start.len()))
    };
    assert!(read(fill(MAX_CHALLENGE_LENGTH)).is_ok());
    assert_eq!(read(fill(MAX_CHALLENGE_LENGTH + 1)), Err(ChallengeError::TooLong));

    let many = |count: usize| format!("Digest realm=r, nonce=n{}", ", a=b".repeat(count - 2));
    assert!(read(many(32)).is_ok());
    assert_eq!(read(many(33)), Err(ChallengeError::TooManyParts));

    let all = Challenge::read_all("Digest realm=r, nonce=n, ".repeat(9).as_bytes());
    assert_eq!((all.len(), all.last().cloned()), (8, Some(Err(ChallengeError::TooManyParts))));

    let name = "x".repeat(100);
    let unsupported = ChallengeError::UnsupportedAlgorithm(name[..32].to_owned());
    assert_eq!(read(format!("Digest realm=r, nonce=n, algorithm={name}")), Err(unsupported));
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"Digest ".to_vec()),
        prop::sample::select(vec!["realm", "nonce", "qop", "algorithm", "stale", "opaque", "x"])
            .prop_map(|name| name.as_bytes().to_vec()),
        prop::sample::select(vec![
            "=", "\"", "\\", ",", " ", "\r\n ", "\0", "\u{e4}", "MD5", "SHA-256", "auth", "true"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn garbage_is_bounded_and_never_repeated_unsafely(
        value in hostile(),
        text in hostile(),
        noise in prop::collection::vec(any::<u8>(), 0..5000),
    ) {
        // Few of the others are accepted, and most of these.
        let escaped = Text::escape(&text);
        let likely = [b"Digest nonce=n, realm=\"", escaped.quoted(), b"\", opaque=", &text, b", ", &value].concat();
        for value in [value, noise, likely] {
            let all = Challenge::read_all(&value);
            prop_assert!((1..=8).contains(&all.len()));
            for challenge in all.into_iter().flatten() {
                let texts = [Some(&challenge.realm), Some(&challenge.nonce), challenge.opaque.as_ref()];
                for text in texts.into_iter().flatten() {
                    prop_assert!(text.quoted().len() <= MAX_CHALLENGE_LENGTH * 2);
                    prop_assert!(!text.quoted().iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
                    // A value that credentials put between quotation marks is one quoted string, with the same value.
                    let again = [b"Digest nonce=n, realm=\"", text.quoted(), b"\""].concat();
                    if again.len() <= MAX_CHALLENGE_LENGTH {
                        prop_assert_eq!(read(&again).map(|again| again.realm), Ok(text.clone()));
                    }
                }
            }
        }
    }

    #[test]
    fn any_text_survives_escaping(text in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(Text::escape(&text).value(), text);
    }

    #[test]
    fn order_and_case_of_parameters_do_not_matter(order in Just(vec![
        "realm=\"r\"", "nonce=\"n\"", "opaque=\"o\"", "qop=\"auth\"", "algorithm=SHA-256", "stale=true", "x=\"y\"",
    ]).prop_shuffle(), upper in any::<bool>()) {
        let names = order.iter().map(|part| match part.split_once('=') {
            Some((name, value)) if upper => format!("{}={value}", name.to_ascii_uppercase()),
            _ => (*part).to_owned(),
        });
        let value = format!("Digest {}", names.collect::<Vec<_>>().join(", "));
        let usual = read(r#"Digest realm="r", nonce="n", opaque="o", qop="auth", algorithm=SHA-256, stale=true"#);
        prop_assert_eq!(read(value), usual);
    }
}

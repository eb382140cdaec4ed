#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;

const INVITE: RequestParts<'_> = RequestParts { method: b"INVITE", uri: b"sip:1@x", body: b"" };

fn write_bytes(challenge: &[u8], user: (&str, &str), request: &RequestParts<'_>, cnonce: &str) -> Vec<u8> {
    let challenge = Challenge::read_all(challenge).remove(0).unwrap();
    let credentials = Credentials::new(user.0, user.1).unwrap();
    write(&challenge, &credentials, request, cnonce, 1)
}

fn write_text(challenge: &str, user: (&str, &str), request: &RequestParts<'_>, cnonce: &str) -> String {
    String::from_utf8(write_bytes(challenge.as_bytes(), user, request, cnonce)).unwrap()
}

/// RFC 7616, section 3.9.1.
#[test]
fn answers_are_those_of_rfc_7616() {
    const REST: &str = r#"realm="http-auth@example.org", qop="auth, auth-int",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
    let request = RequestParts { method: b"GET", uri: b"/dir/index.html", body: b"" };
    let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let challenge = format!("Digest {REST}, algorithm={algorithm}");
        let expected = format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", \
             response=\"{response}\", cnonce=\"{cnonce}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
             algorithm={algorithm}, qop=auth, nc=00000001"
        );
        assert_eq!(write_text(&challenge, ("Mufasa", "Circle of Life"), &request, cnonce), expected);
    }
}

/// RFC 7616, section 3.9.2. The response is that of erratum 4897, since the one of the text was made with SHA-512 cut
/// short. The user name stays plain.
#[test]
fn answer_with_sha_512_256_is_that_of_rfc_7616() {
    let challenge = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,
        nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
        charset=UTF-8, userhash=true"#;
    let request = RequestParts { method: b"GET", uri: b"/doe.json", body: b"" };
    let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
    let answer = write_text(challenge, ("J\u{e4}s\u{f8}n Doe", "Secret, or not?"), &request, cnonce);
    assert!(
        answer.contains("response=\"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5\""),
        "{answer}"
    );
    assert!(
        answer.starts_with("Digest username=\"J\u{e4}s\u{f8}n Doe\", ") && !answer.contains("userhash"),
        "{answer}"
    );
}

/// The example of RFC 2617, section 3.5 (MD5 with `auth`), and what follows from it by the formulas, computed with
/// Python's hashlib.
#[test]
fn every_kind_of_answer_follows_its_formula() {
    let request = RequestParts { method: b"GET", uri: b"/dir/index.html", body: b"body" };
    for (more, response) in [
        ("", "670fd8c2df070c60b045671b8b24ff02"),
        ("algorithm=MD5-sess", "4726bc10c33fa6cb357eb27807b1cce8"),
        ("qop=\"auth,auth-int\"", "6629fae49393a05397450978507c4ef1"),
        ("algorithm=md5-sess, qop=auth", "8e3825c57e897f5a0dec6c2d4e5059d0"),
        ("qop=\"auth-int\"", "f93d61f87864e6c8c6a46b339ad998de"),
        ("algorithm=MD5-sess, qop=auth-int", "673df57e6e14d1698d50719dcc6dce7c"),
        ("algorithm=SHA-256", "e71f89d8267982ee1cd4dfb3637698eaf2f55848fe056aee7be175262aab5d2a"),
        ("algorithm=SHA-256-sess", "6f421709505a71923c950606510a113314a303e5224f5d6390e4ad42cb718479"),
        ("algorithm=SHA-256, qop=auth", "5abdd07184ba512a22c53f41470e5eea7dcaa3a93a59b630c13dfe0a5dc6e38b"),
        ("algorithm=SHA-256-sess, qop=auth", "b8822e12417cb7750f4e2b8515f0dcf25b7dd26993e80bee1426201446a7f59b"),
        ("algorithm=SHA-256, qop=auth-int", "1b52d4285cb9720a51515597e675e7a4352bd161c77dff29bbc2da59a0c79989"),
        ("algorithm=SHA-512-256, qop=auth", "f23c08ec7334a881f8286e68450ddbd9f0cd91c41481f0e1433604da8113c6dc"),
        ("algorithm=SHA-512-256-sess, qop=auth", "0d21f0db3ec5cda5b850c0afa3bc29b4a3c5a6191959ff1baf511d4b38eb6b1e"),
    ] {
        let challenge =
            format!("Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", {more}");
        let answer = write_text(&challenge, ("Mufasa", "Circle Of Life"), &request, "0a4f113b");
        assert!(answer.contains(&format!("response=\"{response}\"")), "{more}: {answer}");
        assert_eq!(answer.contains("nc=00000001"), more.contains("qop"), "{more}: {answer}");
        assert_eq!(answer.contains("algorithm="), more.contains("algorithm="), "{more}: {answer}");
        assert_eq!(answer.contains("cnonce="), more.contains("qop") || more.contains("sess"), "{more}: {answer}");
    }
}

/// The responses are computed with Python's hashlib.
#[test]
fn realm_and_user_name_of_any_bytes_are_answered() {
    let escaped = write_text(r#"Digest realm="r \"q\" \\ \c", nonce=n"#, ("a\"b", "p"), &INVITE, "c");
    let expected = r#"Digest username="a\"b", realm="r \"q\" \\ \c", nonce="n", uri="sip:1@x", "#;
    assert_eq!(escaped, format!("{expected}response=\"2644f56afd222e2e6022893f04028ffd\""));

    let latin =
        write_bytes(b"Digest realm=\"Z\xfcrich\", nonce=n, algorithm=SHA-256, qop=auth", ("u", "p"), &INVITE, "c");
    assert!(latin.windows(16).any(|part| part == b"realm=\"Z\xfcrich\", "), "the realm is repeated byte by byte");
    assert!(
        String::from_utf8_lossy(&latin).contains("e31770359547b626662ca9f2c8d1c66185fb7eb82bb367f2ac987553f67541fb"),
        "the realm is hashed byte by byte"
    );
}

#[test]
fn unwritable_requests_are_refused() {
    for (method, uri) in [
        ("", "sip:a"),
        ("INVITE", ""),
        ("INVITE", "sip:a\r\nX: y"),
        ("INV\nITE", "sip:a"),
        ("INVITE", "sip:\"a\""),
        ("INVITE", "sip:a b"),
        ("INVITE", "sip:a\\"),
    ] {
        let request = RequestParts { method: method.as_bytes(), uri: uri.as_bytes(), body: b"" };
        assert_eq!(request.check(), Err(AuthError::InvalidRequest), "{method:?} {uri:?}");
    }
    assert_eq!(INVITE.check(), Ok(()));
}

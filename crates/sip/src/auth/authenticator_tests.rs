#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::ChallengeKind::{Proxy, Server};
use super::*;
use crate::auth::{MAX_REALMS, MAX_ROUNDS};

const INVITE: RequestParts<'_> =
    RequestParts { method: b"INVITE", uri: b"sip:+14255550100@trunk.example.com", body: b"v=0" };

fn authenticator() -> Authenticator {
    Authenticator::new(Credentials::new("gate", "made-up").unwrap())
}

/// One call at a scripted server: what the server sees, as text.
struct Call {
    authenticator: Authenticator,
    request: RequestAuth,
}

impl Call {
    fn new() -> Self {
        Self { authenticator: authenticator(), request: RequestAuth::default() }
    }

    fn next_request(&mut self) {
        self.request = RequestAuth::default();
    }

    fn authorizations(&mut self) -> Vec<String> {
        let authorizations = self.authenticator.authorize(&mut self.request, &INVITE, [9; 16]).unwrap();
        let text = |answer: &Authorization| format!("{}: {}", answer.header(), String::from_utf8_lossy(answer.value()));
        authorizations.iter().map(text).collect()
    }

    fn challenged(&mut self, kind: ChallengeKind, values: &[&str]) -> Result<(), AuthError> {
        let headers = values.iter().map(|value| (kind, value.as_bytes()));
        self.authenticator.challenged(&mut self.request, headers)
    }

    /// Sends the request, which is refused with a challenge.
    fn refused(&mut self, kind: ChallengeKind, value: &str) -> Result<(), AuthError> {
        self.authorizations();
        self.challenged(kind, &[value])
    }
}

fn challenge(realm: &str, nonce: &str, more: &str) -> String {
    format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", {more}")
}

/// Returns a parameter's value, without quotation marks.
fn parameter<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let found = answer.split([',', ' ']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    found.map(|value| value.trim_matches('"'))
}

#[test]
fn strongest_supported_challenge_is_answered_in_any_order() {
    let md5 = challenge("r", "1", "algorithm=MD5, qop=\"auth,auth-int\"");
    let sha = challenge("r", "2", "algorithm=SHA-256, qop=\"auth\"");
    let unknown = challenge("r", "3", "algorithm=AKAv1-MD5");
    let sha_bare = challenge("r", "4", "algorithm=SHA-256");
    let duplicate = challenge("r", "5", "algorithm=SHA-512-256, algorithm=MD5");
    let both = format!("{md5}, {sha}");
    for (offered, nonce) in [
        (vec![&*md5, &sha, &unknown], "2"),
        (vec![&sha, &md5], "2"),
        (vec![&unknown, &md5], "1"),
        (vec!["Basic realm=\"r\"", &md5], "1"),
        (vec![&*both], "2"),
        (vec![&sha_bare, &sha, &md5], "2"),
        (vec![&duplicate, &md5], "1"),
    ] {
        let mut call = Call::new();
        assert_eq!(call.challenged(Server, &offered), Ok(()), "{offered:?}");
        let authorizations = call.authorizations();
        assert_eq!(authorizations.len(), 1, "one answer a realm: {authorizations:?}");
        assert_eq!(parameter(&authorizations[0], "nonce"), Some(nonce), "{offered:?}: {authorizations:?}");
    }
}

#[test]
fn refusals_name_what_came_closest() {
    use ChallengeError::*;
    let unknown = challenge("r", "n", "algorithm=AKAv1-MD5");
    let unusable = |error: ChallengeError| AuthError::Unusable(error);
    for (offered, reason) in [
        (vec![], AuthError::NoChallenge),
        (vec!["Basic realm=\"r\""], unusable(UnsupportedScheme)),
        (vec!["Basic realm=\"r\"", "Digest"], unusable(MissingParameter("realm"))),
        (vec!["="], unusable(Malformed)),
        (vec!["=", &unknown, "Digest"], unusable(UnsupportedAlgorithm("AKAv1-MD5".to_owned()))),
        (vec!["Digest realm=r, nonce=n, qop=x"], unusable(UnsupportedQop)),
    ] {
        let mut call = Call::new();
        assert_eq!(call.challenged(Server, &offered), Err(reason), "{offered:?}");
        assert!(call.authorizations().is_empty(), "nothing was learned");
    }
}

#[test]
fn every_error_is_a_sentence_without_credentials() {
    let errors = [
        AuthError::NoChallenge,
        AuthError::Unusable(ChallengeError::UnsupportedAlgorithm("X".to_owned())),
        AuthError::WeakerAlgorithm { offered: Algorithm::Md5, required: Algorithm::Sha256 },
        AuthError::WrongCredentials,
        AuthError::TooManyChallenges,
        AuthError::TooManyRealms,
    ];
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts[1], "the challenge's algorithm \"X\" is not supported");
    assert_eq!(texts[2], "the challenge asks for MD5, although SHA-256 was used before; no credentials were sent");
    let mut call = Call::new();
    call.challenged(Server, &[&challenge("r", "n", "qop=auth")]).unwrap();
    let authorizations = call.authenticator.authorize(&mut call.request, &INVITE, [1; 16]).unwrap();
    let shown = format!("{:?} {authorizations:?}", call.authenticator);
    assert!(!shown.contains("gate") && !shown.contains("made-up") && !shown.contains("response"), "{shown}");
}

#[test]
fn proxy_and_server_are_both_answered_in_each_request() {
    let mut call = Call::new();
    call.refused(Proxy, &challenge("proxy", "p", "qop=auth")).unwrap();
    call.refused(Server, &challenge("server", "s", "algorithm=SHA-256, qop=auth")).unwrap();
    // The proxy's nonce was used once before the server challenged.
    for (proxy_count, server_count) in [("00000002", "00000001"), ("00000003", "00000002"), ("00000004", "00000003")] {
        let authorizations = call.authorizations();
        assert!(
            authorizations[0].starts_with("Proxy-Authorization: Digest ")
                && authorizations[0].contains("realm=\"proxy\"")
        );
        assert!(
            authorizations[1].starts_with("Authorization: Digest ") && authorizations[1].contains("realm=\"server\"")
        );
        assert_eq!(parameter(&authorizations[0], "nc"), Some(proxy_count));
        assert_eq!(parameter(&authorizations[1], "nc"), Some(server_count));
        call.next_request();
    }
}

#[test]
fn proxy_and_server_may_share_realm_and_nonce() {
    let same = challenge("r", "n", "qop=auth");
    let mut call = Call::new();
    assert_eq!(call.refused(Proxy, &same), Ok(()));
    assert_eq!(call.refused(Server, &same), Ok(()), "the server has seen no answer yet");
    assert_eq!(call.authorizations().len(), 2);
    assert_eq!(call.refused(Proxy, &same), Err(AuthError::WrongCredentials));
}

/// RFC 3261, section 16.7: a proxy that forks collects the challenges of its branches.
#[test]
fn collected_challenges_of_a_fork_are_all_answered() {
    let (a, b) = (challenge("a", "1", "qop=auth"), challenge("b", "2", "qop=auth"));
    let mut call = Call::new();
    let headers = [(Proxy, a.as_bytes()), (Server, b.as_bytes()), (Proxy, b.as_bytes())];
    call.authenticator.challenged(&mut call.request, headers).unwrap();
    let authorizations = call.authorizations();
    let shown: Vec<_> =
        authorizations.iter().map(|answer| (answer.starts_with("Proxy-"), parameter(answer, "realm"))).collect();
    assert_eq!(shown, [(true, Some("a")), (false, Some("b")), (true, Some("b"))]);
}

#[test]
fn client_nonce_is_the_callers_randomness() {
    let mut call = Call::new();
    call.challenged(Server, &[&challenge("r", "n", "qop=auth")]).unwrap();
    for byte in [0x01, 0xfe] {
        let authorizations = call.authenticator.authorize(&mut call.request, &INVITE, [byte; 16]).unwrap();
        let text = String::from_utf8_lossy(authorizations[0].value()).into_owned();
        assert_eq!(parameter(&text, "cnonce"), Some(&*format!("{byte:02x}").repeat(16)));
    }
}

/// RFC 7616, section 3.4.2: the key of a session is made once for a nonce.
#[test]
fn session_algorithm_keeps_its_client_nonce_for_a_nonce() {
    let mut call = Call::new();
    let cnonce = |call: &mut Call, byte: u8| {
        let authorizations = call.authenticator.authorize(&mut call.request, &INVITE, [byte; 16]).unwrap();
        parameter(&String::from_utf8_lossy(authorizations[0].value()), "cnonce").unwrap().to_owned()
    };
    call.challenged(Server, &[&challenge("r", "1", "algorithm=SHA-256-sess, qop=auth")]).unwrap();
    let first = cnonce(&mut call, 1);
    assert_eq!(cnonce(&mut call, 2), first);
    call.challenged(Server, &[&challenge("r", "2", "algorithm=SHA-256-sess, qop=auth, stale=true")]).unwrap();
    assert_ne!(cnonce(&mut call, 3), first);
}

#[test]
fn wrong_password_is_not_tried_again() {
    let first = challenge("r", "1", "qop=auth");
    let mut call = Call::new();
    assert_eq!(call.refused(Server, &first), Ok(()));
    assert_eq!(call.refused(Server, &first), Err(AuthError::WrongCredentials), "the same nonce");
    call.next_request();
    assert_eq!(call.refused(Server, &first), Err(AuthError::WrongCredentials), "the same nonce, sent at once");

    // Many servers send a new nonce each time: two tries.
    let mut call = Call::new();
    let tries =
        (0..100).take_while(|round| call.refused(Server, &challenge("r", &round.to_string(), "qop=auth")).is_ok());
    assert_eq!(tries.count(), 2);
}

#[test]
fn new_nonce_is_answered_with_and_without_stale() {
    for more in ["qop=auth", "qop=auth, stale=true", "qop=auth, stale=\"TRUE\""] {
        let mut call = Call::new();
        for number in 0..50 {
            let nonce = format!("n{number}");
            assert_eq!(call.refused(Server, &challenge("r", &nonce, more)), Ok(()), "{more}, request {number}");
            let authorizations = call.authorizations();
            assert_eq!(parameter(&authorizations[0], "nonce"), Some(&*nonce));
            assert_eq!(parameter(&authorizations[0], "nc"), Some("00000001"), "a new nonce counts from 1");
            call.next_request();
        }
    }
}

/// A request without credentials, or with those for an older nonce, does not show whether the password is right.
#[test]
fn requests_that_cross_do_not_make_the_password_wrong() {
    let (one, two) = (challenge("r", "1", "qop=auth"), challenge("r", "2", "qop=auth"));
    let mut call = Call::new();
    let mut other = RequestAuth::default();
    assert!(call.authenticator.authorize(&mut other, &INVITE, [0; 16]).unwrap().is_empty());
    call.refused(Server, &one).unwrap();
    call.authorizations();
    assert_eq!(call.authenticator.challenged(&mut other, [(Server, one.as_bytes())]), Ok(()), "it carried no answer");
    call.authenticator.authorize(&mut other, &INVITE, [0; 16]).unwrap();
    call.challenged(Server, &[&two]).unwrap();
    assert_eq!(call.authenticator.challenged(&mut other, [(Server, two.as_bytes())]), Ok(()), "it carried another");
}

#[test]
fn stale_nonces_are_renewed_within_bounds() {
    for nonce in ["same", "{}"] {
        let mut call = Call::new();
        let rounds = (0..100).take_while(|round| {
            let nonce = nonce.replace("{}", &round.to_string());
            call.refused(Server, &challenge("r", &nonce, "qop=auth, stale=true")).is_ok()
        });
        assert_eq!(rounds.count(), MAX_ROUNDS as usize, "{nonce}");
        assert_eq!(call.refused(Server, &challenge("r", "x", "")), Err(AuthError::TooManyChallenges));
        call.next_request();
        assert_eq!(call.refused(Server, &challenge("r", "x", "qop=auth, stale=true")), Ok(()), "another request");
    }
}

#[test]
fn realms_are_bounded_over_all_requests() {
    let mut call = Call::new();
    for round in 0..MAX_REALMS {
        assert_eq!(call.refused(Server, &challenge(&round.to_string(), "n", "qop=auth")), Ok(()));
        call.next_request();
        call.authenticator.forget_challenges();
    }
    assert_eq!(call.refused(Server, &challenge("more", "n", "qop=auth")), Err(AuthError::TooManyRealms));
    assert_eq!(call.refused(Proxy, &challenge("0", "n", "qop=auth")), Err(AuthError::TooManyRealms));
    assert_eq!(call.refused(Server, &challenge("0", "m", "qop=auth")), Ok(()), "a known realm");
}

#[test]
fn challenges_in_one_response_are_bounded() {
    let value = challenge("r", "n", "qop=auth");
    let many = |count: usize| vec![&*value; count];
    assert_eq!(Call::new().challenged(Server, &many(MAX_CHALLENGES)), Ok(()));
    assert_eq!(Call::new().challenged(Server, &many(MAX_CHALLENGES + 1)), Err(AuthError::TooManyChallenges));
    assert_eq!(Call::new().challenged(Server, &vec!["Basic"; 10_000]), Err(AuthError::TooManyChallenges));
}

#[test]
fn weaker_algorithm_is_refused_for_the_whole_call() {
    let sha = challenge("r", "1", "algorithm=SHA-256, qop=auth");
    for kind in [Server, Proxy] {
        for weaker in [
            challenge("r", "1", "algorithm=MD5, qop=auth"),
            challenge("r", "2", "algorithm=MD5, qop=auth, stale=true"),
            challenge("r", "2", "opaque=\"\""),
            challenge("r", "2", "qop=auth"),
            challenge("other", "2", "algorithm=MD5-sess, stale=true"),
            format!("{}, {}", challenge("r", "1", "algorithm=X"), challenge("r", "2", "algorithm=md5")),
        ] {
            let mut call = Call::new();
            call.refused(kind, &sha).unwrap();
            for is_later in [false, true] {
                let weak = AuthError::WeakerAlgorithm { offered: Algorithm::Md5, required: Algorithm::Sha256 };
                assert_eq!(call.refused(kind, &weaker), Err(weak), "{weaker}");
                let authorizations = call.authorizations();
                assert!(authorizations.iter().all(|answer| answer.contains("algorithm=SHA-256")), "{authorizations:?}");
                call.next_request();
                if !is_later {
                    call.authenticator.forget_challenges();
                }
            }
            let other = if kind == Server { Proxy } else { Server };
            assert!(call.refused(other, &weaker).is_ok(), "another kind, which may know no other algorithm");
        }
    }
}

#[test]
fn refusal_names_the_strongest_algorithm_that_was_offered() {
    let of = |algorithm: &str| challenge("r", "n", &format!("algorithm={algorithm}"));
    let mut call = Call::new();
    call.challenged(Server, &[&of("SHA-512-256")]).unwrap();
    let weak = AuthError::WeakerAlgorithm { offered: Algorithm::Sha256, required: Algorithm::Sha512t256 };
    assert_eq!(call.challenged(Server, &[&of("MD5"), &of("SHA-256"), &of("MD5")]), Err(weak));
}

#[test]
fn stronger_challenge_replaces_weaker_ones_of_its_kind() {
    let mut call = Call::new();
    call.refused(Server, &challenge("old", "n", "algorithm=MD5, qop=auth")).unwrap();
    call.refused(Proxy, &challenge("proxy", "n", "algorithm=MD5, qop=auth")).unwrap();
    call.refused(Server, &challenge("new", "n", "algorithm=SHA-256, qop=auth")).unwrap();
    let authorizations = call.authorizations();
    let realms: Vec<_> = authorizations.iter().map(|answer| parameter(answer, "realm")).collect();
    assert_eq!(realms, [Some("proxy"), Some("new")], "the realm with MD5 is not answered any more");

    let mut call = Call::new();
    call.refused(Server, &challenge("r", "same", "algorithm=MD5, qop=auth")).unwrap();
    assert_eq!(call.refused(Server, &challenge("r", "same", "algorithm=SHA-256, qop=auth")), Ok(()), "a new question");
    assert_eq!(call.authenticator.required_algorithm(Server), Some(Algorithm::Sha256));
}

/// An attacker who adds a challenge of another realm to a response gets no credentials for it.
#[test]
fn weaker_realm_beside_a_stronger_one_is_not_answered() {
    let (sha, md5) = (challenge("r", "1", "algorithm=SHA-256"), challenge("evil", "2", "algorithm=MD5"));
    for offered in [[&*sha, &md5], [&md5, &sha]] {
        let mut call = Call::new();
        call.challenged(Server, &offered).unwrap();
        let authorizations = call.authorizations();
        assert_eq!(authorizations.len(), 1, "{authorizations:?}");
        assert_eq!(parameter(&authorizations[0], "algorithm"), Some("SHA-256"));
    }
}

#[test]
fn refused_response_changes_nothing_that_is_known() {
    let mut call = Call::new();
    call.refused(Server, &challenge("r", "1", "algorithm=SHA-256, qop=auth")).unwrap();
    let before = call.authorizations();
    let new_realm = challenge("a", "2", "algorithm=SHA-512-256, qop=auth");
    let same_nonce = challenge("r", "1", "algorithm=SHA-256, qop=auth");
    let headers = [(Proxy, new_realm.as_bytes()), (Server, same_nonce.as_bytes())];
    let error = call.authenticator.challenged(&mut call.request, headers);
    assert_eq!(error, Err(AuthError::WrongCredentials));
    assert_eq!(call.authenticator.required_algorithm(Proxy), None);
    assert_eq!(call.authorizations().len(), before.len(), "the new realm was not kept");
}

#[test]
fn count_goes_on_when_an_older_nonce_returns() {
    let mut call = Call::new();
    for (nonce, count) in [("1", "00000001"), ("2", "00000001"), ("1", "00000002"), ("2", "00000002")] {
        call.next_request();
        call.challenged(Server, &[&challenge("r", nonce, "qop=auth")]).unwrap();
        assert_eq!(parameter(&call.authorizations()[0], "nc"), Some(count), "{nonce}");
    }
    call.authenticator.forget_challenges();
    call.next_request();
    assert!(call.authorizations().is_empty(), "forgotten challenges are not answered");
    call.challenged(Server, &[&challenge("r", "2", "qop=auth")]).unwrap();
    assert_eq!(parameter(&call.authorizations()[0], "nc"), Some("00000003"));
}

#[test]
fn unwritable_request_counts_no_nonce() {
    let mut call = Call::new();
    call.challenged(Server, &[&challenge("r", "n", "qop=auth")]).unwrap();
    let bad = RequestParts { uri: b"sip:a\r\n", ..INVITE };
    assert_eq!(call.authenticator.authorize(&mut call.request, &bad, [0; 16]), Err(AuthError::InvalidRequest));
    assert_eq!(parameter(&call.authorizations()[0], "nc"), Some("00000001"));
}

#[test]
fn used_up_nonce_is_not_answered() {
    let mut call = Call::new();
    call.challenged(Server, &[&challenge("r", "n", "qop=auth")]).unwrap();
    call.authenticator.realms.realms_mut().for_each(|realm| realm.nonce.count = u32::MAX - 1);
    assert_eq!(parameter(&call.authorizations()[0], "nc"), Some("ffffffff"));
    assert!(call.authorizations().is_empty(), "the count would repeat");
    call.challenged(Server, &[&challenge("r", "m", "qop=auth")]).unwrap();
    assert_eq!(parameter(&call.authorizations()[0], "nc"), Some("00000001"), "a new nonce");
}

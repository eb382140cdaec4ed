//! Hostile servers: whatever they send, no credentials are weaker than earlier ones, and every request ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const BYE: RequestParts<'_> = RequestParts { method: b"BYE", uri: b"sip:192.0.2.7:5060", body: b"" };

/// One header of a response of a hostile server.
#[derive(Clone, Debug)]
struct Header {
    kind: ChallengeKind,
    value: Vec<u8>,
}

/// An event of a call.
#[derive(Clone, Debug)]
enum Step {
    Response(Vec<Header>),
    NextRequest,
    Forget,
}

fn kind() -> impl Strategy<Value = ChallengeKind> {
    prop_oneof![Just(ChallengeKind::Server), Just(ChallengeKind::Proxy)]
}

fn digest() -> impl Strategy<Value = Vec<u8>> {
    let algorithm = prop::sample::select(vec![
        "",
        ", algorithm=MD5",
        ", algorithm=md5-sess",
        ", algorithm=SHA-256",
        ", algorithm=SHA-256-sess",
        ", algorithm=SHA-512-256",
        ", algorithm=SHA-1",
        ", algorithm=SHA-256, algorithm=MD5",
    ]);
    let qop = prop::sample::select(vec!["", ", qop=auth", ", qop=\"auth-int\"", ", qop=x", ", qop=\"\""]);
    let stale = prop::sample::select(vec!["", ", stale=true", ", stale=false"]);
    (0..6_u8, 0..8_u8, algorithm, qop, stale).prop_map(|(realm, nonce, algorithm, qop, stale)| {
        format!("Digest realm=\"r{realm}\", nonce=\"n{nonce}\"{algorithm}{qop}{stale}").into_bytes()
    })
}

fn header() -> impl Strategy<Value = Header> {
    let value = prop_oneof![
        12 => digest(),
        1 => prop::collection::vec(digest(), 0..4).prop_map(|all| all.join(&b", "[..])),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    (kind(), value).prop_map(|(kind, value)| Header { kind, value })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(header(), 0..5).prop_map(Step::Response),
        2 => Just(Step::NextRequest),
        1 => Just(Step::Forget),
    ];
    prop::collection::vec(step, 0..60)
}

/// Reads credentials as a server would: by the parser of challenges, which has the same grammar.
fn algorithm_of(answer: &Authorization) -> Algorithm {
    Challenge::read_all(answer.value()).remove(0).unwrap().algorithm()
}

fn count_of(answer: &Authorization) -> Option<(String, u32)> {
    let text = String::from_utf8_lossy(answer.value()).into_owned();
    let after = |name: &str| text.split(name).nth(1).map(str::to_owned);
    let identity = format!("{} {} {}", answer.header(), after("realm=")?, after("nonce=")?);
    let identity = identity.split(", uri").next()?.to_owned();
    Some((identity, u32::from_str_radix(&after(", nc=")?, 16).ok()?))
}

proptest! {
    #[test]
    fn no_answer_is_weaker_and_every_request_ends(steps in steps()) {
        let mut authenticator = Authenticator::new(Credentials::new("gate", "made-up").unwrap());
        let mut request = RequestAuth::default();
        let mut strongest: HashMap<&str, Algorithm> = HashMap::new();
        let mut answered_rounds = 0;
        for step in steps {
            match step {
                Step::NextRequest => {
                    request = RequestAuth::default();
                    answered_rounds = 0;
                }
                Step::Forget => authenticator.forget_challenges(),
                Step::Response(headers) => {
                    let headers = headers.iter().map(|header| (header.kind, &header.value[..]));
                    answered_rounds += u32::from(authenticator.challenged(&mut request, headers).is_ok());
                    prop_assert!(answered_rounds <= MAX_ROUNDS && request.rounds() <= MAX_ROUNDS);
                }
            }
            let authorizations = authenticator.authorize(&mut request, &BYE, [3; 16]).unwrap();
            prop_assert!(authorizations.len() <= MAX_REALMS);
            for answer in &authorizations {
                prop_assert!(answer.value().len() < 3 * MAX_CHALLENGE_LENGTH);
                prop_assert!(!answer.value().iter().any(u8::is_ascii_control));
                let algorithm = algorithm_of(answer);
                let before = strongest.insert(answer.header(), algorithm);
                prop_assert!(before.is_none_or(|before| before <= algorithm), "{before:?}, then {algorithm:?}");
            }
        }
    }

    /// A server of two nonces that come back in any order never sees one count twice.
    #[test]
    fn no_count_of_a_nonce_repeats(nonces in prop::collection::vec((0..3_u8, any::<bool>()), 1..40)) {
        let mut authenticator = Authenticator::new(Credentials::new("gate", "made-up").unwrap());
        let mut counts: HashMap<String, u32> = HashMap::new();
        for (nonce, forget) in nonces {
            let mut request = RequestAuth::default();
            if forget {
                authenticator.forget_challenges();
            }
            let value = format!("Digest realm=\"r\", nonce=\"n{nonce}\", qop=auth, stale=true");
            authenticator.challenged(&mut request, [(ChallengeKind::Proxy, value.as_bytes())]).unwrap();
            for authorization in authenticator.authorize(&mut request, &BYE, [3; 16]).unwrap() {
                let (identity, count) = count_of(&authorization).unwrap();
                prop_assert_eq!(count, counts.get(&identity).copied().unwrap_or(0) + 1);
                counts.insert(identity, count);
            }
        }
    }

    /// A server that rejects everything, always with the same realm and without `stale`, gets credentials at most three
    /// times.
    #[test]
    fn wrong_password_is_sent_at_most_three_times(nonces in prop::collection::vec(0..5_u8, 12)) {
        let mut authenticator = Authenticator::new(Credentials::new("gate", "made-up").unwrap());
        let mut request = RequestAuth::default();
        let mut sent = 0;
        for nonce in nonces {
            sent += authenticator.authorize(&mut request, &BYE, [3; 16]).unwrap().len();
            let value = format!("Digest realm=\"r\", nonce=\"n{nonce}\"");
            if let Err(error) = authenticator.challenged(&mut request, [(ChallengeKind::Server, value.as_bytes())]) {
                prop_assert_eq!(error, AuthError::WrongCredentials);
                break;
            }
        }
        prop_assert!((1..=3).contains(&sent), "{} answers", sent);
    }
}

/// Every order of five challenges, each in a response of its own: the algorithm of the credentials only grows stronger.
#[test]
fn every_order_of_challenges_only_grows_stronger() {
    let offers = [
        "realm=a, nonce=1",
        "realm=a, nonce=2, algorithm=SHA-256, qop=auth",
        "realm=b, nonce=3, algorithm=MD5, stale=true",
        "realm=b, nonce=4, algorithm=SHA-512-256, stale=true",
        "realm=a, nonce=5, algorithm=SHA-256-sess, stale=true",
    ];
    let mut orders = vec![Vec::new()];
    for offer in offers {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<&str>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, offer);
                    longer
                })
            })
            .collect();
    }
    assert_eq!(orders.len(), 120);
    for order in orders {
        let mut authenticator = Authenticator::new(Credentials::new("gate", "made-up").unwrap());
        let mut strongest = Algorithm::Md5;
        for offer in &order {
            let mut request = RequestAuth::default();
            authenticator.authorize(&mut request, &BYE, [3; 16]).unwrap();
            let value = format!("Digest {offer}");
            let offered = Challenge::read_all(value.as_bytes()).remove(0).unwrap().algorithm();
            let result = authenticator.challenged(&mut request, [(ChallengeKind::Server, value.as_bytes())]);
            let weaker = AuthError::WeakerAlgorithm { offered, required: strongest };
            assert_eq!(result, if offered < strongest { Err(weaker) } else { Ok(()) }, "{offer} in {order:?}");
            strongest = strongest.max(offered);
            let authorizations = authenticator.authorize(&mut request, &BYE, [3; 16]).unwrap();
            assert!(!authorizations.is_empty(), "{offer} in {order:?}");
            assert!(authorizations.iter().all(|answer| algorithm_of(answer) == strongest), "{offer} in {order:?}");
        }
    }
}

//! Answers to digest challenges (RFC 7616; in SIP: RFC 3261, section 22, and RFC 8760).
//!
//! The crates for it do not do: digest_auth panics on a realm that is not ASCII, http-auth refuses one, and both refuse
//! spellings that telephone systems use.

mod challenge;

use rsipstack::sip::{Header, Response};
use secrecy::SecretString;

use challenge::Challenge;

/// How often a nonce may run out during one call, or one request outside of calls.
const STALE_NONCES: usize = 3;

/// The servers and proxies that may challenge one request.
const MAX_CHALLENGES: usize = 4;

/// Who we are at the trunk.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: SecretString,
}

/// What a server and the proxies on the way to it have challenged: each request of a call answers them all.
#[derive(Clone, Default)]
pub(super) struct Challenges {
    known: Vec<Challenge>,
    stale: usize,
    /// The strongest challenge of servers (401), and that of proxies (407).
    strongest: Vec<Challenge>,
    is_weakened: bool,
}

impl Challenges {
    /// Learns what a 401 or 407 asks. False where a further request cannot satisfy it: it asks again for what was
    /// answered, so the user name or the password is wrong, or it asks nothing that can be answered, or its algorithm
    /// is weaker than that of an earlier challenge of a server (401) or proxy (407): the answer would be easier to
    /// attack.
    pub(super) fn learn(&mut self, response: &Response) -> bool {
        let mut offered: Vec<Challenge> = Vec::new();
        for header in response.headers.iter() {
            let read = match header {
                Header::WwwAuthenticate(value) => Challenge::read_all(value.value(), false),
                Header::ProxyAuthenticate(value) => Challenge::read_all(value.value(), true),
                _ => continue,
            };
            for challenge in read {
                match offered.iter_mut().find(|other| other.is_of_same_server(&challenge)) {
                    Some(other) if challenge.is_stronger_than(other) => *other = challenge,
                    Some(_) => {}
                    None => offered.push(challenge),
                }
            }
        }
        let asks = !offered.is_empty();
        let weaker = offered.iter().any(|challenge| {
            self.strongest.iter().any(|before| before.is_same_kind(challenge) && before.is_stronger_than(challenge))
        });
        if weaker {
            self.is_weakened = true;
            return false;
        }
        for challenge in &offered {
            match self.strongest.iter_mut().find(|before| before.is_same_kind(challenge)) {
                Some(before) if challenge.is_stronger_than(before) => *before = challenge.clone(),
                Some(_) => {}
                None => self.strongest.push(challenge.clone()),
            }
        }
        for challenge in offered {
            let is_full = self.known.len() >= MAX_CHALLENGES;
            match self.known.iter_mut().find(|known| known.is_of_same_server(&challenge)) {
                Some(known) if challenge.is_stale() && self.stale < STALE_NONCES => {
                    self.stale += 1;
                    *known = challenge;
                }
                None if !is_full => self.known.push(challenge),
                _ => return false,
            }
        }
        asks
    }

    /// Returns whether a challenge was refused because of its weaker algorithm.
    pub(super) fn is_weakened(&self) -> bool {
        self.is_weakened
    }

    /// Returns the state for another target of the same call, which may send new challenges, but none with a weaker
    /// algorithm.
    pub(super) fn of_another_target(self) -> Self {
        Self { strongest: self.strongest, ..Self::default() }
    }

    /// The headers that answer all challenges so far, for a request.
    pub(super) fn answers(&mut self, credentials: &Credentials, method: &str, uri: &str, body: &[u8]) -> Vec<Header> {
        self.known.iter_mut().filter_map(|challenge| challenge.answer(credentials, method, uri, body)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn credentials() -> Credentials {
        Credentials { username: "mim".to_owned(), password: "secret".to_owned().into() }
    }

    fn asked(by_proxy: bool, values: &[&str]) -> Response {
        let header = |value: &&str| match by_proxy {
            true => Header::ProxyAuthenticate((*value).into()),
            false => Header::WwwAuthenticate((*value).into()),
        };
        Response { headers: values.iter().map(header).collect::<Vec<_>>().into(), ..Response::default() }
    }

    fn answers(challenges: &mut Challenges) -> Vec<String> {
        let headers = challenges.answers(&credentials(), "INVITE", "sip:1@127.0.0.1", b"");
        headers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_one_servers_challenges_the_strongest_is_answered_and_unknown_ones_are_passed_over() {
        let md5 = r#"Digest realm="r", nonce="1", algorithm=MD5, qop="auth,auth-int""#;
        let sha = r#"Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth""#;
        let unknown = r#"Digest realm="r", nonce="3", algorithm=AKAv1-MD5"#;
        let both = format!("{md5}, {sha}");
        for (offered, nonce) in [
            (vec![md5, sha, unknown], "2"),
            (vec![sha, md5], "2"),
            (vec![unknown, md5], "1"),
            (vec!["Basic realm=\"r\"", md5], "1"),
            (vec![&*both], "2"),
        ] {
            let mut challenges = Challenges::default();
            assert!(challenges.learn(&asked(false, &offered)), "{offered:?}");
            let answers = answers(&mut challenges);
            assert_eq!(answers.len(), 1, "{answers:?}");
            assert!(answers[0].contains(&format!("nonce=\"{nonce}\"")), "{answers:?}");
        }
        for nothing in [vec![], vec![unknown], vec!["Basic realm=\"r\"", "Digest", "", "="]] {
            assert!(!Challenges::default().learn(&asked(false, &nothing)), "{nothing:?}");
        }
    }

    #[test]
    fn a_proxy_and_the_server_behind_it_are_both_answered_in_each_request() {
        let mut challenges = Challenges::default();
        assert!(challenges.learn(&asked(true, &[r#"Digest realm="proxy", nonce="p", qop="auth""#])));
        assert!(challenges.learn(&asked(false, &[r#"Digest realm="server", nonce="s", qop="auth""#])));
        for count in ["nc=00000001", "nc=00000002"] {
            let answers = answers(&mut challenges);
            assert!(answers[0].starts_with("Proxy-Authorization: ") && answers[0].contains("realm=\"proxy\""));
            assert!(answers[1].starts_with("Authorization: ") && answers[1].contains("realm=\"server\""));
            assert!(answers.iter().all(|answer| answer.contains(count)), "{answers:?}");
        }
    }

    #[test]
    fn a_wrong_password_is_not_tried_again_and_a_stale_nonce_is_a_few_times() {
        let first = asked(false, &[r#"Digest realm="r", nonce="1""#]);
        let mut challenges = Challenges::default();
        assert!(challenges.learn(&first));
        assert!(!challenges.learn(&first), "the same password would be sent again");
        for round in 0..STALE_NONCES + 1 {
            let stale = format!(r#"Digest realm="r", nonce="again{round}", stale=TRUE"#);
            assert_eq!(challenges.learn(&asked(false, &[&stale])), round < STALE_NONCES, "{round}");
        }
    }

    #[test]
    fn no_number_of_realms_keeps_us_asking_for_ever() {
        let mut challenges = Challenges::default();
        let rounds = (0..100)
            .take_while(|round| challenges.learn(&asked(false, &[&format!(r#"Digest realm="{round}", nonce="n""#)])));
        assert_eq!(rounds.count(), MAX_CHALLENGES);
    }

    #[test]
    fn a_weaker_algorithm_is_refused_from_a_server_and_from_a_proxy() {
        let of =
            |realm: &str, algorithm: &str| format!("Digest realm=\"{realm}\", nonce=\"n\", {algorithm}, stale=true");
        let (md5, sha) = (of("r", "algorithm=MD5"), of("r", "algorithm=SHA-256"));
        for by_proxy in [false, true] {
            for weaker in [&*md5, &of("r", "opaque=\"\""), &of("other", "algorithm=MD5-sess")] {
                let mut challenges = Challenges::default();
                assert!(challenges.learn(&asked(by_proxy, &[&md5])) && challenges.learn(&asked(by_proxy, &[&sha])));
                for mut challenges in [challenges.clone(), challenges.of_another_target()] {
                    assert!(!challenges.learn(&asked(by_proxy, &[weaker])) && challenges.is_weakened(), "{weaker}");
                    assert!(answers(&mut challenges).iter().all(|answer| answer.contains("algorithm=SHA-256")));
                }
                let mut again = Challenges::default();
                assert!(again.learn(&asked(by_proxy, &[&sha])) && again.learn(&asked(by_proxy, &[&sha])), "as strong");
                assert!(again.learn(&asked(!by_proxy, &[&md5])), "another kind of server, which may know no other");
            }
        }
    }
}

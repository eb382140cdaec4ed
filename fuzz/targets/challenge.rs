//! The input is the events of a call, one per line: `S` or `P` with a challenge of a server or a proxy, `!` for the end
//! of a response, `N` for the next request, `F` for another target.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use phonegate_sip::auth::{
    Algorithm, Authenticator, Authorization, Challenge, ChallengeKind, Credentials, MAX_CHALLENGE_LENGTH, MAX_REALMS,
    MAX_ROUNDS, RequestAuth, RequestParts,
};

const PASSWORD: &str = "made-up-password";
const BYE: RequestParts<'_> = RequestParts { method: b"BYE", uri: b"sip:192.0.2.7:5060", body: b"made-up-body" };

fuzz_target!(|script: &[u8]| {
    let read = Challenge::read_all(script);
    assert!((1..=8).contains(&read.len()));
    assert!(read.iter().flatten().all(|challenge| challenge.realm().len() <= script.len()));
    let mut call = Call::new();
    let mut response = Vec::new();
    for line in script.split(|byte| *byte == b'\n').take(200) {
        match line {
            [b'S', value @ ..] => response.push((ChallengeKind::Server, value)),
            [b'P', value @ ..] => response.push((ChallengeKind::Proxy, value)),
            [b'!', ..] => call.challenged(&std::mem::take(&mut response)),
            [b'N', ..] => call.next_request(),
            [b'F', ..] => call.forget(),
            _ => {}
        }
    }
    call.challenged(&response);
});

struct Call {
    authenticator: Authenticator,
    request: RequestAuth,
    answered_rounds: u32,
    /// The strongest algorithm that was answered, by header name.
    strongest: HashMap<&'static str, Algorithm>,
    /// Highest count of each nonce, with the header's name and the realm.
    counts: HashMap<(&'static str, Vec<u8>, Vec<u8>), u32>,
    /// Offered challenges: header name of the answer, realm, and algorithm.
    offered: Vec<(&'static str, Vec<u8>, Algorithm)>,
    /// Header name, realm and nonce of the last answers.
    last: Vec<(&'static str, Vec<u8>, Vec<u8>)>,
}

impl Call {
    fn new() -> Self {
        let credentials = Credentials::new("gate", PASSWORD).expect("they can be used");
        Self {
            authenticator: Authenticator::new(credentials),
            request: RequestAuth::default(),
            answered_rounds: 0,
            strongest: HashMap::new(),
            counts: HashMap::new(),
            offered: Vec::new(),
            last: Vec::new(),
        }
    }

    fn next_request(&mut self) {
        self.request = RequestAuth::default();
        self.answered_rounds = 0;
        self.answer();
    }

    fn forget(&mut self) {
        self.authenticator.forget_challenges();
        assert_eq!(self.answer(), 0, "nothing is sent to another target before it asks");
    }

    fn challenged(&mut self, headers: &[(ChallengeKind, &[u8])]) {
        for (kind, value) in headers {
            let read = Challenge::read_all(value).into_iter().flatten();
            self.offered
                .extend(read.map(|challenge| (kind.authorization_header(), challenge.realm(), challenge.algorithm())));
        }
        let before = self.last.clone();
        let result = self.authenticator.challenged(&mut self.request, headers.iter().copied());
        self.answered_rounds += u32::from(result.is_ok());
        assert!(self.answered_rounds <= MAX_ROUNDS && self.request.rounds() <= MAX_ROUNDS, "every request ends");
        let count = self.answer();
        match result {
            Ok(()) => assert_ne!(count, 0, "a response that is accepted is answered"),
            Err(_) => assert_eq!(self.last, before, "a response that is rejected changes nothing"),
        }
    }

    /// Answers, checks each answer, and returns how many there are.
    fn answer(&mut self) -> usize {
        let answers = self.authenticator.authorize(&mut self.request, &BYE, [3; 16]).expect("a BYE can be answered");
        assert!(answers.len() <= MAX_REALMS);
        self.last.clear();
        for answer in &answers {
            self.check(answer);
        }
        let shown = format!("{:?} {:?} {answers:?}", self.authenticator, self.request);
        assert!(!shown.contains(PASSWORD), "the password is not shown");
        answers.len()
    }

    fn check(&mut self, answer: &Authorization) {
        let (header, value) = (answer.header(), answer.value());
        assert!(value.len() < 3 * MAX_CHALLENGE_LENGTH);
        assert!(value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t'), "an answer is one line");
        for secret in [PASSWORD.as_bytes(), BYE.body] {
            assert!(!value.windows(secret.len()).any(|part| part == secret));
        }
        // Parsed as a server would: answers and challenges have the same grammar.
        let read = Challenge::read_all(value);
        let [Ok(read)] = &read[..] else { panic!("an answer can be read: {read:?}") };
        let (realm, algorithm) = (read.realm(), read.algorithm());
        assert!(self.offered.contains(&(header, realm.clone(), algorithm)), "only what was asked is answered");
        let before = self.strongest.insert(header, algorithm);
        assert!(before.is_none_or(|before| before <= algorithm), "{before:?}, then {algorithm:?}");
        let identity = (header, realm, nonce(value));
        // With `qop`, the count is the end of an answer.
        if let Some((rest, count)) = value.split_last_chunk::<8>()
            && rest.ends_with(b", nc=")
        {
            let count = std::str::from_utf8(count).ok().and_then(|count| u32::from_str_radix(count, 16).ok());
            let count = count.expect("a count is a number");
            let before = self.counts.insert(identity.clone(), count);
            assert!(before.is_none_or(|before| before < count), "a count never repeats");
        }
        self.last.push(identity);
    }
}

/// Returns the nonce of an answer, perhaps with the end of its realm.
fn nonce(value: &[u8]) -> Vec<u8> {
    let find = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|window| window == part);
    let start = find(value, b", nonce=\"").expect("an answer has a nonce");
    let end = find(&value[start..], b"\", uri=\"").expect("and a URI behind it");
    value[start..start + end].to_vec()
}

//! One digest challenge: how it is read, and how it is answered.

use md5::Md5;
use rsipstack::sip::Header;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256, Sha512_256};

use super::Credentials;

/// A challenge that can be answered. It can be answered several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    by_proxy: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    stale: bool,
    algorithm: Algorithm,
    /// The algorithm's `-sess` variant.
    session: bool,
    /// Was the algorithm named? It is named in the answer then.
    named: bool,
    qop: Option<Qop>,
    userhash: bool,
    answered: u32,
}

/// In the order of their strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512t256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Qop {
    /// Preferred: proxies may change a body on its way.
    Auth,
    AuthInt,
}

impl Challenge {
    /// The challenges of a header's value that can be answered.
    pub(super) fn read_all(value: &str, by_proxy: bool) -> Vec<Self> {
        split(value).iter().filter_map(|(scheme, parameters)| Self::read(scheme, parameters, by_proxy)).collect()
    }

    fn read(scheme: &str, parameters: &[(&str, String)], by_proxy: bool) -> Option<Self> {
        let get = |name: &str| {
            let found = parameters.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str())
        };
        // What goes back in the answer must not end the header's line.
        if !scheme.eq_ignore_ascii_case("Digest") || parameters.iter().any(|(_, v)| v.contains(char::is_control)) {
            return None;
        }
        let named = get("algorithm");
        let (algorithm, session) = Algorithm::read(named.unwrap_or("MD5"))?;
        let is_true = |name| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Some(Self {
            by_proxy,
            realm: get("realm")?.to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            stale: is_true("stale"),
            algorithm,
            session,
            named: named.is_some(),
            qop: match get("qop") {
                Some(offered) => Some(Qop::best(offered)?),
                None => None,
            },
            userhash: is_true("userhash"),
            answered: 0,
        })
    }

    /// Do both come from the same place? They are alternatives then.
    pub(super) fn is_of_same_server(&self, other: &Self) -> bool {
        self.by_proxy == other.by_proxy && self.realm == other.realm
    }

    /// Returns whether both challenges are from servers (401), or both from proxies (407).
    pub(super) fn is_same_kind(&self, other: &Self) -> bool {
        self.by_proxy == other.by_proxy
    }

    pub(super) fn is_stronger_than(&self, other: &Self) -> bool {
        self.algorithm > other.algorithm
    }

    /// Has only the nonce run out? (RFC 7616, section 3.3)
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// The header that answers it for a request, if there is randomness for it.
    pub(super) fn answer(&mut self, credentials: &Credentials, method: &str, uri: &str, body: &[u8]) -> Option<Header> {
        let mut random = [0; 16];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut random).ok()?;
        let value = self.answer_with(credentials, method, uri, body, &hexadecimal(&random));
        Some(match self.by_proxy {
            true => Header::ProxyAuthorization(value.into()),
            false => Header::Authorization(value.into()),
        })
    }

    /// RFC 7616, section 3.4; without qop as in RFC 2069, which RFC 3261 keeps.
    fn answer_with(&mut self, credentials: &Credentials, method: &str, uri: &str, body: &[u8], cnonce: &str) -> String {
        self.answered = self.answered.saturating_add(1);
        let hash = |parts: &[&str]| self.algorithm.hash(parts.join(":").as_bytes());
        let (realm, nonce, username) = (&*self.realm, &*self.nonce, &*credentials.username);
        let mut a1 = hash(&[username, realm, credentials.password.expose_secret()]);
        if self.session {
            a1 = hash(&[&a1, nonce, cnonce]);
        }
        let a2 = match self.qop {
            Some(Qop::AuthInt) => hash(&[method, uri, &self.algorithm.hash(body)]),
            _ => hash(&[method, uri]),
        };
        let count = format!("{:08x}", self.answered);
        let response = match self.qop {
            Some(qop) => hash(&[&a1, nonce, &count, cnonce, qop.name(), &a2]),
            None => hash(&[&a1, nonce, &a2]),
        };
        let shown = if self.userhash { hash(&[username, realm]) } else { username.to_owned() };
        let mut answer = format!("Digest username={}, realm={}, nonce={}", quote(&shown), quote(realm), quote(nonce));
        answer += &format!(", uri={}, response=\"{response}\"", quote(uri));
        if self.named {
            answer += &format!(", algorithm={}{}", self.algorithm.name(), if self.session { "-sess" } else { "" });
        }
        if let Some(qop) = self.qop {
            answer += &format!(", cnonce=\"{cnonce}\", qop={}, nc={count}", qop.name());
        } else if self.session {
            answer += &format!(", cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &self.opaque {
            answer += &format!(", opaque={}", quote(opaque));
        }
        if self.userhash {
            answer += ", userhash=true";
        }
        answer
    }
}

impl Algorithm {
    /// The algorithm of a name, and whether it is the `-sess` variant.
    fn read(name: &str) -> Option<(Self, bool)> {
        let name = name.to_ascii_lowercase();
        let (name, session) = name.strip_suffix("-sess").map_or((&*name, false), |name| (name, true));
        let algorithms = [Self::Md5, Self::Sha256, Self::Sha512t256];
        let known = algorithms.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
        known.map(|algorithm| (algorithm, session))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512t256 => "SHA-512-256",
        }
    }

    fn hash(self, data: &[u8]) -> String {
        match self {
            Self::Md5 => hexadecimal(&Md5::digest(data)),
            Self::Sha256 => hexadecimal(&Sha256::digest(data)),
            Self::Sha512t256 => hexadecimal(&Sha512_256::digest(data)),
        }
    }
}

impl Qop {
    /// The one to choose among those of a list. Others that it names are passed over (RFC 7616, section 3.3).
    fn best(offered: &str) -> Option<Self> {
        let offers = |qop: Self| offered.split(',').any(|other| other.trim().eq_ignore_ascii_case(qop.name()));
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| offers(*qop))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

type Parameters<'a> = Vec<(&'a str, String)>;

/// The schemes of a header's value with their parameters, until what cannot be read.
fn split(value: &str) -> Vec<(&str, Parameters<'_>)> {
    let mut found: Vec<(&str, Parameters<'_>)> = Vec::new();
    let is_between = |c: char| c == ',' || c.is_whitespace();
    let mut rest = value;
    while let Some((names, after)) = rest.split_once('=') {
        // The name of a parameter, which the name of a scheme may precede.
        let mut names = names.split(is_between).filter(|name| !name.is_empty()).rev();
        let Some(name) = names.next() else { break };
        if let Some(scheme) = names.next() {
            found.push((scheme, Vec::new()));
        }
        let after = after.trim_start();
        let text;
        (text, rest) = match after.strip_prefix('"') {
            Some(quoted) => match unquote(quoted) {
                Some(read) => read,
                None => break,
            },
            None => {
                let (token, rest) = after.split_at(after.find(is_between).unwrap_or(after.len()));
                (token.to_owned(), rest)
            }
        };
        match found.last_mut() {
            Some((_, parameters)) => parameters.push((name, text)),
            None => break,
        }
    }
    found
}

/// A text up to its closing quotation mark, and what follows.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((text, characters.as_str())),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn one(value: &str) -> Challenge {
        let mut all = Challenge::read_all(value, false);
        assert_eq!(all.len(), 1, "{value}: {all:?}");
        all.remove(0)
    }

    fn respond(challenge: &str, user: (&str, &str), method: &str, uri: &str, body: &[u8], cnonce: &str) -> String {
        let credentials = Credentials { username: user.0.to_owned(), password: user.1.to_owned().into() };
        one(challenge).answer_with(&credentials, method, uri, body, cnonce)
    }

    /// Section 3.9.1.
    #[test]
    fn the_answers_are_those_of_rfc_7616() {
        const REST: &str = r#"realm="http-auth@example.org", qop="auth, auth-int",
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = format!("Digest algorithm={algorithm}, {REST}");
            let user = ("Mufasa", "Circle of Life");
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let answer = respond(&challenge, user, "GET", "/dir/index.html", b"", cnonce);
            let expected = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", \
                 response=\"{response}\", algorithm={algorithm}, cnonce=\"{cnonce}\", qop=auth, nc=00000001, \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            assert_eq!(answer, expected);
        }
    }

    /// Section 3.9.2: SHA-512/256 and a hashed user name. Its `response` is that of the RFC's erratum 4897, since the
    /// one of the text was made with SHA-512 cut short.
    #[test]
    fn a_hashed_user_name_is_that_of_rfc_7616() {
        let challenge = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,
            nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
            charset=UTF-8, userhash=true"#;
        let user = ("J\u{e4}s\u{f8}n Doe", "Secret, or not?");
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
        let answer = respond(challenge, user, "GET", "/doe.json", b"", cnonce);
        assert!(answer.contains("username=\"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b\""));
        assert!(answer.contains("response=\"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5\""));
        assert!(answer.ends_with("userhash=true"), "{answer}");
    }

    /// The example of RFC 2617, section 3.5, and what follows from it by the formulas, reckoned with Python's hashlib.
    #[test]
    fn every_kind_of_answer_is_reckoned_as_its_formula_says() {
        const REST: &str = r#"realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#;
        let user = ("Mufasa", "Circle Of Life");
        for (more, response) in [
            ("qop=\"auth,auth-int\"", "6629fae49393a05397450978507c4ef1"),
            ("qop=\"auth-int\"", "f93d61f87864e6c8c6a46b339ad998de"),
            ("algorithm=MD5", "670fd8c2df070c60b045671b8b24ff02"),
            ("algorithm=md5-sess, qop=auth", "8e3825c57e897f5a0dec6c2d4e5059d0"),
        ] {
            let challenge = format!("Digest {REST}, {more}");
            let answer = respond(&challenge, user, "GET", "/dir/index.html", b"body", "0a4f113b");
            assert!(answer.contains(&format!("response=\"{response}\"")), "{more}: {answer}");
        }
    }

    #[test]
    fn the_spellings_of_telephone_systems_are_read() {
        let usual = one(r#"Digest realm="r", nonce="n", algorithm=MD5, qop="auth""#);
        for spelling in [
            r#"digest REALM="r",Nonce=n,algorithm="md5",qop=auth"#,
            "Digest realm=\"r\"\r\n nonce=\"n\" algorithm=MD5 qop=\"token,auth\"",
            r#"Negotiate, Digest realm = "r", nonce= "n", algorithm=MD5, qop="AUTH , auth-int", domain="""#,
        ] {
            assert_eq!(one(spelling), usual, "{spelling}");
        }
        assert_eq!(one(r#"Digest realm="a \"b\" \\ \c", nonce="n""#).realm, r#"a "b" \ c"#);
    }

    #[test]
    fn a_realm_in_any_script_is_answered_as_it_is() {
        for realm in ["АТС Москва", "電話交換機の認証領域", "Zürich", "äöüäöü", "\u{1f4de}"] {
            let challenge = format!("Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"");
            let answer = respond(&challenge, ("u", "p"), "INVITE", "sip:1@x", b"", "c");
            assert!(answer.contains(&format!("realm=\"{realm}\"")), "{answer}");
        }
    }

    #[test]
    fn what_would_end_the_line_of_a_header_is_not_answered() {
        for value in ["Digest realm=\"r\r\nX: y\", nonce=\"n\"", "Digest realm=\"r\", nonce=\"n\", opaque=\"\0\""] {
            assert_eq!(Challenge::read_all(value, false), [], "{value:?}");
        }
        assert_eq!(Challenge::read_all(r#"Digest realm="r", nonce="n", qop="other""#, false), []);
        assert_eq!(Challenge::read_all(r#"Digest realm="r", nonce="n"#, false), []);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(value in r#"(Digest )?([a-zä電 ]{0,4}=?"?\\?[^"]{0,6}"?,? ?){0,6}"#, any in ".*") {
            for value in [value, any] {
                for mut challenge in Challenge::read_all(&value, true) {
                    let credentials = Credentials { username: "u".to_owned(), password: "p".to_owned().into() };
                    prop_assert!(challenge.answer(&credentials, "INVITE", "sip:1@x", b"").is_some());
                }
            }
        }
    }
}

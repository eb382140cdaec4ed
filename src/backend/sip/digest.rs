//! Answers to a digest challenge (RFC 3261, section 22; RFC 8760 for SHA-256).

use digest_auth::{AlgorithmType, AuthContext, HttpMethod, WwwAuthenticateHeader};
use rsipstack::sip::{Header, Headers};
use secrecy::{ExposeSecret, SecretString};

/// Who we are at the trunk.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: SecretString,
}

/// A challenge that was understood. It can be answered several times.
#[derive(Clone)]
pub(super) struct Challenge {
    header: WwwAuthenticateHeader,
    by_proxy: bool,
}

impl Challenge {
    /// The strongest challenge among the headers of a 401 or 407 that can be answered.
    pub(super) fn strongest(headers: &Headers) -> Option<Self> {
        let offered = headers.iter().filter_map(|header| match header {
            Header::WwwAuthenticate(value) => Some((value.value(), false)),
            Header::ProxyAuthenticate(value) => Some((value.value(), true)),
            _ => None,
        });
        let understood =
            offered.filter_map(|(value, by_proxy)| Some(Self { header: digest_auth::parse(value).ok()?, by_proxy }));
        understood.max_by_key(|challenge| match challenge.header.algorithm.algo {
            AlgorithmType::MD5 => 0,
            AlgorithmType::SHA2_256 => 1,
            AlgorithmType::SHA2_512_256 => 2,
        })
    }

    /// Has only the nonce run out, so that another answer may be given? (RFC 7616, section 3.3)
    pub(super) fn is_stale(&self) -> bool {
        self.header.stale
    }

    /// The header that answers it for a request.
    pub(super) fn answer(&mut self, credentials: &Credentials, method: &str, uri: &str, body: &[u8]) -> Option<Header> {
        let context = AuthContext::new_with_method(
            credentials.username.as_str(),
            credentials.password.expose_secret(),
            uri,
            Some(body),
            HttpMethod(method.into()),
        );
        let value = self.header.respond(&context).ok()?.to_header_string();
        Some(match self.by_proxy {
            true => Header::ProxyAuthorization(value.into()),
            false => Header::Authorization(value.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn challenges(values: &[&str]) -> Option<Challenge> {
        let headers: Vec<Header> = values.iter().map(|value| Header::WwwAuthenticate((*value).into())).collect();
        Challenge::strongest(&headers.into())
    }

    /// The example of RFC 7616, section 3.9.1.
    #[test]
    fn the_answers_are_those_of_rfc_7616() {
        const REST: &str = r#"realm="http-auth@example.org", qop="auth, auth-int",
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let header = digest_auth::parse(&format!("Digest algorithm={algorithm}, {REST}")).unwrap();
            let mut challenge = Challenge { header, by_proxy: false };
            let mut context = AuthContext::new("Mufasa", "Circle of Life", "/dir/index.html");
            context.set_custom_cnonce("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
            let answer = challenge.header.respond(&context).unwrap().to_string();
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
        }
    }

    #[test]
    fn the_strongest_algorithm_is_answered_and_unknown_ones_are_passed_over() {
        let md5 = r#"Digest realm="r", nonce="1", algorithm=MD5, qop="auth,auth-int""#;
        let sha = r#"Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth""#;
        let unknown = r#"Digest realm="r", nonce="3", algorithm=AKAv1-MD5"#;
        let credentials = Credentials { username: "mim".to_owned(), password: "secret".to_owned().into() };
        for (offered, nonce) in [(vec![md5, sha, unknown], "2"), (vec![sha, md5], "2"), (vec![unknown, md5], "1")] {
            let mut challenge = challenges(&offered).unwrap();
            let answer = challenge.answer(&credentials, "INVITE", "sip:1@127.0.0.1", b"").unwrap().to_string();
            assert!(answer.contains(&format!("nonce=\"{nonce}\"")) && answer.contains("nc=00000001"), "{answer}");
        }
        assert!(challenges(&[unknown]).is_none());
        assert!(challenges(&["Basic realm=\"r\"", "Digest", ""]).is_none());
    }
}

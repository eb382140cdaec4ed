//! The credentials that the stand-in accepts.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use super::server::{Received, Reply};

const SECRET: &str = "hush-hush-secret";

/// Maximum age of a signature, in seconds.
const MAX_AGE: u64 = 300;

/// How requests must authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Basic,
    Bearer,
    Header,
    /// By tokens. The name and the lifetime in seconds of the one that is issued and accepted.
    Oauth2 {
        token: &'static str,
        lifetime: u64,
    },
    Hmac,
}

impl Auth {
    /// The setting `auth` of a backend that uses the service at this URL.
    pub fn settings(self, base: &str) -> Value {
        match self {
            Self::Basic => json!({ "basic": { "username": "mim", "password": SECRET } }),
            Self::Bearer => json!({ "bearer": SECRET }),
            Self::Header => json!({ "header": { "name": "X-Api-Key", "value": SECRET } }),
            Self::Oauth2 { .. } => json!({ "oauth2": {
                "token_url": format!("{base}/token"), "client_id": "mim client", "client_secret": SECRET, "scope": "calls"
            } }),
            Self::Hmac => json!({ "hmac_sha256": {
                "key": SECRET, "header": "X-Signature", "timestamp_header": "X-Timestamp"
            } }),
        }
    }

    /// Returns whether a request has the right credentials.
    pub fn accepts(self, received: &Received) -> bool {
        let header = |name: &str| received.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let authorization = header("authorization");
        match self {
            Self::Basic => authorization == format!("Basic {}", BASE64_STANDARD.encode(format!("mim:{SECRET}"))),
            Self::Bearer => authorization == format!("Bearer {SECRET}"),
            Self::Header => header("x-api-key") == SECRET,
            Self::Oauth2 { token, .. } => authorization == format!("Bearer {token}"),
            Self::Hmac => {
                let timestamp = header("x-timestamp");
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                let is_fresh = timestamp.parse().is_ok_and(|seconds: u64| now.abs_diff(seconds) <= MAX_AGE);
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
                let signed = hmac::sign(&key, &[timestamp.as_bytes(), b".", &received.body].concat());
                let expected: String = signed.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                is_fresh && header("x-signature") == expected
            }
        }
    }

    /// Answers a request for a token (RFC 6749, section 4.4).
    pub fn token(self, received: &Received) -> Reply {
        let Self::Oauth2 { token, lifetime } = self else { return Reply::json(404, &json!({})) };
        let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("mim+client:{SECRET}")));
        let is_client = received.headers.get("authorization").is_some_and(|value| *value == *expected);
        if !is_client || received.body != b"grant_type=client_credentials&scope=calls" {
            return Reply::json(401, &json!({ "error": "invalid_client" }));
        }
        Reply::json(200, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime }))
    }
}

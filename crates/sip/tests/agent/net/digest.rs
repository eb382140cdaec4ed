//! A check of digest credentials (RFC 7616, 3.4) that shares no code with the agent's.

use md5::Digest as _;

/// A challenge that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub realm: String,
    pub nonce: String,
    pub algorithm: String,
    pub qop: bool,
}

/// Reads the parameters of a challenge or of credentials, without quotes.
pub fn params(value: &str) -> Vec<(String, String)> {
    let mut params = Vec::new();
    let mut rest = value.trim().strip_prefix("Digest").unwrap_or_default();
    while let Some((name, after)) = rest.split_once('=') {
        let (text, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        params.push((name, text.trim().to_owned()));
        rest = after.trim_start_matches([' ', ',']);
    }
    params
}

/// Returns a parameter. Empty: it is missing.
pub fn param<'a>(params: &'a [(String, String)], name: &str) -> &'a str {
    params.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
}

impl Issued {
    /// Reads a challenge.
    pub fn read(value: &str) -> Self {
        let params = params(value);
        Self {
            realm: param(&params, "realm").to_owned(),
            nonce: param(&params, "nonce").to_owned(),
            algorithm: param(&params, "algorithm").to_ascii_uppercase(),
            qop: !param(&params, "qop").is_empty(),
        }
    }

    fn hash(&self, text: &str) -> String {
        let bytes = match self.algorithm.as_str() {
            "SHA-256" => sha2::Sha256::digest(text).to_vec(),
            _ => md5::Md5::digest(text).to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns what is wrong with credentials for this challenge.
    pub fn check(&self, answer: &str, method: &str, uri: &str, user: &str, password: &str) -> Result<(), String> {
        let params = params(answer);
        let get = |name| param(&params, name);
        if get("username") != user || get("realm") != self.realm {
            return Err("the answer has another user or realm".to_owned());
        }
        if get("uri") != uri {
            return Err(format!("the answer is for {} and not for the Request-URI {uri}", get("uri")));
        }
        if self.qop == get("qop").is_empty() {
            return Err("the answer has another qop than the challenge".to_owned());
        }
        let a1 = self.hash(&format!("{user}:{}:{password}", self.realm));
        let a2 = self.hash(&format!("{method}:{uri}"));
        let expected = if self.qop {
            let (nc, cnonce, qop) = (get("nc"), get("cnonce"), get("qop"));
            self.hash(&format!("{a1}:{}:{nc}:{cnonce}:{qop}:{a2}", self.nonce))
        } else {
            self.hash(&format!("{a1}:{}:{a2}", self.nonce))
        };
        if get("response") != expected {
            return Err("the answer's response is wrong".to_owned());
        }
        Ok(())
    }
}

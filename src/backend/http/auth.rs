//! How requests authenticate.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phonegate_net::https_client;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::super::BackendContext;
use super::super::basic_auth::check_credential;
use super::super::replies;
use super::api::{ApiError, Refusal};
use super::config::{AuthConfig, HmacConfig, HttpConfig, Oauth2Config};
use super::header;
use super::tokens::{Token, Tokens};
use crate::config::{ConfigError, build_https_client, provider_url};
use crate::no_duplicate_keys::Json;

/// How long a token is used whose reply does not say when it expires.
const TOKEN_DEFAULT: Duration = Duration::from_secs(300);

/// Maximum length of a token, in bytes.
const MAX_TOKEN: usize = 8_192;

/// How requests authenticate.
pub(super) enum Auth {
    /// By their own headers.
    None,
    /// By a header that is always the same.
    Fixed(HeaderName, HeaderValue),
    /// By tokens of an OAuth 2 client.
    Oauth2(Arc<Endpoint>, Tokens),
    Signature {
        key: hmac::Key,
        header: HeaderName,
        timestamp_header: HeaderName,
    },
}

impl Auth {
    /// # Errors
    /// A secret cannot be read, or a setting cannot work.
    pub(super) fn new(config: &HttpConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let at = |key: &str| format!("{}.auth.{key}", context.path);
        Ok(match &config.auth {
            None => Self::None,
            Some(AuthConfig::Basic(basic)) => {
                let key = "auth.basic.password";
                let password = context.resolve(key, &basic.password)?;
                if basic.username.contains(':') {
                    return Err(ConfigError::invalid(
                        at("basic.username"),
                        "has a colon, which HTTP Basic cannot send",
                    ));
                }
                check_credential(&at("basic.username"), &basic.username)?;
                check_credential(&at("basic.password"), password.expose_secret())?;
                let value = basic_value(&basic.username, &password);
                Self::Fixed(AUTHORIZATION, header::configured_value(&at("basic.password"), &value)?)
            }
            Some(AuthConfig::Bearer(token)) => {
                let token = context.resolve("auth.bearer", token)?;
                let value = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
                Self::Fixed(AUTHORIZATION, header::configured_value(&at("bearer"), &value)?)
            }
            Some(AuthConfig::Header(header)) => {
                let value = context.resolve("auth.header.value", &header.value)?;
                let name = header::name(&at("header.name"), &header.name)?;
                Self::Fixed(name, header::configured_value(&at("header.value"), value.expose_secret())?)
            }
            Some(AuthConfig::Oauth2(oauth2)) => {
                Self::Oauth2(Arc::new(Endpoint::new(oauth2, config, context)?), Tokens::default())
            }
            Some(AuthConfig::HmacSha256(HmacConfig { key, header, timestamp_header })) => {
                let key = context.resolve("auth.hmac_sha256.key", key)?;
                let header = header::name(&at("hmac_sha256.header"), header)?;
                let timestamp_header = header::name(&at("hmac_sha256.timestamp_header"), timestamp_header)?;
                if header == timestamp_header {
                    let problem = "must be another header than that of the signature";
                    return Err(ConfigError::invalid(at("hmac_sha256.timestamp_header"), problem));
                }
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret().as_bytes());
                Self::Signature { key, header, timestamp_header }
            }
        })
    }

    /// Returns the headers that it sets.
    pub(super) fn headers(&self) -> Vec<HeaderName> {
        match self {
            Self::None => Vec::new(),
            Self::Fixed(name, _) => vec![name.clone()],
            Self::Oauth2(..) => vec![AUTHORIZATION],
            Self::Signature { header, timestamp_header, .. } => vec![header.clone(), timestamp_header.clone()],
        }
    }

    /// Returns the credentials that each request has after the scheme of `Authorization`. With Basic, they contain the
    /// password in another form than the settings.
    pub(super) fn credentials(&self) -> Option<SecretString> {
        let Self::Fixed(name, value) = self else { return None };
        if *name != AUTHORIZATION {
            return None;
        }
        value.to_str().ok()?.split_once(' ').map(|(_, credentials)| credentials.into())
    }

    /// Returns a token, if requests have one.
    ///
    /// # Errors
    /// There is none, and none was issued.
    pub(super) async fn token(&self) -> Result<Option<SecretString>, ApiError> {
        match self {
            Self::Oauth2(endpoint, tokens) => tokens.get(|| Arc::clone(endpoint).issue()).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Forgets a token that the service refused.
    pub(super) fn forget(&self, refused: &SecretString) {
        if let Self::Oauth2(_, tokens) = self {
            tokens.forget(refused);
        }
    }

    /// Authenticates a request with this body. Also returns the token that it uses, if any.
    ///
    /// # Errors
    /// There is no token, so nothing was sent.
    pub(super) async fn apply(
        &self,
        request: RequestBuilder,
        body: &[u8],
    ) -> Result<(RequestBuilder, Option<SecretString>), ApiError> {
        let token = self.token().await?;
        let request = match (self, &token) {
            (Self::Fixed(name, value), _) => request.header(name, value),
            (Self::Signature { key, header, timestamp_header }, _) => {
                let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                request.header(header, signature(key, seconds, body)).header(timestamp_header, seconds)
            }
            (_, Some(token)) => request.bearer_auth(token.expose_secret()),
            (_, None) => request,
        };
        Ok((request, token))
    }
}

/// Returns the signature of a body at a time: the HMAC of the seconds, a dot and the body, in hexadecimal digits.
fn signature(key: &hmac::Key, seconds: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn basic_value(user: &str, password: &SecretString) -> Zeroizing<String> {
    use base64::Engine;
    let both = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
    Zeroizing::new(format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(both.as_bytes())))
}

/// The token endpoint of an OAuth 2 authorization server.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    authorization: HeaderValue,
    scope: Option<String>,
}

impl Endpoint {
    fn new(oauth2: &Oauth2Config, config: &HttpConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let path = format!("{}.auth.oauth2", context.path);
        let url = provider_url(&format!("{path}.token_url"), &oauth2.token_url)?;
        let secret = context.resolve("auth.oauth2.client_secret", &oauth2.client_secret)?;
        check_credential(&format!("{path}.client_id"), &oauth2.client_id)?;
        check_credential(&format!("{path}.client_secret"), secret.expose_secret())?;
        // RFC 6749, section 2.3.1: both are encoded as in a form.
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let value = basic_value(&encode(&oauth2.client_id), &encode(secret.expose_secret()).into());
        let section = (context.path.as_str(), config.ca_file.as_deref());
        let (builder, _) = context.network.https_client_builder(section, &url, context.base)?;
        let client = build_https_client(builder)?;
        let authorization = header::configured_value(&format!("{path}.client_secret"), &value)?;
        Ok(Self { client, url, authorization, scope: oauth2.scope.clone() })
    }

    /// Requests a token.
    async fn issue(self: Arc<Self>) -> Result<Token, ApiError> {
        let mut form = vec![("grant_type", "client_credentials")];
        if let Some(scope) = &self.scope {
            form.push(("scope", scope));
        }
        let requested_at = Instant::now();
        let request = self.client.post(self.url.clone()).header(AUTHORIZATION, &self.authorization).form(&form);
        let response = request.send().await.map_err(ApiError::of_request)?;
        let status = response.status().as_u16();
        if status >= 400 {
            // 400 is `invalid_client` and the like (RFC 6749, section 5.2).
            let status = if status == 400 { 401 } else { status };
            return Err(ApiError::Refused(Refusal { status, stated: None, token: None, retry_after: None }));
        }
        if status != 200 {
            return Err(ApiError::Malformed(format!("has the status {status}")));
        }
        let body = Zeroizing::new(https_client::body(response).await.map_err(ApiError::of_body)?);
        let Some(Json(reply)) = replies::parse(&body) else {
            return Err(ApiError::Malformed("is no JSON, or has a key twice".to_owned()));
        };
        let text = |key: &str| reply.get(key).and_then(Value::as_str);
        let is_bearer = text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        let is_usable =
            |token: &&str| (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        let Some(token) = text("access_token").filter(is_usable).filter(|_| is_bearer) else {
            return Err(ApiError::Malformed("has no bearer token".to_owned()));
        };
        let lifetime = reply.get("expires_in").and_then(Value::as_u64).map_or(TOKEN_DEFAULT, Duration::from_secs);
        Ok(Token::new(token.to_owned().into(), lifetime, requested_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value was computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_covers_the_time_and_the_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"hush-hush");
        let signed = signature(&key, 1_700_000_000, br#"{"to":"+14255551212"}"#);
        assert_eq!(signed, "1e388681e49183580df2c78de5a72f164fdfb1438d27259e5136a06de67192d3");
        assert_ne!(signed, signature(&key, 1_700_000_001, br#"{"to":"+14255551212"}"#));
        assert_ne!(signed, signature(&key, 1_700_000_000, br#"{"to":"+14255551213"}"#));
    }
}

//! Delivers alerts by webhook: posts each one to a URL.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use phonegate_net::https_client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Host;
use zeroize::Zeroizing;

use super::alert::Alert;
use super::delivery_error::DeliveryError;
use super::message::Message;
use crate::config::{ConfigError, NetworkConfig, Secret, WebhookConfig, WebhookFormat, build_https_client};
use crate::redact::diagnostic_text;

/// The beginning of a signing secret (standardwebhooks.com).
const KEY_PREFIX: &str = "whsec_";

/// Length of a signing secret in bytes, by the same specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A URL, and how alerts are written for it.
pub(super) struct Webhook {
    client: Client,
    url: SecretString,
    host: String,
    format: Format,
}

enum Format {
    Json(hmac::Key),
    Teams,
}

impl Webhook {
    /// Reads the settings at `path`.
    pub(super) fn build(
        path: &str,
        config: &WebhookConfig,
        network: &NetworkConfig,
        base: &Path,
    ) -> Result<Self, ConfigError> {
        let at = format!("{path}.url");
        let url = check_url(&at, config.url.resolve(base, &at)?.expose_secret().trim())?;
        let (client, _) = network.https_client_builder((path, config.ca_file.as_deref()), &url, base)?;
        let client = build_https_client(client)?;
        let format = match (config.format, &config.key) {
            (WebhookFormat::Json, Some(key)) => Format::Json(signing_key(&format!("{path}.key"), key, base)?),
            (WebhookFormat::Json, None) => return Err(ConfigError::invalid(format!("{path}.key"), "is missing")),
            (WebhookFormat::Teams, _) => Format::Teams,
        };
        let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or_default());
        Ok(Self { client, url: String::from(url).into(), host, format })
    }

    /// The URL, a secret.
    pub(super) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// The URL's host and port, which are no secret.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The kind of webhook, for a destination's name.
    pub(super) fn format_name(&self) -> &'static str {
        match self.format {
            Format::Json(_) => "webhook",
            Format::Teams => "teams",
        }
    }

    pub(super) async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let (body, headers) = match &self.format {
            Format::Json(key) => {
                let body = serde_json::to_string(&bounded(alert)).unwrap_or_default();
                let headers = signature(key, &alert.id.to_string(), SystemTime::now(), &body);
                (body, headers.ok_or_else(|| DeliveryError::new("the alert cannot be signed"))?)
            }
            Format::Teams => (card(&Message::of(alert)).to_string(), HeaderMap::new()),
        };
        let request = self.client.post(self.url()).headers(headers);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(|error| {
            DeliveryError::new(&format!("cannot post: {}", diagnostic_text(&https_client::describe(error))))
        })?;
        judge(response.status())
    }
}

/// Converts a status to the result of a delivery. Only 410 (gone) is permanent: the receiver says that it will not come
/// back. After any other error an administrator may correct the URL or the receiver, which then gets the missed alerts.
fn judge(status: StatusCode) -> Result<(), DeliveryError> {
    let code = status.as_u16();
    if status.is_success() {
        return Ok(());
    }
    Err(match status {
        StatusCode::GONE => {
            DeliveryError::permanent("the receiver answered 410 (gone): it accepts no more alerts at this URL")
        }
        _ if status.is_redirection() => DeliveryError::new(&format!(
            "the receiver answered {code}, a redirect, which is not followed; correct the URL"
        )),
        _ => DeliveryError::new(&format!("the receiver answered {code}")),
    })
}

/// Returns the alert with its texts cut to the lengths of other messages.
fn bounded(alert: &Alert) -> Alert {
    let part = super::message::part;
    Alert {
        node: part(&alert.node).into(),
        number: alert.number.as_deref().map(|text| part(text).into()),
        backend: alert.backend.as_deref().map(|text| part(text).into()),
        text: Message::of(alert).text.into(),
        ..alert.clone()
    }
}

/// Returns the headers that the Standard Webhooks specification requires. The time is that of sending, so that a
/// receiver can refuse a recorded request that is sent again later.
fn signature(key: &hmac::Key, id: &str, now: SystemTime, body: &str) -> Option<HeaderMap> {
    let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let signature = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64_STANDARD.encode(signature));
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_str(id).ok()?);
    headers.insert("webhook-timestamp", HeaderValue::from(seconds));
    headers.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
    Some(headers)
}

/// Returns an Adaptive Card in the envelope that a Teams workflow expects. Text runs are shown unchanged; in a
/// `TextBlock`, Teams would read the asterisks of a masked number as Markdown.
fn card(message: &Message) -> Value {
    let line = |text: &str, weight: &str| json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": text, "weight": weight }] });
    let mut body = vec![line(&message.subject, "Bolder")];
    body.extend(message.text.split('\n').filter(|text| !text.is_empty()).map(|text| line(text, "Default")));
    body.extend(message.facts.iter().map(|(name, value)| line(&format!("{name}: {value}"), "Default")));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body
            }
        }]
    })
}

/// Checks the URL: https, or http on this machine, without a user. The error does not show the URL.
fn check_url(path: &str, text: &str) -> Result<Url, ConfigError> {
    let invalid = |problem: &str| ConfigError::invalid(path, problem);
    let url = Url::parse(text).map_err(|_| invalid("is not a URL that begins with https://"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(invalid("names no host")),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return Err(invalid("must begin with https:// (http:// is only for this machine)"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("must not have a user or a password"));
    }
    Ok(url)
}

/// Reads the signing key: `whsec_` and Base64, as the Standard Webhooks libraries expect it.
fn signing_key(path: &str, key: &Secret, base: &Path) -> Result<hmac::Key, ConfigError> {
    let text = key.resolve(base, path)?;
    let bytes = text.expose_secret().trim().strip_prefix(KEY_PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok());
    match bytes.map(Zeroizing::new) {
        Some(bytes) if KEY_BYTES.contains(&bytes.len()) => Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        _ => Err(ConfigError::invalid(
            path,
            "is not `whsec_` and the Base64 of 24 to 64 bytes; write `whsec_` and what `openssl rand -base64 32` prints",
        )),
    }
}

#[cfg(test)]
mod tests;

//! Where alerts go.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::AlertKind;
use super::alert::Alert;
use super::delivery_error::DeliveryError;
use super::smtp::Smtp;
use super::syslog;
use super::webhook::Webhook;
use super::wire::Server;
use crate::config::{AlertConfig, ConfigError, NetworkConfig, SmtpTls};

/// Maximum time of one delivery.
pub const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

/// Length of a destination's fingerprint in bytes. It is written as 16 hexadecimal digits.
const FINGERPRINT_BYTES: usize = 8;

/// A destination of alerts, built from one element of `alerts` in the configuration.
pub struct Destination {
    on: Vec<AlertKind>,
    fingerprint: Box<str>,
    name: Box<str>,
    limit: Duration,
    transport: Transport,
}

enum Transport {
    Smtp(Box<Smtp>),
    Webhook(Box<Webhook>),
    Syslog(Server),
}

impl Destination {
    /// Builds the destination of the element `index` of `alerts`. Reads its secrets and files; relative paths are resolved
    /// against `base`. Does no network I/O.
    ///
    /// # Errors
    /// If a secret or file cannot be used. The error names the key of the configuration, and no secret.
    pub fn build(
        index: usize,
        config: &AlertConfig,
        network: &NetworkConfig,
        base: &Path,
    ) -> Result<Self, ConfigError> {
        let path = |transport: &str| format!("alerts[{index}].{transport}");
        let server = |host: &str, port, tls: Option<(&str, Option<&Path>)>| {
            let tls = tls.map(|own| network.tls_client(own, None, base)).transpose()?.map(Arc::new);
            Ok::<_, ConfigError>(Server { host: host.into(), port, tls })
        };
        let (fingerprint, name, transport) = match (&config.smtp, &config.webhook, &config.syslog) {
            (Some(smtp), _, _) => {
                let path = path("smtp");
                let tls = (smtp.tls != SmtpTls::None).then_some((path.as_str(), smtp.ca_file.as_deref()));
                let server = server(&smtp.server, smtp.port(), tls)?;
                let receivers = smtp.to.join(",");
                let digest = fingerprint(&["smtp", &smtp.server, &smtp.port().to_string(), &smtp.from, &receivers]);
                let name = format!("smtp {}:{}", smtp.server, smtp.port());
                (digest, name, Transport::Smtp(Box::new(Smtp::build(&path, smtp, server, base)?)))
            }
            (_, Some(webhook), _) => {
                let webhook = Webhook::build(&path("webhook"), webhook, network, base)?;
                let digest = fingerprint(&["webhook", webhook.url()]);
                let name = format!("{} {}", webhook.format_name(), webhook.host());
                (digest, name, Transport::Webhook(Box::new(webhook)))
            }
            (_, _, Some(syslog)) => {
                let path = path("syslog");
                let tls = syslog.tls.then_some((path.as_str(), syslog.ca_file.as_deref()));
                let server = server(&syslog.server, syslog.port(), tls)?;
                let digest = fingerprint(&["syslog", &syslog.server, &syslog.port().to_string()]);
                let name = format!("syslog {}:{}", syslog.server, syslog.port());
                (digest, name, Transport::Syslog(server))
            }
            (None, None, None) => {
                return Err(ConfigError::invalid(
                    format!("alerts[{index}]"),
                    "has no destination; add `smtp`, `webhook` or `syslog`",
                ));
            }
        };
        Ok(Self {
            on: config.on.clone(),
            fingerprint: fingerprint.into(),
            name: name.into(),
            limit: DELIVERY_LIMIT,
            transport,
        })
    }

    /// The same destination with another limit of one delivery in place of [`DELIVERY_LIMIT`].
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Returns whether it gets alerts of this kind. Every destination gets tests.
    pub fn wants(&self, kind: AlertKind) -> bool {
        kind == AlertKind::Test || self.on.contains(&kind)
    }

    /// Returns a fingerprint of the transport, the server and the receivers, which is the same on all nodes with the
    /// same configuration.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns its name for logs and lists, such as `smtp mail.contoso.local:587`, without secrets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Delivers an alert within [`DELIVERY_LIMIT`], or the time given to [`Destination::with_limit`].
    ///
    /// # Errors
    /// [`DeliveryError`] if it is not certain that the server accepted the alert. The server may have accepted it: a
    /// copy that is sent again has the same id.
    pub async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let delivery = async {
            match &self.transport {
                Transport::Smtp(smtp) => smtp.deliver(alert).await,
                Transport::Webhook(webhook) => webhook.deliver(alert).await,
                Transport::Syslog(server) => syslog::deliver(server, alert).await,
            }
        };
        match tokio::time::timeout(self.limit, delivery).await {
            Ok(result) => result,
            Err(_) => Err(DeliveryError::new(&format!("the server did not answer within {:?}", self.limit))),
        }
    }
}

/// Without its secrets.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).field("on", &self.on).finish_non_exhaustive()
    }
}

/// Returns a digest of the parts. Each is preceded by its length, so that other parts have another digest.
fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

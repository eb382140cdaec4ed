//! What the rest of the configuration must know about the settings, and how they become a backend.

use std::path::Path;
use std::sync::Arc;

use phonegate_approval::policy;
use phonegate_net::loopback::is_loopback_url;
use url::Url;

use super::HttpBackend;
use super::config::{AuthConfig, HttpConfig, PresetConfig};
use crate::backend::{BackendContext, BuildBackend, TelephonyBackend};
use crate::config::{ApprovalConfig, BackendSettings, ConfigError, Judge, Secret};

impl HttpConfig {
    /// Returns the declaration: that of the preset, if there is one. It keeps `preset`, so that errors name the
    /// preset's keys.
    ///
    /// # Errors
    /// There is a preset and another key, at `path`.
    pub(super) fn declared(&self, path: &str) -> Result<Self, ConfigError> {
        let Some(PresetConfig::Infobip(infobip)) = &self.preset else { return Ok(self.clone()) };
        let others = [
            ("secrets", !self.secrets.is_empty()),
            ("auth", self.auth.is_some()),
            ("start", self.start.is_some()),
            ("reference", self.reference.is_some()),
            ("poll", self.poll.is_some()),
            ("pressed", self.pressed.is_some()),
            ("approved", self.approved.is_some()),
            ("failed", !self.failed.is_empty()),
            ("hang_up", self.hang_up.is_some()),
            ("check", self.check.is_some()),
        ];
        if let Some((key, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
            let problem = "is a key of `preset` already; remove it, or remove `preset` and declare the whole service";
            return Err(ConfigError::invalid(format!("{path}.{key}"), problem));
        }
        let mut declared = infobip.declared(&format!("{path}.preset.infobip"))?;
        declared.preset.clone_from(&self.preset);
        declared.ca_file.clone_from(&self.ca_file);
        declared.local_peer = self.local_peer;
        Ok(declared)
    }

    /// Returns the path of a secret in the backend's configuration: `secrets.NAME`, or `preset.infobip.NAME` with the
    /// preset.
    pub(super) fn secret_path(&self, name: &str) -> String {
        match &self.preset {
            Some(PresetConfig::Infobip(_)) => format!("preset.infobip.{name}"),
            None => format!("secrets.{name}"),
        }
    }

    /// Returns the URLs, with placeholders.
    fn urls(&self) -> impl Iterator<Item = &str> {
        let token = match &self.auth {
            Some(AuthConfig::Oauth2(oauth2)) => Some(oauth2.token_url.as_str()),
            _ => None,
        };
        let preset = self.preset.as_ref().map(|PresetConfig::Infobip(infobip)| infobip.base_url.as_str());
        let start = self.start.as_ref().map(|start| start.url.get());
        token.into_iter().chain(preset).chain(start)
    }
}

impl BackendSettings for HttpConfig {
    fn secrets(&self) -> Vec<(&'static str, Option<&Secret>)> {
        let of_auth = self.auth.as_ref().map(|auth| match auth {
            AuthConfig::Basic(basic) => ("auth.basic.password", Some(&basic.password)),
            AuthConfig::Bearer(token) => ("auth.bearer", Some(token)),
            AuthConfig::Header(header) => ("auth.header.value", Some(&header.value)),
            AuthConfig::Oauth2(oauth2) => ("auth.oauth2.client_secret", Some(&oauth2.client_secret)),
            AuthConfig::HmacSha256(hmac) => ("auth.hmac_sha256.key", Some(&hmac.key)),
        });
        let of_preset = self.preset.as_ref().map(|preset| match preset {
            PresetConfig::Infobip(infobip) => ("preset.infobip.api_key", Some(&infobip.api_key)),
        });
        of_auth.into_iter().chain(of_preset).collect()
    }

    fn named_secrets(&self) -> Vec<(String, &Secret)> {
        self.secrets.iter().map(|(name, secret)| (format!("secrets.{name}"), secret)).collect()
    }

    fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    fn judge(&self) -> Judge {
        match self.approved {
            Some(_) => Judge::Provider { accept: Some(self.accept_provider_verdict.unwrap_or(false)) },
            None => Judge::PhoneGate,
        }
    }

    fn is_local_test(&self) -> bool {
        !self.local_peer && self.urls().any(is_loopback)
    }

    fn check_pins(&self, path: &str, approval: &ApprovalConfig) -> Result<(), ConfigError> {
        if approval.pin.allow_provider {
            return Ok(());
        }
        let method = policy::Method::from(approval.method).name();
        let problem = format_args!(
            "is of type http: with `{method}`, the web service learns the PINs of users; if that is acceptable, set \
             \"allow_provider\": true in `approval.pin`"
        );
        Err(ConfigError::invalid(path, problem))
    }

    fn warnings(&self) -> Vec<String> {
        let no_hang_up = "hang_up: is not declared, so a phone may ring on after its call has failed";
        self.hang_up.is_none().then(|| no_hang_up.to_owned()).into_iter().collect()
    }
}

/// Returns whether the host of a URL is this machine. A URL that cannot be read is refused elsewhere.
fn is_loopback(url: &str) -> bool {
    // A placeholder in a path is not valid in every URL, and does not matter here.
    let url = Url::parse(&url.replace(['{', '}'], "x"));
    url.is_ok_and(|url| is_loopback_url(&url))
}

impl BuildBackend for HttpConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        Ok(Arc::new(HttpBackend::new(&self.declared(&context.path)?, context)?))
    }
}

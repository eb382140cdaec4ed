//! Checks of the section `alerts` that its types do not make.

use std::net::IpAddr;

use lettre::Address;
use rustls::pki_types::ServerName;

use super::{AlertConfig, AlertKind, SmtpConfig, SmtpTls, WebhookConfig, WebhookFormat};
use crate::config::error::ConfigError;

/// Maximum elements of `alerts`.
const MAX_DESTINATIONS: usize = 16;

/// Maximum receivers of one e-mail.
const MAX_RECEIVERS: usize = 20;

/// Maximum length of the name of a server (RFC 1035).
const MAX_SERVER: usize = 253;

/// Checks the elements of `alerts`. Secrets and files are checked when a destination is built.
pub(in crate::config) fn check_alerts(alerts: &[AlertConfig]) -> Result<(), ConfigError> {
    if alerts.len() > MAX_DESTINATIONS {
        let problem = format!("has {} elements, but may have at most {MAX_DESTINATIONS}", alerts.len());
        return Err(ConfigError::invalid("alerts", problem));
    }
    alerts.iter().enumerate().try_for_each(|(index, alert)| check(&format!("alerts[{index}]"), alert))
}

fn check(path: &str, alert: &AlertConfig) -> Result<(), ConfigError> {
    check_kinds(&format!("{path}.on"), &alert.on)?;
    match (&alert.smtp, &alert.webhook, &alert.syslog) {
        (Some(smtp), None, None) => check_smtp(&format!("{path}.smtp"), smtp),
        (None, Some(webhook), None) => check_webhook(&format!("{path}.webhook"), webhook),
        (None, None, Some(syslog)) if !syslog.tls && syslog.ca_file.is_some() => {
            let problem = "is only for an encrypted connection; remove it, or remove `\"tls\": false`";
            Err(ConfigError::invalid(format!("{path}.syslog.ca_file"), problem))
        }
        (None, None, Some(syslog)) => check_server(&format!("{path}.syslog.server"), &syslog.server),
        (None, None, None) => Err(ConfigError::invalid(path, "has no destination; add `smtp`, `webhook` or `syslog`")),
        _ => {
            let problem =
                "has several destinations; write an element of `alerts` for each of `smtp`, `webhook` and `syslog`";
            Err(ConfigError::invalid(path, problem))
        }
    }
}

fn check_kinds(path: &str, kinds: &[AlertKind]) -> Result<(), ConfigError> {
    if kinds.is_empty() {
        return Err(ConfigError::invalid(path, "is empty; name at least one kind of alert, such as fraud"));
    }
    for (index, kind) in kinds.iter().enumerate() {
        if *kind == AlertKind::Test {
            let problem = "cannot have `test`: `phonegate alerts test` sends to every destination; remove it";
            return Err(ConfigError::invalid(path, problem));
        }
        if kinds.iter().take(index).any(|earlier| earlier == kind) {
            return Err(ConfigError::invalid(path, format_args!("names `{}` twice; remove one of them", kind.name())));
        }
    }
    Ok(())
}

fn check_smtp(path: &str, smtp: &SmtpConfig) -> Result<(), ConfigError> {
    let invalid = |key: &str, problem: &str| Err(ConfigError::invalid(format!("{path}.{key}"), problem));
    check_server(&format!("{path}.server"), &smtp.server)?;
    match (&smtp.username, &smtp.password) {
        (Some(_), None) => {
            return invalid("password", "is missing, but there is a `username`; add it, or remove the username");
        }
        (None, Some(_)) => {
            return invalid("username", "is missing, but there is a `password`; add it, or remove the password");
        }
        (Some(name), _) if name.is_empty() => return invalid("username", "is empty; name the account or remove it"),
        _ => {}
    }
    if smtp.tls == SmtpTls::None {
        if !is_loopback(&smtp.server) {
            return invalid("tls", "may be none only for a server on this machine; use starttls or implicit");
        }
        if smtp.password.is_some() {
            return invalid("password", "would be sent without encryption; use starttls or implicit as `tls`");
        }
        if smtp.ca_file.is_some() {
            return invalid("ca_file", "is only for an encrypted connection; remove it");
        }
    }
    check_address(&format!("{path}.from"), &smtp.from)?;
    if smtp.to.is_empty() {
        return invalid("to", "is empty; name at least one receiver");
    }
    if smtp.to.len() > MAX_RECEIVERS {
        let problem = format!("has {} receivers, but may have {MAX_RECEIVERS}; use a distribution list", smtp.to.len());
        return invalid("to", &problem);
    }
    for (index, receiver) in smtp.to.iter().enumerate() {
        check_address(&format!("{path}.to[{index}]"), receiver)?;
        if smtp.to.iter().take(index).any(|earlier| earlier.eq_ignore_ascii_case(receiver)) {
            return invalid(&format!("to[{index}]"), "names a receiver twice; remove one of them");
        }
    }
    Ok(())
}

fn check_webhook(path: &str, webhook: &WebhookConfig) -> Result<(), ConfigError> {
    match (webhook.format, &webhook.key) {
        (WebhookFormat::Json, None) => {
            let problem = "is missing: it signs the alerts, so that a receiver can detect forged ones; write `whsec_` \
                           and what `openssl rand -base64 32` prints";
            Err(ConfigError::invalid(format!("{path}.key"), problem))
        }
        (WebhookFormat::Teams, Some(_)) => Err(ConfigError::invalid(
            format!("{path}.key"),
            "is only for the format json, since Teams checks no signature; remove it",
        )),
        _ => Ok(()),
    }
}

/// Checks an e-mail address. The error does not show it, since it may belong to a person.
fn check_address(path: &str, address: &str) -> Result<(), ConfigError> {
    let is_plain = address.is_ascii() && address.len() <= MAX_SERVER;
    if is_plain && address.parse::<Address>().is_ok() {
        return Ok(());
    }
    Err(ConfigError::invalid(
        path,
        "is not an e-mail address such as phonegate@contoso.com, in ASCII and without a name",
    ))
}

fn check_server(path: &str, server: &str) -> Result<(), ConfigError> {
    if server.len() <= MAX_SERVER && ServerName::try_from(server).is_ok() {
        return Ok(());
    }
    let problem =
        "is not a host name or an IP address, such as mail.contoso.local; a port has a key of its own, `port`";
    Err(ConfigError::invalid(path, problem))
}

fn is_loopback(server: &str) -> bool {
    server.eq_ignore_ascii_case("localhost") || server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

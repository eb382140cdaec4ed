//! Delivers alerts by e-mail (SMTP).

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message as Email};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::alert::Alert;
use super::delivery_error::DeliveryError;
use super::message::Message;
use super::starttls::{self, Greeted};
use super::wire::Server;
use crate::clock::utc;
use crate::config::{ConfigError, SmtpConfig, SmtpTls};
use crate::platform;
use crate::redact::diagnostic_text;

/// Maximum time in which a server may answer QUIT.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// A mail server, an account and the receivers.
pub(super) struct Smtp {
    server: Server,
    tls: SmtpTls,
    account: Option<(String, SecretString)>,
    from: Address,
    to: Vec<Address>,
    /// The name of this machine in EHLO.
    hello: ClientId,
}

/// `Auto-Submitted: auto-generated` (RFC 3834), so that no absence notice answers the mail.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Smtp {
    /// Reads the settings at `path`.
    pub(super) fn build(path: &str, config: &SmtpConfig, server: Server, base: &Path) -> Result<Self, ConfigError> {
        let address = |key: String, text: &str| {
            text.parse::<Address>()
                .map_err(|_| ConfigError::invalid(key, "is not an e-mail address such as phonegate@contoso.com"))
        };
        let account = match (&config.username, &config.password) {
            (Some(name), Some(password)) => Some((name.clone(), password.resolve(base, &format!("{path}.password"))?)),
            _ => None,
        };
        let to = config.to.iter().enumerate().map(|(index, text)| address(format!("{path}.to[{index}]"), text));
        Ok(Self {
            server,
            tls: config.tls,
            account,
            from: address(format!("{path}.from"), &config.from)?,
            to: to.collect::<Result<_, _>>()?,
            hello: hello_name(&platform::machine_name()),
        })
    }

    pub(super) async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let mut connection = self.connect().await?;
        let delivered = self.send(&mut connection, alert).await;
        if delivered.is_ok() {
            // The server already has the mail, whatever it answers to QUIT. The delivery does not wait for that answer:
            // if it exceeded its limit, it would be repeated.
            tokio::spawn(async move { timeout(QUIT_LIMIT, connection.quit()).await });
        }
        delivered
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let mut tcp = self.server.connect().await?;
        let peer = tcp.peer_addr().map_err(|error| super::wire::failed("cannot connect", &error))?;
        let connected = match (&self.server.tls, self.tls) {
            (None, _) => {
                let stream = Greeted::by_server(tcp, peer);
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await
            }
            (Some(tls), SmtpTls::StartTls) => {
                starttls::ask(&mut tcp, &self.hello.to_string()).await?;
                let stream = Greeted::after_starttls(self.server.encrypt(tls, tcp).await?, peer);
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await
            }
            (Some(tls), _) => {
                let stream = Greeted::by_server(self.server.encrypt(tls, tcp).await?, peer);
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &self.hello).await
            }
        };
        connected.map_err(|error| self.error("its greeting", &error))
    }

    async fn send(&self, connection: &mut AsyncSmtpConnection, alert: &Alert) -> Result<(), DeliveryError> {
        if let Some((name, password)) = &self.account {
            let credentials = Credentials::new(name.clone(), password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let accepted = connection.auth(&mechanisms, &credentials).await;
            accepted.map_err(|error| self.error("the account", &error))?;
        }
        let from = Mail::new(Some(self.from.clone()), Vec::new());
        connection.command(from).await.map_err(|error| self.error("the sender", &error))?;
        // If the server refuses one receiver, the others still get the alert.
        let (mut accepted, mut refused) = (0, None);
        for receiver in &self.to {
            match connection.command(Rcpt::new(receiver.clone(), Vec::new())).await {
                Ok(_) => accepted += 1,
                Err(error) if error.status().is_some() => refused = Some(error),
                Err(error) => return Err(self.error("a receiver", &error)),
            }
        }
        match refused {
            Some(error) if accepted == 0 => return Err(self.error("every receiver", &error)),
            _ => {}
        }
        let email = self.email(alert, self.to.len() - accepted)?;
        connection.command(Data).await.map_err(|error| self.error("the mail", &error))?;
        connection.message(&email).await.map_err(|error| self.error("the mail", &error))?;
        Ok(())
    }

    /// The mail, which also says how many receivers the server refused.
    fn email(&self, alert: &Alert, refused: usize) -> Result<Vec<u8>, DeliveryError> {
        let message = Message::of(alert);
        let mut body = body(&message);
        if refused > 0 {
            let count = self.to.len();
            body +=
                &format!("\nThe mail server refused {refused} of {count} receivers. Correct `to` in phonegate.json.\n");
        }
        let mut email = MessageBuilder::new()
            .from(Mailbox::new(Some("PhoneGate".to_owned()), self.from.clone()))
            .subject(message.subject)
            .date(utc(alert.at).into())
            .message_id(Some(format!("<{}@{}>", alert.id, self.from.domain())))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for receiver in &self.to {
            email = email.to(Mailbox::new(None, receiver.clone()));
        }
        let email: Email = email.body(body).map_err(|_| DeliveryError::new("the mail cannot be written"))?;
        Ok(email.formatted())
    }

    /// Describes a failed connection or a refusal, without e-mail addresses, the account and its password.
    fn error(&self, what: &str, error: &lettre::transport::smtp::Error) -> DeliveryError {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let text = diagnostic_text(&self.without_secrets(&cause.unwrap_or_else(|| error.to_string())));
        DeliveryError::new(&match error.status() {
            Some(code) => format!("the mail server refused {what}: {code} {text}").trim_end().to_owned(),
            None => format!("the mail server did not accept {what}: {text}"),
        })
    }

    /// Hides e-mail addresses, and the account and its password in each form in which they are sent: a server may
    /// repeat them in its replies.
    fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some((name, password)) = &self.account {
            let password = password.expose_secret();
            for form in [format!("\0{name}\0{password}").as_str(), password, name] {
                text = text.replace(&BASE64_STANDARD.encode(form), "…").replace(form, "…");
            }
        }
        let words = text.split(' ').map(|word| if word.contains('@') { "…" } else { word });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Returns the machine's name if it can be a domain, else the address literal 127.0.0.1.
fn hello_name(machine: &str) -> ClientId {
    let is_domain = !machine.is_empty()
        && machine.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && machine.starts_with(|c: char| c.is_ascii_alphanumeric());
    match is_domain {
        true => ClientId::Domain(machine.to_owned()),
        false => ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST),
    }
}

fn body(message: &Message) -> String {
    let facts: String =
        message.facts.iter().map(|(name, value)| format!("{:9}{value}\n", format!("{name}:"))).collect();
    format!("{}\n\n{facts}\nPhoneGate sent this because of `alerts` in its configuration.\n", message.text)
}

#[cfg(test)]
mod tests;

//! Delivers alerts by syslog: messages of RFC 5424, over TLS (RFC 5425) or plain TCP with octet counting (RFC 6587,
//! 3.4.1).

use std::fmt::Write;

use time::macros::format_description;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::AlertKind;
use super::alert::Alert;
use super::delivery_error::DeliveryError;
use super::message::Message;
use super::wire::{Server, failed};
use crate::clock::utc;

/// Security and authorization messages that not every user may read (RFC 5424, 6.2.1).
const FACILITY_AUTHPRIV: u8 = 10;

/// The name of the structured data. 32473 is the enterprise number that RFC 5612 reserves for examples; PhoneGate has none
/// of its own.
const SD_ID: &str = "phonegate@32473";

/// Maximum length of a host name (RFC 5424, 6).
const MAX_HOST: usize = 255;

/// Sends an alert to a syslog server.
pub(super) async fn deliver(server: &Server, alert: &Alert) -> Result<(), DeliveryError> {
    let line = line(alert);
    let frame = format!("{} {line}", line.len());
    let stream = server.connect().await?;
    match &server.tls {
        Some(tls) => send(server.encrypt(tls, stream).await?, &frame).await,
        None => send(stream, &frame).await,
    }
}

/// Sends a frame and waits until the server has closed the connection. Syslog has no answers: that the server read to the
/// end and closed in order is the only sign that it was alive.
///
/// With TLS, the end must be authentic: a receiver must send `close_notify` (RFC 5425, 4.4), and an attacker in the network,
/// who may have held back the message, cannot. Its absence is an error of the read.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, frame: &str) -> Result<(), DeliveryError> {
    let sent = async {
        stream.write_all(frame.as_bytes()).await?;
        stream.flush().await?;
        stream.shutdown().await?;
        stream.read(&mut [0]).await
    };
    match sent.await {
        Ok(0) => Ok(()),
        Ok(_) => Err(DeliveryError::new("the server sent an answer, so it is not a syslog server")),
        Err(error) => Err(failed("the server ended the connection early", &error)),
    }
}

/// The message, without its length.
fn line(alert: &Alert) -> String {
    let message = Message::of(alert);
    let priority = FACILITY_AUTHPRIV * 8 + severity(alert.kind);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let time = utc(alert.at).format(format).unwrap_or_else(|_| "-".to_owned());
    let host = printable(&alert.node);
    let kind = alert.kind.name();
    let mut line = format!("<{priority}>1 {time} {host} PhoneGate {} {kind} [{SD_ID}", std::process::id());
    let call = alert.call.map(|call| call.to_string());
    let id = alert.id.to_string();
    let parameters = [
        ("id", Some(id.as_str())),
        ("kind", Some(kind)),
        ("number", alert.number.as_deref()),
        ("call", call.as_deref()),
        ("backend", alert.backend.as_deref()),
    ];
    for (name, value) in parameters {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(line, " {name}=\"{}\"", escaped(value));
        }
    }
    // The byte order mark says that the text is UTF-8 (RFC 5424, 6.4).
    let text = message.text.replace('\n', " ");
    let _ = write!(line, "] \u{feff}{}: {text}", message.title);
    line
}

fn severity(kind: AlertKind) -> u8 {
    match kind {
        AlertKind::Fraud => 1,
        AlertKind::Configuration | AlertKind::StoreDown => 2,
        AlertKind::BackendDown => 3,
        AlertKind::Lockout | AlertKind::CapReached => 4,
        AlertKind::BackendUp => 5,
        AlertKind::Test => 6,
    }
}

/// A host name in printable ASCII; `-` if there is none.
fn printable(name: &str) -> String {
    let name: String = name.chars().take(MAX_HOST).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// A value of structured data: `"`, `\` and `]` have a backslash (RFC 5424, 6.3.3).
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for c in super::message::part(value).chars() {
        if matches!(c, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;

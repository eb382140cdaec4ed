//! STARTTLS (RFC 3207), up to the moment when TLS begins.
//!
//! Lettre keeps what a server sent before TLS and reads it as answers within TLS, so an attacker in the network could
//! pretend that the server accepted a mail. This module refuses such a server. It also makes TLS use PhoneGate's
//! settings.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::delivery_error::DeliveryError;
use super::wire::failed;

/// Maximum length of a reply of several lines, in bytes.
const MAX_REPLY: usize = 16 * 1024;

/// Maximum number of bytes that are read from a server. Lettre keeps a line of a reply in memory until it ends.
const MAX_READ: usize = 256 * 1024;

/// The greeting that lettre reads after STARTTLS, when the server sends none.
const GREETING: &[u8] = b"220 ready\r\n";

/// Asks a server for TLS. When it returns, everything that the server sent has been read.
///
/// # Errors
/// If the server does not offer TLS, or sends more than its replies.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, hello: &str) -> Result<(), DeliveryError> {
    expect("its greeting", 220, &reply(stream).await?)?;
    send(stream, &format!("EHLO {hello}\r\n")).await?;
    let extensions = reply(stream).await?;
    expect("EHLO", 250, &extensions)?;
    if !extensions.lines.iter().any(|line| line.trim().eq_ignore_ascii_case("STARTTLS")) {
        return Err(DeliveryError::new("the server does not offer STARTTLS, and nothing is sent without encryption"));
    }
    send(stream, "STARTTLS\r\n").await?;
    expect("STARTTLS", 220, &reply(stream).await?)
}

struct Reply {
    code: u16,
    /// The text of each line.
    lines: Vec<String>,
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, command: &str) -> Result<(), DeliveryError> {
    stream.write_all(command.as_bytes()).await.map_err(|error| failed("cannot send", &error))
}

/// Reads one reply. Data after the reply is an error: the server must wait for the next command.
async fn reply<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Reply, DeliveryError> {
    let mut bytes = Vec::new();
    loop {
        if bytes.len() >= MAX_REPLY {
            return Err(DeliveryError::new("the server's reply is too long"));
        }
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await.map_err(|error| failed("the connection broke", &error))?;
        match chunk.get(..read) {
            Some(chunk) if !chunk.is_empty() => bytes.extend_from_slice(chunk),
            _ => return Err(DeliveryError::new("the server ended the connection")),
        }
        if let Some(reply) = parse(&bytes)? {
            return Ok(reply);
        }
    }
}

/// Parses a reply (RFC 5321, 4.2). Returns `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<Reply>, DeliveryError> {
    let strange = || DeliveryError::new("the server's reply is not one of SMTP");
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Vec::new();
    let mut rest = text.as_ref();
    while let Some((line, after)) = rest.split_once('\n') {
        let line = line.trim_end_matches('\r');
        let code = line.get(..3).and_then(|code| code.parse().ok()).ok_or_else(strange)?;
        lines.push(line.get(4..).unwrap_or_default().to_owned());
        match line.as_bytes().get(3) {
            Some(b'-') => rest = after,
            None | Some(b' ') if after.is_empty() => return Ok(Some(Reply { code, lines })),
            None | Some(b' ') => {
                return Err(DeliveryError::new("the server sent more than its reply before encryption began"));
            }
            Some(_) => return Err(strange()),
        }
    }
    Ok(None)
}

fn expect(what: &str, code: u16, reply: &Reply) -> Result<(), DeliveryError> {
    match reply.code == code {
        true => Ok(()),
        false => Err(DeliveryError::new(&format!("the server answered {what} with {}", reply.code))),
    }
}

/// A connection that lettre uses. After STARTTLS, lettre first reads a greeting that the server did not send. A server that
/// sends more than [`MAX_READ`] bytes is an error.
pub(super) struct Greeted<S> {
    greeting: &'static [u8],
    /// Number of bytes that may still be read.
    left: usize,
    stream: S,
    peer: SocketAddr,
}

impl<S> Greeted<S> {
    /// A connection to `peer` whose greeting was read before TLS.
    pub(super) fn after_starttls(stream: S, peer: SocketAddr) -> Self {
        Self { greeting: GREETING, left: MAX_READ, stream, peer }
    }

    /// A connection to `peer` that the server greets.
    pub(super) fn by_server(stream: S, peer: SocketAddr) -> Self {
        Self { greeting: &[], left: MAX_READ, stream, peer }
    }
}

impl<S> fmt::Debug for Greeted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Greeted").finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Greeted<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let read = buffer.filled().len().saturating_sub(before);
            return Poll::Ready(match self.left.checked_sub(read) {
                Some(left) => {
                    self.left = left;
                    Ok(())
                }
                None => {
                    buffer.set_filled(before);
                    Err(io::Error::new(io::ErrorKind::InvalidData, "the server sent too much"))
                }
            });
        }
        let (now, later) = self.greeting.split_at(self.greeting.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;

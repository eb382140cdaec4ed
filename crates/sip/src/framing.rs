//! Reads messages from a stream (RFC 3261, 18.3), such as TCP or TLS.

use std::fmt;

use thiserror::Error;

use crate::message::{HeaderProblem, Limits, Message, MessageError, content_length, find_end, header, headers, unfold};

/// Reads messages from a stream that arrives in pieces of any length.
///
/// The caller pushes received bytes and then calls [`Self::next_event`] until that returns `Ok(None)`, before it pushes
/// more. At most twice [`Limits::message`] bytes are kept.
///
/// ```
/// use phonegate_sip::framing::{StreamEvent, StreamReader};
/// use phonegate_sip::message::Limits;
///
/// let mut reader = StreamReader::new(Limits::default());
/// reader.push(b"\r\nSIP/2.0 200 OK\r\nl : 2\r\n\r")?;
/// assert!(matches!(reader.next_event()?, Some(StreamEvent::Pong)));
/// assert!(reader.next_event()?.is_none());
/// reader.push(b"\nhi")?;
/// assert!(matches!(reader.next_event()?, Some(StreamEvent::Message(message)) if message.body() == b"hi"));
/// # Ok::<(), phonegate_sip::framing::StreamError>(())
/// ```
pub struct StreamReader {
    limits: Limits,
    unread: Vec<u8>,
    /// Number of bytes of `unread` that were consumed but not yet removed.
    consumed: usize,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Between messages, after this many line ends in a row, counted up to 1.
    Between { line_ends: usize },
    /// In the headers, of which this many bytes were searched for their end.
    Head { searched: usize },
    /// In the body, which begins and ends there.
    Body { start: usize, end: usize },
    /// The stream cannot be read any further.
    Failed(StreamError),
}

/// An item that was read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A message.
    Message(Message),
    /// An unusable message was skipped. The stream can still be read.
    Unreadable(MessageError),
    /// Two line ends: a keep-alive of the peer; the response is one CR LF (RFC 5626, 4.4.1).
    Ping,
    /// One line end between messages: the response to a ping.
    ///
    /// The first line end of a [`Self::Ping`] is reported like this too, because it cannot be distinguished from a
    /// response when it arrives.
    Pong,
}

/// Why a stream can no longer be read. The connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Content-Length is missing or malformed, so that the end of the message is unknown (RFC 3261, 18.3).
    #[error("the end of a message is unknown: {0}")]
    Length(MessageError),
    /// A message is longer than [`Limits::message`].
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller pushed more bytes than the reader buffers, without reading events.
    #[error("more than {limit} bytes are unread")]
    Unread {
        /// The limit in bytes.
        limit: usize,
    },
}

impl StreamReader {
    /// Returns a reader for a new stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, unread: Vec::new(), consumed: 0, state: State::Between { line_ends: 0 } }
    }

    /// Adds bytes that were received.
    ///
    /// Always succeeds for at most [`Limits::message`] bytes if [`Self::next_event`] returned `Ok(None)` before.
    ///
    /// # Errors
    /// The stream has failed, or fails now because the bytes exceed the limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.remove_consumed();
        let limit = self.limits.message.saturating_mul(2);
        if self.unread.len().saturating_add(bytes.len()) > limit {
            return Err(self.fail(StreamError::Unread { limit }));
        }
        self.unread.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the next event, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// The stream cannot be read any further. Every later call returns the same error.
    pub fn next_event(&mut self) -> Result<Option<StreamEvent>, StreamError> {
        loop {
            let unread = self.unread.get(self.consumed..).unwrap_or_default();
            let length = unread.len();
            match self.state.clone() {
                State::Failed(error) => return Err(error),
                State::Between { line_ends } => match unread.first() {
                    None => return Ok(None),
                    Some(b'\r') => self.consume(1),
                    Some(b'\n') => return Ok(Some(self.line_end(line_ends))),
                    Some(_) => self.state = State::Head { searched: 0 },
                },
                State::Head { searched } => match find_end(unread, searched) {
                    Some(start) => {
                        let end = self.body_end(start)?;
                        self.state = State::Body { start, end };
                    }
                    None if length >= self.limits.message => return Err(self.too_long()),
                    None => {
                        // The end may have begun in the last two bytes.
                        self.state = State::Head { searched: length.saturating_sub(2) };
                        return Ok(None);
                    }
                },
                State::Body { end, .. } if length < end => return Ok(None),
                State::Body { start, end } => {
                    let message = unread.get(..end).unwrap_or_default().to_vec();
                    self.consume(end);
                    self.state = State::Between { line_ends: 0 };
                    return Ok(Some(match Message::read(message, start, &self.limits) {
                        Ok(message) => StreamEvent::Message(message),
                        Err(error) => StreamEvent::Unreadable(error),
                    }));
                }
            }
        }
    }

    /// Returns whether the stream cannot be read any further.
    pub fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    /// Returns whether a message is incomplete. If the stream ends now, that message is lost.
    pub fn is_in_message(&self) -> bool {
        matches!(self.state, State::Head { .. } | State::Body { .. })
    }

    /// Returns the number of bytes that are kept.
    pub fn unread_len(&self) -> usize {
        self.unread.len().saturating_sub(self.consumed)
    }

    fn line_end(&mut self, line_ends: usize) -> StreamEvent {
        self.consume(1);
        let first = line_ends == 0;
        self.state = State::Between { line_ends: usize::from(first) };
        if first { StreamEvent::Pong } else { StreamEvent::Ping }
    }

    /// Returns the end of the message whose body begins at `start`.
    fn body_end(&mut self, start: usize) -> Result<usize, StreamError> {
        let unread = self.unread.get(self.consumed..).unwrap_or_default();
        if start > self.limits.message {
            return Err(self.too_long());
        }
        let mut head = unread.get(..start).unwrap_or_default().to_vec();
        unfold(&mut head);
        let missing = MessageError::Header { name: header::CONTENT_LENGTH, problem: HeaderProblem::Missing };
        let length = content_length(headers(&head)).and_then(|length| length.ok_or(missing));
        let length = length.map_err(|error| self.fail(StreamError::Length(error)))?;
        match start.checked_add(length) {
            Some(end) if end <= self.limits.message => Ok(end),
            _ => Err(self.too_long()),
        }
    }

    fn consume(&mut self, length: usize) {
        self.consumed = self.consumed.saturating_add(length).min(self.unread.len());
        if self.consumed == self.unread.len() {
            self.remove_consumed();
        }
    }

    fn remove_consumed(&mut self) {
        self.unread.drain(..self.consumed);
        self.consumed = 0;
    }

    fn too_long(&mut self) -> StreamError {
        self.fail(StreamError::TooLong { limit: self.limits.message })
    }

    fn fail(&mut self, error: StreamError) -> StreamError {
        self.unread = Vec::new();
        self.consumed = 0;
        self.state = State::Failed(error.clone());
        error
    }
}

/// Shows only the state and sizes: the rest is personal data.
impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("limits", &self.limits)
            .field("unread", &self.unread_len())
            .field("state", &self.state)
            .finish()
    }
}

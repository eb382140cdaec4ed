//! Passes the digits of a call from its media to the dialogue with the user.

use std::time::Duration;

use tokio::sync::mpsc;

/// Maximum unread digits.
const MAX_DIGITS: usize = 64;

/// Replaces a press that cannot be read: an event of which only one packet arrived before the next event, an INFO request
/// without exactly one digit, or presses beyond [`MAX_DIGITS`]. It is no DTMF digit, so an entry with it is never right.
pub(in crate::backend::sip) const UNCLEAR_DIGIT: char = '?';

/// A digit that was pressed. It may be part of a code or a PIN, so it has no `Debug`.
pub(in crate::backend::sip) struct DigitPress {
    /// A DTMF digit, or [`UNCLEAR_DIGIT`].
    pub(in crate::backend::sip) digit: char,
    /// Earliest possible start of the press, on the clock of [`Media::now`](super::Media::now).
    pub(in crate::backend::sip) began: Duration,
}

/// Receives the digits of a call.
pub(in crate::backend::sip) type DigitReceiver = mpsc::Receiver<DigitPress>;

/// Sends the digits of a call. If the queue is full, an [`UNCLEAR_DIGIT`] replaces the lost ones, so that the rest of
/// their entry is never right.
pub(in crate::backend::sip) struct DigitSender {
    digits: mpsc::Sender<DigitPress>,
    /// When the first lost press began.
    lost: Option<Duration>,
}

impl DigitSender {
    pub(in crate::backend::sip) fn new() -> (Self, DigitReceiver) {
        let (digits, receiver) = mpsc::channel(MAX_DIGITS);
        (Self { digits, lost: None }, receiver)
    }

    /// Sends a digit. It is lost if the queue is full, or if the receiver was dropped.
    pub(in crate::backend::sip) fn send(&mut self, press: DigitPress) {
        let began = press.began;
        if let Some(began) = self.lost
            && self.digits.try_send(DigitPress { digit: UNCLEAR_DIGIT, began }).is_err()
        {
            return;
        }
        self.lost = self.digits.try_send(press).is_err().then_some(began);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_unclear_digit_replaces_lost_ones() {
        let (mut sender, mut digits) = DigitSender::new();
        let mut press = |key, ms| sender.send(DigitPress { digit: key, began: Duration::from_millis(ms) });
        (0..64).for_each(|ms| press('1', ms));
        press('0', 64);
        press('5', 65);
        for _ in 0..64 {
            assert_eq!(digits.try_recv().unwrap().digit, '1');
        }
        press('#', 100);
        press('2', 101);
        let rest: Vec<_> = std::iter::from_fn(|| digits.try_recv().ok()).collect();
        let rest: Vec<_> = rest.iter().map(|press| (press.digit, press.began.as_millis())).collect();
        assert_eq!(rest, [(UNCLEAR_DIGIT, 64), ('#', 100), ('2', 101)]);
    }
}

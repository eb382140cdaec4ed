//! The keys of a call, on their way to its conversation.

use std::time::Duration;

use tokio::sync::mpsc;

/// The most keys that wait to be read.
const MAX_KEYS: usize = 64;

/// Takes the place of keys that cannot be read: an event of which only one packet came before the next event, an INFO
/// request that names no key, keys that are more than can wait. No DTMF key and no fraud key, so an entry that contains
/// it is never right.
pub(in crate::backend::sip) const UNCLEAR_KEY: char = '?';

/// A key that was pressed. It may be part of a code or a PIN, so it has no `Debug`.
pub(in crate::backend::sip) struct Press {
    /// A DTMF digit, or [`UNCLEAR_KEY`].
    pub(in crate::backend::sip) key: char,
    /// When it began at the earliest, by [`Media::now`](super::Media::now).
    pub(in crate::backend::sip) began: Duration,
}

/// Where the keys of a call arrive.
pub(in crate::backend::sip) type Keys = mpsc::Receiver<Press>;

/// Passes keys on, as many as can wait. If there are more, an unclear key takes the place of those that are lost, so that
/// what is left of their entry is never right.
pub(in crate::backend::sip) struct KeySender {
    keys: mpsc::Sender<Press>,
    /// When the first of the lost keys began.
    lost: Option<Duration>,
}

impl KeySender {
    pub(in crate::backend::sip) fn new() -> (Self, Keys) {
        let (keys, receiver) = mpsc::channel(MAX_KEYS);
        (Self { keys, lost: None }, receiver)
    }

    /// Passes a key on. It is lost if too many wait, or if the conversation has ended.
    pub(in crate::backend::sip) fn send(&mut self, press: Press) {
        let began = press.began;
        if let Some(began) = self.lost
            && self.keys.try_send(Press { key: UNCLEAR_KEY, began }).is_err()
        {
            return;
        }
        self.lost = self.keys.try_send(press).is_err().then_some(began);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_unclear_key_takes_the_place_of_lost_ones() {
        let (mut sender, mut keys) = KeySender::new();
        let mut press = |key, ms| sender.send(Press { key, began: Duration::from_millis(ms) });
        (0..64).for_each(|ms| press('1', ms));
        press('0', 64);
        press('5', 65);
        for _ in 0..64 {
            assert_eq!(keys.try_recv().unwrap().key, '1');
        }
        press('#', 100);
        press('2', 101);
        let rest: Vec<_> = std::iter::from_fn(|| keys.try_recv().ok()).collect();
        let rest: Vec<_> = rest.iter().map(|press| (press.key, press.began.as_millis())).collect();
        assert_eq!(rest, [(UNCLEAR_KEY, 64), ('#', 100), ('2', 101)]);
    }
}

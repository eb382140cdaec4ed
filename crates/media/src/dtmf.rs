//! Detects DTMF digits in telephone events (RFC 4733) and in the bodies of SIP INFO requests. Tones in the audio are
//! detected too, but never become digits.

mod events;
mod info;
mod tones;

pub use events::{DigitEvent, EventDetector, EventPosition};
pub use info::{InfoError, accepts_info, info_duration, parse_info};
pub use tones::ToneDetector;

/// Digits by event code (RFC 4733, section 3.2, table 3).
const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// One of the 16 DTMF digits: `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    /// Returns the digit with this event code. `None` above 15: other events are not digits.
    pub fn from_event_code(code: u8) -> Option<Self> {
        (usize::from(code) < DIGITS.len()).then_some(Self(code))
    }

    /// Returns the digit that this character names. Letters may be lower case.
    pub fn from_char(digit: char) -> Option<Self> {
        let position = DIGITS.iter().position(|known| *known == digit.to_ascii_uppercase())?;
        u8::try_from(position).ok().map(Self)
    }

    /// Returns the event code, 0 to 15.
    pub fn event_code(self) -> u8 {
        self.0
    }

    /// Returns the character of the digit. Letters are upper case.
    pub fn as_char(self) -> char {
        DIGITS.get(usize::from(self.0)).copied().unwrap_or('?')
    }
}

impl std::fmt::Display for Digit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

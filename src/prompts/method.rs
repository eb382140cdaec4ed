//! What is said for each method of approval.

use super::Piece;

/// What a user presses to approve, and so what a prompt says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The digits of a code that is spoken, then pound.
    Code,
    /// The pound key alone. It is the method of every call.
    #[default]
    Pound,
    /// The user's PIN, then pound.
    Pin,
    /// The user's PIN, the digits of a code that is spoken, then pound.
    PinAndCode,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::Code, Self::Pound, Self::Pin, Self::PinAndCode];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Pound => "pound",
            Self::Pin => "pin",
            Self::PinAndCode => "pin_and_code",
        }
    }

    /// Returns whether its prompts say a code.
    pub fn says_code(self) -> bool {
        matches!(self, Self::Code | Self::PinAndCode)
    }

    /// What is said first, and again while no key is pressed. `code` is the digits of the code, if the method has one;
    /// the code is said twice.
    pub fn first_prompt(self, code: &[Piece]) -> Vec<Piece> {
        self.prompt(Piece::Intro, code)
    }

    /// What is said after a wrong entry.
    pub fn next_prompt(self, code: &[Piece]) -> Vec<Piece> {
        self.prompt(Piece::WrongKey, code)
    }

    fn prompt(self, opening: Piece, code: &[Piece]) -> Vec<Piece> {
        let mut pieces = vec![opening];
        let code_after = |piece: Piece| [&[piece], code, &[Piece::ThenPound]].concat().repeat(2);
        match self {
            Self::Code => pieces.extend(code_after(Piece::PressCode)),
            Self::Pound => pieces.push(Piece::PressPound),
            Self::Pin => pieces.push(Piece::EnterPin),
            Self::PinAndCode => pieces.extend(code_after(Piece::EnterPinThen)),
        }
        pieces.push(Piece::NotYou);
        pieces
    }

    /// The pieces of the first prompt with any code, each once.
    pub fn instructions(self) -> Vec<Piece> {
        let said = self.first_prompt(&Piece::DIGITS);
        Piece::ALL.into_iter().filter(|piece| said.contains(piece)).collect()
    }

    /// The pieces that a language needs: those of every prompt and farewell.
    pub fn pieces(self) -> Vec<Piece> {
        let mut pieces = self.instructions();
        pieces.extend([Piece::WrongKey, Piece::Verified, Piece::FraudReported, Piece::Goodbye]);
        pieces
    }
}

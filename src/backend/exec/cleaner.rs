//! Removes from a program's texts what no log may contain.

use phonegate_approval::attempts::Attempts;
use zeroize::Zeroizing;

use crate::redact::sanitize_untrusted;

/// Sanitizes the texts of the program of one call: also those that quote its codes, or a PIN.
pub(super) struct Cleaner {
    codes: Vec<Zeroizing<String>>,
    /// Whether the user may press a PIN, which could be any digits.
    hides_digits: bool,
}

impl Cleaner {
    pub(super) fn new(attempts: &Attempts) -> Self {
        let policy = attempts.policy();
        let codes = (1..=policy.attempts()).filter_map(|attempt| attempts.code(attempt));
        let text = |bytes: &[u8]| Zeroizing::new(bytes.iter().copied().map(char::from).collect());
        Self { codes: codes.map(|code| text(code.as_bytes())).collect(), hides_digits: policy.method().has_pin() }
    }

    /// The texts of a check, in which there are no codes.
    pub(super) fn without_codes() -> Self {
        Self { codes: Vec::new(), hides_digits: false }
    }

    /// Returns a line of standard error as it may be logged. If the call has a code or a PIN, no digit remains: lines
    /// together could show it, each a digit.
    pub(super) fn clean_line(&self, line: &str) -> String {
        match self.hides_digits || !self.codes.is_empty() {
            true => hide_digits(&sanitize_untrusted(line)),
            false => self.clean(line),
        }
    }

    /// Returns the text as it may be logged. If its digits contain a code of the call, with or without other characters
    /// between them, or if the method has a PIN, no digit remains.
    pub(super) fn clean(&self, text: &str) -> String {
        let digits: Zeroizing<String> = Zeroizing::new(text.chars().filter(char::is_ascii_digit).collect());
        let has_other_digits = text.chars().any(|c| c.is_numeric() && !c.is_ascii());
        let hide = self.hides_digits || has_other_digits || self.codes.iter().any(|code| digits.contains(&***code));
        let shown = sanitize_untrusted(text);
        if !hide {
            return shown;
        }
        hide_digits(&shown)
    }
}

fn hide_digits(text: &str) -> String {
    text.chars().map(|c| if c.is_numeric() { '*' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use phonegate_approval::policy::Method;

    use super::*;
    use crate::approval::tests::attempts;

    #[test]
    fn no_text_shows_a_code_of_its_call() {
        let attempts = attempts(Method::Code);
        let cleaner = Cleaner::new(&attempts);
        let code = String::from_utf8(attempts.code(2).unwrap().as_bytes().to_vec()).unwrap();
        let spaced: Vec<_> = code.chars().map(String::from).collect();
        for text in
            [format!("says {code}"), format!("says {}", spaced.join(", ")), format!("x{}", spaced.join(" then "))]
        {
            let shown = cleaner.clean(&text);
            assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
            assert!(shown.starts_with(text.get(..1).unwrap()), "{shown}");
        }
        // The codes are random, and have more than one digit by default: one digit is never a code.
        assert_eq!(cleaner.clean("error 7"), "error 7");
        assert_eq!(Cleaner::without_codes().clean("call to +14255551212"), "call to +*******1212");
    }

    #[test]
    fn no_line_shows_a_digit_while_there_is_a_code_or_a_pin() {
        for method in [Method::Code, Method::Pin, Method::PinAndCode] {
            let cleaner = Cleaner::new(&attempts(method));
            assert_eq!((cleaner.clean_line("4"), cleaner.clean_line("line 7")), ("*".to_owned(), "line *".to_owned()));
        }
        assert_eq!(Cleaner::new(&attempts(Method::Pound)).clean_line("line 7"), "line 7");
        assert_eq!(Cleaner::without_codes().clean_line("line 7"), "line 7");
    }

    #[test]
    fn a_method_with_a_pin_shows_no_digit() {
        let cleaner = Cleaner::new(&attempts(Method::Pin));
        assert_eq!(cleaner.clean("pressed 482619 in line 7"), "pressed ****** in line *");
        assert_eq!(Cleaner::new(&attempts(Method::Pound)).clean("error 17 in line 7"), "error 17 in line 7");
    }
}

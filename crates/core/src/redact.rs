//! Makes text of other programs safe to show, such as a provider's message or a line of a file.

use crate::call::shown_digits;

/// Maximum length of the result, in characters.
const MAX_CHARS: usize = 200;

/// Minimum length of a digit run that is masked in text about a call: extensions and numbers of small countries can be
/// this short.
const CALL_DIGITS: usize = 4;

/// Minimum length of a digit run that is masked in other text, in which ports, versions and error codes must stay
/// readable.
const NUMBER_DIGITS: usize = 7;

/// Sanitizes text about a call, such as a provider's message: removes control characters, masks runs of four and
/// more digits, and shortens it to 200 characters.
pub fn sanitize_untrusted(text: &str) -> String {
    sanitize(text, CALL_DIGITS)
}

/// Sanitizes text about a connection or a setting, such as an error of the operating system: like
/// [`sanitize_untrusted`], but runs of up to six digits stay readable.
pub fn diagnostic_text(text: &str) -> String {
    sanitize(text, NUMBER_DIGITS)
}

fn sanitize(text: &str, fewest: usize) -> String {
    // Mask before cutting: a number that is cut could become too short to be masked.
    let bounded: String = text.chars().take(MAX_CHARS * 4).map(|c| if is_invisible(c) { ' ' } else { c }).collect();
    let masked = mask_runs(bounded.trim(), fewest);
    match masked.char_indices().nth(MAX_CHARS) {
        None => masked,
        Some(_) => masked.chars().take(MAX_CHARS - 1).chain(['…']).collect(),
    }
}

/// Returns whether it is a control character, or one that only changes how others are shown: line and paragraph
/// separators, directions, zero widths.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Masks runs of seven and more digits, with or without separators between them.
pub fn mask_numbers(text: &str) -> String {
    mask_runs(text, NUMBER_DIGITS)
}

/// Masks runs of at least `fewest` digits. The last [`shown_digits`] of a run stay readable.
fn mask_runs(text: &str, fewest: usize) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars() {
        let joins = c.is_numeric() || (!run.is_empty() && is_separator(c));
        if joins {
            run.push(c);
        } else {
            end_run(&mut masked, &mut run, fewest);
            masked.push(c);
        }
    }
    end_run(&mut masked, &mut run, fewest);
    masked
}

/// Returns whether it may be between the digits of a telephone number: the separators of written numbers, also in their
/// typographic and full-width forms.
fn is_separator(c: char) -> bool {
    matches!(
        c,
        ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    ) || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}')
        || matches!(c, '\u{ff08}' | '\u{ff09}' | '\u{ff0d}' | '\u{ff0e}' | '\u{ff0f}')
}

fn end_run(masked: &mut String, run: &mut String, fewest: usize) {
    let digits = run.chars().filter(|c| c.is_numeric()).count();
    let hidden = if digits >= fewest { digits.saturating_sub(shown_digits(digits)) } else { 0 };
    let mut seen = 0;
    for c in run.drain(..) {
        let is_digit = c.is_numeric();
        seen += usize::from(is_digit);
        masked.push(if is_digit && seen <= hidden { '*' } else { c });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{diagnostic_text, sanitize_untrusted};
    use crate::call::PhoneNumber;

    #[test]
    fn telephone_numbers_are_masked_in_every_spelling() {
        for (text, shown) in [
            ("call to +14255551212 failed", "call to +*******1212 failed"),
            ("+1 (425) 555-1212", "+* (***) ***-1212"),
            ("is 6834002 a number", "is ****002 a number"),
            ("x4002, x40021, x400212", "x****, x****1, x****12"),
            ("486 Busy Here, cause=17", "486 Busy Here, cause=17"),
            ("٤٢٥٥٥٥١٢١٢", "******١٢١٢"),
            ("425\u{a0}555\u{202f}1212", "***\u{a0}***\u{202f}1212"),
            ("425\u{2011}555\u{2013}1212", "***\u{2011}***\u{2013}1212"),
            ("（４２５）５５５－１２１２", "（***）***－１２１２"),
            ("4\u{ad}2\u{ad}5\u{ad}5551212", "* * * ***1212"),
        ] {
            assert_eq!(sanitize_untrusted(text), shown);
        }
    }

    #[test]
    fn a_number_shows_its_country_code_and_few_national_digits() {
        // By the number of national digits.
        let shown = [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (6, 2), (7, 3), (8, 4), (9, 4), (10, 4), (11, 4), (14, 4)];
        for (national, shown) in shown {
            for country_code in ["1", "49", "683"] {
                let digits: String = "23456789012345".chars().take(national).collect();
                let masked = PhoneNumber::new(format!("+{country_code}{digits}"), None, country_code.len() as u8);
                let (hidden, end) = digits.split_at(national - shown);
                assert_eq!(masked.to_string(), format!("+{country_code}{}{end}", "*".repeat(hidden.len())));
            }
        }
        let with_extension = PhoneNumber::new("+6834002".to_owned(), Some("77".to_owned()), 3);
        assert_eq!(with_extension.to_string(), "+683****x…");
    }

    #[test]
    fn ports_and_error_codes_stay_readable_in_diagnostic_text() {
        for (text, shown) in [
            ("localhost:5061: os error 10061, error 21211", "localhost:5061: os error 10061, error 21211"),
            ("call to +14255551212 failed", "call to +*******1212 failed"),
            ("call to 6834002 failed", "call to ****002 failed"),
        ] {
            assert_eq!(diagnostic_text(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_run_shows_more_digits_than_the_rule(
            digits in "[0-9]{1,40}",
            gaps in "[ ./()\u{a0}\u{2009}\u{2011}\u{2013}\u{ad}\u{ff08}\u{ff0d}-]{0,3}",
            before in "[a-z: +]{0,5}",
        ) {
            let spelled: String = digits.chars().flat_map(|digit| [digit.to_string(), gaps.clone()]).collect();
            let shown = sanitize_untrusted(&format!("{before}{spelled}"));
            let visible = shown.chars().filter(char::is_ascii_digit).count();
            let most = if digits.len() < 4 { digits.len() } else { 4.min(digits.len() / 2).min(digits.len() - 4) };
            prop_assert!(visible <= most, "{shown}");
        }
    }

    #[test]
    fn invisible_characters_are_removed() {
        assert_eq!(sanitize_untrusted("a\r\nb\0c\u{202e}d\u{1b}[31m"), "a  b c d [31m");
    }

    #[test]
    fn at_most_200_characters_remain() {
        let shown = sanitize_untrusted(&"ä".repeat(5_000));
        assert_eq!(shown.chars().count(), 200);
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn a_number_across_the_cut_stays_masked() {
        let shown = sanitize_untrusted(&("x".repeat(195) + "4255551212"));
        assert!(!shown.contains("42555"), "{shown}");
    }
}

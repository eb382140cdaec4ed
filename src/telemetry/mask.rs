//! Text from elsewhere (a provider's message, a file's line) made fit to be shown: it is data, never trusted.

/// The longest foreign text that is shown, in characters.
const MAX_CHARS: usize = 200;

/// A run of so many digits, or more, may be a telephone number.
const NUMBER_DIGITS: usize = 7;

/// So many digits at the end of a run stay readable.
const SHOWN_DIGITS: usize = 4;

/// `text` without control characters, with long runs of digits masked, and 200 characters at most.
pub fn foreign_text(text: &str) -> String {
    // Masking comes before cutting, so that a cut number is no shorter run of digits.
    let bounded: String = text.chars().take(MAX_CHARS * 4).map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    let masked = mask_numbers(bounded.trim());
    match masked.char_indices().nth(MAX_CHARS) {
        None => masked,
        Some(_) => masked.chars().take(MAX_CHARS - 1).chain(['…']).collect(),
    }
}

/// Control characters, and those that only change how others are shown: line and paragraph separators, directions,
/// zero widths.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `text` with all but the last digits of long runs of digits hidden, blanks and the like between them or not.
pub fn mask_numbers(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars() {
        let joins = c.is_numeric() || (!run.is_empty() && matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'));
        if joins {
            run.push(c);
        } else {
            end_run(&mut masked, &mut run);
            masked.push(c);
        }
    }
    end_run(&mut masked, &mut run);
    masked
}

fn end_run(masked: &mut String, run: &mut String) {
    let digits = run.chars().filter(|c| c.is_numeric()).count();
    let hidden = if digits >= NUMBER_DIGITS { digits - SHOWN_DIGITS } else { 0 };
    let mut seen = 0;
    for c in run.drain(..) {
        let is_digit = c.is_numeric();
        seen += usize::from(is_digit);
        masked.push(if is_digit && seen <= hidden { '*' } else { c });
    }
}

#[cfg(test)]
mod tests {
    use super::foreign_text;

    #[test]
    fn telephone_numbers_are_masked_in_every_spelling() {
        for (text, shown) in [
            ("call to +14255551212 failed", "call to +*******1212 failed"),
            ("+1 (425) 555-1212", "+* (***) ***-1212"),
            ("error 21211 at line 12", "error 21211 at line 12"),
            ("٤٢٥٥٥٥١٢١٢", "******١٢١٢"),
        ] {
            assert_eq!(foreign_text(text), shown);
        }
    }

    #[test]
    fn nothing_that_is_not_seen_remains() {
        assert_eq!(foreign_text("a\r\nb\0c\u{202e}d\u{1b}[31m"), "a  b c d [31m");
    }

    #[test]
    fn two_hundred_characters_remain_at_most() {
        let shown = foreign_text(&"ä".repeat(5_000));
        assert_eq!(shown.chars().count(), 200);
        assert!(shown.ends_with('…'));
    }

    #[test]
    fn a_number_across_the_cut_stays_masked() {
        let shown = foreign_text(&("x".repeat(195) + "4255551212"));
        assert!(!shown.contains("42555"), "{shown}");
    }
}

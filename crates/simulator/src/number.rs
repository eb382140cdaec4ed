//! How a telephone number is written.

/// Maximum number of digits: that of E.164.
const MAX_DIGITS: usize = 15;

/// Returns a number without its separators, such as `+14255551212` for `+1 (425) 555-1212`. `None` if it is none.
pub fn parse(text: &str) -> Option<String> {
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let digits = number.strip_prefix('+').unwrap_or(&number);
    let is_number = (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_of_a_number_are_left_out() {
        for text in ["+14255551212", "+1 4255551212", "+1 (425) 555-1212", "+1.425.555/1212"] {
            assert_eq!(parse(text).as_deref(), Some("+14255551212"), "{text}");
        }
        assert_eq!(parse("1212").as_deref(), Some("1212"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "+", "+1x", "1+2", "++1", "1234567890123456", "+1 425\n", "alice", "٣٤٥"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}

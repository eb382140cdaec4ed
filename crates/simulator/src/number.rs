//! How a telephone number is written.

/// How to write a number, with an example.
pub const FORMAT_HINT: &str = "write it with + and the country code, such as +1 425 555 1212";

/// Returns whether a text is a number in E.164: `+` and 7 to 15 digits, of which the first is not 0.
pub fn is_e164(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns a number in E.164 without its separators, such as `+14255551212` for `+1 (425) 555-1212`. `None` if it is
/// none.
pub fn parse(text: &str) -> Option<String> {
    let number: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    is_e164(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_of_a_number_are_left_out() {
        for text in ["+14255551212", "+1 4255551212", "+1 (425) 555-1212", "+1.425.555/1212"] {
            assert_eq!(parse(text).as_deref(), Some("+14255551212"), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_in_e164_is_refused() {
        let others =
            ["4255551212", "14255551212", "1212", "+123456", "+1234567890123456", "+04255551212", "00493012345"];
        for text in
            others.into_iter().chain(["", "+", "+1x", "1+2", "++14255551212", "+1 4255551212\n", "alice", "٣٤٥"])
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}

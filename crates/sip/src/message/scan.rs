//! Elements of the grammar that several headers share (RFC 3261, 25.1).

/// Returns whether `bytes` is a token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Returns whether `text` has no blank, no control character and nothing beyond ASCII, and is not empty.
pub(crate) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(crate) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Removes blanks and tabs at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Removes blanks and tabs at both ends.
pub(crate) fn trim_bytes(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Finds the first of `wanted` outside of quoted strings and, with `brackets`, outside of `<…>`.
///
/// Returns `Err` if a quoted string or, with `brackets`, an angle bracket does not end before it.
pub(crate) fn find(text: &str, wanted: &[u8], brackets: bool) -> Result<Option<usize>, Unbalanced> {
    let mut quoted = false;
    let mut escaped = false;
    let mut bracketed = false;
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            // A quote inside brackets belongs to the URI.
            b'"' if !bracketed => quoted = !quoted,
            _ if quoted => {}
            b'>' if bracketed => bracketed = false,
            _ if bracketed => {}
            _ if wanted.contains(&byte) => return Ok(Some(position)),
            b'<' if brackets => bracketed = true,
            _ => {}
        }
    }
    if quoted || bracketed { Err(Unbalanced) } else { Ok(None) }
}

/// A quoted string or an angle bracket does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbalanced;

/// Splits a list at the commas that are neither in quoted strings nor in `<…>`, and trims the elements.
///
/// After `Err` the iterator ends. Empty elements are returned.
pub(crate) fn elements(text: &str) -> impl Iterator<Item = Result<&str, Unbalanced>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match find(text, b",", true) {
            Ok(Some(comma)) => {
                let (element, after) = split_around(text, comma);
                rest = Some(after);
                Some(Ok(trim(element)))
            }
            Ok(None) => Some(Ok(trim(text))),
            Err(unbalanced) => Some(Err(unbalanced)),
        }
    })
}

/// Splits `text` around the byte at `position`, which must be ASCII and is in neither half.
pub(crate) fn split_around(text: &str, position: usize) -> (&str, &str) {
    let before = text.get(..position).unwrap_or(text);
    let after = text.get(position.saturating_add(1)..).unwrap_or("");
    (before, after)
}

/// Removes the quotes and backslashes of a quoted string. Text without quotes is returned as it is.
pub(crate) fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest)) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    plain
}

/// Reads a decimal number of at least one digit. Returns `Ok(None)` if it does not fit.
pub(crate) fn number(text: &str) -> Result<Option<u32>, NotANumber> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotANumber);
    }
    Ok(text.parse().ok())
}

/// Reads a decimal number of digits only that fits into 16 bits.
pub(crate) fn small_number(text: &str) -> Option<u16> {
    number(text).ok().flatten().and_then(|number| u16::try_from(number).ok())
}

/// The text is empty or has something other than digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotANumber;

/// Decodes each `%` with two hexadecimal digits. Other `%` are kept.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if let (b'%', [high, low, beyond @ ..]) = (byte, after)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded.push(high << 4 | low);
            rest = beyond;
        } else {
            decoded.push(byte);
            rest = after;
        }
    }
    decoded
}

/// Returns whether each `%` is followed by two hexadecimal digits.
pub(crate) fn escapes_are_complete(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut bytes = after.bytes();
        let first = bytes.next().and_then(hex);
        let second = bytes.next().and_then(hex);
        first.is_some() && second.is_some()
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

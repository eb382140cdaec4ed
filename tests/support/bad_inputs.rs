//! Bad texts, which every export must reject without harm.

use std::ffi::c_char;

use super::page::Guarded;

/// A text that a host might pass. `None` is NULL.
pub struct BadInput {
    pub name: String,
    pub bytes: Option<Vec<u8>>,
}

impl BadInput {
    pub fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        Self { name: name.to_owned(), bytes: Some(text.as_ref().to_owned()) }
    }

    pub fn is_utf8(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
    }

    pub fn is_longer_than(&self, limit: usize) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| bytes.len() > limit)
    }

    /// Calls `with` with a pointer to the text, whose NUL is the last accessible byte.
    pub fn put<T>(&self, with: impl FnOnce(*const c_char) -> T) -> T {
        match &self.bytes {
            None => with(std::ptr::null()),
            Some(bytes) => {
                let text = Guarded::new(&[bytes, &b"\0"[..]].concat());
                with(text.start())
            }
        }
    }
}

/// Returns the table. No entry is the GUID of a call, a number that may be called, or the path of a configuration.
pub fn bad_inputs() -> Vec<BadInput> {
    let guid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let nil = "00000000-0000-0000-0000-000000000000";
    let mut table = vec![
        BadInput { name: "NULL".to_owned(), bytes: None },
        BadInput::new("empty", ""),
        BadInput::new("a blank", " "),
        BadInput::new("a line break", "\r\n"),
        BadInput::new("a control character", "\u{1}"),
        BadInput::new("a word", "call"),
        BadInput::new("JSON", "{\"id\":1}"),
        BadInput::new("format strings", "%s%s%s%n"),
        BadInput::new("the file backend's separator", "a;b;1;c"),
        BadInput::new("an emergency number", "911"),
        BadInput::new("letters beyond ASCII", "ünï¢ödé ☎ 😀"),
        BadInput::new("digits beyond ASCII", "３f2504e0-4f89-41d3-9a0c-0305e82c3301"),
        BadInput::new("a byte that is never UTF-8", [0xff]),
        BadInput::new("a lone continuation byte", [b'a', 0x80]),
        BadInput::new("a cut character", [0xe2, 0x82]),
        BadInput::new("a long form of /", [0xc0, 0xaf]),
        BadInput::new("half a surrogate pair", [0xed, 0xa0, 0x80]),
        BadInput::new("Latin-1 for a GUID's length", [0xe9; 36]),
        BadInput::new("the nil GUID, D", nil),
        BadInput::new("the nil GUID, N", nil.replace('-', "")),
        BadInput::new("the nil GUID, B", format!("{{{nil}}}")),
        BadInput::new("the nil GUID, P", format!("({nil})")),
        BadInput::new("a GUID, X", "{0x3f2504e0,0x4f89,0x41d3,{0x9a,0x0c,0x03,0x05,0xe8,0x2c,0x33,0x01}}"),
        BadInput::new("a GUID as URN", format!("urn:uuid:{guid}")),
        BadInput::new("a GUID, a digit short", &guid[..35]),
        BadInput::new("a GUID, a digit long", format!("{guid}0")),
        BadInput::new("a GUID, a wrong digit", guid.replace('f', "g")),
        BadInput::new("a GUID, hyphens misplaced", "3f2504e04-f89-41d3-9a0c-0305e82c3301"),
        BadInput::new("a GUID, blank after", format!("{guid} ")),
        BadInput::new("a GUID, blank before", format!(" {guid}")),
        BadInput::new("a GUID, open brace", format!("{{{guid}")),
        BadInput::new("a GUID, brace and parenthesis", format!("{{{guid})")),
        BadInput::new("a GUID, two pairs of braces", format!("{{{{{guid}}}}}")),
        BadInput::new("a GUID, N in braces", format!("{{{}}}", guid.replace('-', ""))),
    ];
    for length in [255, 256, 257, 32_767, 32_768, 65_536, 65_537, 1 << 20] {
        table.push(BadInput::new(&format!("{length} letters"), vec![b'a'; length]));
        table.push(BadInput::new(&format!("{length} digits"), vec![b'1'; length]));
        table.push(BadInput::new(&format!("{length} bytes that are never UTF-8"), vec![0xff; length]));
        table.push(BadInput::new(&format!("{length} brackets"), vec![b'['; length]));
    }
    table
}

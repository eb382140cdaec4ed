//! The texts that no export may stumble over.

use std::ffi::c_char;

use super::page::Guarded;

/// A text, with its NUL, as a host might hand it over; None is NULL.
pub struct Insult {
    pub name: String,
    pub bytes: Option<Vec<u8>>,
}

impl Insult {
    pub fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        Self { name: name.to_owned(), bytes: Some(text.as_ref().to_owned()) }
    }

    pub fn is_utf8(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
    }

    pub fn is_longer_than(&self, limit: usize) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| bytes.len() > limit)
    }

    /// Calls `with` with a pointer to the text, which ends where its memory ends.
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

/// The table. None of it is a GUID that names a call, a number that may be called, or a configuration's path.
pub fn insults() -> Vec<Insult> {
    let guid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let nil = "00000000-0000-0000-0000-000000000000";
    let mut table = vec![
        Insult { name: "NULL".to_owned(), bytes: None },
        Insult::new("empty", ""),
        Insult::new("a blank", " "),
        Insult::new("a line break", "\r\n"),
        Insult::new("a control character", "\u{1}"),
        Insult::new("a word", "call"),
        Insult::new("JSON", "{\"id\":1}"),
        Insult::new("format strings", "%s%s%s%n"),
        Insult::new("the file backend's separator", "a;b;1;c"),
        Insult::new("an emergency number", "911"),
        Insult::new("letters beyond ASCII", "ünï¢ödé ☎ 😀"),
        Insult::new("digits beyond ASCII", "３f2504e0-4f89-41d3-9a0c-0305e82c3301"),
        Insult::new("a byte that is never UTF-8", [0xff]),
        Insult::new("a lone continuation byte", [b'a', 0x80]),
        Insult::new("a cut character", [0xe2, 0x82]),
        Insult::new("a long form of /", [0xc0, 0xaf]),
        Insult::new("half a surrogate pair", [0xed, 0xa0, 0x80]),
        Insult::new("Latin-1 for a GUID's length", [0xe9; 36]),
        Insult::new("the nil GUID, D", nil),
        Insult::new("the nil GUID, N", nil.replace('-', "")),
        Insult::new("the nil GUID, B", format!("{{{nil}}}")),
        Insult::new("the nil GUID, P", format!("({nil})")),
        Insult::new("a GUID, X", "{0x3f2504e0,0x4f89,0x41d3,{0x9a,0x0c,0x03,0x05,0xe8,0x2c,0x33,0x01}}"),
        Insult::new("a GUID as URN", format!("urn:uuid:{guid}")),
        Insult::new("a GUID, a digit short", &guid[..35]),
        Insult::new("a GUID, a digit long", format!("{guid}0")),
        Insult::new("a GUID, a wrong digit", guid.replace('f', "g")),
        Insult::new("a GUID, hyphens misplaced", "3f2504e04-f89-41d3-9a0c-0305e82c3301"),
        Insult::new("a GUID, blank after", format!("{guid} ")),
        Insult::new("a GUID, blank before", format!(" {guid}")),
        Insult::new("a GUID, open brace", format!("{{{guid}")),
        Insult::new("a GUID, brace and parenthesis", format!("{{{guid})")),
        Insult::new("a GUID, two pairs of braces", format!("{{{{{guid}}}}}")),
        Insult::new("a GUID, N in braces", format!("{{{}}}", guid.replace('-', ""))),
    ];
    for length in [255, 256, 257, 32_767, 32_768, 65_536, 65_537, 1 << 20] {
        table.push(Insult::new(&format!("{length} letters"), vec![b'a'; length]));
        table.push(Insult::new(&format!("{length} digits"), vec![b'1'; length]));
        table.push(Insult::new(&format!("{length} bytes that are never UTF-8"), vec![0xff; length]));
        table.push(Insult::new(&format!("{length} brackets"), vec![b'['; length]));
    }
    table
}

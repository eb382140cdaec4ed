//! A console that does not show what is typed.

use std::io;

/// Hides what is typed. A console of Windows shows only the keys that are read as a line, and so needs no change for
/// keys that are read one by one.
pub struct NoEcho;

impl NoEcho {
    /// Begins to hide what is typed.
    ///
    /// # Errors
    /// None here.
    pub fn begin() -> io::Result<Self> {
        Ok(Self)
    }
}

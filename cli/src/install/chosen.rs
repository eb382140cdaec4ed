//! The configuration that install takes.

use std::path::{Path, PathBuf};

use phonegate::config::{self, Loaded};

use super::plan::{not_usable, read};
use crate::error::CommandError;
use crate::mim;

/// Which configuration MIM is to run with.
pub(super) enum Chosen {
    /// The one that is there.
    Kept,
    /// A copy of another one.
    Copied(PathBuf),
    /// There is none yet.
    Starter,
}

impl Chosen {
    pub(super) fn find(named: Option<&Path>, place: &Path) -> Result<Self, CommandError> {
        // Relative to the folder of this command, and not to MIM's.
        let is_place = |named: &Path| std::path::absolute(named).is_ok_and(|named| mim::is_same_file(&named, place));
        match named {
            Some(named) if place.exists() && !is_place(named) => match read(named)? == read(place)? {
                true => Ok(Self::Kept),
                false => Err(CommandError::usage(format!(
                    "{} is there already, and differs from {}: edit it, or move it away",
                    place.display(),
                    named.display()
                ))),
            },
            _ if place.exists() => Ok(Self::Kept),
            Some(named) => Ok(Self::Copied(named.to_owned())),
            // What an environment variable names, or lies beside this program, may be anybody's.
            None => Ok(Self::Starter),
        }
    }

    /// The configuration as MIM will have it, and its bytes if they are to be copied. The file is read once, so that the
    /// bytes are those that were checked.
    pub(super) fn load(&self, place: &Path) -> Result<(Loaded, Option<Vec<u8>>), CommandError> {
        let from = match self {
            Self::Copied(from) => from.as_path(),
            _ => place,
        };
        let (mut loaded, text) = config::load_with_text(from).map_err(|error| not_usable(error.to_string()))?;
        // That is where its relative paths will belong to.
        loaded.base = place.parent().map(Path::to_owned).unwrap_or_default();
        loaded.file = Some(place.to_owned());
        Ok((loaded, matches!(self, Self::Copied(_)).then(|| text.into_bytes())))
    }

    pub(super) fn in_words(&self, place: &Path) -> String {
        match self {
            Self::Copied(from) => format!("{} (a copy of {})", place.display(), from.display()),
            _ => format!("{} (kept)", place.display()),
        }
    }
}

// On Windows, a file that is being replaced cannot always be opened.
#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn with_deadline(seconds: u32) -> String {
        serde_json::json!({
            "use": ["demo"], "allow_test_backends": true, "call": { "deadline_s": seconds },
            "backends": { "demo": { "type": "simulated", "press": "0" } }
        })
        .to_string()
    }

    #[test]
    fn the_bytes_that_are_copied_are_those_that_were_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (from, next) = (folder.path().join("named.json"), folder.path().join("next.json"));
        let place = folder.path().join("service/phonegate.json");
        fs::write(&from, with_deadline(10)).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seconds in (10..600).cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    fs::write(&next, with_deadline(seconds)).unwrap();
                    fs::rename(&next, &from).unwrap();
                }
            });
            let differing: Vec<_> = (0..200)
                .filter_map(|_| {
                    let loaded = Chosen::Copied(from.clone()).load(&place);
                    let (loaded, contents) = loaded.map_err(|error| error.message).unwrap();
                    assert_eq!(loaded.base, folder.path().join("service"));
                    let checked = with_deadline(u32::try_from(loaded.config.call.deadline_s.get()).unwrap());
                    (contents.as_deref() != Some(checked.as_bytes())).then_some(checked)
                })
                .collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(differing.is_empty(), "{} of 200 copies were not what was checked", differing.len());
        });
    }
}

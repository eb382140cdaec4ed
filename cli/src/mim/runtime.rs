//! Which .NET runtime MIM's service runs on: what its `.exe.config` says, else the one of MIM's own programs.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::encoding::decode;
use super::read_bounded;

/// The file's name in the folder of MIM's service.
pub(crate) const CONFIG_NAME: &str = "Microsoft.ResourceManagement.Service.exe.config";

/// MIM's programs are compiled for it.
const USUAL: &str = "v2.0.50727";

/// It is a few dozen kilobytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The runtime, and how that is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Runtime {
    /// As in the configuration: `v2.0.50727`, `v4.0`.
    pub(crate) version: String,
    pub(crate) known_by: &'static str,
}

impl Runtime {
    /// Reads which runtime the service in this folder runs on.
    ///
    /// # Errors
    /// Where its configuration cannot be read.
    pub(crate) fn of(service_folder: &Path) -> Result<Self, String> {
        let path = service_folder.join(CONFIG_NAME);
        let usual = |known_by| Self { version: USUAL.to_owned(), known_by };
        let file = match read_bounded(&path, MAX_BYTES) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(usual("the default, since the service has no .exe.config"));
            }
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let unfit = |problem: String| format!("{} {problem}", path.display());
        let (text, _) = decode(&file).map_err(unfit)?;
        match first_supported(&text).map_err(|()| unfit("is not well-formed XML".to_owned()))? {
            Some(version) => Ok(Self { version, known_by: "its .exe.config" }),
            None => Ok(usual("the default, since its .exe.config names none")),
        }
    }

    /// Can it load what was compiled for that runtime? A newer one loads the older; the number after `v` tells.
    pub(crate) fn loads(&self, compiled_for: &str) -> bool {
        let generation = |version: &str| version.trim_start_matches('v').split('.').next()?.parse::<u32>().ok();
        generation(&self.version) >= generation(compiled_for)
    }
}

/// The first of the runtimes that the configuration allows: the one that is taken where it is installed.
fn first_supported(text: &str) -> Result<Option<String>, ()> {
    let mut reader = Reader::from_str(text);
    let mut path = Vec::new();
    loop {
        let event = reader.read_event().map_err(drop)?;
        if let Event::Start(tag) | Event::Empty(tag) = &event
            && path == ["configuration", "startup"]
            && tag.name().into_inner() == "supportedRuntime"
            && let Some(version) = version(tag)
        {
            return Ok(Some(version));
        }
        match event {
            Event::Start(tag) => path.push(tag.name().into_inner().to_owned()),
            Event::End(_) => drop(path.pop()),
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}

fn version(tag: &BytesStart<'_>) -> Option<String> {
    let version = tag.try_get_attribute("version").ok()??.value.into_owned();
    version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.').then_some(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_runtime_is_the_first_that_the_services_configuration_allows() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = |config: &str| {
            std::fs::write(folder.path().join(CONFIG_NAME), config).unwrap();
            Runtime::of(folder.path()).map(|runtime| runtime.version)
        };
        let with = |startup: &str| format!("<?xml version=\"1.0\"?><configuration>{startup}<x/></configuration>");
        let two = "<supportedRuntime version=\"v4.0\" sku='x'/><supportedRuntime version=\"v2.0.50727\"/>";
        let startup = format!("<startup useLegacyV2RuntimeActivationPolicy='true'>{two}</startup>");
        assert_eq!(runtime(&with(&startup)), Ok("v4.0".to_owned()));
        assert_eq!(runtime(&with(&format!("<other>{startup}</other>"))), Ok(USUAL.to_owned()));
        assert_eq!(runtime(&with(&format!("<!-- {startup} -->"))), Ok(USUAL.to_owned()));
        assert_eq!(runtime(&with("")), Ok(USUAL.to_owned()));
        assert!(runtime("<configuration></x>").unwrap_err().contains("well-formed"));
        std::fs::remove_file(folder.path().join(CONFIG_NAME)).unwrap();
        assert_eq!(Runtime::of(folder.path()).unwrap().version, USUAL);
    }

    #[test]
    fn a_runtime_loads_its_own_and_older_assemblies() {
        let loads = |runtime: &str, assembly| Runtime { version: runtime.to_owned(), known_by: "" }.loads(assembly);
        assert!(loads("v2.0.50727", "v2.0.50727") && loads("v4.0", "v2.0.50727") && loads("v4.0", "v4.0.30319"));
        assert!(!loads("v2.0.50727", "v4.0.30319"));
    }
}

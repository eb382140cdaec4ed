//! Finds the .NET runtime of MIM's service: the one that its `.exe.config` names, else the one that its program was
//! compiled for.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::PROGRAM;
use crate::assembly::Metadata;
use crate::read_bounded;
use crate::xml::encoding::decode;

/// The file's name in the folder of MIM's service.
const CONFIG_NAME: &str = "Microsoft.ResourceManagement.Service.exe.config";

/// The runtime that MIM's programs were compiled for up to SP2.
const DEFAULT: &str = "v2.0.50727";

/// Maximum sizes in bytes. The configuration has a few dozen kilobytes, the program less than a megabyte.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
const MAX_PROGRAM_BYTES: u64 = 64 * 1024 * 1024;

/// A file of CLR 2, below the folder of Windows. The folder alone does not show that CLR 2 is installed.
const CLR_2: &str = "Microsoft.NET/Framework64/v2.0.50727/mscorwks.dll";

/// A .NET runtime.
#[derive(Debug, PartialEq, Eq)]
pub struct Runtime {
    /// The version as in the configuration, such as `v2.0.50727` or `v4.0`.
    pub version: String,
    /// How the version was found.
    pub known_by: &'static str,
}

impl Runtime {
    /// Finds the runtime of the service in this folder: the first one that its configuration allows and that is
    /// installed. `windows` is the folder of Windows. Without it, every runtime counts as installed.
    ///
    /// # Errors
    /// If its configuration cannot be read.
    pub fn of(service_folder: &Path, windows: Option<&Path>) -> Result<Self, String> {
        let path = service_folder.join(CONFIG_NAME);
        let file = match read_bounded(&path, MAX_BYTES) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::of_program(service_folder)),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let unusable = |problem: String| format!("{} {problem}", path.display());
        let (text, _) = decode(&file).map_err(unusable)?;
        let supported = supported(&text).map_err(|()| unusable("is not well-formed XML".to_owned()))?;
        let has_clr_2 = windows.is_none_or(|windows| windows.join(CLR_2).is_file());
        let is_installed = |version: &&String| has_clr_2 || generation(version).is_none_or(|generation| generation > 3);
        match supported.iter().find(is_installed).or(supported.first()) {
            Some(version) => Ok(Self { version: version.clone(), known_by: "its .exe.config" }),
            None => Ok(Self::of_program(service_folder)),
        }
    }

    /// Returns the runtime of a service whose configuration names none: .NET uses the one that the program was compiled
    /// for.
    fn of_program(service_folder: &Path) -> Self {
        let program = read_bounded(&service_folder.join(PROGRAM), MAX_PROGRAM_BYTES);
        let metadata = program.as_deref().ok().and_then(|program| Metadata::read(program).ok());
        match metadata {
            Some(metadata) => {
                Self { version: metadata.runtime.to_owned(), known_by: "what its program was compiled for" }
            }
            None => Self { version: DEFAULT.to_owned(), known_by: "the default, because its .exe.config names none" },
        }
    }

    /// Returns whether it can load an assembly compiled for that runtime: one of the same major version or an older one.
    pub fn loads(&self, compiled_for: &str) -> bool {
        generation(&self.version) >= generation(compiled_for)
    }
}

/// Returns the major version: the number after `v`.
fn generation(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}

/// Returns the runtimes that the configuration allows, in its order.
fn supported(text: &str) -> Result<Vec<String>, ()> {
    let mut reader = Reader::from_str(text);
    let mut found = Vec::new();
    let mut path = Vec::new();
    loop {
        let event = reader.read_event().map_err(drop)?;
        if let Event::Start(tag) | Event::Empty(tag) = &event
            && path == ["configuration", "startup"]
            && tag.name().into_inner() == "supportedRuntime"
            && let Some(version) = version(tag)
        {
            found.push(version);
        }
        match event {
            Event::Start(tag) => path.push(tag.name().into_inner().to_owned()),
            Event::End(_) => drop(path.pop()),
            Event::Eof => return Ok(found),
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
    fn the_runtime_is_the_first_that_the_config_allows() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = |config: &str| {
            std::fs::write(folder.path().join(CONFIG_NAME), config).unwrap();
            Runtime::of(folder.path(), None).map(|runtime| runtime.version)
        };
        let with = |startup: &str| format!("<?xml version=\"1.0\"?><configuration>{startup}<x/></configuration>");
        let two = "<supportedRuntime version=\"v4.0\" sku='x'/><supportedRuntime version=\"v2.0.50727\"/>";
        let startup = format!("<startup useLegacyV2RuntimeActivationPolicy='true'>{two}</startup>");
        assert_eq!(runtime(&with(&startup)), Ok("v4.0".to_owned()));
        assert_eq!(runtime(&with(&format!("<other>{startup}</other>"))), Ok(DEFAULT.to_owned()));
        assert_eq!(runtime(&with(&format!("<!-- {startup} -->"))), Ok(DEFAULT.to_owned()));
        assert_eq!(runtime(&with("")), Ok(DEFAULT.to_owned()));
        assert!(runtime("<configuration></x>").unwrap_err().contains("well-formed"));
        std::fs::remove_file(folder.path().join(CONFIG_NAME)).unwrap();
        assert_eq!(Runtime::of(folder.path(), None).unwrap().version, DEFAULT);
    }

    /// Windows Server without the feature .NET Framework 3.5 has only CLR 4.
    #[test]
    fn the_first_installed_runtime_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let windows = folder.path().join("Windows");
        let both = "<supportedRuntime version=\"v2.0.50727\"/><supportedRuntime version=\"v4.0\"/>";
        let config = |startup: &str| {
            let text = format!("<configuration><startup>{startup}</startup></configuration>");
            std::fs::write(folder.path().join(CONFIG_NAME), text).unwrap();
            Runtime::of(folder.path(), Some(&windows)).unwrap().version
        };
        assert_eq!(config(both), "v4.0");
        assert_eq!(config("<supportedRuntime version=\"v2.0.50727\"/>"), DEFAULT, "none that it allows is installed");
        let clr_2 = windows.join(CLR_2);
        std::fs::create_dir_all(clr_2.parent().unwrap()).unwrap();
        assert_eq!(config(both), "v4.0", "the folder alone is no runtime");
        std::fs::write(clr_2, "").unwrap();
        assert_eq!(config(both), DEFAULT);
    }

    #[test]
    fn without_config_the_programs_own_runtime_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("service.cs");
        std::fs::write(&source, "class Service { static void Main() { } }").unwrap();
        for (sdk, version) in [("2", DEFAULT), ("4.5", "v4.0.30319")] {
            let out = format!("-out:{}", folder.path().join(PROGRAM).display());
            let ran = std::process::Command::new("mcs").args([&format!("-sdk:{sdk}"), &out]).arg(&source).status();
            assert!(
                ran.map_err(|error| format!("this test needs mcs (apt-get install mono-mcs mono-devel): {error}"))
                    .unwrap()
                    .success()
            );
            assert_eq!(Runtime::of(folder.path(), None).unwrap().version, version);
        }
    }

    #[test]
    fn a_runtime_loads_its_own_and_older_assemblies() {
        let loads = |runtime: &str, assembly| Runtime { version: runtime.to_owned(), known_by: "" }.loads(assembly);
        assert!(loads("v2.0.50727", "v2.0.50727") && loads("v4.0", "v2.0.50727") && loads("v4.0", "v4.0.30319"));
        assert!(!loads("v2.0.50727", "v4.0.30319"));
    }
}

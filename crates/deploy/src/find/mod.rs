//! Finds MIM's service on this machine: its folder, and the .NET runtime that it uses.

pub mod runtime;

use std::path::{Path, PathBuf};

use phonegate::platform::HOST_SERVICE;

use crate::DeployError;

/// The service's program, in its folder.
pub const PROGRAM: &str = "Microsoft.ResourceManagement.Service.exe";

/// The folder of the service according to MIM's documentation, below the folder for programs.
const DEFAULT_FOLDER: &str = r"Microsoft Forefront Identity Manager\2010\Service";

/// The folder of MIM's service.
pub struct ServiceFolder {
    /// The folder, which exists.
    pub path: PathBuf,
    /// How it was found.
    pub found_by: &'static str,
}

impl ServiceFolder {
    /// Finds the folder: the `named` one, else that of the registered service, else the default one.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn find(named: Option<&Path>) -> Result<Self, DeployError> {
        const HINT: &str = "name the folder of MIM's service by --service-dir";
        let registered = || image_path().and_then(|image| program(&image).parent().map(Path::to_owned));
        let default = || std::env::var_os("ProgramFiles").map(|programs| Path::new(&programs).join(DEFAULT_FOLDER));
        let found = match named {
            Some(named) => Some((std::path::absolute(named).unwrap_or_else(|_| named.to_owned()), "--service-dir")),
            None => registered()
                .map(|path| (path, "the folder of the registered service FIMService"))
                .or_else(|| default().map(|path| (path, "the default folder"))),
        };
        match found {
            Some((path, found_by)) if path.is_dir() => Ok(Self { path, found_by }),
            Some((path, found_by)) => {
                Err(DeployError::usage(format!("there is no folder {} ({found_by})", path.display())).hint(HINT))
            }
            None => {
                Err(DeployError::usage(format!("the service {HOST_SERVICE} is not registered on this machine"))
                    .hint(HINT))
            }
        }
    }
}

/// Returns the program of an image path in the registry, which may have quotation marks and arguments.
fn program(image: &str) -> PathBuf {
    let image = image.trim();
    let path = match image.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        // Without quotation marks, it may contain spaces.
        None => match image.to_ascii_lowercase().find(".exe") {
            Some(at) => image.get(..at + ".exe".len()).unwrap_or(image),
            None => image,
        },
    };
    PathBuf::from(expanded(path))
}

/// Replaces variables of the environment, such as `%ProgramFiles%`. One that is not set stays as it is.
fn expanded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    while let Some(name) = parts.next() {
        match (std::env::var(name), parts.next()) {
            (Ok(value), Some(rest)) => expanded.extend([value.as_str(), rest]),
            (Err(_), Some(rest)) => expanded.extend(["%", name, "%", rest]),
            (_, None) => expanded.extend(["%", name]),
        }
    }
    expanded
}

#[cfg(windows)]
fn image_path() -> Option<String> {
    let key = windows_registry::LOCAL_MACHINE.open(format!(r"SYSTEM\CurrentControlSet\Services\{HOST_SERVICE}"));
    key.and_then(|key| key.get_string("ImagePath")).ok()
}

#[cfg(not(windows))]
fn image_path() -> Option<String> {
    None
}

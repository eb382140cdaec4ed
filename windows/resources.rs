//! Prepares the resources of phonegate.dll and phonegate.exe. Their build scripts include this file.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Writes cargo's metadata as macros for `version.rc`, and returns the folder of that header.
pub fn version(file: &str, file_type: &str) -> PathBuf {
    let of_package = |key: &str| env::var(format!("CARGO_PKG_{key}")).unwrap();
    let numbers = ["VERSION_MAJOR", "VERSION_MINOR", "VERSION_PATCH"].map(of_package).join(",");
    let macros = format!(
        "#define FILE_NAME {file:?}\n#define FILE_TYPE {file_type}\n#define VERSION {:?}\n#define VERSION_NUMBERS {numbers},0\n\
         #define DESCRIPTION {:?}\n#define LICENCE {:?}\n",
        of_package("VERSION"),
        of_package("DESCRIPTION"),
        of_package("LICENSE"),
    );
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    fs::write(folder.join("version.h"), macros).unwrap();
    folder
}

/// Returns the path of a resource file, relative to a package's folder, and rebuilds if it changes.
pub fn source(name: &str) -> PathBuf {
    let path = Path::new("../windows").join(name);
    println!("cargo::rerun-if-changed={}", path.display());
    path
}

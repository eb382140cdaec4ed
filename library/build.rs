//! Adds the resources to phonegate.dll.

#[path = "../windows/resources.rs"]
mod resources;

use std::env;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use resources::{source, version};

fn main() {
    if env::var("CARGO_CFG_WINDOWS").is_err() {
        return;
    }
    let folder = version("phonegate.dll", "VFT_DLL");
    compile_messages(&folder);
    source("version.rc");
    let include = embed_resource::ParamsIncludeDirs([&folder]);
    embed_resource::compile_for_cdylib(source("library.rc"), include).manifest_required().unwrap();
}

/// Compiles the texts of the Windows Event Log. The name of mingw's compiler has a prefix on Linux only.
fn compile_messages(folder: &Path) {
    let messages = source("messages.mc");
    for compiler in ["x86_64-w64-mingw32-windmc", "windmc"] {
        match Command::new(compiler).arg("-h").arg(folder).arg("-r").arg(folder).arg(&messages).status() {
            Ok(status) => return assert!(status.success(), "{compiler} refused messages.mc"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("{compiler}: {error}"),
        }
    }
    panic!("windmc is missing: on Debian install binutils-mingw-w64-x86-64, on Windows put mingw-w64's bin into PATH");
}

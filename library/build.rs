//! Lays the resources into phonegate.dll.

#[path = "../windows/resources.rs"]
mod resources;

use std::env;
use std::process::Command;

use resources::{source, version};

fn main() {
    if env::var("CARGO_CFG_WINDOWS").is_err() {
        return;
    }
    let folder = version("phonegate.dll", "VFT_DLL");
    let compiler = "x86_64-w64-mingw32-windmc";
    let mut messages = Command::new(compiler);
    messages.arg("-h").arg(&folder).arg("-r").arg(&folder).arg(source("messages.mc"));
    let compiled = messages.status().unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(compiled.success(), "{compiler} refused messages.mc");
    source("version.rc");
    let include = embed_resource::ParamsIncludeDirs([&folder]);
    embed_resource::compile_for_cdylib(source("library.rc"), include).manifest_required().unwrap();
}

//! Adds the version resource to phonegate.exe, and the hash of the library that belongs to it. The environment variable
//! `PHONEGATE_SHIPPED_LIBRARY` names the file of that library, which must be built first. Without it, `phonegate install`
//! needs --trust-folder.

#[path = "../crates/deploy/src/plan/library_hash.rs"]
mod library_hash;
#[path = "../windows/resources.rs"]
mod resources;

use std::env;

use resources::{source, version};

fn main() {
    const SHIPPED: &str = "PHONEGATE_SHIPPED_LIBRARY";
    println!("cargo::rerun-if-env-changed={SHIPPED}");
    if let Some(library) = env::var_os(SHIPPED) {
        let library = std::path::PathBuf::from(library);
        println!("cargo::rerun-if-changed={}", library.display());
        let file = std::fs::read(&library).unwrap_or_else(|error| panic!("{}: {error}", library.display()));
        println!("cargo::rustc-env=PHONEGATE_LIBRARY_SHA256={}", library_hash::of(&file));
    }
    if env::var("CARGO_CFG_WINDOWS").is_ok() {
        let folder = version("phonegate.exe", "VFT_APP");
        let include = embed_resource::ParamsIncludeDirs([&folder]);
        embed_resource::compile_for(source("version.rc"), ["phonegate"], include).manifest_required().unwrap();
    }
}

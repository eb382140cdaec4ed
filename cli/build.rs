//! Lays the version into phonegate.exe.

#[path = "../windows/resources.rs"]
mod resources;

use std::env;

use resources::{source, version};

fn main() {
    if env::var("CARGO_CFG_WINDOWS").is_ok() {
        let folder = version("phonegate.exe", "VFT_APP");
        let include = embed_resource::ParamsIncludeDirs([&folder]);
        embed_resource::compile_for(source("version.rc"), ["phonegate"], include).manifest_required().unwrap();
    }
}

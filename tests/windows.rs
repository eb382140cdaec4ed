//! The Windows DLL, loaded by programs in C and C++ under Wine, and what it exports and imports.

#[path = "support/wine.rs"]
mod wine;

use wine::{Wine, windows_build};

#[test]
fn the_tool_tells_its_version() {
    let ran = Wine::new().run(&windows_build().tool, &["--version"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), concat!("phonegate-cli ", env!("CARGO_PKG_VERSION"), "\n")));
}

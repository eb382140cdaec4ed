//! The C# shim, loaded and driven as Microsoft Identity Manager does, under Mono. Its scenarios run on Windows too, in
//! windows_shim.rs.

mod mim_host;
mod support;

use std::fs;
use std::path::Path;

use mim_host::scenarios::{self, calls, gate, one_call};
use mim_host::{Mim, Numbers};

scenarios::test_all!(Mim::on_linux);

#[test]
fn calls_survive_the_unload_of_one_of_two_app_domains() {
    let run = gate(Mim::on_linux(Numbers::Listed), 16).place("domains", &calls(16), &[]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.of("unloaded").len(), 1);
    assert_eq!(run.of("call").len(), 24, "both halves, and the first once more");
}

#[test]
fn a_shadow_copied_shim_finds_its_original_folder() {
    let mim = Mim::on_linux(Numbers::Listed).fake(&["-DSTATUS=PHONEGATE_SUCCESS"]);
    let cache = mim.folder().join("cache");
    let options = ["--shadow", cache.to_str().unwrap()];
    let run = mim.place("calls", &one_call("Success"), &options);
    assert_eq!(run.code, Some(0));
    assert!(Path::new(&run.of("assembly")[0][2]).starts_with(&cache), "the host copied it");

    fs::remove_file(mim.library_path()).unwrap();
    let run = mim.place("calls", &one_call("Failed"), &options);
    let (_, message) = run.only_call();
    let copied = Path::new(&run.of("assembly")[0][2]).with_file_name("libphonegate.so");
    for path in [copied, mim.shim_folder().join("libphonegate.so")] {
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

/// MIM 2016 SP3 needs .NET 4.8, and a server need not have .NET 3.5.
#[test]
fn a_shim_for_clr_4_serves_a_host_of_clr_4() {
    let mim = Mim::of_clr_4(Numbers::Listed);
    for assembly in [mim.shim(), mim.host_folder().join("MimHost.exe")] {
        let bytes = fs::read(&assembly).unwrap();
        let is_for = |version: &str| bytes.windows(version.len()).any(|part| part == version.as_bytes());
        assert!(is_for("v4.0.30319") && !is_for("v2.0.50727"), "{}", assembly.display());
    }
    let run = gate(mim, 16).place("calls", &calls(16), &["--load", "from", "--instances", "one"]);
    assert_eq!(run.code, Some(0));
    assert_eq!(run.of("call").len(), 16);
}

//! What `phonegate doctor` finds on Windows, as far as Wine shows it: the registered service, its folder and its account,
//! the library by its own words, and the proof that a library which ends its process does not end the command.

#[path = "support/site.rs"]
mod site;
mod support;
#[path = "../../tests/support/wine.rs"]
mod wine;
#[path = "support/wine_site.rs"]
mod wine_site;

use std::fs;

use wine::{Ran, mingw, windows_debug_build};
use wine_site::{SHIM, WineSite, records};

#[track_caller]
fn finds(ran: &Ran, part: &str, result: &str, words: &str) {
    let findings: Vec<_> = records(ran).into_iter().filter(|record| record["part"] == part).collect();
    let is =
        |record: &serde_json::Value| record["result"] == result && record["text"].as_str().unwrap().contains(words);
    assert!(findings.iter().any(is), "{part}: {result}: {words} in {findings:?}");
}

#[test]
fn the_service_and_what_was_installed_into_its_folder_are_found() {
    let site = WineSite::new(&windows_debug_build());
    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = site.run(&["doctor", "--json", "--zip", r"C:\support.zip"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let version = format!("version {}, ABI 1", env!("CARGO_PKG_VERSION"));
    for (part, result, words) in [
        ("tool", "ok", "windows x86_64"),
        ("service", "warning", r"FIMService is stopped, and runs as .\"),
        ("service folder", "ok", r"C:\MIM\2010\Service (the folder of the registered service FIMService)"),
        ("runtime", "ok", "CLR v2.0.50727"),
        ("contract", "ok", "Contoso.Contract, Version=0.0.0.0"),
        ("library", "ok", version.as_str()),
        ("shim", "ok", "ABI 1, for v2.0.50727 and Contoso.Contract 0.0.0.0"),
        ("MIM's settings", "ok", SHIM),
        ("configuration", "ok", r"C:\MIM\2010\Service\phonegate.json"),
        ("backend", "ok", "phone: simulated"),
        ("tool's log", "ok", r"C:\ProgramData\PhoneGate\phonegate-tool.log"),
    ] {
        finds(&ran, part, result, words);
    }
    assert!(fs::metadata(site.bundle().with_file_name("support.zip")).unwrap().len() > 0);

    // Names of files on Windows are case-insensitive.
    let settings = site.service().join("MfaSettings.xml");
    fs::write(&settings, site.settings().replace(SHIM, &SHIM.to_uppercase())).unwrap();
    finds(&site.run(&["doctor", "--json"]), "MIM's settings", "ok", "CUSTOMPHONEGATE.DLL");

    let source = site.bundle().join("library.c");
    let code = "#include <windows.h>\nBOOL WINAPI DllMain(HINSTANCE me, DWORD why, LPVOID more) {\n\
                    (void)me; (void)why; (void)more; TerminateProcess(GetCurrentProcess(), 3); return TRUE; }";
    fs::write(&source, code).unwrap();
    let built = mingw("gcc").args(["-shared", "-o"]).arg(site.service().join("phonegate.dll")).arg(source).status();
    assert!(built.unwrap().success());
    let ran = site.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    finds(&ran, "library", "failed", "loading it ended the process");
}

//! `phonegate doctor`, with a stand-in of a machine with MIM.

#[path = "support/provider.rs"]
mod provider;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use phonegate::backend::twilio_studio::flow_definition;
use provider::Provider;
use serde_json::{Value, json};
use site::{SETTINGS, Site, mcs, repository, unreachable};
use support::Ran;
use wiremock::ResponseTemplate;

/// An installation without a fault.
fn installed() -> Site {
    let site = Site::new();
    site.install(&[]).exits(0);
    site
}

fn doctor(site: &Site, arguments: &[&str]) -> Ran {
    site.command(&["doctor"]).args(arguments).output().unwrap().into()
}

/// Returns the findings about one part: the result and the text of each.
fn about(ran: &Ran, part: &str) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = ran.records().into_iter().filter(|record| record["event"] == "finding" && record["part"] == part);
    findings.map(|finding| (text(&finding, "result"), text(&finding, "text"))).collect()
}

/// Checks that there is such a finding.
#[track_caller]
fn finds(ran: &Ran, part: &str, result: &str, words: &str) {
    let found = about(ran, part);
    assert!(
        found.iter().any(|(is, text)| is == result && text.contains(words)),
        "{part}: {result}: {words} in {found:?}"
    );
}

/// Replaces the installed library with a C library.
fn replace_library(site: &Site, code: &str) {
    let source = site.bundle().join("library.c");
    fs::write(&source, code).unwrap();
    let built =
        Command::new("gcc").args(["-shared", "-o"]).arg(site.service().join("libphonegate.so")).arg(source).status();
    assert!(built.expect("this test needs gcc: apt-get install gcc").success());
}

#[test]
fn a_good_installation_has_no_findings() {
    let site = installed();
    let before = site.files();
    let ran = doctor(&site, &["--json"]).exits(0);
    let version = format!("version {}, ABI 1", env!("CARGO_PKG_VERSION"));
    for (part, result, words) in [
        ("tool", "ok", version.as_str()),
        ("service", "skipped", "only on Windows"),
        ("service folder", "ok", "--service-dir"),
        ("runtime", "ok", "CLR v2.0.50727 (the default"),
        ("contract", "ok", "Contoso.Contract, Version=0.0.0.0, PublicKeyToken=null for v2.0.50727"),
        ("library", "ok", version.as_str()),
        ("shim", "ok", "ABI 1, for v2.0.50727 and Contoso.Contract 0.0.0.0"),
        ("MIM's settings", "ok", site.shim().to_str().unwrap()),
        ("configuration", "ok", site.config().to_str().unwrap()),
        ("configuration", "warning", "allow_test_backends"),
        ("backend", "ok", "phone: simulated"),
        ("clock", "skipped", "not compared"),
        ("log", "skipped", "does not exist"),
        ("tool's log", "ok", "warnings: 1, errors: 0"),
    ] {
        finds(&ran, part, result, words);
    }
    assert_eq!(ran.record("examined"), json!({ "event": "examined", "ok": true, "failed": 0, "warnings": 1 }));
    assert!(site.files() == before);

    let ran = doctor(&site, &[]).exits(0);
    assert!(
        ran.stdout.contains("PART ") && ran.stdout.contains(" RESULT ") && ran.stdout.contains("shim "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("Nothing is wrong, but look at the warning.\n"), "{}", ran.stdout);
}

#[test]
fn each_fault_of_an_installation_is_named() {
    type Damage = fn(&Site);
    let faults: [(Damage, &str, &str, &str); 17] = [
        (|site| fs::remove_file(site.shim()).unwrap(), "shim", "failed", "does not exist"),
        (|site| fs::write(site.shim(), "MZ").unwrap(), "shim", "failed", "is damaged"),
        (|site| _ = fs::copy(site.contract(), site.shim()).unwrap(), "shim", "failed", "not PhoneGate's shim"),
        (
            |site| fs::remove_file(site.service().join("libphonegate.so")).unwrap(),
            "library",
            "failed",
            "does not exist",
        ),
        (
            |site| {
                let path = site.service().join("libphonegate.so");
                let whole = fs::read(&path).unwrap();
                fs::write(&path, &whole[..whole.len() / 3]).unwrap();
            },
            "library",
            "failed",
            "cannot be loaded",
        ),
        (
            |site| {
                replace_library(site, "#include <stdlib.h>\n__attribute__((constructor)) void end(void) { abort(); }");
            },
            "library",
            "failed",
            "loading it ended the process",
        ),
        (
            |site| {
                let functions = "unsigned PhoneGateAbiVersion(void) { return 2; }\n\
                                 const char *PhoneGateVersion(void) { return \"9.9.9\"; }";
                replace_library(site, functions);
            },
            "shim",
            "failed",
            "the library has ABI 2",
        ),
        (
            |site| {
                let source = fs::read_to_string(repository("shim/contract/PhoneServiceProvider.cs")).unwrap();
                let version = "[assembly: System.Reflection.AssemblyVersion(\"4.5.300.0\")] namespace";
                let newer = site.bundle().join("newer.cs");
                fs::write(&newer, source.replacen("namespace", version, 1)).unwrap();
                let out = format!("-out:{}", site.contract().display());
                mcs(&["-target:library".to_owned(), out, newer.display().to_string()]);
            },
            "shim",
            "warning",
            "the contract is now Contoso.Contract 4.5.300.0",
        ),
        (|site| fs::remove_file(site.contract()).unwrap(), "contract", "failed", "no assembly in"),
        (|site| fs::write(site.settings(), SETTINGS).unwrap(), "MIM's settings", "failed", "no CustomPhoneProvider"),
        (|site| fs::remove_file(site.settings()).unwrap(), "MIM's settings", "failed", "there is no"),
        (|site| fs::write(site.settings(), "<a><b></a>").unwrap(), "MIM's settings", "failed", "line 1 has an end tag"),
        (
            |site| change_settings(site, |text| text.replace("r>/", "r>\"/").replace("dll<", "dll\"<")),
            "MIM's settings",
            "failed",
            "the quotation marks break it",
        ),
        (
            |site| change_settings(site, |text| text.replace("CustomPhoneGate.dll", "Other.dll")),
            "MIM's settings",
            "failed",
            "Other.dll, which does not exist",
        ),
        (
            |site| change_settings(site, |text| text.replace("<CustomP", "<GROUP_KEY>x</GROUP_KEY><CustomP")),
            "MIM's settings",
            "warning",
            "other entries in addition to the provider: GROUP_KEY",
        ),
        (|site| fs::write(site.config(), "{").unwrap(), "configuration", "failed", "phonegate.json"),
        (
            |site| fs::set_permissions(site.config(), fs::Permissions::from_mode(0o644)).unwrap(),
            "permissions",
            "warning",
            "everybody can read it",
        ),
    ];
    let site = installed();
    let whole = site.files();
    for (damage, part, result, words) in faults {
        damage(&site);
        let ran = doctor(&site, &["--json"]).exits(i32::from(result == "failed"));
        finds(&ran, part, result, words);
        restore(&site, &whole);
    }
    finds(&doctor(&site, &["--json"]).exits(0), "shim", "ok", "");
}

fn change_settings(site: &Site, change: fn(String) -> String) {
    let text = fs::read_to_string(site.settings()).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed);
    fs::write(site.settings(), changed).unwrap();
}

/// Restores the files that [`Site::files`] read.
fn restore(site: &Site, files: &site::Files) {
    for (name, contents) in files {
        let end = contents.windows(6).rposition(|bytes| bytes == b"\nmode ").unwrap();
        let path = site.service().join(name);
        fs::write(&path, &contents[..end]).unwrap();
        let mode = u32::from_str_radix(std::str::from_utf8(&contents[end + 6..]).unwrap(), 8).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn a_shim_that_the_services_runtime_cannot_load_is_named() {
    let site = installed();
    let reference = format!("-reference:{}", site.contract().display());
    let out = format!("-out:{}", site.shim().display());
    let built = Command::new("mcs")
        .args(["-sdk:4.5", "-target:library", "-nologo", &reference, &out, &repository("shim/CustomPhoneGate.cs")])
        .status();
    assert!(built.expect("this test needs mcs: apt-get install mono-mcs mono-devel").success());
    finds(&doctor(&site, &["--json"]).exits(1), "shim", "failed", "the service's CLR, v2.0.50727, cannot load it");

    let config = site.service().join("Microsoft.ResourceManagement.Service.exe.config");
    let startup = "<configuration><startup><supportedRuntime version=\"v4.0\"/></startup></configuration>";
    fs::write(config, startup).unwrap();
    let ran = doctor(&site, &["--json"]).exits(0);
    finds(&ran, "shim", "ok", "for v4.0.30319");
    finds(&ran, "runtime", "ok", "CLR v4.0 (its .exe.config)");
}

#[test]
fn readable_calls_and_unwritable_metrics_are_warnings() {
    let site = installed();
    let kept = tempfile::tempdir().unwrap();
    let mut config = support::simulated(None, 0);
    config["store"] = json!({ "path": kept.path().join("calls.db") });
    config["metrics"] = json!({ "textfile": "nowhere/phonegate.prom" });
    fs::write(site.config(), config.to_string()).unwrap();
    fs::write(kept.path().join("calls.db"), "").unwrap();
    fs::set_permissions(kept.path().join("calls.db"), fs::Permissions::from_mode(0o600)).unwrap();
    for path in [kept.path(), &kept.path().join("calls.db")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let ran = doctor(&site, &["--json"]).exits(0);
        finds(
            &ran,
            "permissions",
            "warning",
            &format!("{}: the file's group and everybody can read it", path.display()),
        );
        finds(&ran, "metrics", "warning", "cannot be used (entity not found)");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(about(&doctor(&site, &["--json"]), "permissions"), []);
}

#[test]
fn approval_by_pound_is_a_finding() {
    let site = installed();
    let mut config = support::simulated(None, 0);
    config["approval"] = json!({ "method": "pound" });
    fs::write(site.config(), config.to_string()).unwrap();
    let ran = doctor(&site, &["--json"]).exits(0);
    finds(&ran, "configuration", "warning", "approval.method: is `pound`: a recording can press #");
}

#[test]
fn keys_that_are_not_authenticated_are_a_finding() {
    let site = installed();
    fs::write(site.config(), unreachable().to_string()).unwrap();
    let ran = doctor(&site, &["--json"]).exits(1);
    finds(&ran, "configuration", "warning", "backends.trunk: keys are not authenticated: without SRTP over TLS");
}

#[test]
fn a_store_that_cannot_be_created_is_named() {
    let site = installed();
    for store in ["/proc/nope/calls.db", "phonegate.json/calls.db"] {
        let mut config = support::simulated(None, 0);
        config["store"] = json!({ "path": store });
        fs::write(site.config(), config.to_string()).unwrap();
        finds(&doctor(&site, &["--json"]).exits(1), "store", "failed", "store.path");
    }
}

#[test]
fn a_backend_that_is_down_is_named() {
    let site = installed();
    fs::write(site.config(), unreachable().to_string()).unwrap();
    let ran = doctor(&site, &["--json"]).exits(1);
    finds(&ran, "backend", "failed", "trunk: ");
    assert_eq!(ran.record("examined")["failed"], 1);
}

#[test]
fn the_clock_is_compared_with_the_providers() {
    let site = installed();
    for (offset, result, words) in [(0, "ok", "agrees with cloud"), (-7200, "warning", " ahead of cloud")] {
        let provider = Provider::start();
        let config = phonegate::config::parse(&provider.config().to_string(), &phonegate::TYPES).unwrap();
        let definition = flow_definition(&config).unwrap();
        let flow = json!({
            "friendly_name": "PhoneGate", "status": "published", "revision": 3, "definition": definition
        });
        provider.answers("GET", ResponseTemplate::new(200).set_body_json(flow));
        provider.answers("HEAD", ResponseTemplate::new(404).insert_header("date", http_date(offset)));
        fs::write(site.config(), provider.config().to_string()).unwrap();
        let ran = doctor(&site, &["--json"]).exits(0);
        finds(&ran, "backend", "ok", "cloud: flow \"PhoneGate\", revision 3");
        finds(&ran, "clock", result, words);
    }
}

/// Returns the time this many seconds from now, in the format of HTTP.
fn http_date(offset: i32) -> String {
    let arguments = ["-u", "-d", &format!("{offset} seconds"), "+%a, %d %b %Y %H:%M:%S GMT"];
    let date = Command::new("date").args(arguments).env("LC_ALL", "C").output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_zip_file_is_never_overwritten() {
    let site = installed();
    let zip = site.bundle().join("support.zip");
    doctor(&site, &["--zip", zip.to_str().unwrap()]).exits(0);
    let before = fs::read(&zip).unwrap();
    let ran = doctor(&site, &["--zip", zip.to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("exists already"), "{}", ran.stderr);
    assert!(fs::read(&zip).unwrap() == before);
    let ran = doctor(&site, &["--zip", "no/such/folder/x.zip"]).exits(1);
    assert!(ran.stderr.contains("no/such/folder/x.zip"), "{}", ran.stderr);
}

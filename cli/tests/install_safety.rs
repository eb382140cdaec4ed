//! Tests what `phonegate install` refuses, keeps and cleans up.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use site::{SECRET, SETTINGS, Site, mcs, mode, unreachable};
use support::{Ran, simulated};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Asserts that install fails with these texts in its message and changes nothing.
#[track_caller]
fn is_refused(site: &Site, arguments: &[&str], code: i32, words: &[&str]) {
    let before = site.everything();
    let ran = site.install(arguments).exits(code);
    for words in words {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    assert!(site.everything() == before);
}

#[test]
fn a_sites_own_provider_of_that_name_is_never_replaced() {
    let site = Site::new();
    let source = site.bundle().join("own.cs");
    fs::write(&source, "public class CustomPhoneGate { }").unwrap();
    let out = format!("-out:{}", site.shim().display());
    mcs(&["-target:library".to_owned(), out, source.display().to_string()]);
    is_refused(&site, &[], 2, &["CustomPhoneGate.dll exists already", "rename it", "MfaSettings.xml"]);
    fs::rename(site.shim(), site.bundle().join("Own.dll")).unwrap();
    site.install(&[]).exits(0);
    site.is_installed();
}

#[test]
fn a_protected_secret_leaves_no_readable_copy() {
    let site = Site::new();
    let folder = site.service().join("secrets");
    fs::create_dir(&folder).unwrap();
    let secret = folder.join("trunk.txt");
    let shared = site.bundle().join("shared.txt");
    for file in [&secret, &shared] {
        fs::write(file, SECRET).unwrap();
        set_mode(file, 0o644);
    }
    let trunk =
        |file: &str| json!({ "type": "sip", "trunk": "sip:127.0.0.1", "username": "m", "password": { "file": file } });
    let mut config = simulated(None, 0);
    config["backends"]["trunk"] = trunk("secrets/trunk.txt");
    config["backends"]["other"] = trunk("../bundle/shared.txt");
    site.configure(&config);
    let before = site.everything();
    site.install_with(&[], "install.fail=make shim").exits(1);
    assert!(site.everything() == before);

    let ran = site.install(&[]).exits(0);
    assert_eq!((mode(&secret), mode(&shared)), (0o600, 0o644), "what lies elsewhere may be others' too");
    assert!(ran.stderr.contains("shared.txt: the file's group"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
}

#[test]
fn leftovers_are_removed_by_an_install_without_changes() {
    let site = Site::new();
    site.install(&[]).exits(0);
    fs::write(site.service().join("libphonegate.so.phonegate-old-1"), "").unwrap();
    assert_eq!(site.install(&["--json"]).exits(0).record("installed")["changed"], 0);
    site.is_installed();
}

#[test]
fn skip_check_still_tries_the_configuration_out() {
    let site = Site::new();
    let mut config = unreachable();
    config["backends"]["trunk"]["username"] = json!("mim");
    config["backends"]["trunk"]["password"] = json!({ "file": "there-is-none.txt" });
    site.configure(&config);
    is_refused(&site, &["--skip-check"], 2, &["backends.trunk.password", "there-is-none.txt"]);
}

#[test]
fn a_configuration_named_by_the_environment_is_not_used() {
    let site = Site::without_configuration();
    let other = site.bundle().join("other.json");
    fs::write(&other, simulated(None, 0).to_string()).unwrap();
    let install = || {
        let mut command = site.command(&["install", "--allow-test-backends", "--trust-folder"]);
        let csc = site.bundle().with_file_name("csc");
        Ran::from(command.arg("--csc").arg(csc).env("PHONEGATE_CONFIG", &other).output().unwrap())
    };
    install().exits(2);
    assert_ne!(fs::read(site.config()).unwrap(), fs::read(&other).unwrap());
    fs::copy(&other, site.config()).unwrap();
    let ran = install().exits(0);
    assert!(ran.stderr.contains("PHONEGATE_CONFIG is set to"), "{}", ran.stderr);
}

#[test]
fn a_test_backend_needs_allow_test_backends() {
    let site = Site::new();
    let before = site.everything();
    let mut command = site.command(&["install", "--trust-folder"]);
    command.arg("--config").arg(site.bundle().join("phonegate.json"));
    let ran = Ran::from(command.arg("--csc").arg(site.bundle().with_file_name("csc")).output().unwrap()).exits(2);
    let words = "use: `phone` (type simulated) approves without a telephone";
    assert!(ran.stderr.contains(words) && ran.stderr.contains("--allow-test-backends"), "{}", ran.stderr);
    assert!(site.everything() == before);
    site.install(&[]).exits(0);
}

#[test]
fn install_refuses_a_loopback_trunk_without_local_peer() {
    let mut config = unreachable();
    config["backends"]["trunk"].as_object_mut().unwrap().remove("local_peer");
    let install = |config: &Value, options: &[&str]| {
        let site = Site::new();
        site.configure(config);
        let mut command = site.command(&["install", "--trust-folder", "--skip-check"]);
        command.arg("--config").arg(site.bundle().join("phonegate.json")).args(options);
        Ran::from(command.arg("--csc").arg(site.bundle().with_file_name("csc")).output().unwrap())
    };
    let ran = install(&config, &["--allow-test-backends"]).exits(2);
    assert!(ran.stderr.contains("\"local_peer\": true in the backend"), "the file does not allow it: {}", ran.stderr);
    config["allow_test_backends"] = json!(true);
    let ran = install(&config, &[]).exits(2);
    for words in
        ["use: `trunk` (type sip) connects to this machine", "\"local_peer\": true", "add --allow-test-backends"]
    {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    install(&config, &["--allow-test-backends"]).exits(0);
    config["allow_test_backends"] = json!(false);
    config["backends"]["trunk"]["local_peer"] = json!(true);
    install(&config, &[]).exits(0);
}

#[test]
fn a_shim_that_the_runtime_cannot_load_is_never_kept() {
    let site = Site::new();
    let newer = site.script("newer", "exec mcs -sdk:4.5 -langversion:3 \"$@\"");
    let newer = ["--csc", newer.to_str().unwrap()];
    is_refused(&site, &newer, 1, &["runs on CLR v2.0.50727", "is for v4.0.30319", "--csc"]);

    let config = site.service().join("Microsoft.ResourceManagement.Service.exe.config");
    let startup = "<configuration><startup><supportedRuntime version=\"v4.0\"/></startup></configuration>";
    fs::write(&config, startup).unwrap();
    site.install(&newer).exits(0);
    fs::remove_file(&config).unwrap();
    let ran = site.install(&["--json"]).exits(0);
    assert_eq!((&ran.record("change")["step"], &ran.record("installed")["changed"]), (&json!("shim"), &json!(1)));

    // The file still has the fingerprint.
    let whole = fs::read(site.shim()).unwrap();
    let root = whole.windows(4).position(|bytes| bytes == b"BSJB").unwrap();
    let mut damaged = whole;
    damaged[root] = 0;
    fs::write(site.shim(), damaged).unwrap();
    assert_eq!(site.install(&["--json"]).exits(0).record("change")["step"], "shim");
    site.is_installed();
}

#[test]
fn install_and_doctor_report_a_writable_service_folder() {
    let site = Site::new();
    set_mode(&site.service(), 0o777);
    let words = "everybody can write to it. An account that can change it can replace what MIM loads";
    let ran = site.install(&[]).exits(0);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    let doctor = || Ran::from(site.command(&["doctor", "--json"]).output().unwrap());
    assert!(doctor().exits(0).stdout.contains(words));
    set_mode(&site.service(), 0o755);
    assert!(!doctor().exits(0).stdout.contains(words));
}

#[test]
fn doctor_reports_a_state_folder_that_is_unsafe() {
    let site = Site::new();
    site.install(&[]).exits(0);
    let doctor = || Ran::from(site.command(&["doctor", "--json"]).output().unwrap());
    let state = |ran: Ran| ran.records().into_iter().find(|record| record["part"] == "state folder").unwrap();
    assert_eq!(state(doctor().exits(0))["result"], "ok");
    set_mode(&site.state(), 0o750);
    assert_eq!(state(doctor().exits(0))["result"], "warning");
    set_mode(&site.state(), 0o770);
    let found = state(doctor().exits(1));
    assert_eq!(found["result"], "failed");
    assert!(found["text"].as_str().unwrap().contains("can write to it"), "{found}");
}

#[test]
fn several_entries_of_a_provider_become_one() {
    let site = Site::new();
    let several = "<CustomPhoneProvider>a.dll</CustomPhoneProvider><CustomPhoneProvider>b.dll</CustomPhoneProvider>";
    fs::write(site.settings(), format!("<MfaSettings>{several}</MfaSettings>")).unwrap();
    site.install(&[]).exits(0);
    let shim = site.shim().display().to_string();
    let expected = format!("<MfaSettings><CustomPhoneProvider>{shim}</CustomPhoneProvider></MfaSettings>");
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), expected);
}

#[test]
fn a_contract_path_may_contain_compiler_separators() {
    let site = Site::new();
    fs::rename(site.contract(), site.service().join("Contoso,x;y=z.dll")).unwrap();
    site.install(&[]).exits(0);
    assert!(site.shim().is_file());
}

#[test]
fn a_killed_replacement_of_a_loaded_library_is_completed() {
    let site = Site::new();
    // A folder that is not empty can be renamed but not replaced, like a loaded library on Windows.
    let library = site.service().join("libphonegate.so");
    fs::create_dir(&library).unwrap();
    fs::write(library.join("old"), "").unwrap();
    site.install_with(&[], "install.end=aside libphonegate.so").exits(99);
    assert!(!library.exists());
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    site.install(&[]).exits(0);
    fs::remove_dir_all(library.with_file_name("libphonegate.so.phonegate-old-1")).unwrap();
    site.is_installed();
}

/// MIM 2016 SP3 needs .NET 4.8, and Windows Server has .NET 3.5 only as a feature.
#[test]
fn a_service_and_a_contract_for_clr_4_get_a_shim_for_clr_4() {
    let site = Site::new();
    let source = site.bundle().join("service.cs");
    fs::write(&source, "class Service { static void Main() { } }").unwrap();
    let service = site.service().join("Microsoft.ResourceManagement.Service.exe");
    let contract = site::repository("shim/contract/PhoneServiceProvider.cs");
    for arguments in [
        ["-target:exe".to_owned(), format!("-out:{}", service.display()), source.display().to_string()],
        ["-target:library".to_owned(), format!("-out:{}", site.contract().display()), contract],
    ] {
        let ran = std::process::Command::new("mcs").args(["-sdk:4.5", "-nologo"]).args(arguments).status();
        assert!(ran.expect("this test needs mcs: apt-get install mono-mcs mono-devel").success());
    }
    let csc = site.script("csc-4", "exec mcs -sdk:4.5 -langversion:5 \"$@\"");
    let ran = site.install(&["--csc", csc.to_str().unwrap()]).exits(0);
    assert!(ran.stdout.contains("PublicKeyToken=null for v4.0.30319"), "{}", ran.stdout);
    assert!(fs::read(site.shim()).unwrap().windows(10).any(|bytes| bytes == b"v4.0.30319"));
    let doctor = Ran::from(site.command(&["doctor", "--json"]).output().unwrap());
    let found = |part: &str| doctor.records().into_iter().find(|record| record["part"] == part).unwrap();
    for part in ["runtime", "shim"] {
        let found = found(part);
        assert!(found["result"] == "ok" && found["text"].as_str().unwrap().contains("v4.0.30319"), "{found}");
    }
}

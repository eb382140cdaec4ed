//! Tests what `phonegate install` trusts. It runs as an administrator, so an account that can change what it copies could
//! become an administrator.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};
use site::{SETTINGS, Site, mode};
use support::{Ran, simulated};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Installs like the tool of a released bundle, which knows this hash of its library.
fn install(site: &Site, hash: &str, arguments: &[&str]) -> Ran {
    let mut command = site.command(&["install", "--allow-test-backends"]);
    command.arg("--csc").arg(site.bundle().with_file_name("csc")).args(arguments);
    command.env("PHONEGATE_FAULT", format!("install.library_hash={hash}")).output().unwrap().into()
}

fn hash_of_library(site: &Site) -> String {
    let hash = Sha256::digest(fs::read(site.bundle().join("libphonegate.so")).unwrap());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the path of the site's configuration.
fn named(site: &Site) -> String {
    site.bundle().join("phonegate.json").display().to_string()
}

#[track_caller]
fn is_refused(site: &Site, ran: impl FnOnce() -> Ran, words: &[&str]) {
    let before = site.everything();
    let ran = ran().exits(2);
    for words in words {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    assert!(site.everything() == before);
}

#[test]
fn a_released_tool_installs_its_own_library_without_trust_folder() {
    let site = Site::new();
    install(&site, &hash_of_library(&site), &["--config", &named(&site)]).exits(0);
    site.is_installed();
}

/// Loading a library runs its code, so it must be refused before.
#[test]
fn another_library_is_refused_before_it_is_loaded() {
    let site = Site::new();
    let (hash, loaded) = (hash_of_library(&site), site.bundle().join("loaded"));
    let source = site.bundle().join("other.c");
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void run(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n\
         unsigned PhoneGateAbiVersion(void) {{ return 1; }}\n\
         const char *PhoneGateVersion(void) {{ return \"{}\"; }}\n",
        loaded.display(),
        env!("CARGO_PKG_VERSION")
    );
    fs::write(&source, code).unwrap();
    let library = site.bundle().join("libphonegate.so");
    fs::remove_file(&library).unwrap();
    let gcc = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(gcc.expect("this test needs gcc: apt-get install gcc").success());
    let config = named(&site);
    let words = ["is not the library", "was not loaded", "--trust-folder"];
    is_refused(&site, || install(&site, &hash, &["--config", &config]), &words);
    assert!(!loaded.exists(), "it was loaded");
    let ran = install(&site, &hash, &["--config", &config, "--trust-folder"]);
    assert!(loaded.exists(), "--trust-folder loads it: {}", ran.stderr);
}

#[test]
fn a_tool_without_a_hash_needs_trust_folder() {
    let site = Site::new();
    let config = named(&site);
    let plain = |arguments: &[&str]| {
        let mut command = site.command(&["install", "--allow-test-backends", "--config", &config]);
        Ran::from(command.arg("--csc").arg(site.bundle().with_file_name("csc")).args(arguments).output().unwrap())
    };
    is_refused(&site, || plain(&[]), &["does not know the hash of its library", "--trust-folder"]);
    plain(&["--trust-folder"]).exits(0);
    site.is_installed();
}

#[test]
fn a_folder_that_others_can_write_to_needs_trust_folder() {
    let site = Site::new();
    let (hash, config) = (hash_of_library(&site), named(&site));
    for path in [
        site.bundle(),
        site.bundle().join("phonegate"),
        site.bundle().join("libphonegate.so"),
        site.service(),
        // Other accounts could replace the folder.
        site.bundle().parent().unwrap().to_owned(),
    ] {
        let right = mode(&path);
        set_mode(&path, right | 0o002);
        let words = [path.to_str().unwrap(), "everybody can write to it", "--trust-folder"];
        is_refused(&site, || install(&site, &hash, &["--config", &config]), &words);
        is_refused(&site, || install(&site, &hash, &["--config", &config, "--dry-run"]), &words);
        set_mode(&path, right);
    }
    set_mode(&site.bundle(), 0o777);
    set_mode(&site.service(), 0o777);
    let ran = install(&site, &hash, &["--config", &config, "--trust-folder"]).exits(0);
    assert!(ran.stderr.contains("everybody can write to it"), "it is still said: {}", ran.stderr);
    site.is_installed();
}

/// A configuration in the tool's folder may be part of the download, or a sample.
#[test]
fn a_configuration_that_was_not_named_is_not_installed() {
    let site = Site::new();
    let hash = hash_of_library(&site);
    let ran = install(&site, &hash, &[]).exits(2);
    assert!(ran.stderr.contains(&named(&site)) && ran.stderr.contains("--config"), "{}", ran.stderr);
    let starter = fs::read_to_string(site.config()).unwrap();
    assert!(starter.contains("\"use\": []") && starter.contains("\"strict_permissions\": true"), "{starter}");
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
}

/// Install clears the entry, so its value must be kept elsewhere.
#[test]
fn the_default_country_code_of_mim_becomes_a_country() {
    let with_code = |site: &Site, code: &str| {
        let entry = format!("<MfaSettings>\r\n  <DefaultCountryCode>{code}</DefaultCountryCode>");
        fs::write(site.settings(), SETTINGS.replacen("<MfaSettings>", &entry, 1)).unwrap();
    };
    let site = Site::without_configuration();
    with_code(&site, "+49");
    let hash = hash_of_library(&site);
    let ran = install(&site, &hash, &["--dry-run"]).exits(2);
    assert!(ran.stdout.contains("DefaultCountryCode 49: \"default_country\": \"DE\""), "{}", ran.stdout);
    install(&site, &hash, &[]).exits(2);
    let starter = fs::read_to_string(site.config()).unwrap();
    assert!(starter.contains("\"default_country\": \"DE\""), "{starter}");

    let site = Site::new();
    with_code(&site, "1");
    for arguments in [&["--dry-run"][..], &[]] {
        let ran = install(&site, &hash, &[&["--config", &named(&site)], arguments].concat()).exits(0);
        let words = "DefaultCountryCode 1, and numbers.default_country is US, which has it";
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
    }
    assert!(!fs::read_to_string(site.settings()).unwrap().contains("DefaultCountryCode"));

    let site = Site::new();
    with_code(&site, "44");
    let ran = install(&site, &hash, &["--config", &named(&site)]).exits(0);
    assert!(ran.stderr.contains("that of GB, but numbers.default_country is US"), "{}", ran.stderr);
}

#[test]
fn the_firewall_rules_of_a_trunk_are_shown() {
    let site = Site::new();
    let mut config = simulated(None, 0);
    config["use"] = json!(["trunk"]);
    config["allow_test_backends"] = json!(false);
    config["routes"] = json!([{ "countries": ["US"], "use": ["of-route"] }]);
    config["backends"] = json!({
        "trunk": { "type": "sip", "trunk": "sip:192.0.2.10", "local_port": 5070 },
        "of-route": { "type": "sip", "trunk": "sip:192.0.2.11" },
    });
    site.configure(&config);
    let ran =
        install(&site, &hash_of_library(&site), &["--config", &named(&site), "--skip-check", "--dry-run"]).exits(0);
    for words in [
        "netsh advfirewall firewall add rule",
        "localport=5070",
        "localport=20000-29999",
        "remoteip=192.0.2.10",
        "remoteip=192.0.2.11",
    ] {
        assert!(ran.stdout.contains(words), "{words} in {}", ran.stdout);
    }
}

/// Install corrects the permissions of its own files, and refuses other paths that would prevent a start.
#[test]
fn strict_permissions_are_checked_as_they_will_be() {
    let site = Site::new();
    let secret = site.service().join("trunk.txt");
    fs::write(&secret, "not-a-real-secret").unwrap();
    set_mode(&secret, 0o666);
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let authorities = site.service().join("authorities.pem");
    fs::write(&authorities, authority.cert.pem()).unwrap();
    set_mode(&authorities, 0o666);
    let mut config = simulated(None, 0);
    config["strict_permissions"] = json!(true);
    config["network"] = json!({ "ca_file": "authorities.pem" });
    config["backends"]["trunk"] =
        json!({ "type": "sip", "trunk": "sip:127.0.0.1", "username": "mim", "password": { "file": "trunk.txt" } });
    site.configure(&config);
    set_mode(&site.bundle().join("phonegate.json"), 0o666);
    let (hash, named) = (hash_of_library(&site), named(&site));
    let run = || install(&site, &hash, &["--config", &named]);
    let words = [authorities.to_str().unwrap(), "can write to it", "strict_permissions"];
    is_refused(&site, run, &words);
    set_mode(&authorities, 0o644);
    run().exits(0);
    assert_eq!((mode(&secret), mode(&site.config())), (0o600, 0o600));
    Ran::from(site.check().output().unwrap()).exits(0);
    set_mode(&authorities, 0o666);
    let ran = Ran::from(site.check().output().unwrap()).exits(2);
    assert!(ran.stderr.contains("strict_permissions: "), "{}", ran.stderr);
}

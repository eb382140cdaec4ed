//! Tests `phonegate install` on Linux. wine_install.rs tests services, permissions and loaded libraries on Windows.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use site::{SECRET, SETTINGS, STEPS, Site, mode, repository, unreachable};
use support::{Ran, simulated};

#[test]
fn an_install_installs_everything_and_keeps_a_backup() {
    let site = Site::new();
    let ran = site.install(&[]).exits(0);
    site.is_installed();
    assert_eq!(site.backups(), [SETTINGS]);
    for words in ["Contoso.Contract, Version=0.0.0.0", "phone: simulated", "LICENSE_KEY, CERT_PASSWORD"] {
        assert!(ran.stdout.contains(words), "{words} in {}", ran.stdout);
    }
    assert!(!ran.all().contains(SECRET), "{}", ran.all());
    assert_eq!((mode(&site.state()), mode(&site.config())), (0o700, 0o600));
    // The installed tool uses the library and the configuration of its own folder.
    let mut check = std::process::Command::new(site.service().join("phonegate"));
    check.arg("check").env_remove("PHONEGATE_CONFIG").env("XDG_STATE_HOME", site.state().parent().unwrap());
    Ran::from(check.output().unwrap()).exits(0);
}

#[test]
fn a_second_install_changes_nothing() {
    let site = Site::new();
    site.install(&[]).exits(0);
    let before = site.everything();
    // Without a compiler too, because the installed shim is recognized.
    let ran = site.install(&["--csc", "/there/is/none", "--json"]).exits(0);
    assert_eq!(ran.record("installed")["changed"], 0);
    assert!(site.everything() == before);
    assert!(site.install(&[]).exits(0).stdout.contains("Nothing had to be changed"));
}

#[test]
fn a_dry_run_shows_steps_and_diff_and_changes_nothing() {
    let site = Site::new();
    let before = site.everything();
    let ran = site.install(&["--dry-run", "--json"]).exits(0);
    assert!(site.everything() == before);
    let changes: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "change").collect();
    let steps: Vec<_> = changes.iter().map(|change| change["step"].as_str().unwrap()).collect();
    let all: Vec<_> = STEPS.into_iter().filter(|step| *step != "permissions").collect();
    assert_eq!(steps, all);
    assert!(changes.iter().all(|change| change["done"] == false));
    let diff = ran.record("diff")["text"].as_str().unwrap().to_owned();
    let entry = format!("+  <CustomPhoneProvider>{}</CustomPhoneProvider>", site.shim().display());
    assert!(diff.contains(&entry) && diff.contains("-  <LICENSE_KEY>"), "{diff}");
    let ran = site.install(&["--dry-run"]).exits(0);
    assert!(!ran.all().contains(SECRET) && ran.stdout.contains(&entry), "{}", ran.all());
}

#[test]
fn without_configuration_only_a_starter_is_written() {
    let site = Site::without_configuration();
    let ran = site.install(&["--json"]).exits(2);
    assert_eq!(ran.record("installed")["to_edit"], true);
    assert_eq!(site.names(), ["Contoso.Contract.dll", "MfaSettings.xml", "phonegate.json", "phonegate.schema.json"]);
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    assert_eq!(mode(&site.config()), 0o600);
    let error = phonegate::config::load(&site.config(), &phonegate::TYPES).unwrap_err();
    assert!(error.to_string().contains("use: is empty"), "{error}");

    let before = site.everything();
    let ran = site.install(&[]).exits(2);
    assert!(ran.stderr.contains("use: is empty") && ran.stderr.contains("run install again"), "{}", ran.stderr);
    assert!(site.everything() == before);

    // Edit the starter, as the output says.
    fs::write(site.config(), simulated(None, 0).to_string()).unwrap();
    site.install(&[]).exits(0);
    site.is_installed();
}

#[test]
fn a_starter_is_complete_once_it_names_a_backend() {
    let site = Site::without_configuration();
    site.install(&[]).exits(2);
    let starter = fs::read_to_string(site.config()).unwrap();
    let pound = r#", "approval": { "method": "pound" }"#;
    for (backend, approval) in [("trunk", ""), ("cloud", pound)] {
        let edited = starter.replace("\"use\": []", &format!("\"use\": [\"{backend}\"]{approval}"));
        let config = phonegate::config::parse(&edited, &phonegate::TYPES).unwrap();
        assert!(!config.allow_test_backends && config.backends.values().all(|backend| !backend.is_for_tests()));
    }
}

#[test]
fn an_existing_configuration_is_kept() {
    let site = Site::new();
    let own = simulated(None, 5).to_string();
    fs::write(site.config(), &own).unwrap();
    site.install(&[]).exits(0);
    assert_eq!(fs::read_to_string(site.config()).unwrap(), own);
    let other = site.bundle().join("phonegate.json");
    let ran = site.install(&["--config", other.to_str().unwrap()]).exits(2);
    assert!(ran.stderr.contains("exists already, and differs from"), "{}", ran.stderr);
    site.install(&["--config", site.config().to_str().unwrap()]).exits(0);
}

#[test]
fn relative_paths_of_a_copied_config_are_the_services() {
    let site = Site::without_configuration();
    let config = site.bundle().join("contoso.json");
    let mut contents = unreachable();
    contents["backends"]["trunk"]["username"] = json!("mim");
    contents["backends"]["trunk"]["password"] = json!({ "file": "trunk.txt" });
    fs::write(&config, contents.to_string()).unwrap();
    fs::write(site.bundle().join("trunk.txt"), SECRET).unwrap();
    let ran = site.install(&["--config", config.to_str().unwrap()]).exits(2);
    let wanted = site.service().join("trunk.txt");
    assert!(ran.stderr.contains(&format!("backends.trunk.password: {}", wanted.display())), "{}", ran.stderr);
    assert_eq!(site.names(), ["Contoso.Contract.dll", "MfaSettings.xml"]);
}

#[test]
fn a_failure_at_any_step_undoes_all_of_it() {
    let site = site_with_every_step();
    let before = site.everything();
    for what in ["stage", "make"] {
        for step in STEPS {
            let fault = format!("install.fail={what} {step}");
            let ran = site.install_with(&[], &fault).exits(1);
            assert!(ran.stderr.contains(&format!("fault injected: {what} {step}")), "{}", ran.stderr);
            let after = site.everything();
            let names = (before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
            assert!(after == before, "{fault}: {names:?}");
        }
    }
}

#[test]
fn an_upgrade_failing_at_any_step_keeps_the_old_version() {
    let site = outdated();
    let before = site.everything();
    for step in ["permissions", "schema", "tool", "library", "shim"] {
        site.install_with(&[], &format!("install.fail=make {step}")).exits(1);
        assert!(site.everything() == before, "{step}");
    }
    site.install(&[]).exits(0);
    site.is_installed();
}

#[test]
fn an_install_killed_at_any_step_is_completed_by_the_next() {
    for what in ["stage", "make"] {
        for step in STEPS {
            let site = site_with_every_step();
            site.install_with(&[], &format!("install.end={what} {step}")).exits(99);
            // MIM runs as before.
            assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS, "{what} {step}");
            site.install(&[]).exits(0);
            site.is_installed();
            assert!(site.backups().iter().all(|backup| backup == SETTINGS), "{what} {step}");
        }
    }
}

#[test]
fn an_upgrade_killed_at_any_step_leaves_no_file_missing() {
    for step in ["permissions", "schema", "tool", "library", "shim"] {
        let site = outdated();
        let before = site.names();
        site.install_with(&[], &format!("install.end=make {step}")).exits(99);
        let after = site.names();
        assert!(before.iter().all(|name| after.contains(name)), "{step}: {after:?}");
        site.install(&[]).exits(0);
        site.is_installed();
    }
}

/// Returns a site in which an install performs every step: it also has a secret that every user can read.
fn site_with_every_step() -> Site {
    let site = Site::new();
    let secret = site.service().join("trunk.txt");
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let mut config = simulated(None, 0);
    config["backends"]["trunk"] =
        json!({ "type": "sip", "trunk": "sip:127.0.0.1", "username": "mim", "password": { "file": "trunk.txt" } });
    site.configure(&config);
    site
}

/// Returns a site with an installed other version, whose configuration everybody can read.
fn outdated() -> Site {
    let site = Site::new();
    site.install(&[]).exits(0);
    for name in ["CustomPhoneGate.dll", "libphonegate.so", "phonegate", "phonegate.schema.json"] {
        fs::write(site.service().join(name), "an older version").unwrap();
    }
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o644)).unwrap();
    site
}

/// Asserts that install fails with these texts in its message and changes nothing.
#[track_caller]
fn is_refused(site: &Site, arguments: &[&str], code: i32, words: &[&str]) -> Ran {
    let before = site.everything();
    let ran = site.install(arguments).exits(code);
    for words in words {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
    assert!(site.everything() == before);
    ran
}

#[test]
fn a_missing_compiler_is_reported() {
    is_refused(&Site::new(), &["--csc", "/there/is/none"], 2, &["--csc: there is no file /there/is/none"]);
}

#[test]
fn a_failing_compilers_output_is_shown() {
    let site = Site::new();
    let csc =
        site.script("broken", "echo 'CustomPhoneGate.cs(7,1): error CS1234: no such thing'; echo more >&2; exit 1");
    is_refused(
        &site,
        &["--csc", csc.to_str().unwrap()],
        1,
        &["error CS1234: no such thing", "more", "Contoso.Contract"],
    );
}

#[test]
fn a_compiler_without_a_valid_output_is_reported() {
    let site = Site::new();
    let csc = site.script("idle", "echo nothing to do");
    is_refused(&site, &["--csc", csc.to_str().unwrap()], 1, &["wrote no CustomPhoneGate.dll", "nothing to do"]);
    let csc = site.script("other", "touch CustomPhoneGate.dll");
    is_refused(&site, &["--csc", csc.to_str().unwrap()], 1, &["is not the compiled shim"]);
}

#[test]
fn a_folder_without_the_contract_is_refused() {
    let site = Site::new();
    fs::remove_file(site.contract()).unwrap();
    is_refused(&site, &[], 1, &["IPhoneServiceProvider", "4.5.202.0", "--service-dir"]);
}

#[test]
fn damaged_settings_are_refused() {
    let site = Site::new();
    fs::write(site.settings(), "<MfaSettings><LICENSE_KEY>hunter2</MfaSettings>").unwrap();
    let ran = is_refused(&site, &[], 2, &["MfaSettings.xml"]);
    assert!(!ran.all().contains(SECRET), "{}", ran.all());
    fs::remove_file(site.settings()).unwrap();
    is_refused(&site, &[], 2, &["there is no", "--service-dir"]);
}

#[test]
fn a_backend_that_is_down_is_refused_without_skip_check() {
    let site = Site::new();
    site.configure(&unreachable());
    is_refused(&site, &[], 1, &["backend `trunk`", "cannot be reached", "--skip-check"]);
    let ran = site.install(&["--skip-check"]).exits(0);
    assert!(ran.stderr.contains("no backend was asked"), "{}", ran.stderr);
    site.is_installed();
}

#[test]
fn an_incomplete_bundle_is_refused() {
    let site = Site::new();
    fs::remove_file(site.bundle().join("libphonegate.so")).unwrap();
    is_refused(&site, &[], 2, &["there is no", "libphonegate.so", "unpack the whole bundle"]);
    fs::write(site.bundle().join("libphonegate.so"), "no library").unwrap();
    is_refused(&site, &[], 1, &["cannot load"]);
}

#[test]
fn a_library_of_another_version_is_refused() {
    let site = Site::new();
    let source = site.bundle().join("other.c");
    fs::write(
        &source,
        "unsigned PhoneGateAbiVersion(void) { return 1; }\nconst char *PhoneGateVersion(void) { return \"9.8.7\"; }\n",
    )
    .unwrap();
    let library = site.bundle().join("libphonegate.so");
    fs::remove_file(&library).unwrap();
    let gcc = std::process::Command::new("gcc").args(["-shared", "-o"]).args([&library, &source]).status();
    assert!(gcc.expect("this test needs gcc: apt-get install gcc").success());
    is_refused(&site, &[], 2, &["is version 9.8.7, and this program", "unpack the whole bundle"]);
}

#[test]
fn a_state_folder_that_cannot_be_created_undoes_all() {
    let site = Site::new();
    fs::write(site.state().parent().unwrap(), "in the way").unwrap();
    is_refused(&site, &[], 1, &["state/phonegate"]);
}

#[test]
fn an_unsafe_state_folder_is_replaced() {
    let site = Site::new();
    fs::create_dir_all(site.state()).unwrap();
    fs::write(site.state().join("trap"), "").unwrap();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let ran = site.install(&[]).exits(0);
    assert!(
        ran.stdout.contains("rename it and create a new one, because the file's group and everybody can write to it")
    );
    assert_eq!(mode(&site.state()), 0o700);
    assert!(site.state().read_dir().unwrap().next().is_none(), "nothing of the old one is used");
    assert!(site.state().with_file_name("phonegate.not-trusted-1").join("trap").exists());
}

#[test]
fn an_unsafe_configured_log_folder_is_refused() {
    let site = Site::new();
    let logs = site.service().join("logs");
    fs::create_dir(&logs).unwrap();
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o777)).unwrap();
    let mut config = simulated(None, 0);
    config["log"] = json!({ "directory": "logs" });
    site.configure(&config);
    is_refused(&site, &[], 2, &["log.directory", "can write to it"]);
}

#[test]
fn check_warns_of_a_readable_secret_and_install_protects() {
    let site = site_with_every_step();
    let secret = site.service().join("trunk.txt");
    let mut check = site.check();
    assert!(Ran::from(check.output().unwrap()).exits(2).stderr.contains("there is no such file"));
    fs::copy(site.bundle().join("phonegate.json"), site.config()).unwrap();
    let warned = |ran: Ran| ran.exits(0).stderr.lines().filter(|line| line.contains("can read it")).count();
    assert_eq!(warned(site.check().output().unwrap().into()), 2, "the configuration and the secret");
    site.install(&[]).exits(0);
    assert_eq!((mode(&secret), mode(&site.config())), (0o600, 0o600));
    assert_eq!(fs::read_to_string(&secret).unwrap(), SECRET);
    assert_eq!(warned(site.check().output().unwrap().into()), 0);
}

#[test]
fn the_second_of_two_installs_at_once_is_refused() {
    let site = Site::new();
    let lock = fs::File::create(site.service().join("phonegate-install.lock")).unwrap();
    lock.lock().unwrap();
    let ran = site.install(&[]).exits(1);
    assert!(ran.stderr.contains("another process is installing"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    drop(lock);
    site.install(&[]).exits(0);
    site.is_installed();
}

#[test]
fn another_contract_causes_the_shim_to_be_recompiled() {
    let site = Site::new();
    site.install(&[]).exits(0);
    let before = site.files();
    site::mcs(&[
        "-target:library".to_owned(),
        "-define:OTHER_NUMBERS".to_owned(),
        format!("-out:{}", site.contract().display()),
        repository("shim/contract/PhoneServiceProvider.cs"),
    ]);
    let ran = site.install(&["--json"]).exits(0);
    assert_eq!((&ran.record("change")["step"], &ran.record("installed")["changed"]), (&json!("shim"), &json!(1)));
    assert!(site.files()["CustomPhoneGate.dll"] != before["CustomPhoneGate.dll"]);
    assert_eq!(site.backups().len(), 1);
}

#[test]
fn an_impossible_restart_is_reported_and_keeps_the_install() {
    let site = Site::new();
    let ran = site.install(&["--restart"]).exits(1);
    assert!(ran.stderr.contains("PhoneGate is installed, but MIM has not loaded it yet"), "{}", ran.stderr);
    site.is_installed();
}

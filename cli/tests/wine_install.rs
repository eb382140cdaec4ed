//! Tests `phonegate install` and `phonegate revert` on Windows, under Wine: the registered service, a loaded library, the
//! source of the Event Log, the restart. Wine's permissions are approximate: they show that other accounts have no
//! access, but not which accounts have it.

#[path = "support/site.rs"]
mod site;
mod support;
#[path = "../../tests/support/wine.rs"]
mod wine;
#[path = "support/wine_site.rs"]
mod wine_site;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use site::{SECRET, SETTINGS, mode};
use wine::{windows_build, windows_debug_build};
use wine_site::{CONFIG, SHIM, WineSite, records};

/// The steps of a whole install, in their order.
const STEPS: [&str; 9] =
    ["state_folder", "configuration", "schema", "tool", "library", "shim", "event_source", "backup", "settings"];

#[test]
fn install_a_second_install_and_revert_do_what_they_say() {
    let site = WineSite::new(&windows_build());
    let untouched = site.names();
    let ran = site.install(&["--dry-run"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(&format!("+  <CustomPhoneProvider>{SHIM}</CustomPhoneProvider>")), "{}", ran.stdout);
    assert!(!site.state().exists() && site.event_source().is_none() && site.names() == untouched);

    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in [
        r"C:\MIM\2010\Service (the folder of the registered service FIMService)",
        r"FIMService as .\",
        "Contoso.Contract, Version=0.0.0.0, PublicKeyToken=null for v2.0.50727",
        "phone: simulated",
    ] {
        assert!(ran.stdout.contains(words), "{words} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{ran:?}");
    site.is_installed();
    for path in [site.state(), site.service().join("phonegate.json")] {
        assert_eq!(mode(&path) & 0o007, 0, "{}", path.display());
    }

    let before = site.files();
    let ran = site.install(&["--json"]);
    assert_eq!(records(&ran).last().unwrap()["changed"], 0, "{ran:?}");
    assert!(site.files() == before);

    let ran = site.run(&["revert"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(site.settings(), SETTINGS);
    assert_eq!(site.event_source(), None);
    assert!(!site.names().iter().any(|name| name.ends_with("phonegate.dll") || name == "CustomPhoneGate.dll"));
    assert!(site.service().join("phonegate.json").exists() && site.state().exists());
    let ran = site.run(&["revert", "--purge"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!site.service().join("phonegate.json").exists() && !site.state().exists());
}

#[test]
fn a_failure_at_any_step_undoes_all_of_it() {
    let site = WineSite::new(&windows_debug_build());
    let before = site.files();
    for step in STEPS {
        for what in ["stage", "make"] {
            let ran = site.install_with(&["--skip-check"], &format!("install.fail={what} {step}"));
            assert_eq!(ran.code, Some(1), "{what} {step}: {ran:?}");
            assert!(ran.stderr.contains(&format!("fault injected: {what} {step}")), "{}", ran.stderr);
            assert!(site.files() == before, "{what} {step}: {:?}", site.names());
            assert!(!site.state().exists() && site.event_source().is_none(), "{what} {step}");
        }
    }
}

#[test]
fn an_install_killed_at_any_step_is_completed_by_the_next() {
    let build = windows_debug_build();
    for step in STEPS {
        let site = WineSite::new(&build);
        let ran = site.install_with(&["--skip-check"], &format!("install.end=make {step}"));
        assert_eq!(ran.code, Some(99), "{step}: {ran:?}");
        assert_eq!(site.settings(), SETTINGS, "{step}");
        let ran = site.install(&[]);
        assert_eq!(ran.code, Some(0), "{step}: {ran:?}");
        site.is_installed();
    }
}

#[test]
fn an_upgrade_killed_at_any_step_leaves_no_file_missing() {
    let site = WineSite::new(&windows_debug_build());
    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for step in ["schema", "tool", "library", "shim"] {
        for name in ["CustomPhoneGate.dll", "phonegate.dll", "phonegate.exe", "phonegate.schema.json"] {
            fs::write(site.service().join(name), "an older version").unwrap();
        }
        let before = site.names();
        let ran = site.install_with(&["--skip-check"], &format!("install.end=make {step}"));
        assert_eq!(ran.code, Some(99), "{step}: {ran:?}");
        let after = site.names();
        assert!(before.iter().all(|name| after.contains(name)), "{step}: {after:?}");
        let ran = site.install(&[]);
        assert_eq!(ran.code, Some(0), "{step}: {ran:?}");
        site.is_installed();
    }
}

#[test]
fn restart_loads_phonegate_and_a_revert_unloads_it() {
    let site = WineSite::new(&windows_build());
    let ran = site.install(&["--restart"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(site.service_log(), ["started with PhoneGate"]);
    assert!(ran.stderr.contains("FIMService is running"), "{}", ran.stderr);

    // The service has loaded the library, so an upgrade can only rename it.
    let bundled = site.bundle().join("phonegate.dll");
    let mut other = fs::read(&bundled).unwrap();
    other.extend(b"newer");
    fs::remove_file(&bundled).unwrap();
    fs::write(&bundled, other).unwrap();
    let ran = site.install(&["--trust-folder"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(site.service_log().len(), 1, "without --restart it runs on");
    let aside = || site.names().into_iter().filter(|name| name.contains("phonegate-old")).count();
    assert!(aside() > 0, "{:?}", site.names());

    let ran = site.install(&["--restart", "--trust-folder"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(site.service_log()[1..], ["stopped", "started with PhoneGate"]);
    assert_eq!(aside(), 0, "{:?}", site.names());
    site.is_installed();

    let ran = site.run(&["revert", "--restart"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(site.service_log()[3..], ["stopped", "started"]);
    assert_eq!(site.settings(), SETTINGS);
    assert!(!site.names().iter().any(|name| name.contains("phonegate.dll")), "{:?}", site.names());
}

#[test]
fn a_service_that_does_not_start_is_reported() {
    let site = WineSite::new(&windows_build());
    fs::write(site.service().join("broken.txt"), "").unwrap();
    let ran = site.install(&["--restart"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("PhoneGate is installed, but MIM has not loaded it yet: FIMService"), "{}", ran.stderr);
    fs::remove_file(site.service().join("broken.txt")).unwrap();
    site.is_installed();
}

#[test]
fn the_default_folder_is_used_without_a_service() {
    let usual = "Program Files/Microsoft Forefront Identity Manager/2010/Service";
    let site = WineSite::unregistered(&windows_build(), usual);
    let ran = site.install(&["--dry-run"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("2010\\Service (the default folder)"), "{}", ran.stdout);
    assert!(ran.stderr.contains("FIMService is not registered"), "{}", ran.stderr);
}

#[test]
fn a_machine_without_mim_is_reported() {
    let site = WineSite::unregistered(&windows_build(), "elsewhere");
    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("there is no folder") && ran.stderr.contains("--service-dir"), "{}", ran.stderr);
    let ran = site.install(&["--service-dir", r"C:\elsewhere", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn an_unsafe_state_folder_is_refused_and_replaced() {
    let site = WineSite::new(&windows_build());
    fs::create_dir(site.state()).unwrap();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(site.state().join("trap"), "").unwrap();
    let ran = site.run(&["check"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("can write to it; run `phonegate install`"), "{}", ran.stderr);

    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("rename it and create a new one"), "{}", ran.stdout);
    assert!(fs::read_dir(site.state()).unwrap().next().is_none());
    let ran = site.run(&["check"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_state_folder_of_another_account_is_replaced() {
    let site = WineSite::new(&windows_build());
    // Created before an install by an administrator, whom the service cannot distinguish from other users.
    let ran = site.run(&["check"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(site.state().is_dir());
    for account in [r"NT AUTHORITY\NETWORK SERVICE", "LocalSystem"] {
        site.run_as(account);
        // Wine's user also owns the folder of the service.
        let ran = site.install(&["--dry-run", "--trust-folder"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains(&format!("FIMService as {account}")), "{}", ran.stdout);
        let words = "rename it and create a new one, because it belongs to";
        assert!(ran.stdout.contains(words), "{account}: {}", ran.stdout);
    }
}

#[test]
fn without_configuration_only_a_starter_is_written() {
    let site = WineSite::new(&windows_build());
    fs::remove_file(site.bundle().join("phonegate.json")).unwrap();
    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("run install again"), "{}", ran.stdout);
    assert_eq!(site.settings(), SETTINGS);
    assert!(!site.service().join("phonegate.dll").exists() && site.event_source().is_none());
}

/// The library is not loaded.
#[test]
fn a_library_of_another_build_is_refused() {
    let site = WineSite::new(&windows_build());
    let before = site.names();
    let library = site.bundle().join("phonegate.dll");
    let mut other = fs::read(&library).unwrap();
    other.extend(b"appended");
    fs::remove_file(&library).unwrap();
    fs::write(&library, &other).unwrap();
    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("is not the library") && ran.stderr.contains("--trust-folder"), "{}", ran.stderr);
    assert_eq!(site.names(), before);
}

#[test]
fn folders_that_others_can_write_to_are_refused() {
    let site = WineSite::new(&windows_build());
    for folder in [site.bundle(), site.service()] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let ran = site.install(&[]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let words = ["can write to it", "--trust-folder"];
        assert!(words.iter().all(|words| ran.stderr.contains(words)), "{}", ran.stderr);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ran = site.install(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_server_with_only_net_framework_4_gets_a_shim() {
    let site = WineSite::new(&windows_build());
    site.with_clr_4_alone();
    let ran = site.run(&["install", "--allow-test-backends", "--config", CONFIG]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in [r"Framework64/v4.0.30319/csc.exe", "PublicKeyToken=null for v4.0.30319"] {
        assert!(ran.stdout.replace('\\', "/").contains(words), "{words} in {}", ran.stdout);
    }
    let shim = fs::read(site.service().join("CustomPhoneGate.dll")).unwrap();
    assert!(shim.windows(10).any(|bytes| bytes == b"v4.0.30319"));
}

/// A start of the service would warn of it, or be refused.
#[test]
fn a_strict_gate_refuses_a_writable_configuration() {
    let site = WineSite::new(&windows_build());
    let config = site.bundle().join("phonegate.json");
    let check = || site.run(&["check", "--config", CONFIG]);
    assert_eq!(check().code, Some(0));
    let text = fs::read_to_string(&config).unwrap();
    let strict = text.replacen('{', "{ \"strict_permissions\": true, ", 1);
    for (text, code) in [(text, 0), (strict, 2)] {
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
        let ran = check();
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains("can write to it"), "{}", ran.stderr);
    }
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = check();
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

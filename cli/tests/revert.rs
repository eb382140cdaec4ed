//! Tests `phonegate revert` on Linux.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;

use serde_json::json;
use site::{SETTINGS, Site};

/// Returns a site with an installation and a log.
fn installed() -> Site {
    let site = Site::new();
    site.install(&[]).exits(0);
    fs::write(site.state().join("phonegate.log"), "{}\n").unwrap();
    site
}

fn backup(site: &Site) -> String {
    site.names().into_iter().find(|name| name.contains("phonegate-backup")).unwrap()
}

/// Returns the names in the service's folder, without the backups.
fn names(site: &Site) -> Vec<String> {
    site.names().into_iter().filter(|name| !name.contains("phonegate-backup")).collect()
}

#[test]
fn a_revert_restores_the_settings_and_keeps_the_data() {
    let site = installed();
    let ran = site.revert(&[]).exits(0);
    assert!(ran.stdout.contains("as soon as FIMService is restarted"), "{}", ran.stdout);
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    assert_eq!(names(&site), ["Contoso.Contract.dll", "MfaSettings.xml", "phonegate.json"]);
    assert!(site.state().join("phonegate.log").exists());

    let before = site.everything();
    assert!(site.revert(&[]).exits(0).stdout.contains("There is nothing to revert"));
    assert!(site.everything() == before, "a second revert changes nothing");

    site.install(&[]).exits(0);
    site.is_installed();
}

#[test]
fn purge_removes_the_configuration_and_the_logs_too() {
    let site = installed();
    site.revert(&["--purge"]).exits(0);
    assert_eq!(names(&site), ["Contoso.Contract.dll", "MfaSettings.xml"]);
    assert!(!site.state().exists());
}

#[test]
fn purge_keeps_other_files_in_configured_folders() {
    let site = Site::new();
    let mut config = support::simulated(None, 0);
    config["log"] = json!({ "directory": "logs" });
    config["store"] = json!({ "path": "logs/calls.db" });
    site.configure(&config);
    site.install(&[]).exits(0);
    let logs = site.service().join("logs");
    for name in [
        "phonegate.log",
        "phonegate.log.1",
        "phonegate-tool.log",
        "calls.db",
        "calls.db-wal",
        "calls.db-shm",
        "calls.db.v1-backup-20260101T000000Z",
        "calls.db.v2-replaced-20260101T000000Z",
        "others.log",
    ] {
        fs::write(logs.join(name), "").unwrap();
    }
    site.revert(&["--purge"]).exits(0);
    let left: Vec<_> = logs.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["others.log"]);
}

#[test]
fn a_dry_run_shows_everything_and_changes_nothing() {
    let site = installed();
    let before = site.everything();
    let ran = site.revert(&["--dry-run", "--purge", "--json"]).exits(0);
    assert!(site.everything() == before);
    let changes: Vec<_> = ran.records().into_iter().filter(|record| record["event"] == "change").collect();
    let steps: Vec<_> = changes.iter().map(|change| change["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["settings", "remove", "remove", "remove", "remove", "purge", "purge"]);
    assert!(changes.iter().all(|change| change["done"] == false));
    let diff = ran.record("diff")["text"].as_str().unwrap().to_owned();
    assert!(diff.contains("-  <CustomPhoneProvider>") && diff.contains("+  <LICENSE_KEY>"), "{diff}");
    assert!(!ran.all().contains(site::SECRET), "{}", ran.all());
}

#[test]
fn backups_are_listed_and_the_named_one_is_restored() {
    let site = installed();
    let first = backup(&site);
    // Another entry was added since, so another install makes a second backup.
    let edited = site.settings_with_shim().replace("\r\n</", "\r\n  <LOCMFA>C:\\prompts</LOCMFA>\r\n</");
    fs::write(site.settings(), &edited).unwrap();
    site.install(&[]).exits(0);
    site.is_installed();
    assert_eq!(site.backups(), [SETTINGS, &edited], "no backup is ever overwritten");

    let listed = site.revert(&["--list", "--json"]).exits(0);
    let names: Vec<_> = listed.records().iter().map(|record| record["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((names.len(), &names[1]), (2, &first), "the newest first");
    assert_eq!(listed.records()[0]["provider"], json!(site.shim()));

    let before = site.everything();
    let ran = site.revert(&[]).exits(2);
    assert!(ran.stderr.contains("names PhoneGate itself"), "{}", ran.stderr);
    let ran = site.revert(&["--backup", "../elsewhere"]).exits(2);
    assert!(ran.stderr.contains("there is no backup ../elsewhere"), "{}", ran.stderr);
    assert!(site.everything() == before);

    site.revert(&["--backup", &first]).exits(0);
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    assert!(!site.shim().exists());
}

#[test]
fn without_a_backup_no_file_that_mim_loads_is_removed() {
    let site = installed();
    fs::remove_file(site.service().join(backup(&site))).unwrap();
    let before = site.everything();
    let ran = site.revert(&[]).exits(1);
    assert!(ran.stderr.contains("there is no backup of it") && ran.stderr.contains("by hand"), "{}", ran.stderr);
    assert!(site.everything() == before);
    // Edit it by hand, as the text says.
    fs::write(site.settings(), SETTINGS).unwrap();
    site.revert(&[]).exits(0);
    assert_eq!(site.names(), ["Contoso.Contract.dll", "MfaSettings.xml", "phonegate.json"]);
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let site = installed();
    fs::write(site.service().join(backup(&site)), "<MfaSettings>").unwrap();
    let before = site.everything();
    site.revert(&[]).exits(2);
    assert!(site.everything() == before);
}

#[test]
fn a_revert_also_runs_from_the_service_folder() {
    let site = installed();
    let mut revert = std::process::Command::new(site.service().join("phonegate"));
    revert.args(["revert", "--service-dir"]).arg(site.service());
    let ran = support::Ran::from(revert.env("XDG_STATE_HOME", site.state().parent().unwrap()).output().unwrap());
    ran.exits(0);
    assert_eq!(names(&site), ["Contoso.Contract.dll", "MfaSettings.xml", "phonegate.json"]);
}

#[test]
fn the_replaced_settings_are_kept_in_a_new_backup() {
    let site = installed();
    let edited = site.settings_with_shim().replace("of Contoso", "of Contoso, edited");
    fs::write(site.settings(), &edited).unwrap();
    site.revert(&[]).exits(0);
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    assert_eq!(site.backups(), [SETTINGS, &edited]);
}

#[test]
fn a_shim_named_by_another_path_is_not_removed_too_early() {
    let site = installed();
    let link = site.bundle().join("link");
    std::os::unix::fs::symlink(site.service(), &link).unwrap();
    let other = site.service().join("../Service/./CustomPhoneGate.dll");
    for path in [link.join("CustomPhoneGate.dll"), other] {
        let named = site.settings_with_shim().replace(site.shim().to_str().unwrap(), path.to_str().unwrap());
        assert_ne!(named, site.settings_with_shim());
        fs::write(site.settings(), named).unwrap();
        let ran: support::Ran = site.command(&["doctor", "--json"]).output().unwrap().into();
        assert!(ran.exits(0).stdout.contains(&format!("the provider is {}", path.display())));
        site.revert(&[]).exits(0);
        assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS, "{}", path.display());
        site.install(&[]).exits(0);
    }
}

#[test]
fn a_named_backup_is_restored_over_damaged_settings() {
    let site = installed();
    let damaged = "<MfaSettings><LICENSE_KEY>hunter2";
    fs::write(site.settings(), damaged).unwrap();
    let before = site.everything();
    let ran = site.revert(&[]).exits(2);
    assert!(ran.stderr.contains("--backup"), "{}", ran.stderr);
    assert!(site.everything() == before);
    let ran = site.revert(&["--backup", &backup(&site)]).exits(0);
    assert!(ran.stdout.contains("no diff: ") && !ran.all().contains(site::SECRET), "{}", ran.all());
    assert_eq!(fs::read_to_string(site.settings()).unwrap(), SETTINGS);
    assert_eq!(site.backups(), [SETTINGS, damaged]);
}

#[test]
fn purge_of_another_folder_keeps_the_machines_logs() {
    let (site, other) = (installed(), Site::new());
    let mut revert = other.command(&["revert", "--purge"]);
    let ran = revert.env("XDG_STATE_HOME", site.state().parent().unwrap()).output().unwrap();
    support::Ran::from(ran).exits(0);
    assert!(site.state().join("phonegate.log").exists());
}

#[test]
fn purge_reports_logs_that_it_cannot_find() {
    let site = installed();
    fs::write(site.config(), "{").unwrap();
    let ran = site.revert(&["--purge"]).exits(0);
    assert!(ran.stderr.contains("Logs and calls that it keeps elsewhere are not removed"), "{}", ran.stderr);
    assert!(!site.config().exists());
}

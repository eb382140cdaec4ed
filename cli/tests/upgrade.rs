//! Tests an upgrade that changes the schema of the call file, and the return to the older version. The newer version is
//! this one with a fault that adds a schema version.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use site::{Files, Site, mode};
use support::{NUMBER, Ran, Running, tool, wait_until};

const OTHER: &str = "+1 4255551313";

/// The fault that turns a program into the newer version.
const NEWER: &str = "store.next_schema";

const OLDER: &str = "";

/// Returns a site with an installation, a call and a block.
fn installed() -> Site {
    let site = Site::new();
    site.install(&[]).exits(0);
    call(&site, OLDER);
    run(&site, OLDER, &["blocks", "add", NUMBER]).exits(0);
    site
}

/// Returns a command of the installed tool.
fn command(site: &Site, version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(site.service().join("phonegate"));
    command.args(arguments).arg("--config").arg(site.config()).env_clear().env("PHONEGATE_FAULT", version);
    command.env("XDG_STATE_HOME", site.state().parent().unwrap());
    command
}

fn run(site: &Site, version: &str, arguments: &[&str]) -> Ran {
    command(site, version, arguments).output().unwrap().into()
}

/// Places a call that the store keeps, and returns its id.
fn call(site: &Site, version: &str) -> String {
    run(site, version, &["call", "--store", OTHER]).exits(0);
    let calls = run(site, version, &["calls", "--json"]).exits(0).records();
    calls.last().unwrap()["id"].as_str().unwrap().to_owned()
}

fn ids(site: &Site, version: &str) -> Vec<Value> {
    let calls = run(site, version, &["calls", "--json"]).exits(0).records();
    calls.iter().map(|call| call["id"].clone()).collect()
}

fn blocked(site: &Site, version: &str) -> Vec<Value> {
    let blocks = run(site, version, &["blocks", "list", "--json"]).exits(0).records();
    blocks.iter().map(|block| block["number"].clone()).collect()
}

fn revert(site: &Site, arguments: &[&str]) -> Ran {
    site.command(&["revert"]).args(arguments).env("PHONEGATE_FAULT", NEWER).output().unwrap().into()
}

/// Returns the files in the call file's folder with this in their names.
fn kept(site: &Site, mark: &str) -> Vec<PathBuf> {
    let files = site.state().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.to_str().unwrap().contains(mark)).collect();
    files.sort();
    files
}

fn sqlite3(file: &Path, sql: &str) -> String {
    let ran = tool("sqlite3", "sqlite3").arg(file).arg(sql).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// Returns all files except those that SQLite recreates at each access.
fn everything(site: &Site) -> Files {
    let mut all = site.everything();
    all.retain(|name, _| !name.ends_with("-wal") && !name.ends_with("-shm") && !name.ends_with(".lock"));
    all
}

/// Puts a library into the bundle that differs from the installed one.
fn newer_bundle(site: &Site) {
    let library = site.bundle().join("libphonegate.so");
    let mut bytes = fs::read(&library).unwrap();
    bytes.extend([0; 16]);
    fs::write(library, bytes).unwrap();
}

#[test]
fn install_copies_the_calls_before_their_schema_changes() {
    let site = installed();
    newer_bundle(&site);
    let before = everything(&site);
    let steps = |ran: &Ran| -> Vec<Value> {
        ran.records()
            .into_iter()
            .filter(|record| record["event"] == "change")
            .map(|change| change["step"].clone())
            .collect()
    };
    let planned = site.install_with(&["--dry-run", "--json"], NEWER).exits(0);
    assert_eq!(steps(&planned), ["calls", "library"]);
    assert!(planned.stdout.contains("before the new library upgrades them from schema version"), "{}", planned.stdout);
    assert!(everything(&site) == before);

    let failed = site.install_with(&["--json"], &format!("{NEWER},install.fail=make library")).exits(1);
    assert!(failed.stdout.contains("The changes were undone"), "{}", failed.stdout);
    assert!(everything(&site) == before, "the copy is removed again");

    let done = site.install_with(&["--json"], NEWER).exits(0);
    assert_eq!(steps(&done), ["calls", "library"]);
    let backups = kept(&site, "-backup-");
    assert_eq!((backups.len(), mode(&backups[0])), (1, 0o600), "{backups:?}");
    assert_eq!(sqlite3(&backups[0], "PRAGMA integrity_check; SELECT count(*) FROM attempts"), "ok\n1");
    let again = site.install_with(&["--json"], OLDER).exits(0);
    assert_eq!(steps(&again), Vec::<Value>::new(), "the same schema needs no copy");
}

#[test]
fn revert_restores_older_calls_and_keeps_the_newer_file() {
    let site = installed();
    let old = ids(&site, OLDER);
    newer_bundle(&site);
    site.install_with(&[], NEWER).exits(0);
    let new = call(&site, NEWER);
    run(&site, NEWER, &["blocks", "remove", NUMBER]).exits(0);
    run(&site, NEWER, &["blocks", "add", "+44 20 7946 0018"]).exits(0);
    let newer_blocks = blocked(&site, NEWER);
    assert_eq!(kept(&site, "-backup-").len(), 2, "of the install, and of the first start");

    let ran = run(&site, OLDER, &["calls"]).exits(1);
    assert!(ran.stderr.contains("written by a newer PhoneGate"), "{}", ran.stderr);
    let before = everything(&site);
    let refused = site.install(&[]).exits(2);
    assert!(refused.stderr.contains("revert --restore-calls"), "{}", refused.stderr);
    let planned = revert(&site, &["--restore-calls", "--dry-run", "--json"]).exits(0);
    assert_eq!(planned.record("only_newer")["id"], new);
    assert!(everything(&site) == before);

    let mut follow = command(&site, NEWER, &["calls", "--follow", "--json"]);
    let mut reader = Running::start(follow.stdout(std::process::Stdio::piped()));
    reader.read_until("\"call\"");
    let ran = revert(&site, &["--restore-calls"]).exits(1);
    assert!(ran.stderr.contains("is in use") && ran.stderr.contains("Nothing was changed"), "{}", ran.stderr);
    assert!(everything(&site) == before);
    drop(reader);

    let ran = revert(&site, &["--restore-calls"]).exits(0);
    assert!(ran.stdout.contains(&format!("only in the newer file: call {new} to +1******1313")), "{}", ran.stdout);
    assert!(ran.stdout.contains("Only the newer file has 1 calls"), "{}", ran.stdout);
    let replaced = kept(&site, "-replaced-");
    assert_eq!(replaced.len(), 1);
    assert_eq!(sqlite3(&replaced[0], "PRAGMA integrity_check; SELECT count(*) FROM attempts"), "ok\n2");
    assert_eq!(kept(&site, "-backup-").len(), 2, "the backups stay");
    assert_eq!(mode(&site.state().join("phonegate.db")), 0o600);

    site.install(&[]).exits(0);
    assert_eq!((ids(&site, OLDER), blocked(&site, OLDER)), (old, newer_blocks));
    call(&site, OLDER);
    revert(&site, &["--purge"]).exits(0);
    wait_until("all is gone", || !site.state().exists());
}

#[test]
fn a_revert_that_keeps_newer_calls_names_restore_calls() {
    let site = installed();
    let ran = revert(&site, &["--restore-calls"]).exits(1);
    assert!(ran.stderr.contains("with an older schema, so there is nothing to restore"), "{}", ran.stderr);
    call(&site, NEWER);
    let ran = revert(&site, &["--json"]).exits(0);
    let left = ran.record("left");
    assert!(left["text"].as_str().unwrap().contains("revert --restore-calls"), "{left}");
    // It also works after everything else was reverted.
    let ran = revert(&site, &["--restore-calls", "--json"]).exits(0);
    assert_eq!(ran.record("change")["step"], "calls");
    assert_eq!(ran.record("reverted")["changed"], 1);
}

//! The permissions of the files that a gate reads. A gate that other accounts could reconfigure warns at its start, or
//! does not start.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::config::{self, ConfigError};
use phonegate::gate::{Gate, LogTo};
use phonegate::registry::Registry;
use serde_json::{Value, json};
use support::EVENT_TIMEOUT;
use tempfile::TempDir;

/// `PHONEGATE_UNSAFE_PERMISSIONS` of the header.
const UNSAFE_PERMISSIONS: i32 = 25;

/// A configuration that names a file of each kind, in folders that only this user can change.
struct Place {
    root: TempDir,
}

impl Place {
    fn new(strict: bool) -> Self {
        let place = Self { root: tempfile::tempdir().unwrap() };
        let folder = place.path("conf");
        fs::create_dir_all(folder.join("recordings/en-US")).unwrap();
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for file in ["authorities.pem", "trunk.pem"] {
            fs::write(folder.join(file), authority.cert.pem()).unwrap();
        }
        fs::write(folder.join("number-key.txt"), "not-a-real-key".repeat(3)).unwrap();
        fs::write(folder.join("secret.txt"), "not-a-real-secret").unwrap();
        for prompt in ["intro", "press_pound", "not_you", "wrong_key", "verified", "fraud_reported", "goodbye"] {
            let recording = folder.join("recordings/en-US").join(format!("{prompt}.wav"));
            fs::copy(support::project_folder().join("prompts/en-US").join(format!("{prompt}.wav")), recording).unwrap();
        }
        let config = json!({
            "use": ["trunk"],
            "backends": { "trunk": {
                "type": "sip", "trunk": "sip:127.0.0.1", "username": "mim", "password": { "file": "secret.txt" },
                "ca_file": "trunk.pem", "local_peer": true
            } },
            "privacy": { "number_key": { "file": "number-key.txt" } },
            "numbers": { "default_country": "US" },
            "prompts": { "directory": "recordings" },
            "network": { "ca_file": "authorities.pem" },
            "store": { "type": "sqlite", "path": place.path("data/phonegate.db") },
            "log": { "directory": place.path("log") },
            "strict_permissions": strict
        });
        fs::write(folder.join("phonegate.json"), config.to_string()).unwrap();
        // An empty file is an empty store. Its folder must be private, or the store refuses it.
        fs::create_dir(place.path("data")).unwrap();
        place.set("data", 0o700);
        fs::write(place.path("data/phonegate.db"), "").unwrap();
        place.set("data/phonegate.db", 0o600);
        for path in ["conf", "conf/recordings", "conf/recordings/en-US"] {
            place.set(path, 0o755);
        }
        for path in ["phonegate.json", "secret.txt", "number-key.txt", "authorities.pem", "trunk.pem"] {
            place.set(&format!("conf/{path}"), 0o600);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn set(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn start(&self) -> Result<Gate, ConfigError> {
        let loaded = config::load(&self.path("conf/phonegate.json"), &phonegate::TYPES)?;
        let log_to = LogTo::file("phonegate.log");
        Gate::start(loaded, Arc::new(Registry::new(Duration::from_secs(1))), log_to)
    }

    /// The warnings of one start: their texts.
    fn warnings(&self) -> Vec<String> {
        let gate = self.start().unwrap();
        // The shutdown waits for the work that the gate's threads have begun.
        assert!(gate.shut_down(EVENT_TIMEOUT));
        let log = self.path("log/phonegate.log");
        let lines = fs::read_to_string(&log).unwrap();
        fs::remove_file(log).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: Vec<_> = lines.filter(|line| line["event"] == "unsafe_permissions").collect();
        assert!(found.iter().all(|line| line["level"] == "warn"), "{found:?}");
        found.iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    }
}

/// A path that others may change, the mode that allows it, and the text of the warning.
const FAULTS: [(&str, u32, &str); 13] = [
    ("conf/phonegate.json", 0o602, "everybody can write to it"),
    ("conf/phonegate.json", 0o620, "the file's group can write to it"),
    ("conf", 0o777, "everybody can write to it"),
    ("conf/secret.txt", 0o602, "everybody can write to it"),
    ("conf/number-key.txt", 0o602, "everybody can write to it"),
    ("conf/trunk.pem", 0o602, "everybody can write to it"),
    ("conf/authorities.pem", 0o622, "the file's group and everybody can write to it"),
    // Others could add an approved call.
    ("data/phonegate.db", 0o602, "everybody can write to it"),
    ("data/phonegate.db", 0o620, "the file's group can write to it"),
    ("conf/recordings", 0o777, "everybody can write to it"),
    // Others could add a language.
    ("conf/recordings", 0o1777, "everybody can write to it"),
    ("conf/recordings/en-US", 0o1777, "everybody can write to it"),
    ("conf/recordings/en-US/intro.wav", 0o666, "everybody can write to it"),
];

#[test]
fn a_start_warns_of_files_that_others_can_change() {
    let place = Place::new(false);
    assert_eq!(place.warnings(), [""; 0]);
    for (name, mode, why) in FAULTS {
        let right = fs::metadata(place.path(name)).unwrap().permissions();
        place.set(name, mode);
        let warnings = place.warnings();
        let path = place.path(name).display().to_string();
        let names_it = |text: &String| text.contains(&format!("{path}: ")) && text.contains(why);
        assert!(warnings.iter().any(names_it), "{name} {mode:o}: {warnings:?}");
        fs::set_permissions(place.path(name), right).unwrap();
    }
    assert_eq!(place.warnings(), [""; 0]);
}

#[test]
fn strict_permissions_refuse_files_that_others_can_change() {
    let place = Place::new(true);
    for (name, mode, why) in FAULTS {
        let right = fs::metadata(place.path(name)).unwrap().permissions();
        place.set(name, mode);
        let error = place.start().err().unwrap_or_else(|| panic!("{name} {mode:o}: the gate starts"));
        let text = error.to_string();
        for words in ["strict_permissions: ", &format!("{}: ", place.path(name).display()), why] {
            assert!(text.contains(words), "{name} {mode:o}: {words} in {text}");
        }
        assert_eq!(error.kind() as i32, UNSAFE_PERMISSIONS);
        fs::set_permissions(place.path(name), right).unwrap();
    }
    assert!(place.start().unwrap().shut_down(EVENT_TIMEOUT));
}

/// In such a folder, no account can rename or remove the files of another, and the files there belong to this user.
#[test]
fn a_world_writable_folder_is_safe_only_if_sticky() {
    let place = Place::new(true);
    for (mode, starts) in [(0o1777, true), (0o777, false), (0o1770, true), (0o770, false)] {
        for folder in ["", "conf"] {
            let right = fs::metadata(place.path(folder)).unwrap().permissions();
            place.set(folder, mode);
            assert_eq!(place.start().map(|gate| gate.shut_down(EVENT_TIMEOUT)).is_ok(), starts, "{folder:?} {mode:o}");
            fs::set_permissions(place.path(folder), right).unwrap();
        }
    }
}

/// The owner of a file can change it, whatever its mode; the owner of a link decides which file is read.
#[test]
fn a_file_of_another_user_is_not_safe() {
    let place = Place::new(true);
    let give_away = |path: &Path| {
        std::os::unix::fs::lchown(path, Some(65_534), None)
            .expect("this test gives a file to another user: run it as root, as in .devcontainer");
    };
    give_away(&place.path("conf/secret.txt"));
    let error = place.start().err().unwrap().to_string();
    assert!(error.contains("secret.txt: it belongs to user 65534"), "{error}");

    let place = Place::new(true);
    fs::rename(place.path("conf/secret.txt"), place.path("real.txt")).unwrap();
    std::os::unix::fs::symlink("../real.txt", place.path("conf/secret.txt")).unwrap();
    assert!(place.start().unwrap().shut_down(EVENT_TIMEOUT));
    give_away(&place.path("conf/secret.txt"));
    let error = place.start().err().unwrap().to_string();
    assert!(error.contains("conf/secret.txt: it belongs to user 65534"), "{error}");
}

/// A link to a file is as safe as the folder that the file is in.
#[test]
fn the_folder_behind_a_link_counts() {
    let place = Place::new(true);
    let other = place.path("other");
    fs::create_dir(&other).unwrap();
    fs::rename(place.path("conf/secret.txt"), other.join("real.txt")).unwrap();
    std::os::unix::fs::symlink("../other/real.txt", place.path("conf/secret.txt")).unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o777)).unwrap();
    let error = place.start().err().unwrap().to_string();
    assert!(error.contains(&format!("{}: the file's group and everybody can write to it", other.display())), "{error}");
}

/// Others who can replace a link between the named one and the file decide what is read.
#[test]
fn every_link_on_the_way_to_a_file_counts() {
    let place = Place::new(true);
    for folder in ["open", "safe"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    fs::rename(place.path("conf/secret.txt"), place.path("safe/real.txt")).unwrap();
    std::os::unix::fs::symlink("../safe/real.txt", place.path("open/hop.txt")).unwrap();
    std::os::unix::fs::symlink("../safe", place.path("open/folder")).unwrap();
    for target in ["../open/hop.txt", "../open/folder/real.txt"] {
        std::os::unix::fs::symlink(target, place.path("conf/secret.txt")).unwrap();
        place.set("open", 0o755);
        assert!(place.start().unwrap().shut_down(EVENT_TIMEOUT), "{target}: no other account can change a link");
        place.set("open", 0o777);
        let error = place.start().err().unwrap_or_else(|| panic!("{target}: the gate starts")).to_string();
        let open = place.path("open");
        let expected = format!("{}: the file's group and everybody can write to it", open.display());
        assert!(error.contains(&expected), "{target}: {error}");
        fs::remove_file(place.path("conf/secret.txt")).unwrap();
    }
}

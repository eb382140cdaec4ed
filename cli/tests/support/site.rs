//! A machine with Microsoft Identity Manager for tests: the folder of its service, with `MfaSettings.xml` and a contract
//! assembly, and an unpacked bundle of PhoneGate.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::ports::unused_address;
use crate::support::{Ran, simulated};

/// The settings of a server that used Azure MFA, with parts that an edit must keep and secrets that must not be shown.
pub const SETTINGS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- of Contoso -->\r\n<MfaSettings>\r\n  \
     <LICENSE_KEY>hunter2-licence</LICENSE_KEY>\r\n  <CERT_PASSWORD>hunter2-password</CERT_PASSWORD>\r\n</MfaSettings>\r\n";
pub const SECRET: &str = "hunter2";

/// The steps of a complete install, in order.
pub const STEPS: [&str; 9] =
    ["state_folder", "configuration", "permissions", "schema", "tool", "library", "shim", "backup", "settings"];

/// The files of a folder and its subfolders, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

pub struct Site {
    root: TempDir,
}

impl Site {
    /// Creates a site without an installation. The bundle has a configuration of a simulated phone.
    pub fn new() -> Self {
        let site = Self::without_configuration();
        site.configure(&simulated(None, 0));
        site
    }

    pub fn without_configuration() -> Self {
        let site = Self { root: tempfile::tempdir().unwrap() };
        for folder in [site.service(), site.bundle(), site.root.path().join("temp")] {
            fs::create_dir(folder).unwrap();
        }
        fs::set_permissions(site.service(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(site.settings(), SETTINGS).unwrap();
        mcs(&[
            "-target:library".to_owned(),
            format!("-out:{}", site.contract().display()),
            repository("shim/contract/PhoneServiceProvider.cs"),
        ]);
        let tool = PathBuf::from(env!("CARGO_BIN_EXE_phonegate"));
        let library = tool.with_file_name("libphonegate.so");
        assert!(library.exists(), "{} does not exist: cargo build --workspace --lib", library.display());
        fs::copy(&tool, site.bundle().join("phonegate")).unwrap();
        fs::copy(&library, site.bundle().join("libphonegate.so")).unwrap();
        site.script("csc", "exec mcs -sdk:2 -langversion:3 \"$@\"");
        site
    }

    /// Writes the configuration in the bundle.
    pub fn configure(&self, config: &Value) {
        fs::write(self.bundle().join("phonegate.json"), config.to_string()).unwrap();
    }

    pub fn service(&self) -> PathBuf {
        self.root.path().join("Service")
    }

    pub fn bundle(&self) -> PathBuf {
        self.root.path().join("bundle")
    }

    /// Returns the folder for logs and state.
    pub fn state(&self) -> PathBuf {
        self.root.path().join("state/phonegate")
    }

    pub fn settings(&self) -> PathBuf {
        self.service().join("MfaSettings.xml")
    }

    pub fn contract(&self) -> PathBuf {
        self.service().join("Contoso.Contract.dll")
    }

    pub fn shim(&self) -> PathBuf {
        self.service().join("CustomPhoneGate.dll")
    }

    pub fn config(&self) -> PathBuf {
        self.service().join("phonegate.json")
    }

    /// Creates a program: a shell script.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Returns a command of the bundle's tool for this service folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.bundle().join("phonegate"));
        command
            .args(arguments)
            .arg("--service-dir")
            .arg(self.service())
            .current_dir(self.root.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("XDG_STATE_HOME", self.root.path().join("state"))
            .env("TMPDIR", self.root.path().join("temp"));
        command
    }

    /// Installs with further arguments.
    pub fn install(&self, arguments: &[&str]) -> Ran {
        self.install_with(arguments, "")
    }

    /// Installs with further arguments, and a fault.
    pub fn install_with(&self, arguments: &[&str], fault: &str) -> Ran {
        let mut command = self.command(&["install"]);
        if !arguments.contains(&"--csc") {
            command.arg("--csc").arg(self.root.path().join("csc"));
        }
        let config = self.bundle().join("phonegate.json");
        if !self.config().exists() && config.exists() && !arguments.contains(&"--config") {
            command.arg("--config").arg(config);
        }
        // Without these options, install refuses the simulated phone and the library of a developer's build.
        command
            .args(["--allow-test-backends", "--trust-folder"])
            .args(arguments)
            .env("PHONEGATE_FAULT", fault)
            .output()
            .unwrap()
            .into()
    }

    pub fn revert(&self, arguments: &[&str]) -> Ran {
        self.command(&["revert"]).args(arguments).output().unwrap().into()
    }

    /// Returns `phonegate check` for the configuration in the service's folder.
    pub fn check(&self) -> Command {
        let mut command = Command::new(self.bundle().join("phonegate"));
        command.args(["check", "--config"]).arg(self.config()).env_clear();
        command.env("XDG_STATE_HOME", self.root.path().join("state"));
        command
    }

    /// Returns the files in the service's folder.
    pub fn files(&self) -> Files {
        files(&self.service())
    }

    /// Returns the names in the service's folder.
    pub fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    /// Returns all files that an install may change.
    pub fn everything(&self) -> Files {
        let mut all = files(self.root.path());
        all.retain(|name, _| !name.starts_with("bundle/"));
        all
    }

    /// Asserts that the installation is complete and has no other files.
    #[track_caller]
    pub fn is_installed(&self) {
        let mut names = self.names();
        names.retain(|name| !name.starts_with("MfaSettings.xml.phonegate-backup-") && name != "trunk.txt");
        let expected = [
            "Contoso.Contract.dll",
            "CustomPhoneGate.dll",
            "MfaSettings.xml",
            "libphonegate.so",
            "phonegate",
            "phonegate.json",
            "phonegate.schema.json",
        ];
        assert_eq!(names, expected);
        assert_eq!(fs::read_to_string(self.settings()).unwrap(), self.settings_with_shim());
        for (name, of_bundle) in [("phonegate", "phonegate"), ("libphonegate.so", "libphonegate.so")] {
            assert!(fs::read(self.service().join(name)).unwrap() == fs::read(self.bundle().join(of_bundle)).unwrap());
        }
    }

    /// Returns the settings as install writes them.
    pub fn settings_with_shim(&self) -> String {
        settings_with(self.shim().to_str().unwrap())
    }

    /// Returns the contents of the backups, the oldest first.
    pub fn backups(&self) -> Vec<String> {
        let names = self.names().into_iter().filter(|name| name.contains("phonegate-backup"));
        names.map(|name| fs::read_to_string(self.service().join(name)).unwrap()).collect()
    }
}

/// Returns the settings with only this provider.
pub fn settings_with(shim: &str) -> String {
    let start = SETTINGS.find("<LICENSE_KEY>").unwrap();
    let end = SETTINGS.find("\r\n</MfaSettings>").unwrap();
    format!("{}<CustomPhoneProvider>{shim}</CustomPhoneProvider>{}", &SETTINGS[..start], &SETTINGS[end..])
}

/// Returns a configuration whose backend cannot be reached.
pub fn unreachable() -> Value {
    let mut config = simulated(None, 0);
    config["use"] = json!(["trunk"]);
    config["allow_test_backends"] = json!(false);
    let uri = format!("sip:{};transport=tcp", unused_address());
    config["backends"] = json!({ "trunk": { "type": "sip", "trunk": uri, "local_peer": true } });
    config
}

/// Compiles for the runtime that MIM's service uses.
pub fn mcs(arguments: &[String]) {
    let ran = Command::new("mcs").args(["-sdk:2", "-langversion:3", "-nologo"]).args(arguments).output();
    let ran = ran.expect("this test needs mcs: apt-get install mono-mcs mono-devel");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

/// Returns the path of a file of the repository.
pub fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name + "/", format!("{:o}", mode(&path)).into_bytes());
                folders.push(path);
            } else {
                let mut contents = fs::read(&path).unwrap();
                contents.extend(format!("\nmode {:o}", mode(&path)).into_bytes());
                found.insert(name, contents);
            }
        }
    }
    found
}

//! What a store holds, as the built tool and `sqlite3` read it, each in a process of its own.
//!
//! A test that has loaded the library must not open the library's database itself: the test has a copy of SQLite of its
//! own, and when one copy closes the file, the locks of the other are gone (`support::abi::uses_no_sqlite_itself`).

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The tool, built by `make build`.
pub fn built_tool() -> PathBuf {
    let path = super::target_folder().join("debug/phonegate");
    assert!(path.exists(), "{} does not exist; run `make build` first, as `make test` does", path.display());
    path
}

/// The store of one configuration.
pub struct Calls {
    config: PathBuf,
}

impl Calls {
    /// The store that this file configures.
    pub fn of(config: &Path) -> Self {
        Self { config: config.to_owned() }
    }

    /// The tool with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(built_tool());
        command.arg("--config").arg(&self.config).args(arguments);
        command
    }

    /// The JSON lines of a command, which succeeds.
    pub fn records(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.command(arguments).arg("--json").output().unwrap();
        let [stdout, stderr] = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(ran.status.success(), "phonegate {arguments:?}: {}\n{stdout}{stderr}", ran.status);
        stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// How often a call was placed, in all attempts of its id. Zero if the store does not know it.
    pub fn placed(&self, id: &CStr) -> usize {
        let id = id.to_str().unwrap();
        if self.records(&["calls", "--id", id]).is_empty() {
            return 0;
        }
        self.records(&["calls", "show", id]).iter().filter(|record| record["step"] == "placed").count()
    }

    /// The keys of the numbers on the block list.
    pub fn blocked(&self) -> Vec<String> {
        let blocks = self.records(&["blocks", "list"]);
        blocks.iter().map(|block| block["number_hash"].as_str().unwrap().to_owned()).collect()
    }
}

/// What `sqlite3` prints for some SQL, on a file that is there.
pub fn sqlite3(file: &Path, sql: &str) -> String {
    assert!(file.exists(), "{} exists", file.display());
    let mut command = super::tool("sqlite3", "sqlite3");
    let ran = command.args(["-bail", "-cmd", ".timeout 20000"]).arg(file).arg(sql).output().unwrap();
    let [stdout, stderr] = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(ran.status.success(), "{}: {stdout}{stderr}", file.display());
    stdout
}

/// Checks that a database is not damaged.
#[track_caller]
pub fn is_intact(file: &Path) {
    assert_eq!(sqlite3(file, "PRAGMA integrity_check"), "ok\n", "{}", file.display());
}

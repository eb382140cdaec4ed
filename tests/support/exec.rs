//! A program that places calls as a plan says, in a folder of its own: `exec/place_call.py`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::project_folder;

/// The interpreter. Only root can change it.
pub const PYTHON: &str = "/usr/bin/python3";

/// The program and its folder.
pub struct Program {
    folder: TempDir,
}

impl Program {
    /// The program with this plan: a list of steps.
    pub fn new(plan: &Value) -> Self {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        let source = project_folder().join("tests/support/exec/place_call.py");
        fs::write(program.script(), fs::read(source).unwrap()).unwrap();
        fs::set_permissions(program.script(), Permissions::from_mode(0o600)).unwrap();
        program.plan(plan);
        program.plan_check(&json!([{ "say": { "event": "ready", "text": "2 lines" } }]));
        program
    }

    /// The settings of its backend.
    pub fn settings(&self) -> Value {
        assert!(Path::new(PYTHON).exists(), "this test needs {PYTHON}: apt-get install python3-minimal");
        json!({
            "type": "exec", "program": PYTHON, "arguments": ["-I"], "script": self.script(), "supports_check": true
        })
    }

    /// The settings with further ones.
    pub fn settings_with(&self, more: Value) -> Value {
        let mut settings = self.settings();
        settings.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        settings
    }

    pub fn script(&self) -> PathBuf {
        self.path("place_call.py")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets the plan of the calls that are placed next.
    pub fn plan(&self, plan: &Value) {
        fs::write(self.path("plan.json"), plan.to_string()).unwrap();
    }

    /// Sets the plan of the next checks.
    pub fn plan_check(&self, plan: &Value) {
        fs::write(self.path("check.json"), plan.to_string()).unwrap();
    }

    /// Lets the user answer: `right`, `wrong` or `garbled`. Nothing: the user does not answer.
    pub fn answer(&self, answer: &str) {
        // Renamed, so that the program never reads a part of it.
        fs::write(self.path("new"), answer).unwrap();
        fs::rename(self.path("new"), self.path("answer")).unwrap();
    }

    /// The lines of a file that the program keeps.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The inputs of the calls so far.
    pub fn calls(&self) -> Vec<Value> {
        self.lines("calls").iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What each start found: its process, arguments, environment, folder and open files.
    pub fn starts(&self) -> Vec<Value> {
        self.lines("started").iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Whether no process of the program is left, and none of its children.
    pub fn is_gone(&self) -> bool {
        let programs = self.starts().into_iter().map(|start| start["pid"].to_string());
        // The children of a killed program are those of another process, which may not have reaped them yet.
        programs.into_iter().all(|id| !Path::new("/proc").join(id).exists())
            && self.lines("children").iter().all(|id| !is_running(id))
    }
}

/// Whether a process runs, and is not a zombie.
pub fn is_running(id: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(id).join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
}

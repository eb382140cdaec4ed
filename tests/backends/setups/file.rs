//! The scenarios of the file of calls.

use std::fs;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::play;
use crate::references::Rig;
use crate::support::{self, gate::TestGate};
use crate::{Scenario, Setup};

pub fn setup(scenario: Scenario) -> Setup {
    let backend = json!({ "type": "file", "path": "phone.txt" });
    let edited = |by: fn(&str) -> String, reason: Option<FailureReason>| {
        let then = Box::new(move |gate: &TestGate| {
            let path = gate.folder().join("phone.txt");
            let text = || fs::read_to_string(&path).unwrap_or_default();
            support::wait_until("the call has a line", || text().ends_with('\n'));
            fs::write(&path, by(&text())).unwrap();
        });
        Setup::Play { backend: backend.clone(), then, reason }
    };
    match scenario {
        Scenario::Verified => edited(|text| text.replace(";0;", ";1;"), None),
        Scenario::MalformedReply => edited(|text| text.replace(";0;", ";yes;"), Some(FailureReason::CannotPlace)),
        Scenario::LostWhileFollowing => edited(|_| String::new(), Some(FailureReason::CannotPlace)),
        Scenario::LostWhilePlacing => play(json!({ "type": "file", "path": "." }), FailureReason::CannotPlace),
        Scenario::Deadline => play(backend, FailureReason::DeadlinePassed),
        Scenario::WrongKey | Scenario::NoKey | Scenario::Busy | Scenario::NoAnswer | Scenario::HungUpByTheUser => {
            Setup::Cannot("the file knows only yes and no")
        }
        Scenario::BadNumber | Scenario::RefusedCredentials | Scenario::RateLimited => {
            Setup::Cannot("there is no provider that could refuse")
        }
        Scenario::SlowReply => Setup::Cannot("an answer may take any time"),
    }
}

pub fn rig() -> Box<dyn Rig> {
    Box::new(tempfile::tempdir().unwrap())
}

impl Rig for TempDir {
    fn settings(&self) -> Value {
        json!({ "type": "file", "path": self.path().join("phone.txt") })
    }

    fn answer(&self, approved: bool) {
        let path = self.path().join("phone.txt");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace(";0;", if approved { ";1;" } else { ";2;" })).unwrap();
    }

    fn garble_replies(&self) -> bool {
        false
    }

    fn hung_up_calls(&self) -> usize {
        0
    }

    fn placed_calls(&self) -> usize {
        fs::read_dir(self.path()).unwrap().count()
    }
}

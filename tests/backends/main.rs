//! The conformance suite: every backend goes through the same scenarios, through a running gate, and keeps the same rules
//! about its references. The rules are those of [`phonegate::backend::TelephonyBackend`]. A new backend gets all of it by
//! a line in [`BACKENDS`].

mod modem_bank;
mod references;
mod setups;
mod simulated_pins;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use phonegate::call::{CallStatus, FailureReason};
use phonegate::config::Types;
use serde_json::{Value, json};

use references::Rig;
use support::gate::{TestGate, id};

/// A backend in this suite.
struct Tested {
    name: &'static str,
    /// The table of backend types that contains its type.
    types: Types,
    setup: fn(Scenario) -> Setup,
    /// `None`: its references have tests of their own.
    rig: Option<fn() -> Box<dyn Rig>>,
}

const BACKENDS: &[Tested] = &[
    Tested {
        name: "simulated",
        types: phonegate::TYPES,
        setup: setups::simulated::setup,
        rig: Some(setups::simulated::rig),
    },
    Tested { name: "file", types: phonegate::TYPES, setup: setups::file::setup, rig: Some(setups::file::rig) },
    Tested {
        name: "twilio_studio",
        types: phonegate::TYPES,
        setup: setups::twilio_studio::setup,
        rig: Some(setups::twilio_studio::rig),
    },
    Tested { name: "sip", types: phonegate::TYPES, setup: setups::sip::setup, rig: None },
    Tested { name: "exec", types: phonegate::TYPES, setup: setups::exec::setup, rig: Some(setups::exec::rig) },
    Tested { name: "http", types: phonegate::TYPES, setup: setups::http::setup, rig: Some(setups::http::rig) },
    // The example of CONTRIBUTING.md.
    Tested {
        name: "modem_bank",
        types: modem_bank::TYPES,
        setup: setups::modem_bank::setup,
        rig: Some(setups::modem_bank::rig),
    },
];

impl Tested {
    fn is_for_tests(&self) -> bool {
        self.types.backends.iter().any(|kind| kind.name() == self.name && kind.is_for_tests())
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scenario {
    Verified,
    WrongKey,
    NoKey,
    Busy,
    NoAnswer,
    HungUpByTheUser,
    BadNumber,
    RefusedCredentials,
    RateLimited,
    MalformedReply,
    SlowReply,
    LostWhilePlacing,
    LostWhileFollowing,
    Deadline,
}

/// How one backend is set up for a scenario.
enum Setup {
    /// The settings of the backend, what is done once the call is on its way, and the reason of the call's failure. `None`:
    /// the call is verified.
    Play { backend: Value, then: Box<dyn Fn(&TestGate)>, reason: Option<FailureReason> },
    /// Why the scenario cannot happen to the backend.
    Cannot(&'static str),
}

/// Lets every backend go through the scenario.
fn play_scenario(scenario: Scenario) {
    let mut played = 0;
    for tested in BACKENDS {
        let name = tested.name;
        let (backend, then, reason) = match (tested.setup)(scenario) {
            Setup::Play { backend, then, reason } => (backend, then, reason),
            Setup::Cannot(why) => {
                println!("{name}: {why}");
                continue;
            }
        };
        let deadline_s = if scenario == Scenario::Deadline { 4 } else { 60 };
        let gate = TestGate::start_of(
            &tested.types,
            json!({
                "use": ["only"],
                "allow_test_backends": tested.is_for_tests(),
                "backends": { "only": backend },
                "call": { "deadline_s": deadline_s },
                "prompts": support::sip::prompts(),
            }),
        );
        gate.initiate(id(1), "+1 4255551212");
        then(&gate);
        let (status, text) = gate.ends(id(1));
        let expected = if reason.is_none() { CallStatus::Success } else { CallStatus::Failed };
        assert_eq!(status, expected, "{name}: {text}");
        let failure = gate.snapshot(id(1)).failure;
        assert_eq!(failure.map(|failure| failure.reason()), reason, "{name}: {text}");
        assert_eq!(text.is_empty(), reason.is_none(), "{name}: a failure has a text");
        // The text of the file is a person's.
        if let Some(reason) = reason.filter(|_| name != "file") {
            assert!(text.ends_with(&format!(" ({reason})")), "{name}: the text ends with the reason's code: {text}");
        }
        // A time and an attempt may contain any digits.
        let texts = gate.end().into_iter().flat_map(|line| match line {
            Value::Object(line) => line.into_iter().filter(|(key, _)| key != "time" && key != "attempt"),
            other => panic!("{other}"),
        });
        for (key, text) in texts {
            assert!(!text.to_string().contains("555121"), "{name}: no number in the log: {key} {text}");
        }
        played += 1;
    }
    assert!(played > 0);
}

#[test]
fn every_type_of_backend_is_in_the_suite() {
    let known: BTreeSet<_> = phonegate::TYPES.backends.iter().map(|kind| kind.name()).collect();
    let tested: BTreeSet<_> = BACKENDS.iter().map(|tested| tested.name).filter(|name| *name != "modem_bank").collect();
    assert_eq!(known, tested, "a new backend needs a line in BACKENDS");
    let without_rig: Vec<_> = BACKENDS.iter().filter(|tested| tested.rig.is_none()).map(|tested| tested.name).collect();
    assert_eq!(without_rig, ["sip"], "a new backend needs a rig");
}

macro_rules! scenarios {
    ($($test:ident: $scenario:ident,)*) => {
        $(#[test]
        fn $test() {
            play_scenario(Scenario::$scenario);
        })*
    };
}

scenarios! {
    // B8.
    the_right_key_verifies: Verified,
    another_key_is_a_wrong_key: WrongKey,
    // B9: a call that is not approved fails, with its reason.
    no_key_is_no_key_pressed: NoKey,
    a_busy_phone_is_unreachable: Busy,
    an_unanswered_phone_is_unreachable: NoAnswer,
    hanging_up_without_a_key_ends_the_call: HungUpByTheUser,
    // B9, B10 and B20.
    a_number_that_the_provider_refuses_is_invalid: BadNumber,
    refused_credentials_are_not_configured: RefusedCredentials,
    a_provider_that_limits_the_rate_throttles: RateLimited,
    a_malformed_reply_never_verifies: MalformedReply,
    // B16.
    a_slow_reply_is_waited_for: SlowReply,
    a_connection_lost_while_placing_fails_the_call: LostWhilePlacing,
    a_lost_connection_never_decides_an_outcome: LostWhileFollowing,
    // B14 and B17.
    the_deadline_ends_a_call_without_an_outcome: Deadline,
}

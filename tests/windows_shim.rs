//! The whole chain on Windows: a C# host in Microsoft's .NET under Wine, the shim compiled for CLR 2, and the Windows DLL.
//! Runs the scenarios of shim.rs, and those of Windows only.

mod mim_host;
mod support;

use std::fs;

use mim_host::scenarios::{self, gate_of, number, one_call};
use mim_host::{Mim, Numbers};
use serde_json::Value;
use support::wine::windows_debug_build;

scenarios::test_all!(Mim::on_windows);

#[test]
fn a_panic_in_the_library_fails_the_call_but_not_the_host() {
    let defect = "A defect in PhoneGate; see its log. (Internal)";
    let ended = "A defect in PhoneGate ended the call; see its log. (Internal)";
    let mim = gate_of(Mim::on_windows(Numbers::Listed), &windows_debug_build().dll, 1);
    let numbers: Vec<_> = (0..7).map(number).collect();
    let run = mim.run(&[&["faults"], &numbers.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let faults = run.of("fault");
    for (fault, place, status, message) in [
        (0, "backend.place", "Failed", ended),
        (1, "backend.follow", "Failed", ended),
        (2, "gate.initiate", "Failed", defect),
        (3, "export.InitiateCall", "Failed", defect),
        // The calls succeeded: only these queries failed.
        (4, "export.GetCallStatus", "Failed", "The call has not failed"),
        (5, "export.GetFailureMessage", "Success", "PhoneGate cannot explain the failure (result 99)."),
    ] {
        assert_eq!(faults[fault][..2], [place, status], "is it a debug build?");
        assert!(faults[fault][2].starts_with(message), "{place}: {}", faults[fault][2]);
    }
    assert_eq!(run.code, Some(0), "after each the next call is verified");
    assert_eq!(run.stderr, "");
    let log = fs::read_to_string(mim.log_folder().join("phonegate.log")).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let defects = events.filter(|line| line["event"] == "defect").count();
    assert!(defects >= 6, "{log}");
}

#[test]
fn a_library_that_refuses_to_load_fails_closed() {
    let mim = Mim::on_windows(Numbers::Listed).fake(&["-DREFUSES_TO_START", "-DSTATUS=PHONEGATE_SUCCESS"]);
    let run = mim.place("calls", &one_call("Failed"), &[]);
    assert_eq!(run.code, Some(0));
    let (_, message) = run.only_call();
    // ERROR_DLL_INIT_FAILED
    assert!(message.contains("error 1114") && message.contains("phonegate.dll"), "{message}");
}

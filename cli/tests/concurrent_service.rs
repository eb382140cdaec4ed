//! What calls of `phonegate call --store` promise beside a service with the same store and the same telephone.

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../../tests/support/gate.rs"]
mod gate;
mod support;

use std::thread;

use gate::{TestGate, id};
use phonegate::call::{CallId, CallStatus};
use phonegate::store::{LEASE, RENEW_EVERY};
use serde_json::{Value, json};
use support::{NUMBER, PATIENCE, Place, Running, at_a_desk, wait_until};

const OTHER: &str = "+1 4255551313";

/// A service that has the store and the telephone of the tool.
fn service(place: &Place) -> TestGate {
    let mut config = at_a_desk();
    config["backends"]["desk"]["path"] = json!(place.path().join("calls.txt"));
    config["store"]["path"] = json!(place.path().join("calls.db"));
    TestGate::start(config)
}

/// A call by the tool that rings until it is answered.
fn call(place: &Place, number: &str) -> Running {
    Running::start(&mut place.command(&["call", "--store", "--json", number]))
}

/// Long enough that whoever has not renewed its lease has lost its calls.
fn longer_than_a_lease() {
    thread::sleep(LEASE + 2 * RENEW_EVERY);
}

/// The calls that a log tells to have been taken up.
fn taken_up(log: &[Value]) -> Vec<&str> {
    let lines = log.iter().filter(|line| line["event"] == "claimed");
    lines.map(|line| line["id"].as_str().unwrap()).collect()
}

/// All calls, as they stand.
fn outcomes(place: &Place) -> Vec<Value> {
    place.run(&["calls", "--json"]).exits(0).records().iter().map(|call| call["outcome"].clone()).collect()
}

#[test]
fn the_tool_and_a_living_service_keep_their_own_calls_for_longer_than_a_lease() {
    let place = Place::with(&at_a_desk());
    let service = service(&place);
    service.initiate(id(1), OTHER);
    let calling = call(&place, NUMBER);
    let ringing = place.rings(2);
    longer_than_a_lease();
    assert_eq!(outcomes(&place), ["pending"; 2]);
    assert_eq!((taken_up(&service.log()), place.log().contains("claimed")), (vec![], false));

    place.answer("1;");
    calling.wait().exits(0).record("verified");
    assert_eq!(service.ends(id(1)).0, CallStatus::Success);
    assert_eq!((taken_up(&service.end()), place.log().contains("claimed")), (vec![], false));
    assert_eq!(outcomes(&place), ["verified"; 2]);
    assert_eq!(place.rings(2), ringing.replace(";0;", ";1;"), "each rang once");
}

#[test]
fn a_service_that_starts_later_leaves_a_call_to_the_tool_that_is_still_there() {
    let place = Place::with(&at_a_desk());
    let calling = call(&place, NUMBER);
    place.rings(1);
    longer_than_a_lease();
    let service = service(&place);
    // It looks for calls that were left at once, and again after so long.
    thread::sleep(2 * RENEW_EVERY);
    assert_eq!(taken_up(&service.log()), [""; 0]);
    place.answer("1;");
    calling.wait().exits(0).record("verified");
    assert_eq!(taken_up(&service.end()), [""; 0]);
    assert_eq!(outcomes(&place), ["verified"]);
    place.rings(1);
}

#[test]
fn a_call_whose_process_was_killed_is_taken_up_by_a_service_and_by_no_call_of_the_tool() {
    let place = Place::with(&at_a_desk());
    let killed = call(&place, OTHER);
    place.rings(1);
    let kept = || place.run(&["calls", "--json"]).exits(0).record("call");
    wait_until("the store knows that it was placed", || kept()["placed"].is_string());
    let id = CallId::parse(kept()["id"].as_str().unwrap()).unwrap();
    drop(killed);

    let calling = call(&place, NUMBER);
    place.rings(2);
    longer_than_a_lease();
    assert!(!place.log().contains("claimed"), "{}", place.log());
    let service = service(&place);
    wait_until("the service has taken it up", || taken_up(&service.log()) == [id.to_string()]);
    place.answer("1;");
    assert_eq!(service.ends(id).0, CallStatus::Success);
    calling.wait().exits(0).record("verified");
    assert_eq!(taken_up(&service.end()), [id.to_string()]);
    assert_eq!(outcomes(&place), ["verified"; 2]);
    place.rings(2);
}

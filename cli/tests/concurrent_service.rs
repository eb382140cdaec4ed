//! `phonegate call --store` while a service uses the same store and the same telephone.

#[allow(dead_code, reason = "a part of it is used")]
#[path = "../../tests/support/gate.rs"]
mod gate;
mod support;

use std::thread;

use gate::{TestGate, id};
use phonegate::call::{CallId, CallStatus};
use phonegate::store::{LEASE, RENEW_EVERY};
use serde_json::{Value, json};
use support::{EVENT_TIMEOUT, NUMBER, Place, Running, at_a_desk, wait_until};

const OTHER: &str = "+1 4255551313";

/// Starts a service with the store and the telephone of the tool.
fn service(place: &Place) -> TestGate {
    let mut config = at_a_desk();
    config["backends"]["desk"]["path"] = json!(place.path().join("calls.txt"));
    config["store"]["path"] = json!(place.path().join("calls.db"));
    TestGate::start(config)
}

/// Places a call with the tool, which rings until it is answered.
fn call(place: &Place, number: &str) -> Running {
    Running::start(&mut place.command(&["call", "--store", "--json", number]))
}

/// Waits until a process that has not renewed its lease has lost its calls.
fn outlast_a_lease() {
    thread::sleep(LEASE + 2 * RENEW_EVERY);
}

/// Returns the ids of the calls that were claimed, according to a log.
fn claimed(log: &[Value]) -> Vec<&str> {
    let lines = log.iter().filter(|line| line["event"] == "claimed");
    lines.map(|line| line["id"].as_str().unwrap()).collect()
}

/// Returns the outcomes of all calls.
fn outcomes(place: &Place) -> Vec<Value> {
    place.run(&["calls", "--json"]).exits(0).records().iter().map(|call| call["outcome"].clone()).collect()
}

#[test]
fn tool_and_service_keep_their_own_calls() {
    let place = Place::with(&at_a_desk());
    let service = service(&place);
    service.initiate(id(1), OTHER);
    let calling = call(&place, NUMBER);
    let ringing = place.rings(2);
    outlast_a_lease();
    assert_eq!(outcomes(&place), ["pending"; 2]);
    assert_eq!((claimed(&service.log()), place.log().contains("claimed")), (vec![], false));

    place.answer("1;");
    calling.wait().exits(0).record("verified");
    assert_eq!(service.ends(id(1)).0, CallStatus::Success);
    assert_eq!((claimed(&service.end()), place.log().contains("claimed")), (vec![], false));
    assert_eq!(outcomes(&place), ["verified"; 2]);
    assert_eq!(place.rings(2), ringing.replace(";0;", ";1;"), "each rang once");
}

#[test]
fn a_new_service_does_not_claim_a_call_of_the_living_tool() {
    let place = Place::with(&at_a_desk());
    let calling = call(&place, NUMBER);
    place.rings(1);
    outlast_a_lease();
    let service = service(&place);
    // The service searches for orphaned calls at its start, and again after this time.
    thread::sleep(2 * RENEW_EVERY);
    assert_eq!(claimed(&service.log()), [""; 0]);
    place.answer("1;");
    calling.wait().exits(0).record("verified");
    assert_eq!(claimed(&service.end()), [""; 0]);
    assert_eq!(outcomes(&place), ["verified"]);
    place.rings(1);
}

#[test]
fn only_a_service_claims_the_call_of_a_killed_process() {
    let place = Place::with(&at_a_desk());
    let killed = call(&place, OTHER);
    place.rings(1);
    let kept = || place.run(&["calls", "--json"]).exits(0).record("call");
    wait_until("the store knows that it was placed", || kept()["placed"].is_string());
    let id = CallId::parse(kept()["id"].as_str().unwrap()).unwrap();
    drop(killed);

    let calling = call(&place, NUMBER);
    place.rings(2);
    outlast_a_lease();
    assert!(!place.log().contains("claimed"), "{}", place.log());
    let service = service(&place);
    wait_until("the service has claimed it", || claimed(&service.log()) == [id.to_string()]);
    place.answer("1;");
    assert_eq!(service.ends(id).0, CallStatus::Success);
    calling.wait().exits(0).record("verified");
    assert_eq!(claimed(&service.end()), [id.to_string()]);
    assert_eq!(outcomes(&place), ["verified"; 2]);
    place.rings(2);
}

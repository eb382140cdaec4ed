//! All nodes know every call, and claim the calls of a node that dies.

use super::*;

#[test]
fn all_nodes_report_a_call_that_one_of_them_began() {
    let farm = Farm::new();
    let [one, two, three] = [farm.node(), farm.node(), farm.node()];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    assert_eq!(two.status(id(1)), CallStatus::Pending);
    let progress = || two.gate().snapshot(id(1)).and_then(|call| call.progress);
    wait_until("the other node sees it ring", || progress() == Some(Progress::Ringing));
    farm.answer("1");
    for node in [&two, &one, &three] {
        status_is(node, 1, CallStatus::Success);
    }
    one.initiate(id(2), NUMBER);
    farm.wait_for_rings(2);
    farm.answer("2");
    let (status, text) = two.ends(id(2));
    assert_eq!(status, CallStatus::Failed);
    // A node whose status was never polled has the message, too.
    let explained = three.gate().explain(id(2)).unwrap().failure.unwrap();
    assert_eq!(explained.text(), text);
    assert_eq!(text, one.ends(id(2)).1);
}

#[test]
fn limits_and_a_call_in_progress_count_on_all_nodes_together() {
    let farm = Farm::new();
    let limits = json!({ "calls_per_number": 2, "concurrent_calls": 2 });
    let [one, two] = [farm.node_with("limits", limits.clone()), farm.node_with("limits", limits)];
    one.initiate(id(1), NUMBER);
    farm.wait_for_rings(1);
    is_refused(&two, 2, NUMBER, "(AlreadyInProgress");
    two.initiate(id(3), &number(3));
    farm.wait_for_rings(2);
    is_refused(&one, 4, &number(4), "Too many calls are in progress");
    farm.answer("1");
    for node in [&one, &two] {
        status_is(node, 1, CallStatus::Success);
        status_is(node, 3, CallStatus::Success);
    }
    two.initiate(id(5), NUMBER);
    farm.wait_for_rings(3);
    farm.answer("1");
    status_is(&two, 5, CallStatus::Success);
    is_refused(&one, 6, NUMBER, "There were too many calls to +1");
    assert_eq!(farm.rings(), 3);
}

#[test]
fn a_block_counts_on_all_nodes() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    let blocked = StoredNumber::new(&admitted(NUMBER), false);
    let reason = "the phone was stolen".into();
    let block = Block {
        number: blocked.hash,
        scope: BlockScope::Line,
        masked: blocked.masked,
        reason,
        since: SystemTime::now(),
        until: None,
    };
    farm.ask(async |store| store.block(&block).await).unwrap();
    is_refused(&one, 1, NUMBER, "the phone was stolen");
    is_refused(&two, 2, &format!("{NUMBER}x7"), "(Blocked");
    assert!(farm.ask(async |store| store.unblock(block.number).await).unwrap());
    two.initiate(id(3), NUMBER);
    farm.wait_for_rings(1);
}

#[test]
fn the_library_reports_calls_of_another_process() {
    let farm = Farm::new();
    let here = Abi::load(&farm.whole_config());
    let mut processes = [1, 2].map(|n| farm.process(n));
    farm.wait_for_rings(2);
    let calls = [1, 2].map(|n| CString::new(id(n).to_string()).unwrap());
    calls.iter().for_each(|call| assert_eq!(here.status(Some(call)), PENDING));
    farm.answer_call(1, "1");
    farm.answer_call(2, "2");
    wait_until("both have ended", || calls.iter().all(|call| here.status(Some(call)) != PENDING));
    assert_eq!(calls.each_ref().map(|call| here.status(Some(call))), [SUCCESS, FAILED]);
    assert_eq!(here.message(&calls[1]), "Description is not found", "the file says no more");
    let words = processes.each_mut().map(Host::last_words);
    assert_eq!(words, ["Verified: the right key was pressed.", "Failed: Description is not found"]);
    assert_eq!(processes.each_mut().map(Host::succeeds), [true, false]);
    assert_eq!(farm.rings(), 2);
}

#[test]
fn a_node_that_dies_leaves_its_calls_to_the_others() {
    let farm = Farm::new();
    let node = farm.node();
    let dying = farm.process(1);
    farm.has_reference(1);
    assert_eq!(node.status(id(1)), CallStatus::Pending);
    dying.kill_after(0);
    wait_until("the other node claims it", || node.log().iter().any(|line| line["event"] == "claimed"));
    // The phone goes on ringing, and no second call is placed.
    assert_eq!((node.status(id(1)), farm.rings()), (CallStatus::Pending, 1));
    farm.answer("1");
    status_is(&node, 1, CallStatus::Success);
    status_is(&farm.node(), 1, CallStatus::Success);
    assert_eq!(farm.rings(), 1);
}

#[test]
fn after_shutdown_success_needs_redis() {
    let farm = Farm::new();
    let here = Abi::load(&farm.whole_config());
    let call = CString::new(id(1).to_string()).unwrap();
    assert_eq!(here.initiate(Some(support::abi::NUMBER), Some(&call), None), PENDING);
    farm.wait_for_rings(1);
    farm.answer("1");
    assert_eq!(here.outcome(&call), SUCCESS);
    assert_eq!(here.shut_down(60_000), 0);
    // No gate that could read Redis can start.
    here.configure(&json!({}));
    assert_ne!(here.status(Some(&call)), SUCCESS);
    assert!(here.message(&call).contains("(NotConfigured)"), "{}", here.message(&call));
    here.configure(&farm.whole_config());
    wait_until("Redis confirms it", || here.status(Some(&call)) == SUCCESS);
}

#[test]
fn many_unknown_ids_do_not_block_the_look_up_of_a_known_one() {
    let farm = Farm::new();
    let [one, two] = [farm.node(), farm.node()];
    for n in 1000..2100 {
        two.status(id(n));
    }
    farm.verifies_the_first(&one);
    status_is(&two, 1, CallStatus::Success);
}

//! When PhoneGate sends a request to Twilio again, and when it does not.

mod support;

use std::time::{Duration, Instant, SystemTime};

use phonegate::backend::MayRing;
use phonegate::call::{CallStatus, FailureReason};
use serde_json::{Value, json};
use support::approval::verified;
use support::backend::TestBackend;
use support::gate::{TestGate, id};
use support::twilio::{About, Fault, Scenario, Twilio};
use support::wait_until;

const NUMBER: &str = "+1 4255551212";

fn throttled(retry_after: &'static str) -> Fault {
    Fault::Refuse(429, 20429, "Too Many Requests", Some(retry_after))
}

fn server_error() -> Fault {
    Fault::Refuse(503, 20503, "Service Unavailable", None)
}

fn gate(twilio: &Twilio, call: Value) -> TestGate {
    TestGate::start(json!({ "use": ["cloud"], "backends": { "cloud": twilio.backend() }, "call": call }))
}

/// Returns the times between the requests about this, in milliseconds.
fn pauses(twilio: &Twilio, about: About) -> Vec<u128> {
    twilio.seen(about).windows(2).map(|pair| (pair[1].at - pair[0].at).as_millis()).collect()
}

#[test]
fn a_start_is_sent_again_at_the_date_in_retry_after() {
    let twilio = Twilio::start();
    let line = TestBackend::new(&twilio.backend());
    let (now, clock) = (Instant::now(), SystemTime::now());
    // A date has whole seconds.
    let date = httpdate::fmt_http_date(clock + Duration::from_secs(4));
    let until = now + httpdate::parse_http_date(&date).unwrap().duration_since(clock).unwrap();
    twilio.fail(About::Start, throttled(date.leak()));
    assert!(line.place(1, 1, NUMBER).is_ok());
    let starts = twilio.seen(About::Start);
    assert!(starts.len() == 2 && starts[1].at >= until, "{starts:?}, not before {until:?}");
}

#[test]
fn a_start_fails_if_twilio_asks_for_too_long_a_pause() {
    let twilio = Twilio::start();
    twilio.fail(About::Start, throttled("600"));
    let refused = TestBackend::new(&twilio.backend()).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::No, FailureReason::Throttled));
    assert_eq!(twilio.seen(About::Start).len(), 1);
}

#[test]
fn a_repeated_start_never_rings_after_the_deadline() {
    let twilio = Twilio::start();
    twilio.fail(About::Start, throttled("5"));
    let gate = gate(&twilio, json!({ "deadline_s": 2 }));
    gate.initiate(id(1), NUMBER);
    let (status, text) = gate.ends(id(1));
    assert!(status == CallStatus::Failed && text.contains("Throttled"), "{text}");
    gate.end();
    assert_eq!(twilio.seen(About::Start).len(), 1);
}

#[test]
fn a_start_that_timed_out_may_ring_and_is_not_repeated() {
    let twilio = Twilio::start();
    twilio.fail(About::Start, Fault::Refuse(408, 20408, "Request Timeout", None));
    assert_eq!(TestBackend::new(&twilio.backend()).refused(NUMBER).may_ring, MayRing::Yes);
    assert_eq!(twilio.seen(About::Start).len(), 1);
}

#[test]
fn a_start_without_a_reply_may_ring_and_is_not_repeated() {
    let twilio = Twilio::start();
    twilio.fail(About::Start, Fault::Hang);
    let refused = TestBackend::new(&twilio.backend()).refused(NUMBER);
    assert_eq!((refused.may_ring, refused.failure.reason()), (MayRing::Yes, FailureReason::CannotPlace));
    assert_eq!(twilio.seen(About::Start).len(), 1);
}

#[test]
fn polls_are_a_second_apart() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    let line = TestBackend::new(&twilio.backend());
    let reference = line.place(1, 1, NUMBER).unwrap();
    let follow = line.backend.follow(&reference, &line.approver, &|_| {});
    let followed = line.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(3_500), follow).await });
    assert!(followed.is_err(), "it rings");
    let (start, polls) = (&twilio.seen(About::Start)[0], twilio.seen(About::Poll));
    // Each poll reads the Execution and its context.
    assert!((1..=6).contains(&polls.len()), "{polls:?}");
    assert!((polls[0].at - start.at).as_millis() >= 1_000);
}

#[test]
fn failed_polls_are_repeated_after_longer_pauses() {
    let twilio = Twilio::start();
    twilio.play(Scenario { polls: Some(0), ..Scenario::ends("APPROVED") });
    for _ in 0..3 {
        twilio.fail(About::Poll, server_error());
    }
    let line = TestBackend::new(&twilio.backend());
    let reference = line.place(1, 1, NUMBER).unwrap();
    assert_eq!(line.follow(&reference), verified());
    let pauses = pauses(&twilio, About::Poll);
    for (pause, at_least) in pauses.iter().zip([1_000, 2_000, 4_000]) {
        assert!(*pause >= at_least, "{pauses:?}");
    }
}

#[test]
fn a_poll_waits_as_long_as_twilio_asks() {
    let twilio = Twilio::start();
    twilio.fail(About::Poll, throttled("4"));
    let line = TestBackend::new(&twilio.backend());
    let reference = line.place(1, 1, NUMBER).unwrap();
    assert_eq!(line.follow(&reference), verified());
    assert!(pauses(&twilio, About::Poll)[0] >= 4_000);
}

#[test]
fn hanging_up_and_deleting_are_retried() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    for fault in [server_error(), Fault::Close] {
        twilio.fail(About::End, fault.clone());
        twilio.fail(About::Delete, fault);
    }
    let line = TestBackend::new(&twilio.backend());
    let reference = line.place(1, 1, NUMBER).unwrap();
    line.runtime.block_on(line.backend.hang_up(&reference)).unwrap();
    assert_eq!(twilio.seen(About::End).len(), 3);
    line.runtime.block_on(line.backend.clean_up(&reference)).unwrap();
    assert!(twilio.is_clean());
}

#[test]
fn a_call_that_no_longer_exists_counts_as_deleted() {
    let twilio = Twilio::start();
    let line = TestBackend::new(&twilio.backend());
    let reference = line.place(1, 1, NUMBER).unwrap();
    for _ in 0..2 {
        line.runtime.block_on(line.backend.clean_up(&reference)).unwrap();
    }
    assert_eq!(line.fails(&reference).reason(), FailureReason::NotConfigured);
}

#[test]
fn a_failed_hang_up_is_logged_with_twilios_message() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    twilio.fail(About::End, Fault::Refuse(403, 20006, "Access denied", None));
    let gate = gate(&twilio, json!({ "deadline_s": 1 }));
    gate.initiate(id(1), NUMBER);
    gate.ends(id(1));
    let log = gate.end();
    let line = log.iter().find(|line| line["event"] == "hang_up").unwrap();
    assert_eq!(line["level"], "warn");
    assert!(line["text"].as_str().unwrap().contains("error 20006: Access denied"), "{line}");
    assert_eq!(twilio.seen(About::End).len(), 1);
}

#[test]
fn malformed_replies_in_a_row_end_the_call_at_twilio() {
    let twilio = Twilio::start();
    twilio.play(Scenario::rings());
    for _ in 0..9 {
        twilio.fail(About::Poll, Fault::Reply(200, "<html>Welcome!</html>".to_owned()));
    }
    let gate = gate(&twilio, json!({}));
    gate.initiate(id(1), NUMBER);
    assert!(gate.ends(id(1)).1.contains("makes no sense"));
    wait_until("it is hung up and deleted", || twilio.seen(About::End).len() == 1 && twilio.is_clean());
}

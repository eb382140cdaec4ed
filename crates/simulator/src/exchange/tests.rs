use super::*;

const NUMBER: &str = "+14255551212";

fn exchange(ending: Ending) -> Exchange {
    Exchange::new(Behaviour { ending, approve_after: None, keys: Keys::default() })
}

fn telephones(exchange: &Exchange) -> Vec<Telephone> {
    match exchange.subscribe().0 {
        Update::Snapshot { telephones, .. } => telephones,
        other => panic!("a page first gets a snapshot, not {other:?}"),
    }
}

#[tokio::test]
async fn what_is_done_at_a_telephone_reaches_its_line() {
    let exchange = exchange(Ending::ByHand);
    let mut call = exchange.ring("sip", NUMBER, "+14255550100").unwrap();
    assert!(!exchange.act(NUMBER, &TelephoneAction::Press { key: '1' }), "it is not picked up");
    assert!(exchange.act(NUMBER, &TelephoneAction::PickUp));
    assert!(!exchange.act(NUMBER, &TelephoneAction::PickUp), "it is picked up already");
    assert!(exchange.act(NUMBER, &TelephoneAction::Press { key: '#' }));
    assert!(!exchange.act(NUMBER, &TelephoneAction::Press { key: 'x' }), "no telephone has this key");
    assert!(exchange.act(NUMBER, &TelephoneAction::HangUp));
    let mut actions = Vec::new();
    for _ in 0..3 {
        actions.push(call.next().await);
    }
    assert_eq!(actions, [Action::PickUp, Action::Press('#'), Action::HangUp]);
    call.end("The user hung up.");
    assert_eq!(telephones(&exchange)[0].state, TelephoneState::Idle);
}

#[tokio::test]
async fn a_telephone_has_one_call_at_a_time() {
    let exchange = exchange(Ending::ByHand);
    let call = exchange.ring("sip", NUMBER, "").unwrap();
    assert!(matches!(exchange.ring("sip", NUMBER, ""), Err(RingError::Busy(_))));
    drop(call);
    assert!(exchange.ring("sip", NUMBER, "").is_ok(), "a dropped call has ended");
    assert!(exchange.act(NUMBER, &TelephoneAction::SetBusy { busy: true }));
    let Err(RingError::Busy(steps)) = exchange.ring("sip", NUMBER, "") else { panic!("the telephone is busy") };
    steps.received("INVITE");
    let Update::Snapshot { calls, problems, .. } = exchange.subscribe().0 else { panic!("no snapshot") };
    let call = calls.last().unwrap();
    assert_eq!(call.result.as_deref(), Some("The telephone is busy."));
    assert_eq!(call.steps.last().map(|step| step.text.as_str()), Some("INVITE"), "its messages are shown");
    assert_eq!(problems, []);
}

#[tokio::test]
async fn telephones_calls_and_steps_are_limited() {
    let exchange = exchange(Ending::ByHand);
    for n in 0..MAX_TELEPHONES {
        assert!(exchange.ring("sip", &n.to_string(), "").is_ok());
    }
    for n in 0..2 * MAX_PROBLEMS {
        let number = format!("{n} more {}", "9".repeat(100));
        assert!(matches!(exchange.ring("sip", &number, ""), Err(RingError::TooManyTelephones)));
    }
    let call = exchange.ring("sip", "0", "").unwrap();
    call.steps().received(&"ü".repeat(MAX_STEP_BYTES));
    for n in 0..MAX_STEPS {
        call.steps().received("INVITE");
        call.event(&n.to_string());
    }
    let Update::Snapshot { telephones, calls, problems } = exchange.subscribe().0 else { panic!("no snapshot") };
    assert_eq!(problems.len(), MAX_PROBLEMS);
    let last = problems.last().unwrap();
    assert!(last.number.starts_with("39 more 999") && last.number.len() <= MAX_NUMBER, "{last:?}");
    assert!(last.text.starts_with(&format!("The simulator already has {MAX_TELEPHONES} telephones, the maximum:")));
    assert_eq!((telephones.len(), calls.len()), (MAX_TELEPHONES, MAX_CALLS));
    let steps = &calls.last().unwrap().steps;
    assert_eq!(steps.len(), MAX_STEPS);
    assert!(steps.iter().all(|step| step.text.len() <= MAX_STEP_BYTES));
}

#[tokio::test]
async fn a_snapshot_is_small_and_has_the_events_of_each_call() {
    let exchange = exchange(Ending::ByHand);
    let mut calls = Vec::new();
    for n in 0..MAX_CALLS {
        let call = exchange.ring("sip", &n.to_string(), "").unwrap();
        for _ in 0..2 * MAX_STEPS {
            // As JSON, a control character has six bytes.
            call.steps().received(&"\u{1}".repeat(MAX_STEP_BYTES));
        }
        assert!(exchange.act(&n.to_string(), &TelephoneAction::PickUp));
        for key in "4711#".chars() {
            assert!(exchange.act(&n.to_string(), &TelephoneAction::Press { key }));
        }
        calls.push(call);
    }
    let snapshot = exchange.subscribe().0;
    let bytes = serde_json::to_string(&snapshot).unwrap().len();
    assert!(bytes <= 4 * 1_024 * 1_024, "{bytes}");
    let Update::Snapshot { calls, .. } = snapshot else { panic!("no snapshot") };
    assert_eq!(calls.len(), MAX_CALLS);
    for call in calls {
        let events = call.steps.iter().filter(|step| step.kind == StepKind::Event).map(|step| step.text.as_str());
        let events: Vec<_> = events.collect();
        let expected = ["The telephone rings.", NO_MORE_MESSAGES, "Picked up.", "Pressed 4."];
        assert_eq!((&events[..4], events.last()), (&expected[..], Some(&"Pressed #.")));
        assert!(call.steps.iter().any(|step| step.kind == StepKind::Received), "the first messages are shown");
    }
}

#[tokio::test]
async fn calls_that_have_ended_are_forgotten_first() {
    let exchange = exchange(Ending::ByHand);
    let call = exchange.ring("sip", NUMBER, "").unwrap();
    for _ in 0..2 * MAX_CALLS {
        assert!(matches!(exchange.ring("sip", NUMBER, ""), Err(RingError::Busy(_))));
    }
    assert!(exchange.act(NUMBER, &TelephoneAction::PickUp));
    let Update::Snapshot { calls, .. } = exchange.subscribe().0 else { panic!("no snapshot") };
    assert_eq!(calls.len(), MAX_CALLS);
    let steps: Vec<_> = calls.iter().filter(|call| call.result.is_none()).map(|call| &call.steps).collect();
    assert_eq!(steps.len(), 1, "the call in progress is kept");
    assert_eq!(steps[0].last().unwrap().text, "Picked up.");
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn an_unattended_telephone_presses_the_code_that_it_hears() {
    let exchange = exchange(Ending::Approve);
    let mut call = exchange.ring("sip", NUMBER, "").unwrap();
    assert_eq!(call.next().await, Action::PickUp);
    call.understood(Heard::Code("471".to_owned()));
    for key in "471#".chars() {
        assert_eq!(call.next().await, Action::Press(key));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unattended_wrong_code_is_pressed_at_each_prompt() {
    let exchange = exchange(Ending::WrongCode);
    let mut call = exchange.ring("sip", NUMBER, "").unwrap();
    assert_eq!(call.next().await, Action::PickUp);
    for (heard, wrong) in [("471", "472#"), ("829", "821#")] {
        call.understood(Heard::Code(heard.to_owned()));
        for key in wrong.chars() {
            assert_eq!(call.next().await, Action::Press(key));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_picks_up_is_approved_by_itself() {
    let approve_after = Some(Duration::from_secs(20));
    let exchange = Exchange::new(Behaviour { ending: Ending::ByHand, approve_after, keys: Keys::default() });
    let mut call = exchange.ring("sip", NUMBER, "").unwrap();
    assert_eq!(call.next().await, Action::PickUp);
    call.understood(Heard::Pound);
    assert_eq!(call.next().await, Action::Press('#'));
}

#[tokio::test(start_paused = true)]
async fn whoever_picks_up_decides_alone() {
    let approve_after = Some(Duration::from_secs(20));
    let exchange = Exchange::new(Behaviour { ending: Ending::ByHand, approve_after, keys: Keys::default() });
    let mut call = exchange.ring("sip", NUMBER, "").unwrap();
    assert!(exchange.act(NUMBER, &TelephoneAction::PickUp));
    assert_eq!(call.next().await, Action::PickUp);
    call.understood(Heard::Pound);
    let nothing = tokio::time::timeout(Duration::from_secs(60), call.next()).await;
    assert!(nothing.is_err(), "no key is pressed by the simulator");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_picks_up_late_still_decides_alone() {
    let twenty = Duration::from_secs(20);
    for (ending, approve_after) in [(Ending::ByHand, Some(twenty)), (Ending::Approve, None), (Ending::HangUp, None)] {
        let exchange = Exchange::new(Behaviour { ending, approve_after, keys: Keys::default() });
        let mut call = exchange.ring("sip", NUMBER, "").unwrap();
        // Within the time for which an unattended telephone rings before it is picked up by itself.
        tokio::time::sleep(approve_after.unwrap_or_default() + Duration::from_secs(1)).await;
        assert!(exchange.act(NUMBER, &TelephoneAction::PickUp), "it still rings");
        assert_eq!(call.next().await, Action::PickUp);
        call.understood(Heard::Code("471".to_owned()));
        let nothing = tokio::time::timeout(Duration::from_secs(60), call.next()).await;
        assert!(nothing.is_err(), "{ending:?}: the simulator does nothing");
    }
}

#[test]
fn an_update_is_an_object_with_a_type() {
    let update = Update::Step {
        call: 3,
        step: Step { at: "2026-01-01T00:00:00Z".to_owned(), kind: StepKind::Sent, text: "SIP/2.0 200 OK".to_owned() },
    };
    let expected =
        r#"{"type":"step","call":3,"step":{"at":"2026-01-01T00:00:00Z","kind":"sent","text":"SIP/2.0 200 OK"}}"#;
    assert_eq!(serde_json::to_string(&update).unwrap(), expected);
    let action: TelephoneAction = serde_json::from_str(r##"{"action":"press","key":"#"}"##).unwrap();
    assert_eq!(action, TelephoneAction::Press { key: '#' });
}

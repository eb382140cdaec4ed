use super::*;

const FROM: &str = "+14255550100";
const TO: &str = "+14255551212";
const PACE: Pace = Pace { character: Duration::from_millis(100), rings_for: Duration::from_secs(600) };

fn widget(name: &str, kind: &str, transitions: Value, properties: Value) -> Value {
    json!({ "name": name, "type": kind, "transitions": transitions, "properties": properties })
}

fn to(event: &str, next: &str) -> Value {
    json!({ "event": event, "next": next })
}

fn ask(name: &str, say: &str, keypress: &str) -> Value {
    let properties = json!({
        "language": "en-US", "say": say, "loop": 2, "timeout": 3, "number_of_digits": 5, "finish_on_key": "#",
    });
    let transitions = json!([to("keypress", keypress), { "event": "speech" }, to("timeout", "no_key")]);
    widget(name, "gather-input-on-call", transitions, properties)
}

fn set(name: &str, variables: Value) -> Value {
    widget(name, "set-variables", json!([{ "event": "next" }]), json!({ "variables": variables }))
}

/// A flow that asks for a code, and after a wrong one for another code.
pub(in super::super) fn definition() -> Value {
    let first = "{{widgets.ask_1.Digits}}";
    let is_right = json!([{ "type": "equal_to", "value": "{{flow.data.code_1}}", "arguments": [first] }]);
    let judge = json!([to("noMatch", "sorry"), { "event": "match", "next": "right", "conditions": is_right }]);
    let call = json!({
        "from": "{{flow.channel.address}}", "to": "{{contact.channel.address}}", "timeout": 50,
        "send_digits": "{{flow.data.send_digits}}",
    });
    let ends = json!([to("answered", "ask_1"), to("busy", "busy"), to("noAnswer", "no_answer"), to("failed", "busy")]);
    let say = json!({ "language": "en-US", "say": "Wrong key.", "loop": 1 });
    json!({
        "description": "PhoneGate flow: version=2 method=code attempts=2", "initial_state": "Trigger",
        "states": [
            widget("Trigger", "trigger", json!([to("incomingRequest", "ring")]), json!({})),
            widget("ring", "make-outgoing-call-v2", ends, call),
            ask("ask_1", "Press {{flow.data.spoken_1}}, then pound. <break time=\"3s\"/>", "judge"),
            widget("judge", "split-based-on", judge, json!({ "input": first })),
            widget("sorry", "say-play", json!([to("audioComplete", "ask_2")]), say),
            ask("ask_2", "Press {{flow.data.spoken_2}}.", "second"),
            set("right", json!([{ "key": "result", "value": "PRESSED" }, { "key": "digits", "value": first }])),
            set("second", json!([{ "key": "digits", "value": "{{widgets.ask_2.Digits}}" }])),
            set("no_key", json!([{ "key": "result", "value": "NO_KEY" }])),
            set("busy", json!([{ "key": "result", "value": "BUSY" }])),
            set("no_answer", json!([{ "key": "result", "value": "NO_ANSWER" }])),
        ],
    })
}

fn parsed(definition: &Value) -> Arc<Flow> {
    Arc::new(Flow::parse(&definition.to_string()).unwrap().0)
}

fn start() -> Walk {
    let flow = parsed(&definition());
    let parameters = json!({
        "spoken_1": "four, seven", "code_1": "47", "spoken_2": "eight", "code_2": "8", "send_digits": "ww12",
    });
    Walk::start(flow, (FROM, TO), &parameters, "CA1", PACE)
}

fn at(tenths: u64) -> Duration {
    Duration::from_millis(100 * tenths)
}

fn variable(walk: &Walk, name: &str) -> String {
    walk.context()["flow"]["variables"][name].as_str().unwrap_or_default().to_owned()
}

fn said(walk: &mut Walk) -> Vec<String> {
    let effects = walk.take_effects().into_iter();
    let text = |effect| match effect {
        Effect::Speak { text, .. } => Some(text),
        Effect::Dial(digits) => Some(format!("dials {digits}")),
        Effect::Understood(Heard::Code(code)) => Some(format!("understood {code}")),
        Effect::Understood(_) => Some("understood something else".to_owned()),
        Effect::Report(_) => None,
    };
    effects.filter_map(text).collect()
}

fn press(walk: &mut Walk, keys: &str, now: Duration) {
    keys.chars().for_each(|key| walk.handle(Input::Key(key), now));
}

#[test]
fn a_code_is_gathered_while_it_is_said() {
    let mut walk = start();
    assert_eq!((walk.is_ringing(), walk.wake_at()), (true, Some(Duration::from_secs(50))));
    walk.handle(Input::PickedUp, at(10));
    assert_eq!(said(&mut walk), ["dials ww12", "Press four, seven, then pound."]);
    // After "Press four, seven".
    assert_eq!(walk.wake_at(), Some(at(27)));
    walk.handle(Input::Time, at(27));
    assert_eq!(said(&mut walk), ["understood 47"]);
    press(&mut walk, "47#", at(30));
    assert_eq!((variable(&walk, "result").as_str(), variable(&walk, "digits").as_str()), ("PRESSED", "47"));
    assert_eq!(walk.end(), Some(End::FlowEnded));
    assert_eq!(walk.context()["widgets"]["ask_1"]["FinishedOnKey"], "#");
    assert_eq!(walk.context()["widgets"]["ring"]["CallStatus"], "completed");
}

#[test]
fn a_flow_for_pins_asks_for_the_pin_and_what_it_says() {
    let (code, pound) = ("Press {{flow.data.spoken_1}}.", "Enter your PIN.");
    for (method, say, expected) in [
        ("pin_and_code", code, Heard::PinAndCode("47".to_owned())),
        ("pin", pound, Heard::Pin),
        ("pound", pound, Heard::Pound),
        ("code", code, Heard::Code("47".to_owned())),
    ] {
        let mut flow = definition();
        flow["description"] = json!(format!("PhoneGate flow: version=2 method={method} attempts=2"));
        flow["states"][2]["properties"]["say"] = json!(say);
        let flow = parsed(&flow);
        let mut walk = Walk::start(flow, (FROM, TO), &json!({ "code_1": "47", "spoken_1": "4, 7" }), "CA1", PACE);
        walk.handle(Input::PickedUp, at(0));
        walk.handle(Input::Time, at(20));
        let heard = walk.take_effects().into_iter().find_map(|effect| match effect {
            Effect::Understood(heard) => Some(heard),
            _ => None,
        });
        assert!(heard == Some(expected), "{method}");
    }
}

#[test]
fn a_prompt_is_repeated_and_then_a_pause_ends_the_call() {
    let mut walk = start();
    walk.handle(Input::PickedUp, at(0));
    let one = 30 + 30;
    walk.handle(Input::Time, at(one));
    let prompt = "Press four, seven, then pound.";
    assert_eq!(said(&mut walk), ["dials ww12", prompt, "understood 47", prompt]);
    assert_eq!(walk.wake_at(), Some(at(2 * one)));
    walk.handle(Input::Time, at(2 * one + 29));
    assert_eq!((walk.end(), said(&mut walk).len()), (None, 0));
    walk.handle(Input::Time, at(2 * one + 30));
    assert_eq!((walk.end(), variable(&walk, "result").as_str()), (Some(End::FlowEnded), "NO_KEY"));
}

#[test]
fn after_a_wrong_entry_keys_count_once_the_next_prompt_begins() {
    let mut walk = start();
    walk.handle(Input::PickedUp, at(0));
    press(&mut walk, "48#", at(5));
    // "Wrong key." is being said.
    press(&mut walk, "8#", at(6));
    assert_eq!(walk.end(), None);
    walk.handle(Input::Time, at(15));
    said(&mut walk);
    // A pause of three seconds ends the entry.
    press(&mut walk, "8", at(16));
    assert_eq!(walk.wake_at(), Some(at(46)));
    walk.handle(Input::Time, at(46));
    assert_eq!((variable(&walk, "digits").as_str(), walk.end()), ("8", Some(End::FlowEnded)));
    assert_eq!(walk.context()["widgets"]["ask_2"]["FinishedOnKey"], "");
}

#[test]
fn an_entry_ends_at_its_maximum_and_pound_alone_is_none() {
    let mut walk = start();
    walk.handle(Input::PickedUp, at(0));
    press(&mut walk, "#", at(5));
    assert_eq!(variable(&walk, "result"), "NO_KEY");
    let mut walk = start();
    walk.handle(Input::PickedUp, at(0));
    press(&mut walk, "123456", at(5));
    assert_eq!(walk.context()["widgets"]["ask_1"]["Digits"], "12345", "the sixth key is lost");
}

#[test]
fn each_end_without_an_answer_has_its_result() {
    let ends = [(Input::Busy, at(5), "BUSY", "busy"), (Input::Time, at(500), "NO_ANSWER", "no-answer")];
    for (input, now, result, status) in ends {
        let mut walk = start();
        walk.handle(input, now);
        assert_eq!((variable(&walk, "result").as_str(), walk.end()), (result, Some(End::FlowEnded)));
        assert_eq!(walk.context()["widgets"]["ring"]["CallStatus"], status);
    }
    for (input, end) in [(Input::HungUp, End::HungUp), (Input::Stopped, End::Stopped)] {
        let mut walk = start();
        walk.handle(Input::PickedUp, at(0));
        walk.handle(input, at(5));
        walk.handle(Input::Key('4'), at(6));
        assert_eq!((variable(&walk, "result").as_str(), walk.end(), walk.wake_at()), ("", Some(end), None));
    }
}

#[test]
fn a_flow_that_goes_in_circles_is_ended() {
    let mut circle = definition();
    circle["states"][6]["transitions"][0] = to("next", "right");
    circle["states"][6]["properties"]["variables"] =
        json!([{ "key": "x", "value": "{{flow.variables.x}}{{flow.variables.x}}0123456789" }]);
    let flow = parsed(&circle);
    let parameters = json!({ "code_1": "47" });
    let mut walk = Walk::start(flow, (FROM, TO), &parameters, "CA1", PACE);
    walk.handle(Input::PickedUp, at(0));
    press(&mut walk, "47#", at(5));
    assert_eq!(walk.end(), Some(End::Broken));
    assert!(variable(&walk, "x").len() <= 8_192, "a variable has a maximum length");
}

#[test]
fn a_flow_that_sets_too_many_variables_is_ended() {
    let mut many = definition();
    let variables: Vec<_> = (0..101).map(|n| json!({ "key": format!("x{n}"), "value": "1" })).collect();
    many["states"][6]["properties"]["variables"] = json!(variables);
    let mut walk = Walk::start(parsed(&many), (FROM, TO), &json!({ "code_1": "47" }), "CA1", PACE);
    walk.handle(Input::PickedUp, at(0));
    press(&mut walk, "47#", at(5));
    assert_eq!(walk.end(), Some(End::Broken));
    assert_eq!(walk.context()["flow"]["variables"].as_object().unwrap().len(), 100);
}

#[test]
fn studio_refuses_a_definition_that_cannot_work() {
    type Spoil = fn(&mut Value);
    let spoils: [(Spoil, &str); 12] = [
        (|flow| flow["states"][0]["transitions"][0]["next"] = json!("nowhere"), "which does not exist"),
        (|flow| flow["states"][1]["transitions"][0]["event"] = json!("picked_up"), "has no event"),
        (|flow| flow["states"][1]["properties"]["timeout"] = json!("50"), "timeout must be a number"),
        (|flow| flow["states"][2]["type"] = json!("gather"), "does not know the type"),
        (|flow| flow["states"][2]["name"] = json!("2nd"), "is no name of a widget"),
        (|flow| flow["states"][2]["name"] = json!("ask_2"), "two states are named"),
        (|flow| flow["states"][2]["properties"]["say"] = json!(""), "needs the texts"),
        (|flow| flow["states"][2]["transitions"][1]["next"] = json!("busy"), "recognize speech"),
        (|flow| flow["states"][3]["transitions"][1]["conditions"] = json!([]), "has no conditions"),
        (|flow| flow["initial_state"] = json!("ring"), "initial_state"),
        (|flow| drop(flow["states"].as_array_mut().unwrap().remove(1)), "one widget that calls"),
        (|flow| drop(flow.as_object_mut().unwrap().remove("description")), "description"),
    ];
    for (spoil, expected) in spoils {
        let mut flow = definition();
        spoil(&mut flow);
        let problem = Flow::parse(&flow.to_string()).err().unwrap_or_default();
        assert!(problem.contains(expected), "{expected}: {problem}");
    }
}

//! Routes by country, the next backend of another kind, and backends that are skipped while they are down: through the
//! built library, with stand-ins of a trunk and of Twilio.

mod support;

use std::ffi::CStr;

use phonegate::call::FailureReason;
use serde_json::{Value, json};
use support::calls::Calls;
use support::ports::{free_port, unused_address};
use support::prometheus::Figures;
use support::service::Service;
use support::sip::{NUMBER, prompts};
use support::sip_server::{Reply, SipServer, status, verify};
use support::twilio::{About, FROM, Fault, OTHER_FROM, Twilio};

const GERMAN: &str = "+49 30 23125000";
const AUSTRIAN: &str = "+43 1 5860500";

fn server(replies: Vec<Reply>) -> SipServer {
    SipServer::start("udp", ([127, 0, 0, 1], free_port()).into(), replies)
}

fn trunk(server: &SipServer) -> Value {
    json!({ "type": "sip", "trunk": server.uri(), "caller_id": FROM })
}

/// A trunk that cannot be reached.
fn unreachable() -> Value {
    json!({ "type": "sip", "trunk": format!("sip:{};transport=tcp", unused_address()) })
}

/// A configuration with these backends, of which `use` has those, and with these routes.
fn config(backends: &[(&str, Value)], order: &[&str], routes: Value) -> Value {
    let backends: serde_json::Map<_, _> =
        backends.iter().map(|(name, backend)| ((*name).to_owned(), backend.clone())).collect();
    json!({
        "use": order,
        "routes": routes,
        "backends": backends,
        "numbers": { "default_country": "US", "allowed_countries": ["US", "DE", "AT"] },
        "prompts": prompts(),
        "call": { "deadline_s": 60 },
        "store": { "type": "sqlite", "path": "calls.db" },
        "metrics": { "textfile": "phonegate.prom" },
    })
}

/// The steps of a call in the store, each with its backend, up to the answer.
fn steps(service: &Service, id: &CStr) -> Vec<String> {
    let records = Calls::of(&service.path("phonegate.json")).records(&["calls", "show", id.to_str().unwrap()]);
    let steps = records.iter().filter(|record| record["event"] == "step");
    let named =
        steps.map(|step| format!("{} {}", step["step"].as_str().unwrap(), step["backend"].as_str().unwrap_or("-")));
    named
        .filter(|step| !["ringing", "answered", "clean_up", "hang_up"].iter().any(|end| step.starts_with(end)))
        .collect()
}

/// The events of a call in the log that the steps in the store have, too.
fn logged(service: &Service, id: &CStr) -> Vec<String> {
    let shown = ["dialling", "skipped", "probed", "backend_refused", "placed"];
    let id = id.to_str().unwrap();
    let of_call = service.log().into_iter().filter(|line| line["id"] == id);
    let shown = of_call.filter(|line| shown.iter().any(|event| line["event"] == *event));
    shown.map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["backend"].as_str().unwrap())).collect()
}

/// Places a call that is verified, and returns its steps, which the log has, too.
fn verified(service: &Service, number: &str) -> Vec<String> {
    let id = service.initiate(number);
    assert_eq!(service.ends(&id), None, "{number} is verified");
    service.logs(&id, "placed");
    let steps = steps(service, &id);
    assert_eq!(steps, logged(service, &id), "the store and the log agree");
    steps
}

/// The backend of a call in the audit.
fn backend(service: &Service, id: &CStr) -> Value {
    let records = Calls::of(&service.path("phonegate.json")).records(&["calls", "show", id.to_str().unwrap()]);
    records.into_iter().find(|record| record["event"] == "call").expect("the call is in the store")["backend"].clone()
}

#[test]
fn the_route_of_a_country_decides_backend_and_caller_id() {
    let (home, abroad) = (server(verify()), server(verify()));
    let routes = json!([{ "countries": ["DE", "AT"], "use": ["abroad"], "caller_id": OTHER_FROM }]);
    let backends = [("home", trunk(&home)), ("abroad", trunk(&abroad))];
    let service = Service::start(config(&backends, &["home"], routes));
    for (number, by, caller_id) in
        [(NUMBER, "home", FROM), (GERMAN, "abroad", OTHER_FROM), (AUSTRIAN, "abroad", OTHER_FROM)]
    {
        let server = if by == "home" { &home } else { &abroad };
        let before = server.rings();
        assert_eq!(verified(&service, number), [format!("dialling {by}"), format!("placed {by}")], "{number}");
        assert_eq!(server.rings(), before + 1, "{number}");
        let invite = server.requests("INVITE").pop().unwrap();
        let from = invite.header("From");
        assert!(from.contains(&format!("sip:{caller_id}@")), "{number}: {from}");
    }
    assert_eq!((home.rings(), abroad.rings()), (1, 2));
    assert!(service.log()[0]["text"].as_str().unwrap().contains("backends: home, abroad;"), "{}", service.log()[0]);
}

#[test]
fn a_route_without_a_caller_id_shows_that_of_its_backend() {
    let twilio = Twilio::start();
    let routes = json!([{ "countries": ["DE"], "use": ["cloud"] }, { "countries": ["AT"], "use": ["cloud"], "caller_id": OTHER_FROM }]);
    let service = Service::start(config(&[("cloud", twilio.backend())], &["cloud"], routes));
    for (number, caller_id) in [(GERMAN, FROM), (AUSTRIAN, OTHER_FROM), (NUMBER, FROM)] {
        assert_eq!(verified(&service, number), ["dialling cloud", "placed cloud"]);
        assert_eq!(twilio.seen(About::Start).pop().unwrap().form["From"], caller_id, "{number}");
    }
}

#[test]
fn twilio_is_asked_if_the_trunk_certainly_rang_no_phone() {
    let (twilio, refusing) = (Twilio::start(), server(vec![status(503)]));
    let routes = json!([{ "countries": ["DE"], "use": ["refusing", "cloud"], "caller_id": OTHER_FROM }]);
    let backends = [("down", unreachable()), ("refusing", trunk(&refusing)), ("cloud", twilio.backend())];
    let service = Service::start(config(&backends, &["down", "refusing", "cloud"], routes));
    let expected = ["dialling refusing", "backend_refused refusing", "dialling cloud", "placed cloud"];
    assert_eq!(verified(&service, GERMAN), expected);
    assert_eq!(twilio.seen(About::Start)[0].form["From"], OTHER_FROM, "the route's caller id goes along");
    let all: Vec<_> = ["dialling down", "backend_refused down"].into_iter().chain(expected).collect();
    assert_eq!(verified(&service, NUMBER), all);
    let id = service.initiate(AUSTRIAN);
    assert_eq!(service.ends(&id), None);
    assert_eq!(backend(&service, &id), "cloud", "the audit names the backend that placed the call");
}

#[test]
fn twilio_is_not_asked_if_the_trunk_may_have_rung_a_phone() {
    for (replies, reason) in [
        (vec![status(180), status(503)], FailureReason::CannotPlace),
        (vec![status(486)], FailureReason::Unreachable),
        (vec![status(180)], FailureReason::DeadlinePassed),
        (vec![], FailureReason::DeadlinePassed),
    ] {
        let (twilio, first) = (Twilio::start(), server(replies.clone()));
        let mut config =
            config(&[("trunk", trunk(&first)), ("cloud", twilio.backend())], &["trunk", "cloud"], json!([]));
        config["call"] = json!({ "deadline_s": 4 });
        let service = Service::start(config);
        let id = service.initiate(NUMBER);
        let (ended, text) = service.ends(&id).expect("it fails");
        assert_eq!(ended, reason, "{replies:?}: {text}");
        service.end();
        assert_eq!((first.rings(), twilio.all().len()), (1, 0), "{replies:?}");
        assert_eq!(backend(&service, &id), "trunk", "{replies:?}");
    }
}

#[test]
fn the_trunk_is_asked_only_if_twilio_started_no_call() {
    for (fault, asked) in [
        (Fault::Refuse(401, 20003, "Authenticate", None), true),
        (Fault::Refuse(400, 21216, "Not allowed to call the number", None), true),
        (Fault::Close, false),
        (Fault::Status(500), false),
    ] {
        let (twilio, second) = (Twilio::start(), server(verify()));
        let backends = [("cloud", twilio.backend()), ("trunk", trunk(&second))];
        let service = Service::start(config(&backends, &["cloud", "trunk"], json!([])));
        twilio.fail(About::Start, fault.clone());
        let id = service.initiate(NUMBER);
        let ending = service.ends(&id);
        service.end();
        assert_eq!((ending.is_none(), second.rings()), (asked, usize::from(asked)), "{fault:?}: {ending:?}");
    }
}

/// A server that does not listen until the test lets it.
fn silent_server() -> SipServer {
    let server = SipServer::start("tcp", ([127, 0, 0, 1], free_port()).into(), verify());
    server.stop_listening();
    server
}

#[test]
fn calls_skip_a_backend_that_is_down() {
    let (broken, works) = (silent_server(), server(verify()));
    let backends = [("broken", trunk(&broken)), ("works", trunk(&works))];
    let service = Service::start(config(&backends, &["broken", "works"], json!([])));
    // The calls of one user alone make none skip it.
    let asked = ["dialling broken", "backend_refused broken", "dialling works", "placed works"];
    for number in [NUMBER, NUMBER, NUMBER, GERMAN] {
        assert_eq!(verified(&service, number), asked);
    }
    assert_eq!(verified(&service, NUMBER), ["skipped broken", "dialling works", "placed works"]);
    assert_eq!((broken.rings(), works.rings()), (0, 5));

    // It works again, so that the check itself finds no fault.
    broken.listen();
    let checked = Calls::of(&service.path("phonegate.json")).records(&["check"]);
    let row = |name: &str| checked.iter().find(|record| record["backend"] == name).unwrap().clone();
    assert!(row("broken")["skipped_at"].is_string(), "{}", row("broken"));
    assert!(row("works")["skipped_at"].is_null(), "{}", row("works"));
    let shown = Calls::of(&service.path("phonegate.json")).command(&["check"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("skipped as down by a call on "), "{shown}");
    service.end();
    let figures = Figures::read(&service.path("phonegate.prom"));
    let up = |backend| figures.get("phonegate_backend_up", &[("backend", backend)]);
    assert_eq!((up("broken"), up("works")), (0.0, 1.0));
}

/// Whatever a trunk answers may be due to the number or the phone.
#[test]
fn users_whose_numbers_a_trunk_refuses_make_no_call_skip() {
    let (refusing, works) = (server(vec![]), server(verify()));
    let backends = [("refusing", trunk(&refusing)), ("works", trunk(&works))];
    let service = Service::start(config(&backends, &["refusing", "works"], json!([])));
    for code in [503, 500, 488, 400, 401] {
        refusing.reply(vec![status(code)]);
        for number in [NUMBER, GERMAN, AUSTRIAN] {
            let steps = verified(&service, number);
            assert_eq!(steps[..2], ["dialling refusing", "backend_refused refusing"], "{code} {number}");
        }
    }
}

#[test]
fn a_call_is_placed_although_all_backends_are_down() {
    let (twilio, trunk_server) = (Twilio::start(), silent_server());
    let backends = [("trunk", trunk(&trunk_server)), ("cloud", twilio.backend())];
    let service = Service::start(config(&backends, &["trunk", "cloud"], json!([])));
    for number in [GERMAN, NUMBER] {
        twilio.fail(About::Start, Fault::Refuse(401, 20003, "Authenticate", None));
        let (reason, text) = service.ending(number).expect("both refuse");
        assert_eq!(reason, FailureReason::NotConfigured, "{text}");
    }
    trunk_server.listen();
    let expected = ["skipped trunk", "skipped cloud", "dialling trunk", "placed trunk"];
    assert_eq!(verified(&service, NUMBER), expected);
    assert_eq!(twilio.seen(About::Start).len(), 2);
    // It works again, so it is the first again.
    assert_eq!(verified(&service, NUMBER), ["dialling trunk", "placed trunk"]);
    service.end();
    let events = |event: &str, backend: &str| {
        service.log().iter().filter(|line| line["event"] == event && line["backend"] == backend).count()
    };
    assert_eq!((events("backend_down", "trunk"), events("backend_up", "trunk")), (1, 1));
    assert_eq!((events("backend_down", "cloud"), events("backend_up", "cloud")), (1, 0));
}

#[test]
fn a_skipped_trunk_is_asked_if_the_other_backend_refuses() {
    let (twilio, trunk_server) = (Twilio::start(), silent_server());
    let backends = [("trunk", trunk(&trunk_server)), ("cloud", twilio.backend())];
    let service = Service::start(config(&backends, &["trunk", "cloud"], json!([])));
    for number in [GERMAN, NUMBER] {
        assert_eq!(service.ending(number), None);
    }
    trunk_server.listen();
    twilio.fail(About::Start, Fault::Refuse(400, 21216, "Not allowed to call the number", None));
    let expected = ["skipped trunk", "dialling cloud", "backend_refused cloud", "dialling trunk", "placed trunk"];
    assert_eq!(verified(&service, NUMBER), expected);
}

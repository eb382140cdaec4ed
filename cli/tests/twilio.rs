//! `phonegate twilio` and calls by Twilio, with a stand-in for Twilio.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{NUMBER, Place, Ran, Running};
use tokio::runtime::Runtime;
use wiremock::matchers::{basic_auth, body_string_contains, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SECRET: &str = "hunter2-is-a-secret";

fn sid(prefix: &str, digit: &str) -> String {
    format!("{prefix}{}", digit.repeat(32))
}

/// A stand-in that answers as configured; other requests get 404.
struct Service {
    runtime: Runtime,
    server: MockServer,
}

impl Service {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(MockServer::start());
        Self { runtime, server }
    }

    fn answers(&self, mock: wiremock::MockBuilder, status: u16, body: Value) {
        self.answers_after(Duration::ZERO, mock, status, body);
    }

    fn answers_after(&self, delay: Duration, mock: wiremock::MockBuilder, status: u16, body: Value) {
        let reply = ResponseTemplate::new(status).set_body_json(body).set_delay(delay);
        let mock = mock.and(basic_auth(sid("AC", "0"), SECRET)).respond_with(reply);
        self.runtime.block_on(mock.mount(&self.server));
    }

    /// Accepts a flow, and has this one already if it is named.
    fn takes_flows(&self, there: Option<&str>) {
        let flow =
            |sid: &str| json!({ "sid": sid, "friendly_name": "PhoneGate", "status": "published", "revision": 3 });
        let listed: Vec<_> = there.map(flow).into_iter().collect();
        let created = flow(&sid("FW", "1"));
        self.answers(
            Mock::given(method("POST")).and(path("/v2/Flows/Validate")).and(body_string_contains("Definition=")),
            200,
            json!({ "valid": true }),
        );
        self.answers(
            Mock::given(method("GET")).and(path("/v2/Flows")).and(query_param("PageSize", "1000")),
            200,
            json!({ "flows": listed }),
        );
        let published = body_string_contains("Status=published");
        self.answers(Mock::given(method("POST")).and(path("/v2/Flows")).and(published), 201, created);
        if let Some(there) = there {
            self.answers(Mock::given(method("POST")).and(path(format!("/v2/Flows/{there}"))), 200, flow(there));
        }
    }

    fn requests(&self, method: &str, path: &str) -> Vec<String> {
        let requests = self.runtime.block_on(self.server.received_requests()).unwrap();
        let wanted = requests.into_iter().filter(|seen| seen.method.as_str() == method && seen.url.path() == path);
        wanted.map(|seen| String::from_utf8(seen.body).unwrap()).collect()
    }

    fn backend(&self, flow: &str) -> Value {
        json!({
            "type": "twilio_studio",
            "account_sid": sid("AC", "0"),
            "auth_token": { "env": "PHONEGATE_TEST_TOKEN" },
            "flow_sid": flow,
            "from": "+14255550100",
            "base_url": self.server.uri(),
            "local_peer": true
        })
    }

    fn place(&self, backends: Value) -> Place {
        let used = backends.as_object().unwrap().keys().next().unwrap();
        Place::with(&json!({
            "use": [used], "backends": backends, "numbers": { "default_country": "US" }, "approval": { "method": "pound" }
        }))
    }
}

/// An Execution for [`NUMBER`].
fn state(flow: &str, execution: &str, status: &str) -> Value {
    let number: String = NUMBER.chars().filter(|c| !c.is_whitespace()).collect();
    json!({ "sid": execution, "flow_sid": flow, "contact_channel_address": number, "status": status })
}

fn install(place: &Place, arguments: &[&str], secret: &str) -> Ran {
    let mut command = place.command(&["twilio", "install-flow"]);
    let ran: Ran = command.args(arguments).env("PHONEGATE_TEST_TOKEN", secret).output().unwrap().into();
    assert!(!ran.all().contains(SECRET), "{}", ran.all());
    ran
}

#[test]
fn a_flow_is_installed_with_a_placeholder_flow_sid() {
    let service = Service::start();
    service.takes_flows(None);
    let flow = sid("FW", "1");
    for (tries, placeholder) in (1..).zip([String::new(), sid("FW", "0"), "FW...".to_owned()]) {
        let place = service.place(json!({ "cloud": service.backend(&placeholder) }));
        let ran = install(&place, &[], SECRET).exits(0);
        assert!(ran.stdout.starts_with(&format!("Installed the flow {flow}, revision 3.\n")), "{}", ran.stdout);
        assert!(ran.stdout.contains("backends.cloud:\n") && ran.stdout.contains(&format!("\"flow_sid\": \"{flow}\"")));
        assert_eq!(service.requests("POST", "/v2/Flows").len(), tries);
    }

    let place = service.place(json!({ "cloud": service.backend("") }));
    let ran = install(&place, &["--json"], SECRET).exits(0);
    assert_eq!(
        ran.record("installed"),
        json!({ "event": "installed", "backend": "cloud", "flow_sid": flow, "revision": 3, "created": true })
    );
}

#[test]
fn an_existing_flow_is_replaced() {
    let service = Service::start();
    let there = sid("FW", "2");
    service.takes_flows(Some(&there));
    let ran = install(&service.place(json!({ "cloud": service.backend(&there) })), &[], SECRET).exits(0);
    let words = format!("Replaced the flow {there}, revision 3.\nThe configuration names it already");
    assert!(ran.stdout.starts_with(&words), "{}", ran.stdout);
    assert!(service.requests("POST", "/v2/Flows").is_empty());
}

#[test]
fn the_installed_flow_is_the_one_that_is_shown() {
    let service = Service::start();
    service.takes_flows(None);
    let place = service.place(json!({ "cloud": service.backend("") }));
    let shown: Value = serde_json::from_str(&place.run(&["twilio", "show-flow"]).exits(0).stdout).unwrap();
    assert_eq!(shown["states"][0]["type"], "trigger");
    install(&place, &[], SECRET).exits(0);
    let form = service.requests("POST", "/v2/Flows").remove(0);
    let form = wiremock::http::Url::parse(&format!("http://localhost/?{form}")).unwrap();
    let field = |name| form.query_pairs().find(|(key, _)| key == name).unwrap().1;
    assert_eq!(serde_json::from_str::<Value>(&field("Definition")).unwrap(), shown);
    assert_eq!(field("Status"), "published");
}

#[test]
fn one_of_several_accounts_is_chosen_by_its_name() {
    let service = Service::start();
    service.takes_flows(None);
    let place = service.place(json!({ "east": service.backend(""), "west": service.backend("") }));
    let ran = install(&place, &[], SECRET).exits(2);
    assert!(ran.stderr.contains("`east` and `west`") && ran.stderr.contains("--backend"), "{}", ran.stderr);
    let ran = install(&place, &["--backend", "north"], SECRET).exits(2);
    assert!(ran.stderr.contains("`north`"), "{}", ran.stderr);
    let ran = install(&place, &["--backend", "west"], SECRET).exits(0);
    assert!(ran.stdout.contains("backends.west"), "{}", ran.stdout);
}

#[test]
fn a_failed_installation_says_why() {
    let service = Service::start();
    let path_of = || Mock::given(method("POST")).and(path("/v2/Flows/Validate"));
    let place = service.place(json!({ "cloud": service.backend("") }));
    let refusal = json!({ "code": 20003, "message": "Authenticate", "status": 401 });
    service.answers(path_of(), 401, refusal);
    let ran = install(&place, &[], SECRET).exits(2);
    assert!(
        ran.stderr.contains("backend `cloud`") && ran.stderr.contains("error 20003: Authenticate"),
        "{}",
        ran.stderr
    );

    service.runtime.block_on(service.server.reset());
    service.answers(path_of(), 503, json!({}));
    let ran = install(&place, &["--json"], SECRET).exits(1);
    assert!(ran.record("error")["text"].as_str().unwrap().contains("status 503"), "{}", ran.stdout);
}

/// Places a call that rings until it is hung up, which the service answers with this status.
fn interrupted(hang_up: u16, arguments: &[&str]) -> (Service, Ran) {
    let service = Service::start();
    let (flow, execution) = (sid("FW", "1"), sid("FN", "1"));
    let executions = format!("/v2/Flows/{flow}/Executions");
    let one = format!("{executions}/{execution}");
    let state = |status| state(&flow, &execution, status);
    service.answers(Mock::given(method("POST")).and(path(&executions)), 201, state("active"));
    service.answers(Mock::given(method("GET")).and(path(&one)), 200, state("active"));
    let context = json!({ "execution_sid": execution, "flow_sid": flow, "context": { "widgets": {}, "flow": {} } });
    service.answers(Mock::given(method("GET")).and(path(format!("{one}/Context"))), 200, context);
    service.answers(Mock::given(method("POST")).and(path(&one)), hang_up, state("ended"));
    service.answers(Mock::given(method("DELETE")).and(path(&one)), 204, json!({}));

    let place = service.place(json!({ "cloud": service.backend(&flow) }));
    let mut command = place.command(&["call"]);
    let running = Running::start(command.args(arguments).arg(NUMBER).env("PHONEGATE_TEST_TOKEN", SECRET));
    support::wait_for("a look at the call", || (!service.requests("GET", &one).is_empty()).then_some(()));
    running.signal("INT");
    let ran = running.wait().exits(130);
    let tries = if hang_up < 500 { 1 } else { 3 };
    assert_eq!(service.requests("POST", &one), vec!["Status=ended"; tries], "hung up, and again after a failure");
    assert_eq!(service.requests("DELETE", &one).len(), 1, "nothing of the call stays with the provider");
    assert_eq!(service.requests("POST", &executions).len(), 1, "dialled once");
    (service, ran)
}

#[test]
fn an_interrupted_call_is_hung_up_at_the_provider() {
    let (_service, ran) = interrupted(200, &[]);
    assert_eq!(ran.stdout, "Interrupted: the call was hung up.\n");
}

#[test]
fn a_phone_that_may_still_ring_is_reported() {
    let (_service, ran) = interrupted(500, &[]);
    assert_eq!(ran.stdout, "Interrupted, but the call may not have been hung up.\n");
    let words = "warning: the phone may still be ringing, because hanging up failed: Twilio refused with status 500";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    let (_service, ran) = interrupted(500, &["--json"]);
    let is_reported =
        |record: &Value| record["event"] == "warning" && record["text"].to_string().contains("may still be ringing");
    assert!(ran.records().iter().any(is_reported), "{}", ran.stdout);
    assert_eq!(ran.record("failed")["reason"], "Interrupted");
}

/// Places a call, and interrupts it before the service has answered the request.
fn interrupted_while_dialling(status: u16) -> (Vec<String>, Ran) {
    let service = Service::start();
    let (flow, execution) = (sid("FW", "1"), sid("FN", "1"));
    let executions = format!("/v2/Flows/{flow}/Executions");
    let one = format!("{executions}/{execution}");
    let state = |status| state(&flow, &execution, status);
    let start = Mock::given(method("POST")).and(path(&executions));
    service.answers_after(Duration::from_secs(3), start, status, state("active"));
    service.answers(Mock::given(method("POST")).and(path(&one)), 200, state("ended"));
    service.answers(Mock::given(method("DELETE")).and(path(&one)), 204, json!({}));

    let place = service.place(json!({ "cloud": service.backend(&flow) }));
    let running = Running::start(place.command(&["call", NUMBER]).env("PHONEGATE_TEST_TOKEN", SECRET));
    support::wait_for("the start", || (!service.requests("POST", &executions).is_empty()).then_some(()));
    running.signal("INT");
    let ran = running.wait().exits(130);
    (service.requests("POST", &one), ran)
}

#[test]
fn a_call_placed_after_the_interruption_is_hung_up() {
    let (hung_up, ran) = interrupted_while_dialling(201);
    assert_eq!(hung_up, ["Status=ended"]);
    assert_eq!(ran.stdout, "Interrupted: the call was hung up.\n");
}

#[test]
fn a_call_in_doubt_is_not_reported_as_hung_up() {
    let (hung_up, ran) = interrupted_while_dialling(500);
    assert!(hung_up.is_empty(), "there is no reference to hang up: {hung_up:?}");
    assert_eq!(ran.stdout, "Interrupted, but the call may not have been hung up.\n");
    assert!(ran.stderr.contains("warning: the phone may ring"), "{}", ran.stderr);
}

#[test]
fn a_second_signal_exits_at_once_with_a_warning() {
    let service = Service::start();
    let (flow, execution) = (sid("FW", "1"), sid("FN", "1"));
    let executions = format!("/v2/Flows/{flow}/Executions");
    let one = format!("{executions}/{execution}");
    let state = state(&flow, &execution, "active");
    service.answers(Mock::given(method("POST")).and(path(&executions)), 201, state.clone());
    service.answers_after(support::EVENT_TIMEOUT, Mock::given(method("POST")).and(path(&one)), 200, state);

    let place = service.place(json!({ "cloud": service.backend(&flow) }));
    let mut command = place.command(&["call", "--json", NUMBER]);
    let mut running = Running::start(command.env("PHONEGATE_TEST_TOKEN", SECRET));
    running.read_until("ringing");
    running.signal("INT");
    support::wait_for("the hang-up", || (!service.requests("POST", &one).is_empty()).then_some(()));
    running.signal("INT");
    let ran = running.wait().exits(130);
    assert!(ran.stderr.contains("Ended at once: the phone may still ring."), "{}", ran.all());
}

//! The state of the stand-in: flows, Executions, and their contexts, which fill as the calls go on.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::flow::{self, Callee};
use super::{ACCOUNT, FROM, OTHER_FROM};

pub const FLOW: &str = "FW00000000000000000000000000000001";

/// Maximum length of an Execution's parameters in the stand-in. Twilio documents no limit. A call with ten attempts has 800
/// bytes.
const LONGEST_PARAMETERS: usize = 4_096;

/// How a call goes.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Whether the call is answered.
    pub answered: bool,
    /// The end of the call. "APPROVED", "WRONG_KEY" and "FRAUD" are what the user does: the flow reports the entry. Any other
    /// value is the result that the flow writes.
    pub result: Option<Value>,
    /// Replaces variables that the flow writes.
    pub variables: Value,
    /// The call goes through the flow that is installed. `result` is not used then.
    pub callee: Option<Callee>,
    /// Number of polls that show the call active. `None`: it never ends by itself.
    pub polls: Option<u32>,
    /// Number of polls after which the callee has hung up, which the call's widget shows. Studio may miss that, and then
    /// the Execution stays active: <https://support.twilio.com/hc/en-us/articles/360019383714>.
    pub hung_up_after: Option<u32>,
}

impl Scenario {
    /// Answered, with this end.
    pub fn ends(word: &str) -> Self {
        Self { answered: true, result: Some(json!(word)), polls: Some(1), ..Self::rings() }
    }

    /// Rings for ever.
    pub fn rings() -> Self {
        Self { answered: false, result: None, variables: json!({}), callee: None, polls: None, hung_up_after: None }
    }

    /// Answered and hung up, which Studio misses. The flow has this result, if any.
    pub fn stuck(word: Option<&str>) -> Self {
        let result = word.map(|word| json!(word));
        Self { answered: true, result, hung_up_after: Some(2), ..Self::rings() }
    }

    /// Answered and approved, but the flow writes other values of these variables. Null: the variable is missing.
    pub fn writes(variables: Value) -> Self {
        Self { variables, ..Self::ends("APPROVED") }
    }

    /// Goes through the flow that is installed.
    pub fn walks(callee: Callee) -> Self {
        Self { callee: Some(callee), ..Self::ends("") }
    }
}

pub struct Execution {
    to: String,
    parameters: Value,
    scenario: Scenario,
    /// The end of the installed flow, if the call goes through it.
    walked: Option<Value>,
    polls: u32,
    stopped: bool,
}

pub struct Studio {
    pub scenario: Scenario,
    pub executions: HashMap<String, Execution>,
    pub installed: Option<Value>,
    /// Number of Executions that were ended by request.
    pub ends: usize,
    started: u32,
    revision: u64,
}

impl Default for Studio {
    fn default() -> Self {
        let scenario = Scenario::ends("APPROVED");
        Self { scenario, executions: HashMap::new(), installed: None, ends: 0, started: 0, revision: 0 }
    }
}

type Reply = Result<(u16, Value), (u16, u32, String)>;

impl Studio {
    /// Returns the reply to a request whose credentials are right.
    pub fn answer(&mut self, method: &str, path: &[&str], form: &HashMap<String, String>) -> Reply {
        match (method, path) {
            ("GET", ["v2", "Flows"]) => {
                let flows = if self.installed.is_some() { vec![self.flow()] } else { Vec::new() };
                Ok((200, json!({ "flows": flows, "meta": { "page": 0, "next_page_url": null } })))
            }
            ("POST", ["v2", "Flows", "Validate"]) => definition(form).map(|_| (200, json!({ "valid": true }))),
            ("POST", ["v2", "Flows"]) => self.install(201, form),
            ("POST", ["v2", "Flows", FLOW]) if self.installed.is_some() => self.install(200, form),
            ("GET", ["v2", "Flows", FLOW]) => Ok((200, self.flow())),
            ("POST", ["v2", "Flows", FLOW, "Executions"]) => self.start(form),
            (_, ["v2", "Flows", FLOW, "Executions", sid, ..]) => {
                self.execution(method, sid, path.get(5).copied(), form)
            }
            _ => Err(missing(path)),
        }
    }

    fn flow(&self) -> Value {
        json!({
            "sid": FLOW, "friendly_name": "PhoneGate", "status": "published", "revision": self.revision,
            "valid": true, "errors": [], "account_sid": ACCOUNT, "definition": self.installed,
        })
    }

    fn install(&mut self, status: u16, form: &HashMap<String, String>) -> Reply {
        self.installed = Some(definition(form)?);
        self.revision += 1;
        Ok((status, self.flow()))
    }

    fn start(&mut self, form: &HashMap<String, String>) -> Reply {
        let field = |name: &str| {
            let missing = format!("Missing required parameter {name} in the post body");
            form.get(name).cloned().ok_or((400, 20001, missing))
        };
        let (to, from) = (field("To")?, field("From")?);
        if let Some(unknown) = form.keys().find(|key| !["To", "From", "Parameters"].contains(&key.as_str())) {
            return Err((400, 20001, format!("Unknown parameter {unknown}")));
        }
        if !is_e164(&to) {
            return Err((400, 21211, format!("The 'To' number {to} is not a valid phone number.")));
        }
        if from != FROM && from != OTHER_FROM {
            return Err((400, 21212, format!("The 'From' number {from} is not a valid phone number.")));
        }
        let parameters = form.get("Parameters").map_or("{}", String::as_str);
        if parameters.len() > LONGEST_PARAMETERS {
            return Err((413, 20413, "Request entity too large".to_owned()));
        }
        let parameters: Value = serde_json::from_str(parameters).ok().filter(Value::is_object).ok_or((
            400,
            20001,
            "Parameters is not a JSON object".to_owned(),
        ))?;
        // One Execution at a time for the same To and From.
        if self.executions.values().any(|execution| execution.to == to && !execution.is_over()) {
            return Err((409, 20409, "An Execution is already active for this contact".to_owned()));
        }
        self.started += 1;
        let sid = format!("FN{:032x}", self.started);
        let scenario = self.scenario.clone();
        let walked = scenario.callee.map(|callee| {
            let definition = self.installed.as_ref().expect("a flow is installed");
            flow::run(definition, callee, (&from, &to), &parameters).context
        });
        let execution = Execution { to, parameters: parameters.clone(), scenario, walked, polls: 0, stopped: false };
        let mut body = execution.resource(&sid);
        body["context"] = json!({ "flow": { "data": parameters } });
        self.executions.insert(sid, execution);
        Ok((201, body))
    }

    fn execution(&mut self, method: &str, sid: &str, more: Option<&str>, form: &HashMap<String, String>) -> Reply {
        let Some(execution) = self.executions.get_mut(sid) else { return Err(missing(&["v2", "Flows", FLOW, sid])) };
        match (method, more) {
            ("GET", None) => {
                execution.polls += 1;
                Ok((200, execution.resource(sid)))
            }
            ("GET", Some("Context")) => Ok((200, execution.context(sid))),
            ("POST", None) if form.get("Status").is_some_and(|status| status == "ended") => {
                execution.stopped = true;
                self.ends += 1;
                Ok((200, execution.resource(sid)))
            }
            ("POST", None) => Err((400, 20001, "Invalid Status".to_owned())),
            ("DELETE", None) => {
                self.executions.remove(sid);
                Ok((204, Value::Null))
            }
            _ => Err((405, 20004, "Method not allowed".to_owned())),
        }
    }
}

impl Execution {
    fn is_over(&self) -> bool {
        self.stopped || self.scenario.polls.is_some_and(|polls| self.polls > polls)
    }

    fn resource(&self, sid: &str) -> Value {
        json!({
            "sid": sid, "account_sid": ACCOUNT, "flow_sid": FLOW, "contact_channel_address": self.to,
            "status": if self.is_over() { "ended" } else { "active" }, "context": {},
        })
    }

    /// The context: empty at first, then with the call, the answer and the result.
    fn context(&self, sid: &str) -> Value {
        let mut widgets = json!({});
        let has_hung_up = self.scenario.hung_up_after.is_some_and(|polls| self.polls > polls);
        if has_hung_up {
            widgets["call"] = json!({ "CallStatus": "completed", "CallDuration": "12" });
        } else if self.polls > 0 {
            let answered = self.scenario.answered && (self.polls > 1 || self.is_over());
            widgets["call"] = json!({ "CallStatus": if answered { "in-progress" } else { "ringing" } });
        }
        let has_ended = has_hung_up || self.is_over() && !self.stopped;
        let mut context = json!({
            "trigger": {}, "widgets": widgets,
            "flow": { "flow_sid": FLOW, "channel": { "address": FROM }, "variables": {}, "data": self.parameters },
            "contact": { "channel": { "address": self.to } },
        });
        if let (true, Some(walked)) = (has_ended, &self.walked) {
            context = walked.clone();
        } else if has_ended {
            context["flow"]["variables"] = self.variables();
        }
        json!({ "execution_sid": sid, "account_sid": ACCOUNT, "flow_sid": FLOW, "context": context })
    }

    /// What PhoneGate's flow writes.
    fn variables(&self) -> Value {
        let parameter = |name: &str| self.parameters[name].as_str().unwrap_or_default().to_owned();
        let pressed = |digits: String| {
            json!({
                "result": "PRESSED", "attempt": "1", "digits": digits, "ended_by": "pound", "nonce": parameter("nonce"),
            })
        };
        let mut variables = match self.scenario.result.as_ref().map(|result| (result, result.as_str())) {
            Some((_, Some("APPROVED"))) => pressed(parameter("code_1")),
            Some((_, Some("WRONG_KEY"))) => pressed(parameter("code_1") + "1"),
            Some((_, Some("FRAUD"))) => pressed(parameter("fraud_key")),
            Some((result, _)) => json!({ "result": result }),
            None => json!({}),
        };
        if let (Some(variables), Some(others)) = (variables.as_object_mut(), self.scenario.variables.as_object()) {
            variables.extend(others.clone());
        }
        variables
    }
}

fn definition(form: &HashMap<String, String>) -> Result<Value, (u16, u32, String)> {
    let invalid = || (422, 20001, "Flow definition is invalid".to_owned());
    if !form.contains_key("FriendlyName") || form.get("Status").is_none_or(|status| status != "published") {
        return Err(invalid());
    }
    let definition: Value = serde_json::from_str(form.get("Definition").ok_or_else(invalid)?).map_err(|_| invalid())?;
    match flow::problems(&definition).as_slice() {
        [] => Ok(definition),
        problems => Err((422, 20001, format!("Flow definition is invalid: {}", problems.join("; ")))),
    }
}

fn is_e164(number: &str) -> bool {
    number
        .strip_prefix('+')
        .is_some_and(|digits| (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn missing(path: &[&str]) -> (u16, u32, String) {
    (404, 20404, format!("The requested resource /{} was not found", path.join("/")))
}

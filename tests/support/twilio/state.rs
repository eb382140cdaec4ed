//! What the stand-in remembers: flows, Executions, and their contexts, which fill as the calls go on.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{ACCOUNT, FROM};

pub const FLOW: &str = "FW00000000000000000000000000000001";

/// How a call goes.
#[derive(Clone, Debug)]
pub struct Story {
    /// Does somebody answer?
    pub answered: bool,
    /// The word that the flow ends with.
    pub result: Option<Value>,
    /// So many looks show it active; none: it never ends by itself.
    pub looks: Option<u32>,
    /// After so many looks the callee has hung up, which the call's widget shows. Studio may miss that, and then the
    /// Execution stays active: <https://support.twilio.com/hc/en-us/articles/360019383714>.
    pub hung_up_after: Option<u32>,
}

impl Story {
    /// Answered, and ended with this word.
    pub fn ends(word: &str) -> Self {
        Self { answered: true, result: Some(json!(word)), looks: Some(1), hung_up_after: None }
    }

    /// Rings for ever.
    pub fn rings() -> Self {
        Self { answered: false, result: None, looks: None, hung_up_after: None }
    }

    /// Answered and hung up, which Studio misses. The flow has written this word, if any.
    pub fn stuck(word: Option<&str>) -> Self {
        Self { answered: true, result: word.map(|word| json!(word)), looks: None, hung_up_after: Some(2) }
    }
}

pub struct Execution {
    to: String,
    story: Story,
    looks: u32,
    stopped: bool,
}

pub struct Studio {
    pub story: Story,
    pub executions: HashMap<String, Execution>,
    pub installed: Option<Value>,
    /// Requests to end an Execution that were carried out.
    pub ends: usize,
    started: u32,
    revision: u64,
}

impl Default for Studio {
    fn default() -> Self {
        let story = Story::ends("APPROVED");
        Self { story, executions: HashMap::new(), installed: None, ends: 0, started: 0, revision: 0 }
    }
}

type Reply = Result<(u16, Value), (u16, u32, String)>;

impl Studio {
    /// The reply to a request whose credentials are right.
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
        if !is_e164(&to) {
            return Err((400, 21211, format!("The 'To' number {to} is not a valid phone number.")));
        }
        if from != FROM {
            return Err((400, 21212, format!("The 'From' number {from} is not a valid phone number.")));
        }
        let parameters: Value = serde_json::from_str(form.get("Parameters").map_or("{}", String::as_str))
            .ok()
            .filter(Value::is_object)
            .ok_or((400, 20001, "Parameters is not a JSON object".to_owned()))?;
        // One Execution at a time for the same To and From.
        if self.executions.values().any(|execution| execution.to == to && !execution.is_over()) {
            return Err((409, 20409, "An Execution is already active for this contact".to_owned()));
        }
        self.started += 1;
        let sid = format!("FN{:032x}", self.started);
        let execution = Execution { to, story: self.story.clone(), looks: 0, stopped: false };
        let mut body = execution.resource(&sid);
        body["context"] = json!({ "flow": { "data": parameters } });
        self.executions.insert(sid, execution);
        Ok((201, body))
    }

    fn execution(&mut self, method: &str, sid: &str, more: Option<&str>, form: &HashMap<String, String>) -> Reply {
        let Some(execution) = self.executions.get_mut(sid) else { return Err(missing(&["v2", "Flows", FLOW, sid])) };
        match (method, more) {
            ("GET", None) => {
                execution.looks += 1;
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
        self.stopped || self.story.looks.is_some_and(|looks| self.looks > looks)
    }

    fn resource(&self, sid: &str) -> Value {
        json!({
            "sid": sid, "account_sid": ACCOUNT, "flow_sid": FLOW, "contact_channel_address": self.to,
            "status": if self.is_over() { "ended" } else { "active" }, "context": {},
        })
    }

    /// Empty at first; then the call, then the answer, then the result.
    fn context(&self, sid: &str) -> Value {
        let mut widgets = json!({});
        let has_hung_up = self.story.hung_up_after.is_some_and(|looks| self.looks > looks);
        if has_hung_up {
            widgets["call"] = json!({ "CallStatus": "completed", "CallDuration": "12" });
        } else if self.looks > 0 {
            let answered = self.story.answered && (self.looks > 1 || self.is_over());
            widgets["call"] = json!({ "CallStatus": if answered { "in-progress" } else { "ringing" } });
        }
        let mut variables = json!({});
        if let (true, Some(result)) = (has_hung_up || self.is_over() && !self.stopped, &self.story.result) {
            variables["result"] = result.clone();
        }
        json!({
            "execution_sid": sid, "account_sid": ACCOUNT, "flow_sid": FLOW,
            "context": { "trigger": {}, "widgets": widgets, "flow": { "flow_sid": FLOW, "variables": variables } },
        })
    }
}

fn definition(form: &HashMap<String, String>) -> Result<Value, (u16, u32, String)> {
    let invalid = || (422, 20001, "Flow definition is invalid".to_owned());
    if !form.contains_key("FriendlyName") || form.get("Status").is_none_or(|status| status != "published") {
        return Err(invalid());
    }
    let definition: Value = serde_json::from_str(form.get("Definition").ok_or_else(invalid)?).map_err(|_| invalid())?;
    let known = |key: &str| definition.get(key).is_some();
    if known("states") && known("initial_state") && known("description") { Ok(definition) } else { Err(invalid()) }
}

fn is_e164(number: &str) -> bool {
    number
        .strip_prefix('+')
        .is_some_and(|digits| (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn missing(path: &[&str]) -> (u16, u32, String) {
    (404, 20404, format!("The requested resource /{} was not found", path.join("/")))
}

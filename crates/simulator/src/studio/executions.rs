//! The resources: the flow and its Executions.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::flow::Flow;
use super::flow_match::mismatch;
use super::server::Refusal;
use super::walk::{Effect, Input, Walk};
use super::{ACCOUNT_SID, FLOW_SID, Pace, call};
use crate::exchange::{CallSteps, Exchange, NO_MORE_TELEPHONES, RingError, now};
use crate::number::is_e164;

/// Maximum number of Executions. The oldest one that has ended makes place for a new one.
const MAX_EXECUTIONS: usize = 200;

/// Maximum length of an Execution's parameters, in bytes. Twilio documents no limit.
const MAX_PARAMETERS: usize = 16_384;

/// Maximum number of different requests of a call whose last reply is kept.
const MAX_SHOWN: usize = 32;

/// The name of a flow if the simulator is given its definition.
const FLOW_NAME: &str = "PhoneGate";

/// Why a call is refused with 21211, and what to do.
const NOT_E164: &str = "A call by Twilio Studio was refused with error 21211, because its number is not in E.164: write it \
    with + and the country code.";

/// The form of a request.
pub(super) type Form = HashMap<String, String>;

/// The flow and its Executions. Cheap to clone.
#[derive(Clone)]
pub struct Studio(Arc<Inner>);

struct Inner {
    exchange: Exchange,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flow: Option<Published>,
    revision: u64,
    /// The oldest first.
    executions: VecDeque<Arc<Execution>>,
}

struct Published {
    flow: Arc<Flow>,
    definition: Value,
    name: String,
    revision: u64,
    at: String,
}

/// A call.
pub(super) struct Execution {
    sid: String,
    from: String,
    to: String,
    date: String,
    pub(super) started: Instant,
    pub(super) walk: Mutex<Walk>,
    /// Notified when the walk was ended by request.
    pub(super) stopped: Notify,
    /// Where its requests are shown. Unset if it rings no telephone.
    steps: OnceLock<CallSteps>,
    /// The hash of the reply that was shown last to each request, by the request's hash.
    shown: Mutex<HashMap<u64, u64>>,
    hashes: RandomState,
}

/// What is to be done with a request.
pub(super) struct Answered {
    pub(super) status: u16,
    /// `None`: the reply has no body.
    pub(super) body: Option<Value>,
    /// The call that the request is about.
    pub(super) execution: Option<Arc<Execution>>,
}

impl Answered {
    fn new(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), execution: None }
    }

    fn of(execution: &Arc<Execution>, status: u16, body: Value) -> Self {
        Self { execution: Some(Arc::clone(execution)), ..Self::new(status, body) }
    }
}

impl Studio {
    pub(super) fn new(exchange: Exchange, pace: Pace) -> Self {
        Self(Arc::new(Inner { exchange, pace, state: Mutex::default() }))
    }

    /// Publishes a flow, in place of the one before.
    ///
    /// # Errors
    /// The definition cannot be used. Text: why.
    pub fn publish(&self, definition: &str) -> Result<(), String> {
        let flow = Flow::parse(definition)?;
        self.0.state.lock().publish(flow, FLOW_NAME);
        Ok(())
    }

    /// Ends all calls.
    pub(super) fn stop_all(&self) {
        let executions = std::mem::take(&mut self.0.state.lock().executions);
        executions.iter().for_each(|execution| execution.stop());
    }

    /// Answers a request whose credentials are right. Call it within a tokio runtime.
    pub(super) fn answer(&self, method: &str, path: &[&str], form: &Form) -> Result<Answered, Refusal> {
        match (method, path) {
            ("GET", ["v2", "Flows"]) => {
                let state = self.0.state.lock();
                let flows: Vec<_> = state.flow.as_ref().map(Published::resource).into_iter().collect();
                Ok(Answered::new(200, json!({ "flows": flows, "meta": { "page": 0, "next_page_url": null } })))
            }
            ("POST", ["v2", "Flows", "Validate"]) => {
                definition(form)?;
                Ok(Answered::new(200, json!({ "valid": true })))
            }
            ("POST", ["v2", "Flows"]) => self.install(201, form),
            ("POST", ["v2", "Flows", FLOW_SID]) if self.0.state.lock().flow.is_some() => self.install(200, form),
            ("GET", ["v2", "Flows", FLOW_SID]) => {
                let state = self.0.state.lock();
                let flow = state.flow.as_ref().ok_or_else(|| Refusal::not_found(path))?;
                Ok(Answered::new(200, flow.resource()))
            }
            ("POST", ["v2", "Flows", FLOW_SID, "Executions"]) => self.start(path, form),
            (_, ["v2", "Flows", FLOW_SID, "Executions", sid, rest @ ..]) => {
                let find = |execution: &&Arc<Execution>| execution.sid == *sid;
                let execution = self.0.state.lock().executions.iter().find(find).cloned();
                let execution = execution.ok_or_else(|| Refusal::not_found(path))?;
                match (method, rest) {
                    ("GET", []) => Ok(Answered::of(&execution, 200, execution.resource())),
                    ("GET", ["Context"]) => Ok(Answered::of(&execution, 200, execution.context())),
                    ("POST", []) if form.get("Status").is_some_and(|status| status == "ended") => {
                        execution.stop();
                        Ok(Answered::of(&execution, 200, execution.resource()))
                    }
                    ("POST", []) => Err(Refusal::invalid("Status must be ended")),
                    ("DELETE", []) => {
                        execution.stop();
                        self.0.state.lock().executions.retain(|kept| kept.sid != *sid);
                        Ok(Answered { status: 204, body: None, execution: Some(execution) })
                    }
                    _ => Err(Refusal::not_found(path)),
                }
            }
            _ => Err(Refusal::not_found(path)),
        }
    }

    fn install(&self, status: u16, form: &Form) -> Result<Answered, Refusal> {
        let (flow, name) = definition(form)?;
        let mut state = self.0.state.lock();
        state.publish(flow, &name);
        let resource = state.flow.as_ref().map(Published::resource).unwrap_or_default();
        Ok(Answered::new(status, resource))
    }

    fn start(&self, path: &[&str], form: &Form) -> Result<Answered, Refusal> {
        let field = |name: &str| {
            form.get(name)
                .ok_or_else(|| Refusal::invalid(format!("Missing required parameter {name} in the post body")))
        };
        let (to, from) = (field("To")?, field("From")?);
        if let Some(unknown) = form.keys().find(|key| !["To", "From", "Parameters"].contains(&key.as_str())) {
            return Err(Refusal::invalid(format!("Unknown parameter {unknown:?}")));
        }
        if !is_e164(to) {
            self.0.exchange.report_problem(to, NOT_E164);
            return Err(Refusal::new(400, 21211, format!("The 'To' number {to:?} is not a valid phone number.")));
        }
        if !is_e164(from) {
            return Err(Refusal::new(400, 21212, format!("The 'From' number {from:?} is not a valid phone number.")));
        }
        let parameters = form.get("Parameters").map_or("{}", String::as_str);
        if parameters.len() > MAX_PARAMETERS {
            return Err(Refusal::new(413, 20413, "Request entity too large"));
        }
        let parameters: Value = serde_json::from_str(parameters).unwrap_or_default();
        if !parameters.is_object() {
            return Err(Refusal::invalid("Parameters is not a JSON object"));
        }
        let (execution, mismatch) = {
            let mut state = self.0.state.lock();
            let flow = state.flow.as_ref().map(|published| Arc::clone(&published.flow));
            let flow = flow.ok_or_else(|| Refusal::not_found(path))?;
            let is_active = |kept: &Arc<Execution>| kept.to == *to && kept.from == *from && !kept.is_over();
            if state.executions.iter().any(is_active) {
                return Err(Refusal::new(409, 20409, "An Execution is already active for this contact"));
            }
            state.make_place()?;
            let mismatch = mismatch(&flow, &parameters);
            let execution = Arc::new(Execution::new(flow, (from, to), &parameters, self.0.pace));
            state.executions.push_back(Arc::clone(&execution));
            (execution, mismatch)
        };
        if execution.walk.lock().is_ringing() {
            match self.0.exchange.ring("twilio_studio", to, from) {
                Ok(incoming) => {
                    let _ = execution.steps.set(incoming.steps());
                    tokio::spawn(call::run(incoming, Arc::clone(&execution)));
                }
                Err(RingError::Busy(steps)) => {
                    let mut walk = execution.walk.lock();
                    walk.handle(Input::Busy, execution.started.elapsed());
                    for effect in walk.take_effects() {
                        if let Effect::Report(text) = effect {
                            steps.event(&text);
                        }
                    }
                    let _ = execution.steps.set(steps);
                }
                Err(RingError::TooManyTelephones) => {
                    self.0.state.lock().executions.retain(|kept| !Arc::ptr_eq(kept, &execution));
                    return Err(Refusal::invalid(NO_MORE_TELEPHONES));
                }
            }
        }
        if let Some(mismatch) = mismatch {
            self.0.exchange.report_problem(to, &mismatch);
            if let Some(steps) = execution.steps.get() {
                steps.event(&mismatch);
            }
        }
        let mut resource = execution.resource();
        if let Some(context) = resource.get_mut("context") {
            *context = json!({ "flow": { "data": parameters } });
        }
        Ok(Answered::of(&execution, 201, resource))
    }
}

impl State {
    fn publish(&mut self, (flow, definition): (Flow, Value), name: &str) {
        self.revision = self.revision.saturating_add(1);
        let (flow, name, revision) = (Arc::new(flow), name.to_owned(), self.revision);
        self.flow = Some(Published { flow, definition, name, revision, at: now() });
    }

    /// Makes place for a further Execution.
    fn make_place(&mut self) -> Result<(), Refusal> {
        if self.executions.len() < MAX_EXECUTIONS {
            return Ok(());
        }
        match self.executions.iter().position(|execution| execution.is_over()) {
            Some(at) => {
                self.executions.remove(at);
                Ok(())
            }
            None => Err(Refusal::new(429, 20429, "Too Many Requests")),
        }
    }
}

impl Published {
    fn resource(&self) -> Value {
        json!({
            "sid": FLOW_SID, "account_sid": ACCOUNT_SID, "friendly_name": self.name, "status": "published",
            "revision": self.revision, "valid": true, "errors": [], "warnings": [], "commit_message": null,
            "definition": self.definition, "date_created": self.at, "date_updated": self.at,
        })
    }
}

impl Execution {
    fn new(flow: Arc<Flow>, (from, to): (&str, &str), parameters: &Value, pace: Pace) -> Self {
        let id = fastrand::u128(..);
        let walk = Walk::start(flow, (from, to), parameters, &format!("CA{id:032x}"), pace);
        Self {
            sid: format!("FN{id:032x}"),
            from: from.to_owned(),
            to: to.to_owned(),
            date: now(),
            started: Instant::now(),
            walk: Mutex::new(walk),
            stopped: Notify::new(),
            steps: OnceLock::new(),
            shown: Mutex::default(),
            hashes: RandomState::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.walk.lock().end().is_some()
    }

    /// Ends the call.
    fn stop(&self) {
        self.walk.lock().handle(Input::Stopped, self.started.elapsed());
        self.stopped.notify_one();
    }

    fn resource(&self) -> Value {
        json!({
            "sid": self.sid, "account_sid": ACCOUNT_SID, "flow_sid": FLOW_SID, "contact_channel_address": self.to,
            "status": if self.is_over() { "ended" } else { "active" }, "context": {}, "date_created": self.date,
        })
    }

    fn context(&self) -> Value {
        let context = self.walk.lock().context().clone();
        json!({ "execution_sid": self.sid, "account_sid": ACCOUNT_SID, "flow_sid": FLOW_SID, "context": context })
    }

    /// Shows a request and its reply. A request that is repeated is shown when its reply has changed, since PhoneGate
    /// polls.
    pub(super) fn show(&self, request: &str, reply: &str) {
        let Some(steps) = self.steps.get() else { return };
        let mut shown = self.shown.lock();
        if shown.len() >= MAX_SHOWN {
            shown.clear();
        }
        let reply_hash = self.hashes.hash_one(reply);
        if shown.insert(self.hashes.hash_one(request), reply_hash) != Some(reply_hash) {
            steps.received(request);
            steps.sent(reply);
        }
    }
}

/// Returns the flow of a request to install it, and its name.
fn definition(form: &Form) -> Result<((Flow, Value), String), Refusal> {
    let invalid = |problem: &str| Refusal::new(422, 20001, format!("Flow definition is invalid: {problem}"));
    let name = form.get("FriendlyName").filter(|name| !name.is_empty() && name.len() <= 256);
    let name = name.ok_or_else(|| invalid("FriendlyName is missing, or too long"))?;
    if form.get("Status").is_none_or(|status| status != "published") {
        return Err(invalid("the simulator has published flows only"));
    }
    let definition = form.get("Definition").ok_or_else(|| invalid("Definition is missing"))?;
    let flow = Flow::parse(definition).map_err(|problem| invalid(&problem))?;
    Ok((flow, name.clone()))
}

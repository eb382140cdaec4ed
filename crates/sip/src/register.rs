//! Registrations that are kept alive (RFC 3261, 10).

use std::time::Duration;

use crate::agent::core::{Core, Owner, TimerKey};
use crate::agent::event::{Event, NewRegistration, RegistrationEvent, RegistrationFailure, RegistrationId};
use crate::agent::flow::{Flow, FlowId};
use crate::auth::{AuthError, Authenticator, RequestAuth, RequestParts};
use crate::invite::{challenges, contact, refusal, via};
use crate::message::{Message, MessageBuilder, Method, NameAddr, Uri, header};
use crate::transaction::ClientKey;

/// The shortest time after a failure until the next attempt. It doubles with each failure.
const MIN_RETRY: Duration = Duration::from_secs(30);

/// The longest time after a failure until the next attempt, unless the registrar asks for more.
const MAX_RETRY: Duration = Duration::from_secs(300);

/// The longest time that a registrar may ask for by Retry-After.
const MAX_RETRY_AFTER: u32 = 3_600;

/// The longest lifetime that is used, in seconds.
const MAX_EXPIRES: u32 = 86_400;

/// Maximum responses that raise the lifetime in a row (423).
const MAX_RAISES: u32 = 3;

/// One registration.
pub(crate) struct Registration {
    id: RegistrationId,
    pub(crate) flow: FlowId,
    setup: NewRegistration,
    call_id: String,
    from_tag: String,
    cseq: u32,
    auth: Option<Authenticator>,
    request_auth: RequestAuth,
    pending: Option<ClientKey>,
    /// The contact that the registrar may have.
    contact: Option<String>,
    is_ending: bool,
    is_finished: bool,
    failures: u32,
    raises: u32,
    act_at: Option<Duration>,
}

impl Registration {
    /// Makes a registration and sends its first REGISTER.
    pub(crate) fn start(core: &mut Core, id: RegistrationId, flow: FlowId, setup: NewRegistration) -> Self {
        let mut registration = Self {
            id,
            flow,
            call_id: core.random_token(),
            from_tag: core.random_token(),
            cseq: 0,
            auth: setup.credentials.clone().map(Authenticator::new),
            request_auth: RequestAuth::default(),
            pending: None,
            contact: None,
            is_ending: false,
            is_finished: false,
            failures: 0,
            raises: 0,
            act_at: None,
            setup,
        };
        registration.begin(core);
        registration
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Removes the contact, if the registrar may have it.
    pub(crate) fn unregister(&mut self, core: &mut Core) {
        if self.is_ending {
            return;
        }
        self.is_ending = true;
        if let Some(pending) = self.pending.take() {
            core.remove_client(pending);
        }
        if self.contact.is_some() {
            self.begin(core);
        } else {
            self.finish(core);
        }
    }

    /// Registers over another flow. The contact of the old one is removed by the same request.
    pub(crate) fn replace_flow(&mut self, core: &mut Core, flow: FlowId) {
        self.flow = flow;
        if let Some(pending) = self.pending.take() {
            core.remove_client(pending);
        }
        self.failures = 0;
        self.begin(core);
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) {
        if self.act_at.is_some_and(|at| at <= core.now) {
            self.begin(core);
        }
        self.update_timer(core);
    }

    pub(crate) fn handle_response(&mut self, core: &mut Core, key: ClientKey, response: &Message) {
        if self.pending != Some(key) {
            return;
        }
        self.pending = None;
        let status = response.status().unwrap_or_default();
        match status {
            200..=299 => self.handle_success(core, response),
            401 | 407 => self.answer_challenge(core, status, response),
            423 if self.raise_expires(response) => self.send(core),
            _ => {
                let refusal = refusal(status, response);
                let wait = refusal.retry_after.map(|seconds| seconds.min(MAX_RETRY_AFTER));
                self.fail(core, RegistrationFailure::Refused(refusal), wait);
            }
        }
        self.update_timer(core);
    }

    /// Handles a REGISTER that got no response in time or could not be sent.
    pub(crate) fn handle_failure(&mut self, core: &mut Core, key: ClientKey) {
        if self.pending == Some(key) {
            self.pending = None;
            self.fail(core, RegistrationFailure::NoResponse, None);
        }
        self.update_timer(core);
    }

    /// Starts a new request.
    fn begin(&mut self, core: &mut Core) {
        self.request_auth = RequestAuth::default();
        self.raises = 0;
        self.send(core);
        self.update_timer(core);
    }

    fn send(&mut self, core: &mut Core) {
        self.act_at = None;
        self.cseq = self.cseq.saturating_add(1);
        let (key, random) = (core.new_client_key(), core.random_bytes());
        let flow = core.flow(self.flow);
        let Some((flow, request)) = flow.and_then(|flow| Some((flow, self.write(core, &flow, key, random)?))) else {
            self.fail(core, RegistrationFailure::NoResponse, None);
            return;
        };
        self.pending = Some(key);
        let owner = Owner::Registration(self.id);
        core.start_client(owner, key, (self.flow, flow.remote), (&Method::Register, request), None);
    }

    fn write(&mut self, core: &Core, flow: &Flow, key: ClientKey, random: [u8; 16]) -> Option<Vec<u8>> {
        let setup = &self.setup;
        let mut builder =
            MessageBuilder::request(&Method::Register, &setup.registrar).header(header::VIA, via(flow, key));
        for route in &setup.routes {
            builder = builder.header(header::ROUTE, format!("<{route}>"));
        }
        builder = builder
            .header(header::MAX_FORWARDS, "70")
            .header(header::FROM, format!("<{}>;tag={}", setup.address, self.from_tag))
            .header(header::TO, format!("<{}>", setup.address))
            .header(header::CALL_ID, &self.call_id)
            .header(header::CSEQ, format!("{} REGISTER", self.cseq));
        if setup.registers_contact {
            let contact = contact(flow, &setup.contact_user);
            if let Some(old) = self.contact.take().filter(|old| *old != contact) {
                builder = builder.header(header::CONTACT, format!("{old};expires=0"));
            }
            let expires = if self.is_ending { 0 } else { setup.expires };
            builder = builder
                .header(header::CONTACT, format!("{contact};expires={expires}"))
                .header(header::EXPIRES, expires.to_string());
            self.contact = Some(contact);
        }
        if !core.config.product.is_empty() {
            builder = builder.header(header::USER_AGENT, &core.config.product);
        }
        if let Some(auth) = &mut self.auth {
            let parts = RequestParts { method: b"REGISTER", uri: setup.registrar.as_bytes(), body: b"" };
            for answer in auth.answer(&mut self.request_auth, &parts, random).ok()? {
                builder = builder.header(answer.header(), answer.value());
            }
        }
        builder.build().ok()
    }

    fn handle_success(&mut self, core: &mut Core, response: &Message) {
        self.failures = 0;
        if self.is_ending {
            self.finish(core);
            return;
        }
        if !self.setup.registers_contact {
            self.emit(core, RegistrationEvent::Registered { expires: 0 });
            self.finish(core);
            return;
        }
        let expires = self.granted(response).min(MAX_EXPIRES);
        // Half of the time is left for attempts that fail.
        let wait = Duration::from_secs(u64::from(expires) / 2).max(Duration::from_secs(1));
        self.act_at = Some(core.now.saturating_add(wait));
        self.emit(core, RegistrationEvent::Registered { expires });
    }

    /// The lifetime that the registrar granted, in seconds: that of the contact, else of the response (RFC 3261, 10.2.4).
    fn granted(&self, response: &Message) -> u32 {
        let contacts = response.contacts().unwrap_or_default();
        let own = self.contact.as_deref().and_then(|contact| NameAddr::parse(contact).ok()?.uri().ok());
        let is_own = |contact: &&NameAddr| match (contact.uri(), &own) {
            (Ok(Uri::Sip(one)), Some(Uri::Sip(other))) => one.is_equivalent(other),
            _ => false,
        };
        let only = contacts.first().filter(|_| contacts.len() == 1);
        let contact = contacts.iter().find(is_own).or(only);
        let by_contact = contact.and_then(|contact| contact.params().get("expires")?.parse().ok());
        by_contact.or(response.expires().ok().flatten()).unwrap_or(self.setup.expires)
    }

    fn answer_challenge(&mut self, core: &mut Core, status: u16, response: &Message) {
        let refusal = refusal(status, response);
        let Some(auth) = &mut self.auth else {
            self.fail(core, RegistrationFailure::Refused(refusal), None);
            return;
        };
        match auth.challenged(&mut self.request_auth, challenges(response)) {
            Ok(()) => self.send(core),
            Err(error) => {
                // Each attempt begins without what an earlier challenge left, except for the floor of the algorithms.
                if error != AuthError::WrongCredentials {
                    auth.forget_challenges();
                }
                self.fail(core, RegistrationFailure::AuthenticationFailed(refusal, error), None);
            }
        }
    }

    /// Raises the lifetime to what the registrar accepts (RFC 3261, 10.2.8). Returns whether that makes sense.
    fn raise_expires(&mut self, response: &Message) -> bool {
        let minimum = response.min_expires().ok().flatten().filter(|minimum| *minimum <= MAX_EXPIRES);
        let Some(minimum) = minimum.filter(|minimum| *minimum > self.setup.expires && !self.is_ending) else {
            return false;
        };
        self.raises = self.raises.saturating_add(1);
        self.setup.expires = minimum;
        self.raises <= MAX_RAISES
    }

    fn fail(&mut self, core: &mut Core, failure: RegistrationFailure, retry_after: Option<u32>) {
        if self.is_ending {
            self.finish(core);
            return;
        }
        self.emit(core, RegistrationEvent::Failed(failure));
        if !self.setup.registers_contact {
            self.finish(core);
            return;
        }
        let doublings = self.failures.min(8);
        self.failures = self.failures.saturating_add(1);
        let wait = MIN_RETRY.saturating_mul(1 << doublings).min(MAX_RETRY);
        let asked = retry_after.map(|seconds| Duration::from_secs(u64::from(seconds)));
        self.act_at = Some(core.now.saturating_add(asked.map_or(wait, |asked| asked.max(wait))));
        self.update_timer(core);
    }

    fn finish(&mut self, core: &mut Core) {
        self.act_at = None;
        self.is_finished = true;
        self.emit(core, RegistrationEvent::Ended);
    }

    fn emit(&self, core: &mut Core, event: RegistrationEvent) {
        core.push_event(Event::Registration(self.id, event));
    }

    fn update_timer(&self, core: &mut Core) {
        core.set_timer(TimerKey::Registration(self.id), self.act_at);
    }
}

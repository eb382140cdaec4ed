//! Keeps registrations alive (RFC 3261, 10).

use std::time::Duration;

use crate::agent::core::{Core, Owner};
use crate::agent::event::{Event, NewRegistration, RegistrationEvent, RegistrationFailure, RegistrationId};
use crate::agent::flow::{Flow, FlowId};
use crate::agent::response::DEFAULT_PORT;
use crate::agent::timers::TimerKey;
use crate::auth::{AuthError, Authenticator, RequestAuth, RequestParts};
use crate::invite::{challenges, contact, own_message, rejection, via};
use crate::message::{Message, MessageBuilder, Method, NameAddr, SipUri, Uri, header, list_elements};
use crate::transaction::ClientKey;

/// Pause after the first failure until the next attempt. It doubles with each failure.
const MIN_RETRY: Duration = Duration::from_secs(30);

/// Maximum pause after a failure, unless Retry-After asks for more.
const MAX_RETRY: Duration = Duration::from_secs(300);

/// Maximum Retry-After that is respected, in seconds.
const MAX_RETRY_AFTER: u32 = 3_600;

/// Minimum lifetime that is proposed, in seconds.
const MIN_EXPIRES: u32 = 60;

/// Maximum lifetime, in seconds. A longer one is treated as this.
const MAX_EXPIRES: u32 = 86_400;

/// Minimum time from a success to the next request, however short the lifetime is.
const MIN_REFRESH: Duration = Duration::from_secs(2);

/// Maximum contacts that are remembered until the registrar has removed them.
const MAX_CONTACTS: usize = 8;

/// Maximum 423 responses in a row that raise the lifetime.
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
    /// The pending request. There is never a second one: it could overtake the first, which would then revert its
    /// effect (RFC 3261, 10.2).
    pending: Option<ClientKey>,
    /// Whether the latest request removes the contacts.
    is_removal: bool,
    /// Whether the flow changed while a request was pending.
    is_moved: bool,
    /// Contacts of this side that the registrar may have, the current one last.
    contacts: Vec<String>,
    /// Whether the registrar may have any of them.
    may_be_bound: bool,
    is_ending: bool,
    is_finished: bool,
    failures: u32,
    raises: u32,
    next_attempt_at: Option<Duration>,
}

impl Registration {
    /// Creates a registration and sends its first REGISTER.
    pub(crate) fn start(core: &mut Core, id: RegistrationId, flow: FlowId, mut setup: NewRegistration) -> Self {
        setup.expires = setup.expires.clamp(MIN_EXPIRES, MAX_EXPIRES);
        let mut registration = Self {
            id,
            flow,
            call_id: core.random_token(),
            from_tag: core.random_token(),
            cseq: 0,
            auth: setup.credentials.clone().map(Authenticator::new),
            request_auth: RequestAuth::default(),
            pending: None,
            is_removal: false,
            is_moved: false,
            contacts: Vec::new(),
            may_be_bound: false,
            is_ending: false,
            is_finished: false,
            failures: 0,
            raises: 0,
            next_attempt_at: None,
            setup,
        };
        registration.begin(core);
        registration
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Removes the contacts, if the registrar may have them, after the pending request has ended.
    pub(crate) fn unregister(&mut self, core: &mut Core) {
        if self.is_ending {
            return;
        }
        self.is_ending = true;
        match self.pending {
            None => self.begin(core),
            Some(_) if self.setup.registers_contact => {}
            Some(query) => {
                self.pending = None;
                core.remove_client(query);
                self.finish(core);
            }
        }
    }

    /// Registers over another flow, as soon as no request is pending. The same request removes the contact of the old
    /// flow.
    pub(crate) fn replace_flow(&mut self, core: &mut Core, flow: FlowId) {
        self.flow = flow;
        self.failures = 0;
        match self.pending {
            Some(_) => self.is_moved = self.setup.registers_contact,
            None => self.begin(core),
        }
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core) {
        if self.next_attempt_at.is_some_and(|at| at <= core.now) {
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
                // A proxy may send these although the registrar accepted.
                self.may_be_bound |= status == 408 || (500..600).contains(&status);
                let rejection = rejection(status, response);
                let wait = rejection.retry_after.map(|seconds| seconds.min(MAX_RETRY_AFTER));
                self.fail(core, RegistrationFailure::Rejected(rejection), wait);
            }
        }
        self.update_timer(core);
    }

    /// Handles a REGISTER that got no response in time or could not be sent.
    pub(crate) fn handle_failure(&mut self, core: &mut Core, key: ClientKey) {
        if self.pending == Some(key) {
            self.pending = None;
            self.may_be_bound = true;
            self.fail(core, RegistrationFailure::NoResponse, None);
        }
        self.update_timer(core);
    }

    /// Starts a new request, or ends if there is nothing to remove.
    fn begin(&mut self, core: &mut Core) {
        if self.is_ending && !self.may_be_bound {
            self.finish(core);
            return;
        }
        self.request_auth = RequestAuth::default();
        self.raises = 0;
        self.send(core);
        self.update_timer(core);
    }

    fn send(&mut self, core: &mut Core) {
        self.next_attempt_at = None;
        self.is_moved = false;
        self.is_removal = self.is_ending;
        self.cseq = self.cseq.saturating_add(1);
        let (key, random) = (core.new_client_key(), core.random_bytes());
        let flow = core.flow(self.flow);
        let Some((flow, request)) = flow.and_then(|flow| Some((flow, self.write(core, &flow, key, random)?))) else {
            self.fail(core, RegistrationFailure::NoResponse, None);
            return;
        };
        self.pending = Some(key);
        let owner = Owner::Registration(self.id);
        core.start_client(owner, key, (self.flow, flow.remote), Some(request), None);
    }

    fn write(&mut self, core: &Core, flow: &Flow, key: ClientKey, random: [u8; 16]) -> Option<Message> {
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
            self.contacts.retain(|old| *old != contact);
            if self.contacts.len() >= MAX_CONTACTS {
                self.contacts.remove(0);
            }
            for old in &self.contacts {
                builder = builder.header(header::CONTACT, format!("{old};expires=0"));
            }
            let expires = if self.is_ending { 0 } else { setup.expires };
            builder = builder
                .header(header::CONTACT, format!("{contact};expires={expires}"))
                .header(header::EXPIRES, expires.to_string());
            self.contacts.push(contact);
        }
        if !core.config.product.is_empty() {
            builder = builder.header(header::USER_AGENT, &core.config.product);
        }
        if let Some(auth) = &mut self.auth {
            let parts = RequestParts { method: b"REGISTER", uri: setup.registrar.as_bytes(), body: b"" };
            for authorization in auth.authorize(&mut self.request_auth, &parts, random).ok()? {
                builder = builder.header(authorization.header(), authorization.value());
            }
        }
        own_message(&builder.build().ok()?)
    }

    fn handle_success(&mut self, core: &mut Core, response: &Message) {
        self.failures = 0;
        if !self.setup.registers_contact {
            self.emit(core, RegistrationEvent::Registered { expires: 0 });
            self.finish(core);
            return;
        }
        if self.is_removal {
            self.finish(core);
            return;
        }
        self.may_be_bound = true;
        self.contacts.drain(..self.contacts.len().saturating_sub(1));
        if self.is_outdated() {
            self.begin(core);
            return;
        }
        let expires = self.granted(response).min(MAX_EXPIRES);
        if expires == 0 {
            self.fail(core, RegistrationFailure::NotKept, None);
            return;
        }
        // Refresh after half of the lifetime, which leaves time for failed attempts. A longer lifetime than requested
        // may be that of another contact.
        let wait = Duration::from_secs(u64::from(expires.min(self.setup.expires))) / 2;
        self.next_attempt_at = core.now.checked_add(wait.max(MIN_REFRESH));
        self.emit(core, RegistrationEvent::Registered { expires });
    }

    /// Returns whether the latest request has been superseded.
    fn is_outdated(&self) -> bool {
        self.is_moved || self.is_ending != self.is_removal
    }

    /// Returns the granted lifetime in seconds: that of the contact, otherwise that of the response (RFC 3261, 10.2.4).
    fn granted(&self, response: &Message) -> u32 {
        let listed = listed_contacts(response);
        let own = self.contacts.last().and_then(|contact| NameAddr::parse(contact).ok()?.uri().ok());
        let find = |is_own: fn(&SipUri, &SipUri) -> bool| {
            listed.iter().find(|contact| match (contact.uri(), &own) {
                (Ok(Uri::Sip(one)), Some(Uri::Sip(other))) => is_own(&one, other),
                _ => false,
            })
        };
        let only = listed.first().filter(|_| listed.len() == 1);
        let contact = find(SipUri::is_equivalent).or_else(|| find(has_same_address)).or(only);
        let by_contact = contact.and_then(|contact| seconds(&contact.params().get_decoded("expires")?));
        by_contact.or(response.expires().ok().flatten()).unwrap_or(self.setup.expires)
    }

    fn answer_challenge(&mut self, core: &mut Core, status: u16, response: &Message) {
        let rejection = rejection(status, response);
        let Some(auth) = &mut self.auth else {
            self.fail(core, RegistrationFailure::Rejected(rejection), None);
            return;
        };
        match auth.challenged(&mut self.request_auth, challenges(response)) {
            // The registrar does not have the contact, and the registration is ending.
            Ok(()) if self.is_ending && !self.may_be_bound => self.finish(core),
            Ok(()) => self.send(core),
            Err(error) => {
                // The next attempt starts without the earlier challenges, but with the required algorithms.
                if error != AuthError::WrongCredentials {
                    auth.forget_challenges();
                }
                self.fail(core, RegistrationFailure::AuthenticationFailed(rejection, error), None);
            }
        }
    }

    /// Raises the lifetime to the minimum of the registrar (RFC 3261, 10.2.8). Returns false if the response names no
    /// higher one, or if too many did.
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
        if self.is_outdated() {
            self.begin(core);
            return;
        }
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
        self.next_attempt_at = core.now.checked_add(asked.map_or(wait, |asked| asked.max(wait)));
        self.update_timer(core);
    }

    fn finish(&mut self, core: &mut Core) {
        self.next_attempt_at = None;
        self.is_finished = true;
        self.emit(core, RegistrationEvent::Ended);
    }

    fn emit(&self, core: &mut Core, event: RegistrationEvent) {
        core.push_event(Event::Registration(self.id, event));
    }

    fn update_timer(&self, core: &mut Core) {
        core.timers.set(TimerKey::Registration(self.id), self.next_attempt_at);
    }
}

/// Reads the contacts of a response. One that cannot be parsed may belong to another device, and is skipped.
fn listed_contacts(response: &Message) -> Vec<NameAddr> {
    let mut listed = Vec::new();
    for value in response.header_values(header::CONTACT) {
        let text = String::from_utf8_lossy(value);
        listed.extend(list_elements(&text).flatten().filter_map(|element| NameAddr::parse(element).ok()));
    }
    listed
}

/// Returns whether both URIs have the same user part, host and port, however they are written.
fn has_same_address(one: &SipUri, other: &SipUri) -> bool {
    let port = |uri: &SipUri| uri.port().unwrap_or(DEFAULT_PORT);
    one.has_same_user(other) && one.host() == other.host() && port(one) == port(other)
}

/// Parses a number of seconds. Values beyond 32 bits are treated as `u32::MAX`.
fn seconds(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

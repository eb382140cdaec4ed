//! Registrations at trunks, kept alive (RFC 3261, section 10).

use std::sync::Arc;
use std::time::Duration;

use phonegate_sip::agent::{RegistrationEvent, RegistrationFailure};

use super::SipTrunk;
use super::driver::{KeptRegistration, OpenFlow};
use super::outcome::reply;
use super::peer::Peer;
use crate::backend::HealthSink;
use crate::call::{Failure, FailureReason};

/// The wait before a server is tried again that could not be reached: the first one, and the longest.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));

impl SipTrunk {
    /// Asks the registrar of a trunk whether it accepts the user name and the password. Registers nothing.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn ask_registrar(&self, trunk: &Peer) -> Result<(), String> {
        let flow = self.registrar(trunk).await?;
        let asked = flow.shared().register(flow.id, self.settings.registration(trunk, false));
        let mut asked = asked.map_err(|error| error.to_string())?;
        match asked.next().await {
            Some(RegistrationEvent::Registered { .. }) => Ok(()),
            Some(RegistrationEvent::Failed(failure)) => Err(explain(&failure)),
            _ => Err("there was no response".to_owned()),
        }
    }

    /// Keeps a trunk's registration for as long as the gate runs.
    pub(super) async fn keep_registered(&self, trunk: &Peer, tell: HealthSink<'_>) {
        let (first, longest) = AGAIN_AFTER;
        let mut pause = first;
        let mut kept: Option<(Arc<OpenFlow>, KeptRegistration)> = None;
        loop {
            let flow = match self.registrar(trunk).await {
                Ok(flow) => flow,
                Err(problem) => {
                    self.not_registered(trunk, tell, problem);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                    continue;
                }
            };
            let registration = match kept.take() {
                // The registration goes on over another connection, with its Call-ID.
                Some((old, registration)) => {
                    flow.shared().replace_flow(old.id, flow.id);
                    Ok(registration)
                }
                None => flow.shared().register(flow.id, self.settings.registration(trunk, true)),
            };
            match registration {
                Ok(mut registration) => {
                    let began = tokio::time::Instant::now();
                    if self.follow_registration(trunk, &flow, &mut registration, tell).await {
                        pause = first;
                    }
                    kept = Some((flow, registration));
                    // A trunk may close each connection at once.
                    tokio::time::sleep_until(began + first).await;
                }
                Err(error) => {
                    self.not_registered(trunk, tell, error.to_string());
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Registers nothing, because that could replace the registration of a service. A call that fails says so.
    pub(super) fn leave_registrations_to_service(&self) {
        let registering = self.settings.trunks.iter().filter(|_| self.settings.registers);
        let why = "only the service registers, and this is another process";
        self.unregistered.lock().extend(registering.map(|trunk| (trunk.host(), why.to_owned())));
    }

    /// Reports how a registration goes, until its server does not respond or its connection is lost. Returns whether it was registered.
    async fn follow_registration(
        &self,
        trunk: &Peer,
        flow: &OpenFlow,
        registration: &mut KeptRegistration,
        tell: HealthSink<'_>,
    ) -> bool {
        let mut was_registered = false;
        loop {
            let event = tokio::select! {
                event = registration.next() => event,
                () = flow.lost() => return was_registered,
            };
            match event {
                Some(RegistrationEvent::Registered { .. }) => {
                    was_registered = true;
                    self.unregistered.lock().remove(&trunk.host());
                    tell(&trunk.host(), Ok(()));
                }
                Some(RegistrationEvent::Failed(failure)) => {
                    self.not_registered(trunk, tell, explain(&failure));
                    // Another server of the trunk may respond.
                    if matches!(failure, RegistrationFailure::NoResponse) {
                        return was_registered;
                    }
                }
                Some(_) => {}
                None => return was_registered,
            }
        }
    }

    /// Returns a flow to the first server of the trunk that can be reached, and over UDP responds.
    async fn registrar(&self, trunk: &Peer) -> Result<Arc<OpenFlow>, String> {
        let servers = self.servers(trunk).await?;
        self.first_live_flow(trunk, &servers).await
    }

    fn not_registered(&self, trunk: &Peer, tell: HealthSink<'_>, problem: String) {
        let sentence = format!("The registration failed: {problem}.");
        tell(&trunk.host(), Err(Failure::new(FailureReason::CannotPlace, sentence)));
        self.unregistered.lock().insert(trunk.host(), problem);
    }

    /// Adds to a failure to place a call what may be its cause.
    pub(super) fn with_registrations(&self, failure: Failure) -> Failure {
        let unregistered = self.unregistered.lock();
        if unregistered.is_empty() {
            return failure;
        }
        let reasons: Vec<_> =
            unregistered.iter().map(|(host, why)| format!("We are not registered at {host}: {why}.")).collect();
        Failure::verbatim(failure.reason(), format!("{} {}", failure.text(), reasons.join(" ")))
    }
}

fn explain(failure: &RegistrationFailure) -> String {
    match failure {
        RegistrationFailure::Rejected(refusal) => format!("the trunk answered {}", reply(refusal)),
        RegistrationFailure::AuthenticationFailed(refusal, error) => {
            format!("the trunk answered {}; {error}", reply(refusal))
        }
        _ => "there was no response in time".to_owned(),
    }
}

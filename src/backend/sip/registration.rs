//! Keeps registrations at trunks alive (RFC 3261, section 10).

use std::sync::Arc;
use std::time::Duration;

use phonegate_sip::agent::{RegistrationEvent, RegistrationFailure};

use super::SipTrunk;
use super::driver::{OpenFlow, RegistrationHandle};
use super::outcome::reply;
use super::target::Target;
use crate::backend::HealthSink;
use crate::call::{Failure, FailureReason};

/// First and longest pause before a registrar that could not be reached is tried again.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));

impl SipTrunk {
    /// Queries the registrar of a trunk, which checks the user name and the password. Registers nothing.
    ///
    /// # Errors
    /// The reason why the registrar rejects the query, or cannot be reached.
    pub(super) async fn query_registrar(&self, trunk: &Target) -> Result<(), String> {
        let flow = self.registrar(trunk).await?;
        let query = flow.shared().register(flow.id, self.settings.registration(trunk, false));
        let mut query = query.map_err(|error| error.to_string())?;
        match query.next().await {
            Some(RegistrationEvent::Registered { .. }) => Ok(()),
            Some(RegistrationEvent::Failed(failure)) => Err(explain(&failure)),
            _ => Err("there was no response".to_owned()),
        }
    }

    /// Keeps a trunk registered until the gate shuts down.
    pub(super) async fn registration_loop(&self, trunk: &Target, report: HealthSink<'_>) {
        let (first, longest) = RETRY_PAUSE;
        let mut pause = first;
        let mut kept: Option<(Arc<OpenFlow>, RegistrationHandle)> = None;
        loop {
            let flow = match self.registrar(trunk).await {
                Ok(flow) => flow,
                Err(problem) => {
                    self.report_unregistered(trunk, report, problem);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                    continue;
                }
            };
            let registration = match kept.take() {
                // The registration continues over another connection, with its Call-ID.
                Some((old, registration)) => {
                    flow.shared().replace_flow(old.id, flow.id);
                    Ok(registration)
                }
                None => flow.shared().register(flow.id, self.settings.registration(trunk, true)),
            };
            match registration {
                Ok(mut registration) => {
                    let began = tokio::time::Instant::now();
                    if self.follow_registration(trunk, &flow, &mut registration, report).await {
                        pause = first;
                    }
                    kept = Some((flow, registration));
                    // A trunk may close every connection immediately, so this limits the rate of attempts.
                    tokio::time::sleep_until(began + first).await;
                }
                Err(error) => {
                    self.report_unregistered(trunk, report, error.to_string());
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Records that this process does not register, because that could replace the registration of the service. The
    /// message of a failed call mentions it.
    pub(super) fn leave_registrations_to_service(&self) {
        let registering = self.settings.trunks.iter().filter(|_| self.settings.registers);
        let why = "only the service registers, and this is another process";
        self.unregistered.lock().extend(registering.map(|trunk| (trunk.host(), why.to_owned())));
    }

    /// Reports the state of a registration, until its server does not respond or its connection is lost. Returns whether it
    /// was registered.
    async fn follow_registration(
        &self,
        trunk: &Target,
        flow: &OpenFlow,
        registration: &mut RegistrationHandle,
        report: HealthSink<'_>,
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
                    report(&trunk.host(), Ok(()));
                }
                Some(RegistrationEvent::Failed(failure)) => {
                    self.report_unregistered(trunk, report, explain(&failure));
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

    /// Returns a flow to the first responsive server of the trunk.
    async fn registrar(&self, trunk: &Target) -> Result<Arc<OpenFlow>, String> {
        let servers = self.servers(trunk).await?;
        self.first_responsive_flow(trunk, &servers).await
    }

    fn report_unregistered(&self, trunk: &Target, report: HealthSink<'_>, problem: String) {
        let sentence = format!("The registration failed: {problem}.");
        report(&trunk.host(), Err(Failure::new(FailureReason::CannotPlace, sentence)));
        self.unregistered.lock().insert(trunk.host(), problem);
    }

    /// Adds missing registrations to a failure to place a call, because they may be its cause.
    pub(super) fn with_registrations(&self, failure: Failure) -> Failure {
        let unregistered = self.unregistered.lock();
        if unregistered.is_empty() {
            return failure;
        }
        let reasons: Vec<_> =
            unregistered.iter().map(|(host, why)| format!("PhoneGate is not registered at {host}: {why}.")).collect();
        failure.explained(reasons.join(" "))
    }
}

fn explain(failure: &RegistrationFailure) -> String {
    match failure {
        RegistrationFailure::Rejected(rejection) => format!("the trunk answered {}", reply(rejection)),
        RegistrationFailure::AuthenticationFailed(rejection, error) => {
            format!("the trunk answered {}; {error}", reply(rejection))
        }
        _ => "there was no response in time".to_owned(),
    }
}

//! Alerts that do not wait in the store: `store_down` and `configuration`.
//!
//! Each node sends them at once, and does not repeat a delivery that fails.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use uuid::Uuid;

use super::{Alert, AlertKind, DeliveryError, Destination};
use crate::clock::Moment;
use crate::config::{AlertConfig, ConfigError, NetworkConfig, alerts_of_refused};
use crate::platform;
use crate::store::ALERT_REPEAT_WINDOW;

/// Minimum time between two alerts of the same kind about the same.
const REPEAT_AFTER: Duration = ALERT_REPEAT_WINDOW;

/// Maximum alerts within [`REPEAT_AFTER`], whatever they are about.
const MAX_ALERTS: usize = 32;

/// All destinations of a configuration.
#[derive(Debug, Default)]
pub struct Destinations(Vec<Destination>);

/// A failed delivery of an alert.
#[derive(Debug)]
pub struct Undelivered {
    /// The destination's name.
    pub destination: Box<str>,
    /// Why the delivery failed.
    pub error: DeliveryError,
}

impl Destinations {
    /// Builds the destinations of `alerts`. Relative paths are resolved against `base`.
    ///
    /// # Errors
    /// As [`Destination::build`], and if two elements have the same destination: each alert would arrive once, in the form
    /// of one of them.
    pub fn build(alerts: &[AlertConfig], network: &NetworkConfig, base: &Path) -> Result<Self, ConfigError> {
        let built = alerts.iter().enumerate().map(|(index, alert)| Destination::build(index, alert, network, base));
        let built = built.collect::<Result<Vec<_>, _>>()?;
        for (index, destination) in built.iter().enumerate() {
            if let Some(first) =
                built.iter().take(index).position(|earlier| earlier.fingerprint() == destination.fingerprint())
            {
                let problem = format!(
                    "has the same destination as alerts[{first}]; remove it, and name all kinds in `on` of that one"
                );
                return Err(ConfigError::invalid(format!("alerts[{index}]"), problem));
            }
        }
        Ok(Self(built))
    }

    /// Builds the destinations of the file at `path`, which was refused with `refusal`.
    ///
    /// Empty if the file is not JSON, if its `alerts` or `network` is wrong, or if accounts that are not trusted could
    /// change the file or what these sections name. A destination that cannot be built is left out.
    pub fn for_refused(path: &Path, refusal: &ConfigError) -> Self {
        let Some((alerts, network)) = alerts_of_refused(path, refusal) else { return Self::default() };
        let base = path.parent().unwrap_or(Path::new(""));
        let built = alerts.iter().enumerate().map(|(index, alert)| Destination::build(index, alert, &network, base));
        Self(built.filter_map(Result::ok).collect())
    }

    /// Each destination, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Destination> {
        self.0.iter()
    }

    pub(super) fn into_vec(self) -> Vec<Destination> {
        self.0
    }

    /// Delivers an alert to each destination that wants it, to all of them at the same time, within `limit`.
    pub async fn deliver(&self, alert: &Alert, limit: Duration) -> Vec<Undelivered> {
        let deliveries =
            self.iter().filter(|destination| destination.wants(alert.kind)).map(|destination| async move {
                let result = tokio::time::timeout(limit, destination.deliver(alert)).await;
                let late = || DeliveryError::new(&format!("the server did not answer within {limit:?}"));
                let error = result.unwrap_or_else(|_| Err(late())).err()?;
                Some(Undelivered { destination: destination.name().into(), error })
            });
        join_all(deliveries).await.into_iter().flatten().collect()
    }
}

/// Reports a refused configuration, which is at `path`, to the destinations that it names.
///
/// Never blocks: it starts a thread, since no gate runs, which ends within about `limit`. `done` gets what was not
/// delivered.
///
/// # Errors
/// If the thread cannot be started.
pub fn report_refusal(
    path: PathBuf,
    refusal: ConfigError,
    limit: Duration,
    done: impl FnOnce(Vec<Undelivered>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("phonegate-alert".to_owned()).spawn(move || {
        let destinations = Destinations::for_refused(&path, &refusal);
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let undelivered = runtime.block_on(destinations.deliver(&refused(&refusal), limit));
        // Does not wait for a DNS look-up, which may take longer.
        runtime.shutdown_background();
        done(undelivered);
    })
}

fn refused(refusal: &ConfigError) -> Alert {
    let what_to_do = "Every call fails. Run `phonegate check` on this machine and correct the configuration; the next call \
                      reads it again.";
    Alert {
        id: Uuid::new_v4(),
        kind: AlertKind::Configuration,
        at: SystemTime::now(),
        node: platform::machine_name().into(),
        number: None,
        call: None,
        backend: None,
        text: format!("{refusal}\n{what_to_do}").into(),
    }
}

/// The alerts that were sent directly within the last hour.
#[derive(Debug, Default)]
pub struct HourlyLimit {
    sent: Vec<(AlertKind, Box<str>, Moment)>,
}

impl HourlyLimit {
    /// Nothing was sent yet.
    pub const fn new() -> Self {
        Self { sent: Vec::new() }
    }

    /// Returns whether an alert of this kind about `about` may be sent now, and counts it if so. Allows the same alert
    /// once an hour, and at most 32 alerts an hour in all.
    pub fn admits(&mut self, kind: AlertKind, about: &str, now: Moment) -> bool {
        self.sent.retain(|(_, _, at)| now.since(*at) < REPEAT_AFTER);
        let is_repeated = self.sent.iter().any(|(sent, what, _)| *sent == kind && **what == *about);
        let is_admitted = !is_repeated && self.sent.len() < MAX_ALERTS;
        if is_admitted {
            self.sent.push((kind, about.into(), now));
        }
        is_admitted
    }
}

#[cfg(test)]
mod tests;

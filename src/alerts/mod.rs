//! Alerts: notifications to administrators of events that need action.
//!
//! An [`Alert`] has no personal data: numbers are masked. A [`Destination`] is an element of `alerts` in the
//! configuration, and delivers by e-mail, webhook or syslog. [`direct`] delivers alerts that cannot wait in
//! the store.

mod alert;
mod delivery_error;
mod destination;
pub mod direct;
mod handle;
mod message;
mod outbox;
mod smtp;
mod starttls;
mod syslog;
mod webhook;
mod wire;

pub use crate::config::AlertKind;
pub use alert::Alert;
pub use delivery_error::DeliveryError;
pub use destination::{DELIVERY_LIMIT, Destination};
pub use handle::{Alerts, NewAlert};

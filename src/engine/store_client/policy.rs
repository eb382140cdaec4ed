//! The settings of a configuration that concern the store.

use std::time::Duration;

use phonegate_approval::policy::Policy;

use crate::approval::pins::PinChecker;
use crate::config::{Config, LimitsConfig};

/// The settings of a configuration that concern the store.
#[derive(Debug, Clone)]
pub(crate) struct StorePolicy {
    pub(super) limits: LimitsConfig,
    /// Whether the audit has full telephone numbers.
    pub(super) full_numbers: bool,
    /// Days for which a report of fraud blocks a number.
    pub(super) block_for_days: u64,
    /// How long ended attempts are kept: `audit.keep_days`.
    pub(super) keep: Duration,
    pub(super) policy: Policy,
    pub(super) is_service: bool,
    pub(super) pins: Option<PinChecker>,
}

impl StorePolicy {
    /// `is_service`: this process claims the calls of processes that are gone.
    pub(crate) fn of(config: &Config, policy: Policy, is_service: bool) -> Self {
        Self {
            limits: config.limits.clone(),
            full_numbers: config.audit.full_numbers,
            block_for_days: config.fraud.block_for_days.get(),
            keep: days(config.audit.keep_days.get()),
            policy,
            is_service,
            pins: None,
        }
    }

    /// Checks PINs with this checker, if the method asks for PINs.
    pub(crate) fn checking_pins(self, pins: Option<PinChecker>) -> Self {
        Self { pins, ..self }
    }

    /// Returns whether this process is a service, which claims the calls of processes that are gone.
    pub(crate) fn is_service(&self) -> bool {
        self.is_service
    }
}

pub(super) fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(24 * 60 * 60))
}

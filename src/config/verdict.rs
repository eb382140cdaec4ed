//! Backends that judge their calls themselves, in place of PhoneGate: whether their verdicts are accepted.

use phonegate_approval::policy;
use phonegate_approval::verdict::ProviderVerdicts;

use super::{BackendConfig, Config, ConfigError, Judge};

/// The key that accepts a backend's own verdicts.
const ACCEPT: &str = "accept_provider_verdict";

impl Config {
    /// Returns whether the verdict of this backend itself approves calls.
    ///
    /// A backend whose provider judges says so with `accept_provider_verdict`. Without it, `allow_test_backends`
    /// decides for the types of backends that are for tests, and any other one is refused.
    pub fn provider_verdicts(&self, backend: &BackendConfig) -> ProviderVerdicts {
        let by_default = self.allow_test_backends && backend.is_of_test_type();
        match backend.facts().judge() {
            Judge::Provider { accept } if accept.unwrap_or(by_default) => ProviderVerdicts::Accepted,
            Judge::Provider { .. } | Judge::PhoneGate => ProviderVerdicts::Refused,
        }
    }
}

/// Checks that every backend in use that judges by itself can approve a call.
pub(super) fn check_verdicts(config: &Config) -> Result<(), ConfigError> {
    let method = policy::Method::from(config.approval.method);
    for (name, backend) in config.in_use().filter(|(_, backend)| backend.facts().judge() != Judge::PhoneGate) {
        let (path, kind, lists) = (format!("backends.{name}"), backend.type_name(), config.lists_with(name));
        if method.has_pin() {
            let method = method.name();
            let problem =
                format!("is of type {kind}, which asks for no PIN; remove `{name}` from `{lists}`, or `{method}`");
            return Err(ConfigError::invalid(path, problem));
        }
        if config.provider_verdicts(backend) == ProviderVerdicts::Refused {
            let problem = format!(
                "must be true: a backend of type {kind} judges its calls itself, so it can approve none without this; \
                 set it, or remove `{name}` from `{lists}`"
            );
            return Err(ConfigError::invalid(format!("{path}.{ACCEPT}"), problem));
        }
    }
    Ok(())
}

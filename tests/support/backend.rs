//! A backend by itself, without a gate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use phonegate::admission::Admission;
use phonegate::approval::Approver;
use phonegate::backend::{self, CallRef, PlaceError, TelephonyBackend};
use phonegate::call::{Attempt, Call, CallId, Failure, Outcome};
use phonegate::clock::{Deadline, Moment};
use phonegate::config::{self, BackendType, ConfigError, NumbersConfig, Types};
use phonegate::prompts::Prompts;
use phonegate_approval::policy::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::approval::attempts;

/// A backend with a runtime of its own.
pub struct TestBackend {
    pub backend: Arc<dyn TelephonyBackend>,
    pub runtime: Runtime,
    pub approver: Approver,
}

impl TestBackend {
    /// The backend with these settings.
    pub fn new(settings: &Value) -> Self {
        Self::with_network(settings, &json!({})).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The backend with these settings, on such a network.
    pub fn with_network(settings: &Value, network: &Value) -> Result<Self, ConfigError> {
        Self::of(&phonegate::TYPES, settings, network)
    }

    /// The backend of one of these types.
    pub fn of(types: &Types, settings: &Value, network: &Value) -> Result<Self, ConfigError> {
        let is_for_tests = |kind: &BackendType| kind.is_for_tests() && settings["type"] == kind.name();
        let config = json!({
            "use": ["line"],
            "allow_test_backends": types.backends.iter().any(is_for_tests),
            "backends": { "line": settings },
            "network": network,
            "numbers": { "default_country": "US" },
            // The method of `approver` and of each call.
            "approval": { "method": "pound" },
        });
        let config = config::parse(&super::gate::with_test_defaults(config).to_string(), types)?;
        let prompts = Prompts::load(&config.prompts, config.approval.method.into(), Path::new("/"))?;
        let mut backends = backend::build_in_use(&config, &prompts, Path::new("/"))?;
        let named = backends.pop().expect("the configuration uses one backend");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let approver = Approver::new(attempts(Method::Pound), named.provider_verdicts);
        Ok(Self { backend: named.backend, runtime, approver })
    }

    /// Places a call to this number, as attempt `generation` of the request `n`.
    pub fn place(&self, n: u128, generation: u64, number: &str) -> Result<CallRef, PlaceError> {
        self.runtime.block_on(self.backend.place(&call(n, generation, number), &|_| {}))
    }

    /// Places a call that is refused.
    pub fn refused(&self, number: &str) -> PlaceError {
        self.place(1, 1, number).expect_err("the call is refused")
    }

    /// Follows a call to its end.
    pub fn follow(&self, reference: &CallRef) -> Outcome {
        self.runtime.block_on(self.backend.follow(reference, &self.approver, &|_| {}))
    }

    /// Follows a call that fails.
    pub fn fails(&self, reference: &CallRef) -> Failure {
        match self.follow(reference) {
            Outcome::Failed(failure) => failure,
            Outcome::Verified(_) => panic!("the call is verified"),
        }
    }
}

/// A call to this number, with a deadline in a minute.
pub fn call(n: u128, generation: u64, number: &str) -> Call {
    let numbers = NumbersConfig { default_country: Some("US".to_owned()), ..NumbersConfig::default() };
    let attempt = Attempt { id: CallId::new(Uuid::from_u128(n)).unwrap(), generation };
    let number = Admission::new(&numbers).unwrap().admit(number).unwrap();
    let deadline = Deadline::after(Moment::now(), Duration::from_secs(60));
    Call { attempt, number, deadline, language: None, caller_id: None, attempts: attempts(Method::Pound) }
}

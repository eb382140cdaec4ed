//! Figures for a monitoring system, in Prometheus' text format. They begin at zero with each gate, and have no personal
//! data in them: labels are names of backends, reasons, limits and operations alone.
//!
//! What may happen is there from the start, at zero: who asks how much a counter grew must have seen it before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::call::{CallLimit, FailureReason, StoredOutcome};
use crate::config::AlertKind;

/// In the place of a backend, or of a reason, where there was none.
const NONE: &str = "none";

/// Seconds until somebody answers, or until a verdict. A call lasts 600 at most.
const CALL_BUCKETS: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 180.0, 600.0];

/// Seconds that a store needs, from memory to a network in trouble.
const STORE_BUCKETS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What a store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    /// To let a call begin.
    Begin,
    /// To take note of steps.
    Record,
    /// To end a call.
    End,
    /// How a call stands.
    Find,
    /// To keep this process's calls.
    Renew,
    /// For calls of processes that are gone.
    ClaimOrphans,
    /// To block a number.
    Block,
    /// To use up an approval.
    UseApproval,
    /// To forget what is old.
    Sweep,
}

impl StoreOperation {
    const ALL: [Self; 9] = [
        Self::Begin,
        Self::Record,
        Self::End,
        Self::Find,
        Self::Renew,
        Self::ClaimOrphans,
        Self::Block,
        Self::UseApproval,
        Self::Sweep,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Record => "record",
            Self::End => "end",
            Self::Find => "find",
            Self::Renew => "renew",
            Self::ClaimOrphans => "take_up",
            Self::Block => "block",
            Self::UseApproval => "use_approval",
            Self::Sweep => "sweep",
        }
    }
}

/// The result of an alert, or of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertResult {
    /// The destination accepted the alert.
    Delivered,
    /// A delivery failed, and will be repeated.
    Failed,
    /// A delivery failed, and will not be repeated.
    GivenUp,
    /// The alert was not kept: too many waited, or the store refused it.
    Dropped,
}

impl AlertResult {
    const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::GivenUp, Self::Dropped];

    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }
}

/// The figures of one gate. Clones count into the same ones.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    answer: HistogramVec,
    verdict: HistogramVec,
    backend_errors: IntCounterVec,
    refused: IntCounterVec,
    lockouts: IntCounter,
    known: IntGauge,
    pending: IntGauge,
    store: HistogramVec,
    store_errors: IntCounterVec,
    alerts: IntCounterVec,
    written: Gauge,
}

impl Metrics {
    /// All at zero, for the backends in use.
    ///
    /// # Errors
    /// Where a name is none that Prometheus takes, which a test excludes.
    pub fn new<'a>(backends: impl IntoIterator<Item = &'a str>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter =
            |name, help, labels: &[&str]| registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let histogram = |name, help, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(&registry, HistogramVec::new(options, labels)?)
        };
        let gauge = |name, help| registered(&registry, IntGauge::new(name, help)?);
        let metrics = Self {
            calls: counter(
                "phonegate_calls_total",
                "Calls that have ended, by outcome (verified or failed), reason and the backend that placed them.",
                &["outcome", "reason", "backend"],
            )?,
            answer: histogram(
                "phonegate_call_answer_seconds",
                "Time from the request until somebody, or a machine, answered.",
                &["backend"],
                &CALL_BUCKETS,
            )?,
            verdict: histogram(
                "phonegate_call_verdict_seconds",
                "Time from the request until the outcome.",
                &["outcome", "backend"],
                &CALL_BUCKETS,
            )?,
            backend_errors: counter(
                "phonegate_backend_errors_total",
                "What backends refused or could not do, by reason: placing, hanging up and cleaning up.",
                &["backend", "reason"],
            )?,
            refused: counter(
                "phonegate_calls_refused_total",
                "Calls that a limit of the configuration refused.",
                &["limit"],
            )?,
            lockouts: registered(
                &registry,
                IntCounter::new("phonegate_lockouts_total", "Locks of numbers whose calls were not approved.")?,
            )?,
            known: gauge("phonegate_calls_known", "Calls in memory, ended ones that are still kept included.")?,
            pending: gauge("phonegate_calls_pending", "Calls without an outcome.")?,
            store: histogram(
                "phonegate_store_operation_seconds",
                "Time that the store took to answer, or until it was not waited for any more.",
                &["operation"],
                &STORE_BUCKETS,
            )?,
            store_errors: counter(
                "phonegate_store_errors_total",
                "What was asked of the store in vain.",
                &["operation"],
            )?,
            alerts: counter(
                "phonegate_alerts_total",
                "Alerts by kind and result: delivered, failed (each delivery that is repeated), given_up, dropped.",
                &["kind", "result"],
            )?,
            written: registered(
                &registry,
                Gauge::new(
                    "phonegate_metrics_written_timestamp_seconds",
                    "When these figures were written, in Unix time.",
                )?,
            )?,
            registry,
        };
        let build = Opts::new("phonegate_build_info", "The version of PhoneGate; always 1.");
        let build = registered(&metrics.registry, IntGaugeVec::new(build, &["version"])?)?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        metrics.begin_at_zero(backends)?;
        Ok(metrics)
    }

    fn begin_at_zero<'a>(&self, backends: impl IntoIterator<Item = &'a str>) -> prometheus::Result<()> {
        for backend in backends.into_iter().chain([NONE]) {
            for reason in FailureReason::ALL {
                self.calls.get_metric_with_label_values(&["failed", reason.name(), backend])?;
            }
            if backend == NONE {
                continue;
            }
            for reason in FailureReason::ALL {
                self.backend_errors.get_metric_with_label_values(&[backend, reason.name()])?;
            }
            self.calls.get_metric_with_label_values(&["verified", NONE, backend])?;
            self.answer.get_metric_with_label_values(&[backend])?;
            self.verdict.get_metric_with_label_values(&["verified", backend])?;
            self.verdict.get_metric_with_label_values(&["failed", backend])?;
        }
        for limit in CallLimit::ALL {
            self.refused.get_metric_with_label_values(&[limit.name()])?;
        }
        for operation in StoreOperation::ALL {
            self.store.get_metric_with_label_values(&[operation.name()])?;
            self.store_errors.get_metric_with_label_values(&[operation.name()])?;
        }
        for kind in AlertKind::ALL {
            for result in AlertResult::ALL {
                self.alerts.get_metric_with_label_values(&[kind.name(), result.name()])?;
            }
        }
        Ok(())
    }

    /// A call has ended, so long after it was asked for.
    pub fn ended(&self, outcome: &StoredOutcome, backend: Option<&str>, after: Duration) {
        let (name, reason) = match outcome {
            StoredOutcome::Verified(_) => ("verified", NONE),
            StoredOutcome::Failed(failure) => ("failed", failure.reason().name()),
        };
        // As many labels as the metric has, so that it is never an error; here and below.
        if let Ok(calls) = self.calls.get_metric_with_label_values(&[name, reason, backend.unwrap_or(NONE)]) {
            calls.inc();
        }
        if let StoredOutcome::Failed(failure) = outcome
            && let Some(limit) = failure.limit()
            && let Ok(refused) = self.refused.get_metric_with_label_values(&[limit.name()])
        {
            refused.inc();
        }
        if let Some(backend) = backend {
            observe(&self.verdict, &[name, backend], after);
        }
    }

    /// Somebody, or a machine, has answered, so long after the call was asked for.
    pub fn answered(&self, backend: &str, after: Duration) {
        observe(&self.answer, &[backend], after);
    }

    /// A backend has refused something, or could not do it.
    pub fn backend_failed(&self, backend: &str, reason: FailureReason) {
        if let Ok(errors) = self.backend_errors.get_metric_with_label_values(&[backend, reason.name()]) {
            errors.inc();
        }
    }

    /// Counts a lock of a number whose calls were not approved.
    pub fn locked_out(&self) {
        self.lockouts.inc();
    }

    /// The store has answered, or was waited for so long in vain.
    pub fn store_asked(&self, operation: StoreOperation, took: Duration, failed: bool) {
        observe(&self.store, &[operation.name()], took);
        if failed && let Ok(errors) = self.store_errors.get_metric_with_label_values(&[operation.name()]) {
            errors.inc();
        }
    }

    /// Counts the result of an alert, or of one delivery.
    pub fn alert(&self, kind: AlertKind, result: AlertResult) {
        if let Ok(alerts) = self.alerts.get_metric_with_label_values(&[kind.name(), result.name()]) {
            alerts.inc();
        }
    }

    /// The figures as text, with so many calls in memory.
    ///
    /// # Errors
    /// Where the encoder finds a metric without a sample, of which there is none.
    pub fn to_text(&self, known: usize, pending: usize) -> prometheus::Result<String> {
        self.known.set(i64::try_from(known).unwrap_or(i64::MAX));
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.written.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn observe(histogram: &HistogramVec, labels: &[&str], time: Duration) {
    if let Ok(histogram) = histogram.get_metric_with_label_values(labels) {
        histogram.observe(time.as_secs_f64());
    }
}

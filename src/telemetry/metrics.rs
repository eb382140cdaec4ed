//! Metrics for a monitoring system, in Prometheus' text format. They begin at zero with each gate, and have no personal
//! data: the labels are names of backends, reasons, limits, operations and alerts.
//!
//! Every counter exists from the start, at zero: a monitoring system can compute the growth only of a counter that it
//! has seen before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::call::{CallLimit, FailureReason, StoredOutcome};
use crate::config::AlertKind;

/// The label of a backend, or of a reason, if there was none.
const NONE: &str = "none";

/// Seconds until an answer or an outcome. A call lasts at most 600.
const CALL_BUCKETS: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 180.0, 600.0];

/// Seconds that a store operation takes, from a store in memory to a slow network.
const STORE_BUCKETS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    /// Begins a call.
    Begin,
    /// Records steps of calls.
    Record,
    /// Ends a call.
    End,
    /// Reads the state of a call.
    Find,
    /// Renews the lease of this process.
    Renew,
    /// Claims calls of processes that are gone.
    ClaimOrphans,
    /// Blocks a number.
    Block,
    /// Uses up an approval.
    UseApproval,
    /// Deletes old records.
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
            Self::ClaimOrphans => "claim_orphans",
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

/// The calls in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// All calls, including ended ones that are still kept.
    pub known: usize,
    /// Calls without an outcome.
    pub pending: usize,
}

/// The metrics of one gate. Clones share the same counters.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    answer: HistogramVec,
    verdict: HistogramVec,
    backend_errors: IntCounterVec,
    backend_up: IntGaugeVec,
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
    /// Creates the metrics, all at zero, for the backends in use.
    ///
    /// # Errors
    /// If Prometheus refuses a name, which a test excludes.
    pub fn new<'a>(backends: impl IntoIterator<Item = &'a str>) -> prometheus::Result<Self> {
        let all = Registration(Registry::new());
        let metrics = Self {
            calls: all.counters(
                "phonegate_calls_total",
                "Calls that have ended, by outcome (verified or failed), reason and the backend that placed them.",
                &["outcome", "reason", "backend"],
            )?,
            answer: all.histograms(
                "phonegate_call_answer_seconds",
                "Time from the request until the call was answered, by a person or a machine.",
                &["backend"],
                &CALL_BUCKETS,
            )?,
            verdict: all.histograms(
                "phonegate_call_verdict_seconds",
                "Time from the request until the outcome.",
                &["outcome", "backend"],
                &CALL_BUCKETS,
            )?,
            backend_errors: all.counters(
                "phonegate_backend_errors_total",
                "Errors of backends by reason: when placing calls, hanging up and cleaning up.",
                &["backend", "reason"],
            )?,
            backend_up: all.gauges(
                "phonegate_backend_up",
                "1 if a backend works, as far as known; 0 if its last calls failed, so that calls skip it.",
                &["backend"],
            )?,
            refused: all.counters(
                "phonegate_calls_refused_total",
                "Calls that a limit of the configuration refused.",
                &["limit"],
            )?,
            lockouts: all.counter("phonegate_lockouts_total", "Locks of numbers whose calls were not approved.")?,
            known: all.gauge("phonegate_calls_known", "Calls in memory, including ended ones that are still kept.")?,
            pending: all.gauge("phonegate_calls_pending", "Calls without an outcome.")?,
            store: all.histograms(
                "phonegate_store_operation_seconds",
                "Time until a store operation ended or timed out.",
                &["operation"],
                &STORE_BUCKETS,
            )?,
            store_errors: all.counters(
                "phonegate_store_errors_total",
                "Store operations that failed or timed out.",
                &["operation"],
            )?,
            alerts: all.counters(
                "phonegate_alerts_total",
                "Alerts by kind and result: delivered, failed (each delivery that is repeated), given_up, dropped.",
                &["kind", "result"],
            )?,
            written: all.time(
                "phonegate_metrics_written_timestamp_seconds",
                "When these metrics were written, in Unix time.",
            )?,
            registry: all.0,
        };
        metrics.add_build_info()?;
        metrics.begin_at_zero(backends)?;
        Ok(metrics)
    }

    fn add_build_info(&self) -> prometheus::Result<()> {
        let options = Opts::new("phonegate_build_info", "The version of PhoneGate; always 1.");
        let build = register(&self.registry, IntGaugeVec::new(options, &["version"])?)?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        Ok(())
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
            self.backend_up.get_metric_with_label_values(&[backend])?.set(1);
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

    /// Counts a call that ended this long after its request.
    pub fn ended(&self, outcome: &StoredOutcome, backend: Option<&str>, after: Duration) {
        let (name, reason) = match outcome {
            StoredOutcome::Verified(_) => ("verified", NONE),
            StoredOutcome::Failed(failure) => ("failed", failure.reason().name()),
        };
        // Never an error, here and below: there are as many labels as the metric has.
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

    /// Records that a call was answered, by a person or a machine, this long after its request.
    pub fn answered(&self, backend: &str, after: Duration) {
        observe(&self.answer, &[backend], after);
    }

    /// Counts an error of a backend.
    pub fn backend_failed(&self, backend: &str, reason: FailureReason) {
        if let Ok(errors) = self.backend_errors.get_metric_with_label_values(&[backend, reason.name()]) {
            errors.inc();
        }
    }

    /// Sets whether a backend works.
    pub fn backend_is_up(&self, backend: &str, is_up: bool) {
        if let Ok(up) = self.backend_up.get_metric_with_label_values(&[backend]) {
            up.set(is_up.into());
        }
    }

    /// Counts a lock of a number whose calls were not approved.
    pub fn locked_out(&self) {
        self.lockouts.inc();
    }

    /// Records the duration of a store operation, and whether it failed or timed out.
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

    /// Returns the metrics as text.
    ///
    /// # Errors
    /// If the encoder finds a metric without a sample, which does not happen.
    pub fn to_text(&self, counts: CallCounts) -> prometheus::Result<String> {
        self.known.set(i64::try_from(counts.known).unwrap_or(i64::MAX));
        self.pending.set(i64::try_from(counts.pending).unwrap_or(i64::MAX));
        self.written.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Creates metrics and registers them.
struct Registration(Registry);

impl Registration {
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        register(&self.0, IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        register(&self.0, IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        register(&self.0, IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        register(&self.0, IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        register(&self.0, HistogramVec::new(options, labels)?)
    }

    /// A gauge for a time in seconds, which is not a whole number.
    fn time(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        register(&self.0, Gauge::new(name, help)?)
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn observe(histogram: &HistogramVec, labels: &[&str], time: Duration) {
    if let Ok(histogram) = histogram.get_metric_with_label_values(labels) {
        histogram.observe(time.as_secs_f64());
    }
}

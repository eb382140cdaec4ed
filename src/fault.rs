//! Faults on demand, in debug builds alone: the tests see what a host sees when a defect panics. Release builds have
//! none of it.

/// Panics in a debug build where the environment variable `PHONEGATE_FAULT` names this place.
pub(crate) fn point(_place: &str) {
    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "this is what the module is for")]
    if std::env::var("PHONEGATE_FAULT").is_ok_and(|faults| faults.split(',').any(|fault| fault == _place)) {
        panic!("fault injected at {_place}");
    }
}

//! Faults on demand, in debug builds alone: the tests see what a host sees when a defect panics. Release builds have
//! none of it.

/// Whether the environment variable `PHONEGATE_FAULT` names this place. False in a release build.
pub(crate) fn is_set(place: &str) -> bool {
    cfg!(debug_assertions)
        && std::env::var("PHONEGATE_FAULT").is_ok_and(|faults| faults.split(',').any(|fault| fault == place))
}

/// Panics in a debug build where the environment variable `PHONEGATE_FAULT` names this place.
pub(crate) fn point(_place: &str) {
    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "this is what the module is for")]
    if is_set(_place) {
        panic!("fault injected at {_place}");
    }
}

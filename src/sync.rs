//! The locks of the registry. The model check of `tests/model` replaces them with those of loom.

pub(crate) use parking_lot::{Condvar, Mutex};

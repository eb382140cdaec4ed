//! The locks of the registry. The model check of `tests/model` replaces them with loom's.

pub(crate) use parking_lot::{Condvar, Mutex};

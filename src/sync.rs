//! The locks of the registry. The model check of `tests/model` puts loom's in their place.

pub(crate) use parking_lot::{Condvar, Mutex};

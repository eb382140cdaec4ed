//! Reverts an installation: restores a backup of `MfaSettings.xml`, removes the installed files, and restores the calls
//! of an older version or removes the data if asked to.

mod apply;
mod calls;
mod outcome;
mod plan;
mod purge;

pub use apply::apply;
pub use outcome::{Left, Reverted};
pub use plan::{Options, Plan, Step, plan};

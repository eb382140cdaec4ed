//! The commands: a module for each. A module has the arguments, the help, and `run`.

pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod blocks;
pub(crate) mod call;
pub(crate) mod calls;
pub(crate) mod check;
mod deploy_progress;
pub(crate) mod doctor;
pub(crate) mod install;
pub(crate) mod library_version;
pub(crate) mod limits;
pub(crate) mod numbers;
pub(crate) mod pins;
pub(crate) mod prompts;
pub(crate) mod protect;
pub(crate) mod report;
pub(crate) mod revert;
pub(crate) mod schema;
pub(crate) mod setup;
pub(crate) mod simulate;
mod stored_number;
pub(crate) mod twilio;

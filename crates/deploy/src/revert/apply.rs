//! Applies the plan of a reversal.

use std::fs;
use std::io;

use super::calls;
use super::outcome::{Left, Reverted};
use super::plan::{Plan, Step, StepKind};
use crate::apply::files::{remove, remove_leftovers};
use crate::apply::{Lock, replace_settings};
use crate::{DeployError, Progress, event_source, service, settings};

/// Restores the settings, restarts MIM's service with `restarts`, and makes the other steps. If one of those fails, the
/// others are still made.
///
/// # Errors
/// If the settings cannot be restored, or the service cannot be restarted. Nothing is removed then.
pub fn apply(plan: &Plan, restarts: bool, progress: &mut impl Progress) -> Result<Reverted, DeployError> {
    let lock = Lock::take(&plan.folder)?;
    if let Some(restore) = plan.calls.as_ref().filter(|_| !restarts) {
        restore.must_be_unused().map_err(|text| DeployError::failed(format!("{text}. Nothing was changed")))?;
    }
    let steps = plan.steps();
    if let Some(restore) = &plan.settings {
        replace_settings(&restore.path, &restore.before, &restore.after, &restore.kept)?;
        report(steps.first(), progress);
    }
    if restarts {
        service::restart(progress).map_err(|why| {
            DeployError::failed(format!("{} is restored, but MIM has not loaded it: {why}", settings::FILE_NAME))
        })?;
    }
    let (mut left, mut restored_calls) = (Vec::new(), false);
    for step in steps.iter().filter(|step| step.kind != StepKind::Settings) {
        match make(step, plan) {
            Ok(()) => {
                restored_calls |= step.kind == StepKind::Calls;
                report(Some(step), progress);
            }
            Err(error) => left.push(Left { path: step.path.to_owned(), reason: error.to_string() }),
        }
    }
    let is_complete = left.is_empty();
    let in_use = |path| Left { path, reason: "in use now; a later revert or install removes it".to_owned() };
    left.extend(remove_leftovers(&plan.folder).into_iter().map(in_use));
    drop(lock);
    if plan.suggests_restoring_calls {
        left.extend(calls::newer_calls(&plan.folder));
    }
    Ok(Reverted { is_complete, restored_calls, left })
}

fn make(step: &Step<'_>, plan: &Plan) -> io::Result<()> {
    match step.kind {
        StepKind::Calls => plan.calls.as_ref().map_or(Ok(()), |calls| calls.carry_out().map_err(io::Error::other)),
        StepKind::EventSource => event_source::register(None),
        _ if step.path.is_dir() => fs::remove_dir_all(step.path),
        _ => remove(step.path),
    }
}

fn report(step: Option<&Step<'_>>, progress: &mut impl Progress) {
    if let Some(step) = step {
        progress.changed(step.name(), step.path, &step.description);
    }
}

//! The machine's part of a plan: the folder and the account of MIM's service.

use std::path::PathBuf;

use phonegate::platform::{Account, HOST_SERVICE};

use super::bundle;
use super::notes::Notes;
use super::options::Options;
use crate::find::ServiceFolder;
use crate::{DeployError, permissions, service};

/// The folder to install into, and the account of MIM's service.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    /// `None` if the service is not registered.
    pub(super) account: Option<Account>,
}

impl Site {
    /// # Errors
    /// If there is no such folder, or other accounts can write to it.
    pub(super) fn find(options: &Options<'_>, notes: &mut Notes) -> Result<Self, DeployError> {
        let ServiceFolder { path: folder, found_by } = ServiceFolder::find(options.service_dir)?;
        notes.found("service folder", format!("{} ({found_by})", folder.display()));
        let account = Account::of_service(HOST_SERVICE)
            .map_err(|error| DeployError::failed(format!("cannot read the account of {HOST_SERVICE}: {error}")))?;
        match &account {
            Some(account) => {
                let state = service::state().map_or_else(|error| error, |state| state.to_string());
                notes.found("service", format!("{HOST_SERVICE} as {}, {state}", account.name()));
            }
            None => notes.warnings.push(format!(
                "the service {HOST_SERVICE} is not registered on this machine, so its account is unknown: only \
                 administrators will be able to read the configuration. Run install again once it is registered"
            )),
        }
        if !options.trust_folder {
            bundle::check_folder(&folder, "replace what MIM loads, and what administrators run there")?;
        }
        notes.warnings.extend(permissions::check_service_folder(&folder, account.as_ref()));
        Ok(Self { folder, account })
    }
}

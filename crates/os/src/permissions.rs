//! Permissions of files and folders, in terms that hold for every operating system.

use super::Account;

/// The name of the host, a service of Windows.
pub const HOST_SERVICE: &str = "FIMService";

/// The account that may use a file or a folder, besides administrators.
#[derive(Debug, Clone, Copy)]
pub enum Grant<'a> {
    /// No further account.
    Administrators,
    /// The user that this process runs as.
    CurrentUser,
    /// The account of the host.
    Account(&'a Account),
}

impl<'a> From<Option<&'a Account>> for Grant<'a> {
    fn from(account: Option<&'a Account>) -> Self {
        account.map_or(Self::Administrators, Self::Account)
    }
}

/// The accounts that can use a file or a folder although they should not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Its owner, if that is another account.
    pub owner: Option<String>,
    /// The other accounts that can read it.
    pub readers: Vec<String>,
    /// The other accounts that can change it.
    pub writers: Vec<String>,
    /// Whether the account that needs the permission to read the file, or to change the folder's content, has no entry
    /// for that. Permissions that it has as a member of a group are not examined.
    pub lacks_grant: bool,
}

impl Exposure {
    /// Describes which account could have written to it. `None` if no other one could.
    pub fn why_unsafe(&self) -> Option<String> {
        match (&self.owner, self.writers.as_slice()) {
            (Some(owner), _) => Some(format!("it belongs to {owner}")),
            (None, []) => None,
            (None, writers) => Some(format!("{} can write to it", writers.join(" and "))),
        }
    }

    /// Describes which account can use it, and for what. `None` if no other one can.
    pub fn describe(&self) -> Option<String> {
        self.why_unsafe().or_else(|| match self.readers.as_slice() {
            [] => None,
            readers => Some(format!("{} can read it", readers.join(" and "))),
        })
    }
}

//! Who may use a file or a folder, in words that hold for every operating system.

use super::Account;

/// The service of Windows that the host is.
pub const HOST_SERVICE: &str = "FIMService";

/// To whom something of ours is granted, beside administrators.
#[derive(Debug, Clone, Copy)]
pub enum Grant<'a> {
    /// Nobody else.
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

/// Who can use a file or a folder beyond those who should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// Its owner, where that is somebody else.
    pub owner: Option<String>,
    /// Who can read it.
    pub readers: Vec<String>,
    /// Who can change it.
    pub writers: Vec<String>,
    /// Whether the account that should be able to read it, or to change what is in it where it is a folder, has no entry
    /// for that. What it may do as a member of a group is not looked at.
    pub lacks_grant: bool,
}

impl Exposure {
    /// Who else could have put something there. None where nobody could.
    pub fn why_unsafe(&self) -> Option<String> {
        match (&self.owner, self.writers.as_slice()) {
            (Some(owner), _) => Some(format!("it belongs to {owner}")),
            (None, []) => None,
            (None, writers) => Some(format!("{} can write to it", writers.join(" and "))),
        }
    }

    /// Who beyond those who should can use it, and for what. None where nobody can.
    pub fn describe(&self) -> Option<String> {
        self.why_unsafe().or_else(|| match self.readers.as_slice() {
            [] => None,
            readers => Some(format!("{} can read it", readers.join(" and "))),
        })
    }
}

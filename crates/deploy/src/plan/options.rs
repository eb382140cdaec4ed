//! The options of a plan.

use std::path::Path;

/// The options of an installation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The folder of MIM's service. `None`: the folder of the registered service, else the default one.
    pub service_dir: Option<&'a Path>,
    /// The configuration to copy. `None`: the one in the service's folder, else a starter to be edited.
    pub config: Option<&'a Path>,
    /// The C# compiler. `None`: the one of .NET Framework.
    pub csc: Option<&'a Path>,
    /// The SHA-256 of the library that belongs to this program, as [`library_sha256`](super::library_sha256) computes it. `None`: unknown, so
    /// `trust_folder` is needed.
    pub library_sha256: Option<&'a str>,
    /// Does not check whether the backends can place calls.
    pub skip_check: bool,
    /// Allows backends that approve without a telephone.
    pub allow_test_backends: bool,
    /// Does not check who can write to the folders, and whether the library belongs to this program.
    pub trust_folder: bool,
}

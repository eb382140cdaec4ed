//! Reads and changes the store of a configuration, while a service may be using it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::admission::{Admission, NumberHasher};
use phonegate::call::{CallId, NumberHash, PhoneNumber};
use phonegate::config::{ErrorKind, NumbersConfig};
use phonegate::store::{
    self, CallStore, KeyUse, OpenError, Query, RedisConfig, Row, StoreError, StoreErrorCause, StoreErrorKind,
};
use tokio::runtime::Runtime;

use crate::context::Context;
use crate::error::CommandError;
use crate::{output, writable};

/// Maximum time for one operation of the store.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of attempts that are read at once.
const PAGE: usize = 2_000;

/// Shown in place of a number of which only the hash is known.
pub(crate) const UNKNOWN_NUMBER: &str = "(not known)";

/// A number that the store may know.
pub(crate) struct KnownNumber {
    /// Its hashes with each number key, the current one first.
    pub(crate) hashes: Vec<NumberHash>,
    /// The masked number, or `None` if only the hash is known.
    pub(crate) masked: Option<Box<str>>,
}

/// An open store, with a runtime for its operations.
pub(crate) struct StoreReader {
    pub(crate) store: Arc<dyn CallStore>,
    is_redis: bool,
    numbers: NumbersConfig,
    hasher: NumberHasher,
    longest_backend: usize,
    file: PathBuf,
    runtime: Runtime,
}

impl StoreReader {
    /// Opens an existing store.
    ///
    /// # Errors
    /// If the store is in memory, does not exist yet, or cannot be opened.
    pub(crate) fn open(context: &Context) -> Result<Self, CommandError> {
        must_be_persistent(context)?;
        match missing_file(context)? {
            None => Self::connect(context)?.with_all_numbers(),
            Some(missing) => Err(does_not_exist(context, &missing)),
        }
    }

    /// Opens a store. If its file does not exist, creates it, and prints a warning.
    ///
    /// # Errors
    /// If the store is in memory, its folder does not exist, or it cannot be opened.
    pub(crate) fn open_or_create(context: &Context, json: bool) -> Result<Self, CommandError> {
        must_be_persistent(context)?;
        let missing = missing_file(context)?;
        // A file inherits the permissions of its folder, but this user would own a folder that is created here.
        if let Some(folder) = missing.as_deref().and_then(Path::parent).filter(|folder| !folder.exists()) {
            return Err(CommandError::failed(format!(
                "the store is in the folder {}, which does not exist",
                folder.display()
            ))
            .hint("`phonegate install` and the start of the service create the folder; or is `store.path` mistyped?"));
        }
        let reader = Self::connect(context)?.with_all_numbers()?;
        if let Some(missing) = missing {
            let created = format!(
                "{} did not exist, so a new, empty store was created there; check that `store.path` is that of the \
                 service, and that the account of the service can change the file",
                missing.display()
            );
            output::warning(json, &created);
        }
        Ok(reader)
    }

    /// Opens a store. `None` if it is in memory, or its file does not exist yet.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open_existing(context: &Context) -> Result<Option<Self>, CommandError> {
        if !context.loaded.config.store.is_persistent() || missing_file(context)?.is_some() {
            return Ok(None);
        }
        Self::connect(context)?.with_all_numbers().map(Some)
    }

    fn connect(Context { file, loaded }: &Context) -> Result<Self, CommandError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| CommandError::failed(format!("cannot start threads: {error}")))?;
        let hasher = NumberHasher::of(&loaded.config.privacy, &loaded.base).map_err(|error| error.in_file(file))?;
        let store = store::open(&loaded.config, &loaded.base).map_err(|error| open_error(error, file))?;
        let is_redis = loaded.config.store.settings::<RedisConfig>().is_some();
        let numbers = loaded.config.numbers.clone();
        let longest_backend = loaded.config.backends.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        Ok(Self { store, is_redis, numbers, hasher, longest_backend, file: file.clone(), runtime })
    }

    /// Checks that the configured number keys can find every number of the store.
    fn with_all_numbers(self) -> Result<Self, CommandError> {
        self.use_number_keys(KeyUse::Read)?;
        Ok(self)
    }

    /// Checks that the configured number keys can find every number of the store, and records which keys are used.
    pub(crate) fn use_number_keys(&self, usage: KeyUse) -> Result<(), CommandError> {
        self.block_on(self.store.use_number_keys(&self.hasher.fingerprints(), usage))
    }

    /// Returns the length of the longest name of a backend, in characters.
    pub(crate) fn longest_backend(&self) -> usize {
        self.longest_backend
    }

    /// Waits for an operation of the store, at most 30 s.
    pub(crate) fn block_on<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CommandError> {
        self.try_block_on(operation).map_err(|error| store_error(&error, self.is_redis))
    }

    /// Runs a command, and then warns if it has left out records that cannot be read.
    pub(crate) fn run<T>(&self, json: bool, command: impl FnOnce(&Self) -> T) -> T {
        let result = command(self);
        let left_out = self.store.unreadable();
        if !left_out.is_empty() {
            let warning = format!(
                "some records cannot be read and were left out: {left_out}. They are damaged, or a newer version of \
                 PhoneGate wrote them; use the same version on all nodes"
            );
            output::warning(json, &warning);
        }
        result
    }

    /// Like [`block_on`](Self::block_on), for a caller that tries again.
    pub(crate) fn try_block_on<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = StoreError::unavailable(format_args!("no answer within {} s", TIMEOUT.as_secs()));
        self.runtime.block_on(async { tokio::time::timeout(TIMEOUT, operation).await.unwrap_or(Err(late)) })
    }

    /// Passes every attempt that matches a query to `take`, the oldest first.
    pub(crate) fn each(
        &self,
        query: Query,
        mut take: impl FnMut(Row) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let mut page = Query { limit: PAGE, newest_first: false, ..query };
        loop {
            let rows = self.block_on(self.store.rows(&page))?;
            let (count, last) = (rows.len(), rows.last().map(|row| row.sequence));
            rows.into_iter().try_for_each(&mut take)?;
            match last {
                Some(last) if count == PAGE => page.after = last,
                _ => return Ok(()),
            }
        }
    }

    /// Returns the hashes of the number that a text names: the number, its hash, or the id of a call to it.
    pub(crate) fn hashes(&self, text: &str) -> Result<Vec<NumberHash>, CommandError> {
        Ok(self.known_number(text)?.hashes)
    }

    /// Finds the number that a text names: the number, its hash, or the id of a call to it.
    pub(crate) fn known_number(&self, text: &str) -> Result<KnownNumber, CommandError> {
        // An id without hyphens has the form of a hash.
        match (NumberHash::parse(text.trim()), CallId::parse(text.trim())) {
            (Some(hash), _) => Ok(KnownNumber { hashes: vec![hash], masked: self.masked(hash)? }),
            (None, Ok(id)) => {
                let (hash, masked) = self.number_of_call(id)?;
                Ok(KnownNumber { hashes: vec![hash], masked: Some(masked) })
            }
            (None, Err(_)) => {
                let number = self.number(text)?;
                Ok(KnownNumber { hashes: hashes_of(&number), masked: Some(number.to_string().into()) })
            }
        }
    }

    /// Returns the masked number of a hash, if the store has a call to it or to an extension of its line.
    pub(crate) fn masked(&self, hash: NumberHash) -> Result<Option<Box<str>>, CommandError> {
        let newest = Query { numbers: vec![hash], limit: 1, newest_first: true, ..Query::default() };
        let row = self.block_on(self.store.rows(&newest))?.into_iter().next();
        // The hash of a line also finds calls to its extensions.
        Ok(row.and_then(|row| match (row.number_hash == Some(hash), row.number?) {
            (true, masked) => Some(masked),
            (false, masked) => Some(masked.split('x').next().unwrap_or_default().into()),
        }))
    }

    /// Returns the hash and the masked number of a call.
    ///
    /// # Errors
    /// If there is no such call, or it had no valid number.
    pub(crate) fn number_of_call(&self, id: CallId) -> Result<(NumberHash, Box<str>), CommandError> {
        let newest = Query { id: Some(id), limit: 1, newest_first: true, ..Query::default() };
        let row = self.block_on(self.store.rows(&newest))?.into_iter().next();
        let row = row.ok_or_else(|| {
            CommandError::failed(format!("the store has no call {id}")).hint("`phonegate calls` lists the calls")
        })?;
        match (row.number_hash, row.number) {
            (Some(hash), Some(masked)) => Ok((hash, masked)),
            _ => Err(CommandError::failed(format!("call {id} was not to a valid number"))),
        }
    }

    /// Reads a number, whether it may be called or not.
    pub(crate) fn number(&self, text: &str) -> Result<PhoneNumber, CommandError> {
        let admission = Admission::new(&self.numbers).map_err(|error| error.in_file(&self.file))?;
        let admission = admission.hashing_with(self.hasher.clone());
        admission
            .read(text)
            .map_err(|failure| CommandError::usage(failure.text()).hint("write the number as +14255551212"))
    }
}

/// Warns that no call to the number of a hash is in the store. Returns what to show in place of the number.
pub(crate) fn unknown_number(json: bool) -> Box<str> {
    output::warning(json, "the store has no call to a number with this hash; check that it is the right one");
    UNKNOWN_NUMBER.into()
}

/// Returns an admission that reads numbers as calls do, and hashes them with the number keys.
pub(crate) fn admission(Context { file, loaded }: &Context) -> Result<Admission, CommandError> {
    let hasher = NumberHasher::of(&loaded.config.privacy, &loaded.base).map_err(|error| error.in_file(file))?;
    let admission = Admission::new(&loaded.config.numbers).map_err(|error| error.in_file(file))?;
    Ok(admission.hashing_with(hasher))
}

/// Returns the hashes of a number with each number key, the current one first.
fn hashes_of(number: &PhoneNumber) -> Vec<NumberHash> {
    let others = number.hashed_otherwise().iter().map(|hashed| hashed.number);
    std::iter::once(number.hash()).chain(others).collect()
}

/// Checks, without using the network, that the store of a configuration can keep a call.
///
/// # Errors
/// If the store is in memory, or cannot be opened.
pub(crate) fn must_open(context: &Context) -> Result<(), CommandError> {
    must_be_persistent(context)?;
    missing_file(context)?;
    StoreReader::connect(context).map(drop)
}

/// Checks that the service can use the store, and describes it. Creates no file, because this user would own it.
///
/// # Errors
/// If the store cannot be used.
pub(crate) fn check(context: &Context) -> Result<String, CommandError> {
    if !context.loaded.config.store.is_persistent() {
        return Ok("in memory: calls are forgotten when the service ends".to_owned());
    }
    if let Some(missing) = missing_file(context)? {
        return Ok(format!(
            "{} does not exist yet: the service creates it when it starts. If calls were placed already, `store.path` \
             is mistyped",
            missing.display()
        ));
    }
    let reader = StoreReader::connect(context)?;
    let description = reader.block_on(reader.store.check())?;
    reader.use_number_keys(KeyUse::Read)?;
    Ok(description)
}

fn must_be_persistent(Context { file, loaded }: &Context) -> Result<(), CommandError> {
    match loaded.config.store.is_persistent() {
        true => Ok(()),
        false => Err(CommandError::usage(format!(
            "{}: store.type is memory, so only the process of the service knows its calls, until it ends",
            file.display()
        ))
        .hint("with store.type \"sqlite\" or \"redis\", calls are kept and can be listed")),
    }
}

fn does_not_exist(context: &Context, missing: &Path) -> CommandError {
    CommandError::failed(format!("the store {} does not exist", missing.display())).hint(format!(
        "either no call has been placed yet with the configuration {}, or its `store.path` is mistyped",
        context.file.display()
    ))
}

/// Returns the path of an existing store of type sqlite. `None` if the store is of another type.
///
/// # Errors
/// If there is no such file.
pub(crate) fn sqlite_file(context: &Context) -> Result<Option<PathBuf>, CommandError> {
    match missing_file(context)? {
        None => sqlite_path(context),
        Some(missing) => Err(does_not_exist(context, &missing)),
    }
}

fn sqlite_path(Context { file, loaded }: &Context) -> Result<Option<PathBuf>, CommandError> {
    Ok(store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(file))?)
}

/// Returns the path of the store if it is a file that does not exist.
///
/// # Errors
/// If the file could not be created.
fn missing_file(context: &Context) -> Result<Option<PathBuf>, CommandError> {
    let missing = sqlite_path(context)?.filter(|path| !path.exists());
    match missing.as_deref().and_then(writable::why_not_created) {
        Some(why) => Err(CommandError::failed(format!("{}: store.path: {why}", context.file.display()))),
        None => Ok(missing),
    }
}

/// Converts an error of opening a store. If the store itself cannot be used, the configuration is not wrong.
fn open_error(error: OpenError, file: &Path) -> CommandError {
    let config = error.config.in_file(file);
    match config.kind() {
        ErrorKind::StateFolder => {
            let failed = CommandError::failed(config.to_string());
            error.cause.map(advice).into_iter().fold(failed, CommandError::hint)
        }
        _ => config.into(),
    }
}

/// Converts an error of a store, with advice as hints.
fn store_error(error: &StoreError, is_redis: bool) -> CommandError {
    let of_cause = match (error.cause(), is_redis, error.kind()) {
        (Some(cause), ..) => Some(advice(cause)),
        (None, true, StoreErrorKind::Unavailable) => {
            Some("check that Redis runs, and that this machine and user can reach `store.url`")
        }
        (None, ..) => None,
    };
    let hints = of_cause.into_iter().chain(error.kind().advice());
    hints.fold(CommandError::failed(error.to_string()), CommandError::hint)
}

/// Returns what to do about the cause of an error.
fn advice(cause: StoreErrorCause) -> &'static str {
    match cause {
        StoreErrorCause::FileLocked => "another program has locked the file: end that program, or try again",
        StoreErrorCause::FileDamaged => {
            "the file is damaged, or belongs to another program: see docs/store.md, \"A damaged file\""
        }
        StoreErrorCause::DiskFull => "free space on the disk of the file",
        StoreErrorCause::FileInaccessible => {
            "check that you may read and change the file and its folder, or run this as an administrator"
        }
        StoreErrorCause::PermissionMissing => "docs/store.md lists the permissions that the Redis user needs",
        StoreErrorCause::CertificateRejected => {
            "if your own authority signed the certificate, name the authority's certificate in `store.ca_file`; the \
             certificate must be for the name in `store.url`"
        }
        StoreErrorCause::ReplicasMissing => {
            "start the replicas that `min-replicas-to-write` requires; until then no call is placed (docs/store.md, \
             \"Replicas\")"
        }
        StoreErrorCause::MemoryFull => {
            "the memory of Redis is full: raise `maxmemory`, or lower `audit.keep_days` and restart the service"
        }
        StoreErrorCause::ServerDiskFailed => {
            "Redis cannot write to its own disk: free space there; the log of Redis has the details"
        }
        StoreErrorCause::LoginRejected => {
            "if `store.url` ends in the number of a database, leave the number out: this Redis may have fewer \
             databases, or only 0"
        }
        StoreErrorCause::CredentialsRejected => "write a user and a password that this Redis knows into `store.url`",
    }
}

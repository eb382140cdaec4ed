//! The configured store, reader by the tool beside a service that may be using it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::admission::{Admission, NumberHasher};
use phonegate::call::{CallId, NumberKey, PhoneNumber};
use phonegate::config::{ConfigError, ErrorKind, NumbersConfig, StoreKind};
use phonegate::store::{self, CallStore, KeyUse, Query, Row, StoreError};
use tokio::runtime::Runtime;

use crate::context::Context;
use crate::error::CommandError;
use crate::{output, writable};

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// So many attempts are read at once.
const PAGE: usize = 2_000;

/// A number that the store may know.
pub(crate) struct KnownNumber {
    /// Its hashes with each number key, the current one first.
    pub(crate) keys: Vec<NumberKey>,
    /// The same, masked. `None` if nothing but its key is known.
    pub(crate) masked: Option<Box<str>>,
}

/// A store, and the threads that it needs.
pub(crate) struct StoreReader {
    pub(crate) store: Arc<dyn CallStore>,
    kind: StoreKind,
    numbers: NumbersConfig,
    hasher: NumberHasher,
    longest_backend: usize,
    file: PathBuf,
    runtime: Runtime,
}

impl StoreReader {
    /// Opens the store of a configuration, which is there.
    pub(crate) fn open(context: &Context) -> Result<Self, CommandError> {
        must_keep(context)?;
        match missing_file(context)? {
            None => Self::open_there(context)?.with_all_numbers(),
            Some(missing) => Err(not_there(context, &missing)),
        }
    }

    /// Opens the store of a configuration, and makes the file of one that is not there, with a warning.
    pub(crate) fn open_or_create(context: &Context, json: bool) -> Result<Self, CommandError> {
        must_keep(context)?;
        let missing = missing_file(context)?;
        // A file inherits who may use it from its folder, but a folder that is made here would be this user's.
        if let Some(folder) = missing.as_deref().and_then(Path::parent).filter(|folder| !folder.exists()) {
            return Err(CommandError::failed(format!(
                "no call has been kept yet: there is no folder {}, which `phonegate install` makes, or the service's \
                 start; or `store.path` is mistyped",
                folder.display()
            )));
        }
        let reader = Self::open_there(context)?.with_all_numbers()?;
        if let Some(missing) = missing {
            let made = format!(
                "there was no file {}, so a new, empty store was made there; is `store.path` the one of the service, and \
                 may its account change that file?",
                missing.display()
            );
            output::warning(json, &made);
        }
        Ok(reader)
    }

    /// Opens the store of a configuration. None if it is in memory, or its file is not there yet.
    pub(crate) fn open_existing(context: &Context) -> Result<Option<Self>, CommandError> {
        match (context.loaded.config.store.kind, missing_file(context)?) {
            (StoreKind::Memory, _) | (_, Some(_)) => Ok(None),
            (StoreKind::Sqlite | StoreKind::Redis, None) => Self::open_there(context)?.with_all_numbers().map(Some),
        }
    }

    fn open_there(Context { file, loaded }: &Context) -> Result<Self, CommandError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| CommandError::failed(format!("cannot start threads: {error}")))?;
        let hasher = NumberHasher::of(&loaded.config.privacy, &loaded.base).map_err(|error| error.in_file(file))?;
        let store = store::open(&loaded.config, &loaded.base).map_err(|error| unusable(error.in_file(file)))?;
        let (kind, numbers) = (loaded.config.store.kind, loaded.config.numbers.clone());
        let longest_backend = loaded.config.backends.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        Ok(Self { store, kind, numbers, hasher, longest_backend, file: file.clone(), runtime })
    }

    /// Checks that every number of the store can be found with the configured keys.
    fn with_all_numbers(self) -> Result<Self, CommandError> {
        self.use_number_keys(KeyUse::Read)?;
        Ok(self)
    }

    /// Like that, and records which number keys are used.
    pub(crate) fn use_number_keys(&self, usage: KeyUse) -> Result<(), CommandError> {
        self.block_on(self.store.use_number_keys(&self.hasher.fingerprints(), usage))
    }

    /// So many characters has the longest name of a backend.
    pub(crate) fn longest_backend(&self) -> usize {
        self.longest_backend
    }

    /// Waits for an answer of the store.
    pub(crate) fn block_on<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
        self.try_block_on(question).map_err(|error| store_error(&error, self.kind))
    }

    /// The same, for whoever asks again.
    pub(crate) fn try_block_on<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = StoreError::Unavailable(format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
        self.runtime.block_on(async { tokio::time::timeout(ANSWER_WITHIN, question).await.unwrap_or(Err(late)) })
    }

    /// Every attempt that a query asks for, the first ones first.
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

    /// The keys of the number that a text means, which may be a key itself, or the id of a call to it.
    pub(crate) fn keys(&self, text: &str) -> Result<Vec<NumberKey>, CommandError> {
        Ok(self.known_number(text)?.keys)
    }

    /// Finds the number that a text names: the number, its key, or the id of a call to it.
    pub(crate) fn known_number(&self, text: &str) -> Result<KnownNumber, CommandError> {
        // Without its hyphens, an id would be a key.
        match (NumberKey::parse(text.trim()), CallId::parse(text.trim())) {
            (Some(key), _) => Ok(KnownNumber { keys: vec![key], masked: self.masked(key)? }),
            (None, Ok(id)) => {
                let (key, masked) = self.of_call(id)?;
                Ok(KnownNumber { keys: vec![key], masked: Some(masked) })
            }
            (None, Err(_)) => {
                let number = self.number(text)?;
                Ok(KnownNumber { keys: keys_of(&number), masked: Some(number.to_string().into()) })
            }
        }
    }

    /// Returns the masked number of a key, if the store has a call to it or to an extension of its line.
    pub(crate) fn masked(&self, key: NumberKey) -> Result<Option<Box<str>>, CommandError> {
        let newest = Query { numbers: vec![key], limit: 1, newest_first: true, ..Query::default() };
        let row = self.block_on(self.store.rows(&newest))?.into_iter().next();
        // The key of a line is also found by a call to one of its extensions.
        Ok(row.and_then(|row| match (row.number_key == Some(key), row.number?) {
            (true, masked) => Some(masked),
            (false, masked) => Some(masked.split('x').next().unwrap_or_default().into()),
        }))
    }

    /// The number of a call: its key, and masked.
    pub(crate) fn of_call(&self, id: CallId) -> Result<(NumberKey, Box<str>), CommandError> {
        let newest = Query { id: Some(id), limit: 1, newest_first: true, ..Query::default() };
        let row = self.block_on(self.store.rows(&newest))?.into_iter().next();
        let row =
            row.ok_or_else(|| CommandError::failed(format!("no call {id} is known; `phonegate calls` lists them")))?;
        match (row.number_key, row.number) {
            (Some(key), Some(masked)) => Ok((key, masked)),
            _ => Err(CommandError::failed(format!("call {id} was to no valid number"))),
        }
    }

    /// The number that a text means, whether it may be called or not.
    pub(crate) fn number(&self, text: &str) -> Result<PhoneNumber, CommandError> {
        let admission = Admission::new(&self.numbers).map_err(|error| error.in_file(&self.file))?;
        let admission = admission.hashing_with(self.hasher.clone());
        admission
            .read(text)
            .map_err(|failure| CommandError::usage(format!("{} Write it as +14255551212.", failure.text())))
    }
}

/// Reads numbers as calls do, and hashes them with the number keys.
pub(crate) fn admission(Context { file, loaded }: &Context) -> Result<Admission, CommandError> {
    let hasher = NumberHasher::of(&loaded.config.privacy, &loaded.base).map_err(|error| error.in_file(file))?;
    let admission = Admission::new(&loaded.config.numbers).map_err(|error| error.in_file(file))?;
    Ok(admission.hashing_with(hasher))
}

/// Returns the hashes of a number by all number keys, the current one first.
fn keys_of(number: &PhoneNumber) -> Vec<NumberKey> {
    let others = number.hashed_otherwise().iter().map(|hashed| hashed.number);
    std::iter::once(number.key()).chain(others).collect()
}

/// Whether a call can be kept in the store of a configuration.
///
/// # Errors
/// In words, where the store keeps nothing, or cannot be used as far as that is known without asking a network.
pub(crate) fn must_open(context: &Context) -> Result<(), CommandError> {
    must_keep(context)?;
    missing_file(context)?;
    StoreReader::open_there(context).map(drop)
}

/// Whether the store that a service would use can be used: a few words about it. Makes no file, which would be this
/// user's.
///
/// # Errors
/// In words.
pub(crate) fn check(context: &Context) -> Result<String, CommandError> {
    if context.loaded.config.store.kind == StoreKind::Memory {
        return Ok("in memory: calls are forgotten when the service ends".to_owned());
    }
    if let Some(missing) = missing_file(context)? {
        return Ok(format!(
            "{} is not there yet: the service makes it at its start. If calls have been placed already, `store.path` is \
             mistyped",
            missing.display()
        ));
    }
    let reader = StoreReader::open_there(context)?;
    let words = reader.block_on(reader.store.check())?;
    reader.use_number_keys(KeyUse::Read)?;
    Ok(words)
}

fn must_keep(Context { file, loaded }: &Context) -> Result<(), CommandError> {
    match loaded.config.store.kind {
        StoreKind::Sqlite | StoreKind::Redis => Ok(()),
        StoreKind::Memory => Err(CommandError::usage(format!(
            "{}: store.type is memory: only the service's own process knows its calls, until it ends. With \"sqlite\" or \
             \"redis\" they are kept, and can be looked at",
            file.display()
        ))),
    }
}

fn not_there(context: &Context, missing: &Path) -> CommandError {
    CommandError::failed(format!(
        "there is no file {}: no call has been placed yet with the configuration {}, or its `store.path` is mistyped",
        missing.display(),
        context.file.display()
    ))
}

/// The file of a store of type sqlite, which is there.
///
/// # Errors
/// Where it is missing.
pub(crate) fn sqlite_file(context: &Context) -> Result<PathBuf, CommandError> {
    match missing_file(context)? {
        None => Ok(path_of_sqlite(context)?),
        Some(missing) => Err(not_there(context, &missing)),
    }
}

fn path_of_sqlite(Context { file, loaded }: &Context) -> Result<PathBuf, CommandError> {
    Ok(store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(file))?)
}

/// The file of a store that has one, where it is missing.
///
/// # Errors
/// Where it could not be made.
fn missing_file(context: &Context) -> Result<Option<PathBuf>, CommandError> {
    match context.loaded.config.store.kind {
        StoreKind::Sqlite => {
            let of_store = path_of_sqlite(context)?;
            let missing = (!of_store.exists()).then_some(of_store);
            match missing.as_deref().and_then(writable::why_not_created) {
                Some(why) => Err(CommandError::failed(format!("{}: store.path: {why}", context.file.display()))),
                None => Ok(missing),
            }
        }
        StoreKind::Memory | StoreKind::Redis => Ok(None),
    }
}

/// What is wrong with the store itself is no fault of the configuration.
fn unusable(error: ConfigError) -> CommandError {
    match error.kind() {
        ErrorKind::StateFolder => {
            let text = error.to_string();
            CommandError::failed(format!("{text}{}", remedy(&text, StoreKind::Sqlite)))
        }
        _ => error.into(),
    }
}

fn store_error(error: &StoreError, kind: StoreKind) -> CommandError {
    let text = error.to_string();
    let remedy = match error {
        StoreError::Unavailable(_) => remedy(&text, kind),
        StoreError::Busy(_) | StoreError::Refused(_) => "",
    };
    // Redis ends some of its words with a full stop.
    let text = if remedy.is_empty() { &text } else { text.trim_end_matches('.') };
    CommandError::failed(format!("{text}{remedy}"))
}

/// What to do about a store's error, which says no more than what it is.
fn remedy(text: &str, kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Memory => "",
        StoreKind::Redis => redis_remedy(text),
        StoreKind::Sqlite => match sqlite_code(text) {
            // Busy, locked.
            Some(5 | 6) => "; another program keeps it locked: end that one, or try again",
            // A table is missing, damaged, no database.
            Some(1 | 11 | 26) => {
                "; it is damaged, or another program's: docs/store.md says what to do (\"A damaged file\")"
            }
            Some(13) => "; make room on that disk",
            Some(_) => MAY_YOU,
            None if text.contains("os error") => MAY_YOU,
            None => "",
        },
    }
}

fn redis_remedy(text: &str) -> &'static str {
    let is_about = |words: &[&str]| words.iter().any(|words| text.contains(words));
    match () {
        () if is_about(&["NOPERM"]) => "; docs/store.md says what its user must be allowed to do",
        () if is_about(&["certificate", "UnknownIssuer"]) => {
            "; if an authority of your own has signed it, `store.ca_file` names the file with that authority's \
             certificate; and the certificate must be for the name in `store.url`"
        }
        () if is_about(&["NOREPLICAS"]) => {
            "; `min-replicas-to-write` asks for more replicas than are connected: start them. Until then no call is \
             begun (docs/store.md, \"Replicas\")"
        }
        () if is_about(&["when used memory"]) => {
            "; its memory is full: raise `maxmemory`, or lower `audit.keep_days` and start the service again"
        }
        () if is_about(&["MISCONF"]) => "; it cannot write to its own disk: make room there, its log says more",
        () if is_about(&["login is refused"]) => {
            "; if `store.url` ends in the number of a database, this Redis may have fewer of them, or none but 0: leave \
             it out"
        }
        () if is_about(&["password", "login"]) => "; `store.url` needs a user and a password that this Redis knows",
        () => "; does Redis run, and may this machine and user reach `store.url`?",
    }
}

const MAY_YOU: &str = "; may you read and change it and its folder? Run this as an administrator";

/// The primary result code (<https://www.sqlite.org/rescode.html>) that SQLite's own words begin with.
fn sqlite_code(text: &str) -> Option<u32> {
    let (code, _) = text.split_once("Error code ")?.1.split_once(':')?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

//! The configured store, opened by the tool beside a service that may be using it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::admission::Admission;
use phonegate::call::{NumberKey, PhoneNumber};
use phonegate::config::{ConfigError, ErrorKind, NumbersConfig, StoreKind};
use phonegate::store::{self, CallStore, Query, Row, StoreError};
use tokio::runtime::Runtime;

use crate::exit::Trouble;
use crate::places;
use crate::setup::Setup;

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// So many attempts are read at once.
const PAGE: usize = 2_000;

/// A store, and the threads that it needs.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn CallStore>,
    kind: StoreKind,
    numbers: NumbersConfig,
    longest_backend: usize,
    file: PathBuf,
    runtime: Runtime,
}

impl Opened {
    /// Opens the store of a configuration.
    pub(crate) fn open(setup: Setup) -> Result<Self, Trouble> {
        must_keep(&setup)?;
        // A file inherits who may use it from its folder, but a folder that is made here would be this user's.
        let missing = missing_file(&setup)?;
        if let Some(folder) = missing.as_deref().and_then(Path::parent).filter(|folder| !folder.exists()) {
            return Err(Trouble::failed(format!(
                "no call has been kept yet: there is no folder {}, which `phonegate install` makes, or the service's start",
                folder.display()
            )));
        }
        Self::open_there(&setup)
    }

    fn open_there(Setup { file, loaded }: &Setup) -> Result<Self, Trouble> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Trouble::failed(format!("cannot start threads: {error}")))?;
        let store = store::open(&loaded.config, &loaded.base).map_err(|error| unusable(error.in_file(file)))?;
        let (kind, numbers) = (loaded.config.store.kind, loaded.config.numbers.clone());
        let longest_backend = loaded.config.backends.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        Ok(Self { store, kind, numbers, longest_backend, file: file.clone(), runtime })
    }

    /// So many characters has the longest name of a backend.
    pub(crate) fn longest_backend(&self) -> usize {
        self.longest_backend
    }

    /// Waits for an answer of the store.
    pub(crate) fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, Trouble> {
        self.try_ask(question).map_err(|error| trouble(&error, self.kind))
    }

    /// The same, for whoever asks again.
    pub(crate) fn try_ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let late = StoreError::Unavailable(format!("no answer within {} s", ANSWER_WITHIN.as_secs()));
        self.runtime.block_on(async { tokio::time::timeout(ANSWER_WITHIN, question).await.unwrap_or(Err(late)) })
    }

    /// Every attempt that a query asks for, the first ones first.
    pub(crate) fn each(&self, query: Query, mut take: impl FnMut(Row) -> Result<(), Trouble>) -> Result<(), Trouble> {
        let mut page = Query { most: PAGE, newest_first: false, ..query };
        loop {
            let rows = self.ask(self.store.rows(&page))?;
            let (count, last) = (rows.len(), rows.last().map(|row| row.sequence));
            rows.into_iter().try_for_each(&mut take)?;
            match last {
                Some(last) if count == PAGE => page.after = last,
                _ => return Ok(()),
            }
        }
    }

    /// The key of the number that a text means, which may be the key itself.
    pub(crate) fn key(&self, text: &str) -> Result<NumberKey, Trouble> {
        NumberKey::parse(text.trim()).map_or_else(|| Ok(self.number(text)?.key()), Ok)
    }

    /// The number that a text means, whether it may be called or not.
    pub(crate) fn number(&self, text: &str) -> Result<PhoneNumber, Trouble> {
        let admission = Admission::new(&self.numbers).map_err(|error| error.in_file(&self.file))?;
        admission.read(text).map_err(|failure| Trouble::usage(format!("{} Write it as +14255551212.", failure.text())))
    }
}

/// Whether a call can be kept in the store of a configuration.
///
/// # Errors
/// In words, where the store keeps nothing, or cannot be used as far as that is known without asking a network.
pub(crate) fn must_open(setup: &Setup) -> Result<(), Trouble> {
    must_keep(setup)?;
    missing_file(setup)?;
    Opened::open_there(setup).map(drop)
}

/// Whether the store that a service would use can be used: a few words about it. Makes no file, which would be this
/// user's.
///
/// # Errors
/// In words.
pub(crate) fn check(setup: &Setup) -> Result<String, Trouble> {
    if setup.loaded.config.store.kind == StoreKind::Memory {
        return Ok("in memory: calls are forgotten when the service ends".to_owned());
    }
    if let Some(missing) = missing_file(setup)? {
        return Ok(format!("{} is not there yet: the service makes it at its start", missing.display()));
    }
    let opened = Opened::open_there(setup)?;
    opened.ask(opened.store.check())
}

fn must_keep(Setup { file, loaded }: &Setup) -> Result<(), Trouble> {
    match loaded.config.store.kind {
        StoreKind::Sqlite | StoreKind::Redis => Ok(()),
        StoreKind::Memory => Err(Trouble::usage(format!(
            "{}: store.type is memory: only the service's own process knows its calls, until it ends. With \"sqlite\" or \
             \"redis\" they are kept, and can be looked at",
            file.display()
        ))),
    }
}

/// The file of a store that has one, where it is missing.
///
/// # Errors
/// Where it could not be made.
fn missing_file(Setup { file, loaded }: &Setup) -> Result<Option<PathBuf>, Trouble> {
    match loaded.config.store.kind {
        StoreKind::Sqlite => {
            let of_store =
                store::sqlite_file(&loaded.config.store, &loaded.base).map_err(|error| error.in_file(file))?;
            let missing = (!of_store.exists()).then_some(of_store);
            match missing.as_deref().and_then(places::why_not_made) {
                Some(why) => Err(Trouble::failed(format!("{}: store.path: {why}", file.display()))),
                None => Ok(missing),
            }
        }
        StoreKind::Memory | StoreKind::Redis => Ok(None),
    }
}

/// What is wrong with the store itself is no fault of the configuration.
fn unusable(error: ConfigError) -> Trouble {
    match error.kind() {
        ErrorKind::StateFolder => {
            let text = error.to_string();
            Trouble::failed(format!("{text}{}", remedy(&text, StoreKind::Sqlite)))
        }
        _ => error.into(),
    }
}

fn trouble(error: &StoreError, kind: StoreKind) -> Trouble {
    let text = error.to_string();
    let remedy = match error {
        StoreError::Unavailable(_) => remedy(&text, kind),
        StoreError::Refused(_) => "",
    };
    Trouble::failed(format!("{text}{remedy}"))
}

/// What to do about a store's error, which says no more than what it is.
fn remedy(text: &str, kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Memory => "",
        StoreKind::Redis if text.contains("NOPERM") => "; docs/store.md says what its user must be allowed to do",
        StoreKind::Redis if text.contains("password") || text.contains("login") => {
            "; `store.url` needs a user and a password that this Redis knows"
        }
        StoreKind::Redis => "; does Redis run, and may this machine and user reach `store.url`?",
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

const MAY_YOU: &str = "; may you read and change it and its folder? Run this as an administrator";

/// The primary result code (<https://www.sqlite.org/rescode.html>) that SQLite's own words begin with.
fn sqlite_code(text: &str) -> Option<u32> {
    let (code, _) = text.split_once("Error code ")?.1.split_once(':')?;
    Some(code.parse::<u32>().ok()? & 0xff)
}

//! The configured store, opened by the tool beside a service that may be using it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phonegate::admission::Admission;
use phonegate::call::PhoneNumber;
use phonegate::config::{ConfigError, Loaded, NumbersConfig, StoreKind};
use phonegate::store::{self, CallStore, Query, Row, StoreError};
use tokio::runtime::Runtime;

use crate::exit::{Exit, Trouble};
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
    file: PathBuf,
    runtime: Runtime,
}

impl Opened {
    /// Opens the store of a configuration.
    pub(crate) fn open(setup: Setup) -> Result<Self, Trouble> {
        let Setup { file, loaded } = setup;
        if loaded.config.store.kind == StoreKind::Memory {
            return Err(Trouble::usage(format!(
                "{}: store.type is memory: only the service's own process knows its calls, until it ends. With \
                 \"sqlite\" or \"redis\" they are kept, and can be looked at",
                file.display()
            )));
        }
        // A file inherits who may use it from its folder, but a folder that is made here would be this user's.
        let missing = missing_file(&loaded).map_err(|error| error.in_file(&file))?;
        if let Some(folder) = missing.as_deref().and_then(Path::parent).filter(|folder| !folder.exists()) {
            return Err(Trouble::failed(format!(
                "no call has been kept yet: there is no folder {}, which `phonegate install` makes, or the service's start",
                folder.display()
            )));
        }
        Self::open_there(&Setup { file, loaded })
    }

    fn open_there(Setup { file, loaded }: &Setup) -> Result<Self, Trouble> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Trouble::failed(format!("cannot start threads: {error}")))?;
        let store = store::open(&loaded.config, &loaded.base).map_err(|error| error.in_file(file))?;
        let (kind, numbers) = (loaded.config.store.kind, loaded.config.numbers.clone());
        Ok(Self { store, kind, numbers, file: file.clone(), runtime })
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

    /// The number that a text means, whether it may be called or not.
    pub(crate) fn number(&self, text: &str) -> Result<PhoneNumber, Trouble> {
        let admission = Admission::new(&self.numbers).map_err(|error| error.in_file(&self.file))?;
        admission.read(text).map_err(|failure| Trouble::usage(format!("{} Write it as +14255551212.", failure.text())))
    }
}

/// Whether the store that a service would use can be used: a few words about it. Makes no file, which would be this
/// user's.
///
/// # Errors
/// In words.
pub(crate) fn check(setup: &Setup) -> Result<String, Trouble> {
    let Setup { file, loaded } = setup;
    if loaded.config.store.kind == StoreKind::Memory {
        return Ok("in memory: calls are forgotten when the service ends".to_owned());
    }
    if let Some(missing) = missing_file(loaded).map_err(|error| error.in_file(file))? {
        return Ok(format!("{} is not there yet: the service makes it at its start", missing.display()));
    }
    let opened = Opened::open_there(setup)?;
    opened.ask(opened.store.check())
}

/// The file of a store that has one, where it is missing.
fn missing_file(loaded: &Loaded) -> Result<Option<PathBuf>, ConfigError> {
    match loaded.config.store.kind {
        StoreKind::Sqlite => {
            let file = store::sqlite_file(&loaded.config.store, &loaded.base)?;
            Ok((!file.exists()).then_some(file))
        }
        StoreKind::Memory | StoreKind::Redis => Ok(None),
    }
}

fn trouble(error: &StoreError, kind: StoreKind) -> Trouble {
    let hint = match (error, kind) {
        (StoreError::Unavailable(_), StoreKind::Redis) => {
            "; does Redis run, and may this machine and user reach `store.url`?"
        }
        (StoreError::Unavailable(_), _) => "; is it the file of the service, and may you write to it and its folder?",
        (StoreError::Refused(_), _) => "",
    };
    Trouble { exit: Exit::Failed, text: format!("{error}{hint}") }
}

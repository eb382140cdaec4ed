//! Restores an older schema: the backup from before the migration replaces the newer file, which is kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::backup::{self, remove_copy, rename_to_unused, sync_folder_of, with_end};
use super::errors::error_text;
use super::file::BUSY_TIMEOUT;
use super::migration_backup::{self, Kind};
use super::schema;
use crate::call::CallId;
use crate::platform::{self, Grant, SavedAccess};

/// The end of the copy's name until it replaces the file.
pub(super) const RESTORING: &str = ".restoring";

/// A call that only the newer file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyNewer {
    /// Its id.
    pub id: CallId,
    /// Its number, masked.
    pub number: Option<Box<str>>,
}

/// A plan to restore an older file. Made by [`Restore::plan`], which changes nothing.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The file of the store.
    pub file: PathBuf,
    /// Its schema version.
    pub version: u32,
    /// The backup that replaces it.
    pub backup: PathBuf,
    /// The schema version of the backup.
    pub older: u32,
    /// The name that the newer file gets.
    pub kept: PathBuf,
    /// The calls that only the newer file has, the first one first.
    pub calls: Vec<OnlyNewer>,
    /// Number of calls that were pending when the backup was made. They end when an older PhoneGate starts.
    pub pending: u64,
    /// Number of entries of the newer file's block list, which replaces that of the backup.
    pub blocks: u64,
    /// Number of PINs that only the newer file keeps, because the older schema has none. Otherwise they replace those of the
    /// backup, with their failures and locks.
    pub lost_pins: u64,
    /// Number of numbers that were locked when the newer file was last written, if the older schema has no locks. They can
    /// be called again at once. Otherwise the locks replace those of the backup.
    pub lost_locks: u64,
}

/// The first schema version with PINs.
const WITH_PINS: u32 = 4;

/// The first schema version with locks after denials, with two scopes of blocks, and with approvals that are used up.
const WITH_LOCKS: u32 = 5;

/// The first schema version whose column of a number's hash is `number_hash`, and not `number_key`.
const WITH_NUMBER_HASH: u32 = 6;

/// Copies the newer file's blocks into a schema that has one block for each number. It covers the whole line. Of two
/// blocks, the one that ends later is kept, because it replaces the one written before it. OLDER_HASH and NEWER_HASH are the columns of a number's hash.
const BLOCKS_WITHOUT_SCOPE: &str = "
    INSERT OR REPLACE INTO main.blocks (OLDER_HASH, number, reason, since_at, until_at)
        SELECT NEWER_HASH, number, reason, since_at, until_at FROM newer.blocks ORDER BY until_at ASC NULLS LAST;";

/// Copies the newer file's blocks, and what no restore may undo: locks, and that an approval was used up. Alerts stay in
/// the newer file.
const BLOCKS_AND_LOCKS: &str = "
    INSERT INTO main.blocks (OLDER_HASH, whole_line, number, reason, since_at, until_at)
        SELECT NEWER_HASH, whole_line, number, reason, since_at, until_at FROM newer.blocks;
    DELETE FROM main.denials;
    INSERT INTO main.denials (OLDER_HASH, number, recent, locks, locked_from, locked_until, last, last_at)
        SELECT NEWER_HASH, number, recent, locks, locked_from, locked_until, last, last_at FROM newer.denials;
    UPDATE main.attempts SET used_by = used.used_by FROM newer.attempts AS used
        WHERE used.id = attempts.id AND used.generation = attempts.generation AND used.used_by IS NOT NULL;";

/// Copies the newer file's PINs.
const PINS: &str = "
    DELETE FROM main.pins;
    INSERT INTO main.pins (OLDER_HASH, key_fingerprint, number, hash, pepper, set_at, guesses, forgiven, locked_until,
            locked_by)
        SELECT NEWER_HASH, key_fingerprint, number, hash, pepper, set_at, guesses, forgiven, locked_until, locked_by
            FROM newer.pins;";

impl Restore {
    /// Compares a file with its newest backup of an older schema. None if there is no such backup.
    ///
    /// # Errors
    /// A message, if either cannot be read.
    pub fn plan(file: &Path) -> Result<Option<Self>, String> {
        let newer = backup::open(file)?;
        let version = version_of(&newer)?;
        let mut backups = migration_backup::list(file, Kind::Backup);
        backups.retain(|(older, _)| *older < version);
        // The newest one of the highest version: the sort keeps the order of the times.
        backups.sort_by_key(|(older, _)| std::cmp::Reverse(*older));
        // A name is not trusted: the file may have been migrated between the choice of the name and the copy.
        let opened = backups.into_iter().find_map(|(older, path)| match backup::open(&path) {
            Ok(copy) if version_of(&copy) != Ok(older) => None,
            Ok(copy) => Some(Ok((older, path, copy))),
            Err(error) => Some(Err(error)),
        });
        let Some((older, path, copy)) = opened.transpose()? else { return Ok(None) };
        let one = |database: &Connection, sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0));
        let last = one(&copy, "SELECT coalesce(max(sequence), 0) FROM attempts").map_err(error_text)?;
        let count = |database, sql| one(database, sql).map(|count| u64::try_from(count).unwrap_or_default());
        let calls = newer
            .prepare("SELECT id, number FROM attempts WHERE sequence > ?1 ORDER BY sequence")
            .and_then(|mut calls| {
                let only = calls.query_map([last], |row| Ok(OnlyNewer { id: row.get(0)?, number: row.get(1)? }))?;
                only.collect::<Result<Vec<_>, _>>()
            })
            .map_err(error_text)?;
        let lost_pins = match (older, version) {
            (..WITH_PINS, WITH_PINS..) => count(&newer, "SELECT count(*) FROM pins").map_err(error_text)?,
            _ => 0,
        };
        let lost_locks = match (older, version) {
            (..WITH_LOCKS, WITH_LOCKS..) => {
                let locked = "SELECT count(*) FROM denials WHERE locked_until > (SELECT now FROM clock)";
                count(&newer, locked).map_err(error_text)?
            }
            _ => 0,
        };
        Ok(Some(Self {
            file: file.to_owned(),
            version,
            backup: path,
            older,
            kept: migration_backup::new_path(file, version, Kind::Replaced)?,
            calls,
            pending: count(&copy, "SELECT count(*) FROM attempts WHERE ended IS NULL").map_err(error_text)?,
            blocks: count(&newer, "SELECT count(*) FROM blocks").map_err(error_text)?,
            lost_pins,
            lost_locks,
        }))
    }

    /// Checks that no other process has the file open, and moves the journal into the file.
    ///
    /// # Errors
    /// A message, if another process has it open, or if it cannot be written.
    pub fn must_be_unused(&self) -> Result<(), String> {
        let database = open(&self.file)?;
        // SQLite does this only for a connection that is alone (<https://www.sqlite.org/wal.html>, section 3.3).
        let mode = database.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "delete" => Ok(()),
            Ok(mode) => {
                Err(format!("{}: its journal mode cannot be changed to delete; it is {mode}", self.file.display()))
            }
            Err(error) => Err(format!(
                "{} is in use ({}): stop the service FIMService and every program that reads the calls, such as \
                 phonegate calls --follow, then run this command again",
                self.file.display(),
                error_text(error)
            )),
        }
    }

    /// Renames the newer file and replaces it by the backup, with the newer block list, PINs and locks.
    ///
    /// The backup itself stays. A process that is killed meanwhile leaves either the newer or the older file in place.
    ///
    /// # Errors
    /// A message, if another process has the file open, or if the copy cannot be written. Then the newer file is still in
    /// its place.
    pub fn carry_out(&self) -> Result<(), String> {
        self.must_be_as_planned()?;
        let restoring = with_end(&self.file, RESTORING);
        let done = self.prepare(&restoring).and_then(|()| {
            // The copy took some time. A program that opened the file meanwhile would write into the replaced file.
            self.must_be_as_planned()?;
            self.swap(&restoring).map_err(|error| format!("{} cannot be replaced: {error}", self.file.display()))
        });
        done.inspect_err(|_| {
            // The error that is returned is more important.
            let _ = remove_copy(&restoring);
        })
    }

    /// Checks that nothing was restored or migrated since the plan was made, and that the file is unused.
    fn must_be_as_planned(&self) -> Result<(), String> {
        self.must_be_unused()?;
        let is_planned = version_of(&open(&self.file)?)? == self.version && self.kept.symlink_metadata().is_err();
        match is_planned {
            true => Ok(()),
            false => Err(format!("{} has changed meanwhile: run this command again", self.file.display())),
        }
    }

    /// Makes the file that replaces the newer one.
    fn prepare(&self, restoring: &Path) -> Result<(), String> {
        let copied = || {
            remove_copy(restoring)?;
            let mut to = platform::create_private_file(restoring, Grant::CurrentUser)?;
            io::copy(&mut File::open(&self.backup)?, &mut to)?;
            to.sync_all()
        };
        copied().map_err(|error| format!("cannot write {}: {error}", restoring.display()))?;
        self.carry_over(restoring)?;
        let access = SavedAccess::of(&self.file).and_then(|access| access.apply(restoring));
        access.map_err(|error| format!("cannot give {} the permissions of the file: {error}", restoring.display()))
    }

    /// Copies the block list, the PINs and numbers with their locks, and the store's clock, which never goes back, from the
    /// newer file.
    fn carry_over(&self, restoring: &Path) -> Result<(), String> {
        let name = self.file.to_str().ok_or_else(|| format!("{}: its name is not Unicode", self.file.display()))?;
        let database = open(restoring)?;
        // Schema version 2 has no number keys.
        let number_keys = match self.older {
            ..3 => "",
            3.. => "INSERT OR REPLACE INTO main.number_keys SELECT fingerprint, used_at FROM newer.number_keys;",
        };
        let pins = match self.older {
            ..WITH_PINS => "",
            WITH_PINS.. => PINS,
        };
        let blocks = match self.older {
            ..WITH_LOCKS => BLOCKS_WITHOUT_SCOPE,
            WITH_LOCKS.. => BLOCKS_AND_LOCKS,
        };
        let copies = format!("{blocks} {number_keys} {pins}")
            .replace("OLDER_HASH", number_hash_column(self.older))
            .replace("NEWER_HASH", number_hash_column(self.version));
        database
            .execute("ATTACH ?1 AS newer", [name])
            .and_then(|_| {
                database.execute_batch(&format!(
                    "PRAGMA secure_delete = ON;
                     BEGIN IMMEDIATE;
                     DELETE FROM main.blocks;
                     {copies}
                     UPDATE main.clock SET now = max(now, (SELECT now FROM newer.clock));
                     COMMIT;
                     DETACH newer;",
                ))
            })
            .map_err(|error| {
                format!(
                    "the block list and PINs of {} cannot be carried over: {}",
                    self.file.display(),
                    error_text(error)
                )
            })
    }

    fn swap(&self, restoring: &Path) -> io::Result<()> {
        // With both names, the file's path always exists.
        let has_both = rename_to_unused(&self.file, &self.kept)?;
        if let Err(error) = fs::rename(restoring, &self.file) {
            let undone = if has_both { fs::remove_file(&self.kept) } else { fs::rename(&self.kept, &self.file) };
            return undone.and(Err(error));
        }
        sync_folder_of(&self.file)
    }
}

/// Returns the name that the column of a number's hash has in this schema version.
fn number_hash_column(version: u32) -> &'static str {
    match version {
        ..WITH_NUMBER_HASH => "number_key",
        WITH_NUMBER_HASH.. => "number_hash",
    }
}

fn version_of(database: &Connection) -> Result<u32, String> {
    schema::version(database).map_err(|error| error.detail().to_owned())
}

fn open(file: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(file, flags)
        .and_then(|database| database.busy_timeout(BUSY_TIMEOUT).map(|()| database));
    database.map_err(|error| format!("{}: {}", file.display(), error_text(error)))
}

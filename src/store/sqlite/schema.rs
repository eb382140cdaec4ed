//! The versions of the schema, and the migrations between them.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::errors::to_store_error;
use super::file::BUSY_TIMEOUT;
use super::migration_backup;
use crate::failpoint;
use crate::store::StoreError;

/// The migrations. The first one leads from an empty file to version 1, each other one to the next version. A released
/// migration is never changed.
const MIGRATIONS: [&str; 6] = [
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
];

/// The migration to a newer version, for tests of upgrades. The fault `store.next_schema` adds it.
const NEXT_MIGRATION: &str = "CREATE TABLE of_the_next_version (number INTEGER NOT NULL) STRICT;";

/// How long a process waits for another one that copies and migrates the file.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);

/// `PHgt`, which marks a file as PhoneGate's (<https://www.sqlite.org/pragma.html#pragma_application_id>).
const APPLICATION_ID: u32 = 0x5048_6774;

/// Refuses the database of another program. Changes nothing.
pub(super) fn check_application_id(database: &Connection) -> Result<(), StoreError> {
    let is_ours = "SELECT application_id = ?1 OR NOT EXISTS (SELECT 1 FROM sqlite_schema) FROM pragma_application_id";
    match database.query_row(is_ours, [APPLICATION_ID], |row| row.get(0)).map_err(|error| to_store_error(&error))? {
        true => Ok(()),
        false => Err(StoreError::refused("it is a database of another program; name another file")),
    }
}

/// Migrates a database to the newest version. A database that is not empty is copied first.
pub(super) fn migrate_to_newest(database: &mut Connection, file: &Path) -> Result<(), StoreError> {
    migrate(database, &migrations(), |version| migration_backup::make(file, version))
}

/// Makes a database with an older version.
#[cfg(test)]
pub(super) fn make_version(database: &mut Connection, version: usize) -> Result<(), StoreError> {
    migrate(database, MIGRATIONS.get(..version).unwrap_or_default(), |_| Ok(()))
}

/// Migrates a database to a version after the newest one.
#[cfg(test)]
pub(super) fn migrate_with(database: &mut Connection, file: &Path, next: &str) -> Result<(), StoreError> {
    let migrations: Vec<_> = MIGRATIONS.into_iter().chain([next]).collect();
    migrate(database, &migrations, |version| migration_backup::make(file, version))
}

/// Returns the newest schema version that this build can read.
pub(super) fn newest() -> u32 {
    count(&migrations())
}

/// Returns the schema version of a database.
pub(super) fn version(database: &Connection) -> Result<u32, StoreError> {
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| to_store_error(&error))
}

fn migrations() -> Vec<&'static str> {
    let next = failpoint::is_set("store.next_schema").then_some(NEXT_MIGRATION);
    MIGRATIONS.into_iter().chain(next).collect()
}

fn count(migrations: &[&str]) -> u32 {
    u32::try_from(migrations.len()).unwrap_or(u32::MAX)
}

/// Migrates a database. `back_up` copies one that is not empty, and gets its version.
fn migrate(
    database: &mut Connection,
    migrations: &[&str],
    back_up: impl FnOnce(u32) -> Result<(), String>,
) -> Result<(), StoreError> {
    let newest = count(migrations);
    // If there is nothing to migrate, do not wait for a lock.
    let before = version(database)?;
    if before == newest {
        return Ok(());
    }
    if (1..newest).contains(&before) {
        database.busy_timeout(MIGRATION_TIMEOUT).map_err(|error| to_store_error(&error))?;
    }
    // If two processes start at once, one waits for the other. No other process writes until this one is done, so the
    // copy is complete.
    let transaction =
        database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| to_store_error(&error))?;
    let version = version(&transaction)?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| migrations.get(version..)) else {
        return Err(StoreError::refused(format_args!(
            "it was written by a newer PhoneGate (schema version {version}, this one knows {newest}): install that \
             again, or use it to restore the copy from before the upgrade (phonegate revert --restore-calls)"
        )));
    };
    if version > 0 && !missing.is_empty() {
        back_up(version).map_err(|problem| {
            StoreError::unavailable(format_args!(
                "it has schema version {version} and was not upgraded to version {newest}, because it could not be copied \
                 first: {problem}. Free disk space, allow the service's account to write to the folder, and start again"
            ))
        })?;
    }
    for migration in missing {
        transaction.execute_batch(migration).map_err(|error| to_store_error(&error))?;
    }
    if !missing.is_empty() {
        transaction.pragma_update(None, "user_version", newest).map_err(|error| to_store_error(&error))?;
    }
    transaction.commit().map_err(|error| to_store_error(&error))?;
    database.busy_timeout(BUSY_TIMEOUT).map_err(|error| to_store_error(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::cell::Cell;

    use super::*;

    const FIRST: &str = "CREATE TABLE calls (id TEXT) STRICT; INSERT INTO calls VALUES ('kept');";
    const SECOND: &str = "ALTER TABLE calls ADD COLUMN node TEXT NOT NULL DEFAULT 'here';";

    fn never(_: u32) -> Result<(), String> {
        Err("there is nothing to copy".to_owned())
    }

    #[test]
    fn an_older_database_is_copied_and_brought_up_to_date() {
        let mut database = Connection::open_in_memory().unwrap();
        migrate(&mut database, &[FIRST], never).unwrap();
        let copied = Cell::new(0);
        let keep = |version| {
            copied.set(version);
            Ok(())
        };
        migrate(&mut database, &[FIRST, SECOND], keep).unwrap();
        migrate(&mut database, &[FIRST, SECOND], never).unwrap();
        let kept = database.query_row("SELECT id || node FROM calls", [], |row| row.get::<_, String>(0));
        assert_eq!((kept.unwrap().as_str(), copied.get()), ("kepthere", 1));
    }

    #[test]
    fn a_newer_database_is_refused_and_left_as_it_is() {
        let mut database = Connection::open_in_memory().unwrap();
        migrate(&mut database, &[FIRST], never).unwrap();
        migrate(&mut database, &[FIRST, SECOND], |_| Ok(())).unwrap();
        let error = migrate(&mut database, &[FIRST], never).unwrap_err();
        assert!(error.detail().contains("newer PhoneGate (schema version 2, this one knows 1)"), "{error}");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let failing = "DELETE FROM calls; SELECT nothing FROM nowhere;";
        for keep in [|_| Ok(()), never] {
            let mut database = Connection::open_in_memory().unwrap();
            migrate(&mut database, &[FIRST], never).unwrap();
            migrate(&mut database, &[FIRST, failing], keep).unwrap_err();
            let kept = database.query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0));
            assert_eq!((kept.unwrap(), version(&database).unwrap()), (1, 1));
        }
    }

    #[test]
    fn a_database_that_cannot_be_copied_is_not_migrated() {
        let mut database = Connection::open_in_memory().unwrap();
        migrate(&mut database, &[FIRST], never).unwrap();
        let error = migrate(&mut database, &[FIRST, SECOND], |_| Err("the disk is full".to_owned())).unwrap_err();
        assert!(
            error.detail().contains("not upgraded to version 2")
                && error.detail().contains("the disk is full. Free disk space"),
            "{error}"
        );
        assert_eq!(version(&database).unwrap(), 1);
    }
}

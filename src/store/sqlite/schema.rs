//! The versions of the database's schema, and the way from one to the next.

use rusqlite::{Connection, TransactionBehavior};

/// What leads from each version to the next one; the first, from an empty file to version 1. A version that was released
/// is never changed.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("schema_2.sql")];

/// `PHgt`: by which a file is known as PhoneGate's (<https://www.sqlite.org/pragma.html#pragma_application_id>).
const APPLICATION: u32 = 0x5048_6774;

/// Refuses what another program keeps, and changes nothing.
pub(super) fn check_ours(database: &Connection) -> Result<(), String> {
    let is_ours = "SELECT application_id = ?1 OR NOT EXISTS (SELECT 1 FROM sqlite_schema) FROM pragma_application_id";
    match database.query_row(is_ours, [APPLICATION], |row| row.get(0)).map_err(words)? {
        true => Ok(()),
        false => Err("it is a database of another program; name another file".to_owned()),
    }
}

/// Brings a database to the newest version.
pub(super) fn bring_up_to_date(database: &mut Connection) -> Result<(), String> {
    migrate(database, &MIGRATIONS)
}

fn words(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.to_string(),
        error => error.to_string(),
    }
}

fn migrate(database: &mut Connection, migrations: &[&str]) -> Result<(), String> {
    let version = |database: &Connection| database.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0));
    // Whoever has nothing to do waits for nobody.
    if version(database).map_err(words)? == u32::try_from(migrations.len()).unwrap_or(u32::MAX) {
        return Ok(());
    }
    // Of two processes that start at once, one waits for the other.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(words)?;
    let version = version(&transaction).map_err(words)?;
    let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let Some(missing) = usize::try_from(version).ok().and_then(|version| migrations.get(version..)) else {
        return Err(format!(
            "it was written by a newer PhoneGate (schema version {version}, this one knows {newest}): install that again"
        ));
    };
    for migration in missing {
        transaction.execute_batch(migration).map_err(words)?;
    }
    if !missing.is_empty() {
        transaction.pragma_update(None, "user_version", newest).map_err(words)?;
    }
    transaction.commit().map_err(words)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const FIRST: &str = "CREATE TABLE calls (id TEXT) STRICT; INSERT INTO calls VALUES ('kept');";
    const SECOND: &str = "ALTER TABLE calls ADD COLUMN node TEXT NOT NULL DEFAULT 'here';";

    #[test]
    fn an_older_database_is_brought_up_to_date_and_keeps_what_is_in_it() {
        let mut database = Connection::open_in_memory().unwrap();
        migrate(&mut database, &[FIRST]).unwrap();
        migrate(&mut database, &[FIRST, SECOND]).unwrap();
        migrate(&mut database, &[FIRST, SECOND]).unwrap();
        let kept = database.query_row("SELECT id || node FROM calls", [], |row| row.get::<_, String>(0));
        assert_eq!(kept.unwrap(), "kepthere");
    }

    #[test]
    fn a_newer_database_is_refused_and_left_as_it_is() {
        let mut database = Connection::open_in_memory().unwrap();
        migrate(&mut database, &[FIRST, SECOND]).unwrap();
        let error = migrate(&mut database, &[FIRST]).unwrap_err();
        assert!(error.contains("newer PhoneGate (schema version 2, this one knows 1)"), "{error}");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut database = Connection::open_in_memory().unwrap();
        migrate(&mut database, &[FIRST]).unwrap();
        migrate(&mut database, &[FIRST, "DELETE FROM calls; SELECT nothing FROM nowhere;"]).unwrap_err();
        let kept = database.query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0));
        let version = database.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
        assert_eq!((kept.unwrap(), version.unwrap()), (1, 1));
    }
}

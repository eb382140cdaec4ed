//! Backups before migrations, and restoring them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::file::open;
use super::super::restore::Restore;
use super::super::schema;
use super::*;
use crate::store::StoreError;

const NEXT: &str = "CREATE TABLE of_the_next_version (number INTEGER NOT NULL) STRICT;";

/// A file of this version with a call, of which the newest schema version is returned.
fn file() -> (TempDir, PathBuf, u32) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    drop(crate::store::SqliteStore::open(&file).unwrap());
    let database = Connection::open(&file).unwrap();
    add_call(&database, 1);
    add_block(&database, 1);
    add_pin(&database, 1);
    add_lock(&database, 1);
    (folder, file, schema::newest())
}

/// Adds a call to a file of any version. The column has had its name since version 6.
fn add_call(database: &Connection, n: u32) {
    let is_latest = if schema::version(database).unwrap() < 6 { "current" } else { "is_latest" };
    let sql = "INSERT INTO attempts (id, generation, LATEST, node, started_at)
               VALUES ('00000000-0000-0000-0000-00000000000' || ?1, 1, 1, 'here', 0)";
    database.execute(&sql.replace("LATEST", is_latest), [n]).unwrap();
}

fn add_block(database: &Connection, n: u8) {
    let sql = "INSERT INTO blocks VALUES (?1, 0, '+1******1212', 'stolen', 0, NULL)";
    database.execute(sql, [[n; 16]]).unwrap();
}

fn add_lock(database: &Connection, n: u8) {
    let sql = "INSERT INTO denials VALUES (?1, '+1******1212', '[]', 3, 50, 99, 50, 50)";
    database.execute(sql, [[n; 16]]).unwrap();
}

fn add_pin(database: &Connection, n: u8) {
    let sql = "INSERT INTO pins VALUES (?1, 'none', '+1******1212', '', '', 0, 5, 0, 99, 5)";
    database.execute(sql, [[n; 16]]).unwrap();
}

fn ids(file: &Path) -> Vec<String> {
    let database = Connection::open(file).unwrap();
    let mut ids = database.prepare("SELECT substr(id, -1) FROM attempts ORDER BY sequence").unwrap();
    ids.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn upgrade(file: &Path) -> Result<(), StoreError> {
    let mut database = Connection::open(file).unwrap();
    database.busy_timeout(super::super::file::BUSY_TIMEOUT).unwrap();
    schema::migrate_with(&mut database, file, NEXT)
}

#[test]
fn a_file_of_version_1_is_copied_and_opened_with_its_calls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let mut first = Connection::open(&file).unwrap();
    schema::make_version(&mut first, 1).unwrap();
    add_call(&first, 1);
    drop(first);
    assert_eq!(schema_version(&file).unwrap(), SchemaVersion { file: 1, newest: schema::newest() });
    drop(open(&file).unwrap());
    assert_eq!(schema_version(&file).unwrap(), SchemaVersion { file: schema::newest(), newest: schema::newest() });
    let backups: Vec<_> = list(&file, Kind::Backup).into_iter().map(|(version, path)| (version, ids(&path))).collect();
    let expected = (schema::newest() > 1).then(|| (1, vec!["1".to_owned()]));
    assert_eq!((ids(&file), backups), (vec!["1".to_owned()], Vec::from_iter(expected)));
}

#[test]
fn an_upgrade_leaves_one_private_and_readable_backup() {
    let (_folder, file, version) = file();
    // Several processes start at once.
    std::thread::scope(|scope| {
        let upgrading: Vec<_> = (0..4).map(|_| scope.spawn(|| upgrade(&file))).collect();
        upgrading.into_iter().for_each(|upgraded| assert_eq!(upgraded.join().unwrap(), Ok(())));
    });
    assert!(open(&file).unwrap_err().detail().contains("written by a newer PhoneGate"));
    assert!(schema_version(&file).unwrap().is_newer());
    let backups = list(&file, Kind::Backup);
    assert_eq!(backups.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [version]);
    let (_, backup) = &backups[0];
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(open(backup).is_ok());
    assert_eq!(ids(backup), ["1"]);
}

#[test]
fn only_the_newest_complete_backups_are_kept() {
    let (_folder, file, version) = file();
    for time in ["20250101T000000Z", "20250102T000000Z", "20250102T000000Z-1", "20250103T000000Z"] {
        std::fs::write(with_end(&file, &format!(".v{version}-backup-{time}")), "").unwrap();
    }
    let replaced = with_end(&file, ".v9-replaced-20240101T000000Z");
    let left = ["", "-journal"].map(|end| with_end(&file, &format!(".v1-backup-20240101T000000Z.unfinished{end}")));
    for path in left.iter().chain([&replaced]) {
        std::fs::write(path, "").unwrap();
    }
    assert_eq!(backup_files(&file).len(), 7);
    upgrade(&file).unwrap();
    let names: Vec<_> = list(&file, Kind::Backup).into_iter().map(|(_, path)| path).collect();
    assert_eq!(names.len(), BACKUPS);
    assert_eq!(ids(&names[0]), ["1"], "the new one is the newest");
    let ends = |n: usize, end: &str| names[n].to_str().unwrap().ends_with(end);
    assert!(ends(1, "20250103T000000Z") && ends(2, "20250102T000000Z-1"), "{names:?}");
    assert!(replaced.exists() && !left.iter().any(|path| path.exists()));
}

#[test]
fn a_file_is_not_changed_if_no_backup_can_be_made() {
    let (_folder, file, version) = file();
    // A missing folder accepts no file, whichever account runs the test.
    let before = std::fs::read(&file).unwrap();
    let mut database = Connection::open(&file).unwrap();
    let nowhere = file.with_file_name("no/such/folder/calls.db");
    let error = schema::migrate_with(&mut database, &nowhere, NEXT).unwrap_err();
    let error = error.detail();
    assert!(error.contains(&format!("has schema version {version}")) && error.contains("Free disk space"), "{error}");
    assert!(!error.contains("name a file"), "{error}");
    drop(database);
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_restored_file_has_the_newer_blocks_pins_and_locks() {
    let (folder, file, version) = file();
    assert!(Restore::plan(&file).unwrap().is_none(), "there is nothing older");
    upgrade(&file).unwrap();
    let newer = Connection::open(&file).unwrap();
    add_call(&newer, 2);
    add_block(&newer, 2);
    newer.execute("DELETE FROM blocks WHERE number_hash = ?1", [[1; 16]]).unwrap();
    newer.execute("UPDATE clock SET now = 77", []).unwrap();
    add_pin(&newer, 2);
    newer.execute("DELETE FROM pins WHERE number_hash = ?1", [[1; 16]]).unwrap();
    add_lock(&newer, 2);
    newer.execute("DELETE FROM denials WHERE number_hash = ?1", [[1; 16]]).unwrap();
    newer.execute("UPDATE attempts SET used_by = x'07'", []).unwrap();
    let restore = Restore::plan(&file).unwrap().unwrap();
    assert_eq!((restore.version, restore.older), (version + 1, version));
    assert_eq!((restore.calls.len(), restore.pending, restore.blocks), (1, 1, 1));
    assert_eq!((restore.lost_pins, restore.lost_locks), (0, 0), "the older schema has a place for both");
    assert!(restore.calls[0].id.to_string().ends_with('2'), "{:?}", restore.calls);

    let error = restore.carry_out().unwrap_err();
    assert!(error.contains("is in use") && error.contains("FIMService"), "{error}");
    assert_eq!(ids(&file), ["1", "2"]);
    drop(newer);
    restore.carry_out().unwrap();
    assert_eq!(
        (ids(&file), ids(&restore.kept), ids(&restore.backup)),
        (vec!["1".to_owned()], vec!["1".to_owned(), "2".to_owned()], vec!["1".to_owned()])
    );
    let restored = open(&file).unwrap();
    let blocks: (Vec<u8>, bool) = restored
        .query_row("SELECT number_hash, whole_line FROM blocks", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let now: i64 = restored.query_row("SELECT now FROM clock", [], |row| row.get(0)).unwrap();
    assert_eq!((blocks, now), ((vec![2; 16], false), 77), "a block of exactly a number stays one");
    let locks: (Vec<u8>, u32, i64) = restored
        .query_row("SELECT number_hash, locks, locked_until FROM denials", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(locks, (vec![2; 16], 3, 99), "no number is unlocked, and one that was unlocked stays so");
    let used: Vec<u8> = restored.query_row("SELECT used_by FROM attempts", [], |row| row.get(0)).unwrap();
    assert_eq!(used, [7], "an approval stays used up");
    let pins = restored.query_row("SELECT number_hash, locked_until FROM pins", [], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<i64>>(1)?))
    });
    assert_eq!(pins.unwrap(), (vec![2; 16], Some(99)), "a removed PIN stays removed, and a lock stays");
    let left = folder.path().read_dir().unwrap().flatten().map(|entry| entry.file_name());
    assert!(!{ left }.any(|name| name.to_str().unwrap().ends_with("restoring")));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// The blocks of a file: the last byte of the number, when it ends, and how many columns the table has.
fn blocks_of_version_4(file: &Path) -> Vec<(u8, Option<i64>, i64)> {
    let database = Connection::open(file).unwrap();
    let sql = "SELECT number_key, until_at, (SELECT count(*) FROM pragma_table_info('blocks')) FROM blocks
               ORDER BY number_key";
    let mut blocks = database.prepare(sql).unwrap();
    let block = |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?[15], row.get(1)?, row.get(2)?));
    blocks.query_map([], block).unwrap().map(Result::unwrap).collect()
}

#[test]
fn blocks_of_version_4_become_those_of_a_line_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let mut older = Connection::open(&file).unwrap();
    schema::make_version(&mut older, 4).unwrap();
    for n in [1_u8, 2] {
        let sql = "INSERT INTO blocks VALUES (?1, '+1******1212', 'stolen', 5, ?2)";
        older.execute(sql, rusqlite::params![[n; 16], (n == 2).then_some(i64::MAX)]).unwrap();
    }
    drop(older);
    let newer = open(&file).unwrap();
    let block = |row: &rusqlite::Row<'_>| {
        let (hash, whole_line): ([u8; 16], i64) = (row.get("number_hash")?, row.get("whole_line")?);
        let texts: (String, String) = (row.get("number")?, row.get("reason")?);
        Ok((hash[0], whole_line, texts.0, texts.1, row.get::<_, i64>("since_at")?, row.get("until_at")?))
    };
    let migrated: Vec<(u8, i64, String, String, i64, Option<i64>)> = {
        let mut blocks = newer.prepare("SELECT * FROM blocks ORDER BY number_hash").unwrap();
        blocks.query_map([], block).unwrap().map(Result::unwrap).collect()
    };
    let expected = |n, until| (n, 1, "+1******1212".to_owned(), "stolen".to_owned(), 5, until);
    assert_eq!(migrated, [expected(1, None), expected(2, Some(i64::MAX))]);
    // Of two blocks of a number, the older schema gets the one that ends later.
    let sql = "INSERT INTO blocks VALUES (?1, ?2, '+1******1212', 'stolen', 5, ?3)";
    for (n, whole_line, until) in [(1_u8, 0, Some(9)), (2, 0, None), (3, 0, Some(7)), (4, 1, Some(7)), (4, 0, Some(8))]
    {
        newer.execute(sql, rusqlite::params![[n; 16], whole_line, until]).unwrap();
    }
    let restore = Restore::plan(&file).unwrap().unwrap();
    assert_eq!((restore.older, restore.version), (4, schema::newest()));
    drop(newer);
    restore.carry_out().unwrap();
    let restored = blocks_of_version_4(&file);
    assert_eq!(restored, [(1, None, 5), (2, None, 5), (3, Some(7), 5), (4, Some(8), 5)]);
}

/// The column of a number's hash has another name before version 6.
#[test]
fn a_restored_version_5_has_the_newer_blocks_pins_and_locks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let mut older = Connection::open(&file).unwrap();
    schema::make_version(&mut older, 5).unwrap();
    add_block(&older, 1);
    drop(older);
    let newer = open(&file).unwrap();
    let migrated: Vec<u8> = newer.query_row("SELECT number_hash FROM blocks", [], |row| row.get(0)).unwrap();
    assert_eq!(migrated, [1; 16]);
    newer.execute("DELETE FROM blocks", []).unwrap();
    add_block(&newer, 2);
    add_pin(&newer, 3);
    add_lock(&newer, 4);
    let restore = Restore::plan(&file).unwrap().unwrap();
    assert_eq!((restore.older, restore.version), (5, schema::newest()));
    drop(newer);
    restore.carry_out().unwrap();
    let restored = Connection::open(&file).unwrap();
    for (table, n) in [("blocks", 2), ("pins", 3), ("denials", 4)] {
        let sql = format!("SELECT number_key FROM {table}");
        let hash: Vec<u8> = restored.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(hash, [n; 16], "{table}");
    }
}

#[test]
fn a_restore_of_a_schema_without_locks_counts_those_it_loses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let mut older = Connection::open(&file).unwrap();
    schema::make_version(&mut older, 4).unwrap();
    drop(older);
    let newer = open(&file).unwrap();
    (1..=3).for_each(|n| add_lock(&newer, n));
    // One block has ended, and one number has denials but no lock.
    newer.execute("UPDATE denials SET locked_until = 77 WHERE number_hash = ?1", [[2; 16]]).unwrap();
    newer
        .execute("UPDATE denials SET locked_until = NULL, locked_from = NULL WHERE number_hash = ?1", [[3; 16]])
        .unwrap();
    newer.execute("UPDATE clock SET now = 77", []).unwrap();
    let restore = Restore::plan(&file).unwrap().unwrap();
    assert_eq!((restore.older, restore.lost_locks), (4, 1));
}

#[test]
fn an_older_schema_without_pins_is_restored_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.db");
    let mut first = Connection::open(&file).unwrap();
    schema::make_version(&mut first, 1).unwrap();
    drop(first);
    let newer = open(&file).unwrap();
    add_pin(&newer, 1);
    let restore = Restore::plan(&file).unwrap().unwrap();
    assert_eq!((restore.older, restore.lost_pins), (1, 1));
    drop(newer);
    restore.carry_out().unwrap();
    assert_eq!(schema_version(&file).unwrap().file, 1);
    let kept = Connection::open(&restore.kept).unwrap();
    let count = |database: &Connection| {
        database.query_row("SELECT count(*) FROM pins", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&kept), 1);
    // The next upgrade begins without PINs: their users are refused, and no old PIN or lock comes back.
    assert_eq!(count(&open(&file).unwrap()), 0);
}

#[test]
fn only_names_that_this_program_gives_are_backups() {
    for time in ["20261124T150600Z", "20261124T150600Z-1"] {
        assert!(is_time(time), "{time}");
    }
    for time in
        ["20261124T150600Z.zip", "20261124T150600Z-wal", "20261124T150600Z-", "20261124T150600Z-12", "latest", ""]
    {
        assert!(!is_time(time), "{time}");
    }
}

#[test]
fn a_new_backup_stays_beside_those_of_a_clock_that_was_ahead() {
    let (_folder, file, version) = file();
    for year in 2097..2101 {
        std::fs::write(with_end(&file, &format!(".v{version}-backup-{year}0101T000000Z")), "").unwrap();
    }
    let copy = new_backup(&file, version).unwrap();
    back_up_before_migration(&file, &copy).unwrap();
    assert!(copy.exists());
    assert_eq!(list(&file, Kind::Backup).len(), BACKUPS);
}

#[test]
fn a_restore_replaces_no_other_or_changed_file() {
    let (_folder, file, version) = file();
    back_up_before_migration(&file, &new_backup(&file, version).unwrap()).unwrap();
    upgrade(&file).unwrap();
    let plan = Restore::plan(&file).unwrap().unwrap();
    std::fs::write(&plan.kept, "of another restore").unwrap();
    assert!(plan.carry_out().unwrap_err().contains("has changed meanwhile"));
    assert_eq!(std::fs::read_to_string(&plan.kept).unwrap(), "of another restore");
    std::fs::remove_file(&plan.kept).unwrap();
    plan.carry_out().unwrap();
    assert!(plan.carry_out().unwrap_err().contains("has changed meanwhile"));
}

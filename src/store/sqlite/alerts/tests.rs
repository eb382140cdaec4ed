#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use super::super::schema;
use super::*;

const OWNER: Owner = Owner(Uuid::from_u128(1));

const START: i64 = 1_800_000_000_000;

fn database() -> Connection {
    let mut database = Connection::open_in_memory().unwrap();
    schema::migrate_to_newest(&mut database, Path::new("")).unwrap();
    database
}

fn tx(database: &Connection, now: i64) -> Tx<'_> {
    Tx { database, now, wall: now, has_codes: Default::default(), unreadable: Box::leak(Box::default()) }
}

fn alert(n: u128) -> QueuedAlert {
    QueuedAlert {
        id: Uuid::from_u128(n),
        destination: "a".into(),
        about: format!("fraud:{n}").into(),
        raised_at: SystemTime::UNIX_EPOCH + Duration::from_secs(n as u64),
        content: "{}".into(),
        is_urgent: false,
    }
}

fn claimed(database: &Connection, now: i64) -> Vec<Uuid> {
    let claimed = claim(&tx(database, now), OWNER, &["a".into()], 10).unwrap();
    claimed.into_iter().map(|alert| alert.id).collect()
}

fn swept(database: &Connection, now: i64) -> Vec<ListedAlert> {
    sweep(&tx(database, now)).unwrap();
    list(&tx(database, now)).unwrap()
}

#[test]
fn an_alert_about_the_same_is_added_again_after_an_hour() {
    let database = database();
    assert_eq!(add(&tx(&database, START), &alert(1)).unwrap(), AlertAdded::New);
    let second = QueuedAlert { id: Uuid::from_u128(2), ..alert(1) };
    let hour = milliseconds(REPEAT_WINDOW);
    assert_eq!(add(&tx(&database, START + hour - 1), &second).unwrap(), AlertAdded::Repeated);
    assert_eq!(add(&tx(&database, START + hour), &second).unwrap(), AlertAdded::New);
}

#[test]
fn a_claim_ends_with_its_lease_and_the_longest_due_is_first() {
    let database = database();
    for n in [3, 1, 2] {
        add(&tx(&database, START + n as i64), &alert(n)).unwrap();
    }
    let ids = [1, 2, 3].map(Uuid::from_u128);
    assert_eq!(claimed(&database, START + 3), ids);
    let end = START + 3 + milliseconds(alert_lease());
    assert!(claimed(&database, end - 1).is_empty());
    assert!(is_any_due(&tx(&database, end), &["b".into(), "a".into()]).unwrap());
    assert!(!is_any_due(&tx(&database, end - 1), &["b".into(), "a".into()]).unwrap());
    assert_eq!(claimed(&database, end).len(), 3);
}

#[test]
fn an_alert_waits_seven_days_and_is_listed_another_day() {
    let database = database();
    add(&tx(&database, START), &alert(1)).unwrap();
    assert_eq!(claimed(&database, START).len(), 1);
    let given_up = START + milliseconds(MAX_ALERT_WAIT);
    assert!(!swept(&database, given_up - 1)[0].is_given_up);
    let listed = swept(&database, given_up);
    assert!(listed[0].is_given_up && listed[0].error.as_deref() == Some(NEVER_TRIED), "{listed:?}");
    assert!(claimed(&database, given_up).is_empty());
    assert!(!record(&tx(&database, given_up), OWNER, alert(1).id, &DeliveryResult::Delivered).unwrap());
    let removed = given_up + milliseconds(ENDED_ALERT_RETENTION);
    assert_eq!(swept(&database, removed - 1).len(), 1);
    assert_eq!(swept(&database, removed), []);
}

#[test]
fn of_ended_alerts_the_last_thousand_are_kept() {
    let database = database();
    for n in 0..=MAX_ENDED_ALERTS as u128 {
        let now = START + n as i64;
        add(&tx(&database, now), &alert(n)).unwrap();
        assert_eq!(claimed(&database, now), [Uuid::from_u128(n)]);
        assert!(record(&tx(&database, now), OWNER, alert(n).id, &DeliveryResult::Delivered).unwrap());
    }
    let listed = list(&tx(&database, START)).unwrap();
    assert_eq!((listed.len(), listed.last().unwrap().id), (MAX_ENDED_ALERTS, Uuid::from_u128(1)));
}

#[test]
fn looking_for_due_alerts_reads_no_whole_table() {
    let database = database();
    for statement in [
        "SELECT 1 FROM alerts WHERE ended IS NULL AND destination = ?1 AND urgent IN (0, 1) AND due <= ?2 LIMIT 1",
        "SELECT count(*) FROM alerts WHERE ended IS NULL AND destination = ?1",
        "SELECT sequence, id, content, failures FROM alerts
         WHERE ended IS NULL AND destination = ?1 AND urgent = ?2 AND due <= ?3 ORDER BY due, sequence LIMIT ?4",
        "SELECT 1 FROM alerts WHERE destination = ?1 AND about = ?2 AND added > ?3 LIMIT 1",
        "SELECT sequence FROM alerts WHERE id = ?1 AND claimed_by = ?2",
        "DELETE FROM alerts WHERE ended <= ?1",
    ] {
        let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let parameters = vec![None::<i64>; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>("detail"));
        let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
        let is_search = |step: &String| step.starts_with("SEARCH alerts USING");
        assert!(!steps.is_empty() && steps.iter().all(is_search), "{statement}: {steps:?}");
    }
}

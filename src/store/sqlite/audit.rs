//! What administrators ask of the database: the block list, and the story of calls.

use rusqlite::types::ToSql;
use rusqlite::{Row as Found, params};

use super::values::{self, At};
use super::writer::Desk;
use crate::call::{Attempt, NumberKey};
use crate::store::audit::{Query, Row, RowOutcome, Step};
use crate::store::{Block, BlockScope};

pub(super) fn block(desk: &Desk<'_>, block: &Block) -> rusqlite::Result<()> {
    let Block { number, scope, masked, reason, since, until } = block;
    desk.database
        .prepare_cached("INSERT OR REPLACE INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![number, *scope == BlockScope::Line, masked, reason, At(*since), until.map(At)])
        .map(|_| ())
}

pub(super) fn unblock(desk: &Desk<'_>, number: NumberKey) -> rusqlite::Result<bool> {
    let there = desk
        .database
        .prepare_cached("DELETE FROM blocks WHERE number_key = ?1 RETURNING coalesce(until_at, ?2 + 1) > ?2")?
        .query_map(params![number, desk.wall], |row| row.get(0))?
        .collect::<Result<Vec<bool>, _>>()?;
    Ok(there.contains(&true))
}

pub(super) fn blocks(desk: &Desk<'_>) -> rusqlite::Result<Vec<Block>> {
    desk.database
        .prepare_cached("SELECT * FROM blocks WHERE coalesce(until_at, ?1 + 1) > ?1 ORDER BY since_at DESC")?
        .query_map([desk.wall], |row| {
            Ok(Block {
                number: row.get("number_key")?,
                scope: if row.get("whole_line")? { BlockScope::Line } else { BlockScope::Number },
                masked: row.get("number")?,
                reason: row.get("reason")?,
                since: row.get::<_, At>("since_at")?.0,
                until: row.get::<_, Option<At>>("until_at")?.map(|At(until)| until),
            })
        })?
        .collect()
}

pub(super) fn rows(desk: &Desk<'_>, query: &Query) -> rusqlite::Result<Vec<Row>> {
    let Query { since, until, id, numbers, reason, after, limit, newest_first } = query;
    let after = i64::try_from(*after).unwrap_or(i64::MAX);
    let (since, until) = (since.map(At), until.map(At));
    let (reason, limit) = (reason.map(|reason| reason.name()), i64::try_from(*limit).unwrap_or(i64::MAX));
    let mut wanted: Vec<(&str, &dyn ToSql)> = vec![("sequence > ?", &after)];
    wanted.extend(since.as_ref().map(|since| ("started_at >= ?", since as &dyn ToSql)));
    wanted.extend(until.as_ref().map(|until| ("started_at < ?", until as &dyn ToSql)));
    wanted.extend(id.as_ref().map(|id| ("id = ?", id as &dyn ToSql)));
    wanted.extend(reason.as_ref().map(|reason| ("reason = ?", reason as &dyn ToSql)));
    let mut conditions: Vec<_> = wanted.iter().map(|(condition, _)| (*condition).to_owned()).collect();
    if !numbers.is_empty() {
        conditions.push(format!("({})", vec!["? IN (number_key, line_key)"; numbers.len()].join(" OR ")));
        wanted.extend(numbers.iter().map(|number| ("", number as &dyn ToSql)));
    }
    let order = if *newest_first { "DESC" } else { "ASC" };
    let statement =
        format!("SELECT * FROM attempts WHERE {} ORDER BY sequence {order} LIMIT {limit}", conditions.join(" AND "));
    let values: Vec<_> = wanted.into_iter().map(|(_, value)| value).collect();
    desk.database.prepare_cached(&statement)?.query_map(values.as_slice(), row)?.collect()
}

fn row(found: &Found<'_>) -> rusqlite::Result<Row> {
    let time = |column: &str| Ok::<_, rusqlite::Error>(found.get::<_, Option<At>>(column)?.map(|At(time)| time));
    let reason: Option<Box<str>> = found.get("reason")?;
    let ended: Option<i64> = found.get("ended")?;
    Ok(Row {
        sequence: u64::try_from(found.get::<_, i64>("sequence")?).unwrap_or_default(),
        attempt: values::attempt(found.get("id")?, found.get("generation")?),
        number: found.get("number")?,
        full_number: found.get("full_number")?,
        number_key: found.get("number_key")?,
        line_key: found.get("line_key")?,
        node: found.get("node")?,
        backend: found.get("backend")?,
        started: found.get::<_, At>("started_at")?.0,
        placed: time("placed_at")?,
        ringing: time("ringing_at")?,
        answered: time("answered_at")?,
        ended: time("ended_at")?,
        outcome: match (ended, reason) {
            (None, _) => RowOutcome::Pending,
            (Some(_), None) => RowOutcome::Verified,
            (Some(_), Some(reason)) => RowOutcome::Failed(values::failure(found, &reason)?),
        },
        judged_by: values::judged_by(found)?,
        country: values::country(found)?,
        locked_until: time("locked_until_at")?,
    })
}

pub(super) fn steps(desk: &Desk<'_>, attempt: Attempt) -> rusqlite::Result<Vec<Step>> {
    desk.database
        .prepare_cached(
            "SELECT at, name, steps.backend, steps.text FROM steps JOIN attempts USING (sequence)
             WHERE id = ?1 AND generation = ?2 ORDER BY at, steps.rowid",
        )?
        .query_map(params![attempt.id, values::generation(attempt)], |row| {
            Ok(Step { at: row.get::<_, At>(0)?.0, name: row.get(1)?, backend: row.get(2)?, text: row.get(3)? })
        })?
        .collect()
}

pub(super) fn count(desk: &Desk<'_>) -> rusqlite::Result<i64> {
    desk.database.prepare_cached("SELECT count(*) FROM attempts")?.query_row([], |row| row.get(0))
}

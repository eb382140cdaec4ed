//! The block list (S11), and the audit.

use std::cell::Cell;

use rusqlite::types::ToSql;
use rusqlite::{Row as Found, params};

use super::errors::read_list;
use super::types::{self, WallTime};
use super::worker::Tx;
use crate::call::{Attempt, NumberHash};
use crate::store::audit::{Query, Row, RowOutcome, Step};
use crate::store::{Block, BlockScope, RecordKind};

pub(super) fn block(tx: &Tx<'_>, block: &Block) -> rusqlite::Result<()> {
    let Block { number, scope, masked, reason, since, until } = block;
    tx.database
        .prepare_cached("INSERT OR REPLACE INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![number, *scope == BlockScope::Line, masked, reason, WallTime(*since), until.map(WallTime)])
        .map(|_| ())
}

pub(super) fn unblock(tx: &Tx<'_>, number: NumberHash) -> rusqlite::Result<bool> {
    let there = tx
        .database
        .prepare_cached("DELETE FROM blocks WHERE number_hash = ?1 RETURNING coalesce(until_at, ?2 + 1) > ?2")?
        .query_map(params![number, tx.wall], |row| row.get(0))?
        .collect::<Result<Vec<bool>, _>>()?;
    Ok(there.contains(&true))
}

pub(super) fn blocks(tx: &Tx<'_>) -> rusqlite::Result<Vec<Block>> {
    let mut blocks = tx
        .database
        .prepare_cached("SELECT * FROM blocks WHERE coalesce(until_at, ?1 + 1) > ?1 ORDER BY since_at DESC")?;
    read_list(tx, RecordKind::Block, blocks.query([tx.wall])?, usize::MAX, |row| {
        Ok(Block {
            number: row.get("number_hash")?,
            scope: if row.get("whole_line")? { BlockScope::Line } else { BlockScope::Number },
            masked: row.get("number")?,
            reason: row.get("reason")?,
            since: row.get::<_, WallTime>("since_at")?.0,
            until: row.get::<_, Option<WallTime>>("until_at")?.map(|WallTime(until)| until),
        })
    })
}

pub(super) fn rows(tx: &Tx<'_>, query: &Query) -> rusqlite::Result<Vec<Row>> {
    let Query { since, until, id, numbers, reason, after, limit, newest_first } = query;
    let after = i64::try_from(*after).unwrap_or(i64::MAX);
    let (since, until) = (since.map(WallTime), until.map(WallTime));
    let reason = reason.map(|reason| reason.name());
    let mut wanted: Vec<(&str, &dyn ToSql)> = vec![("sequence > ?", &after)];
    wanted.extend(since.as_ref().map(|since| ("started_at >= ?", since as &dyn ToSql)));
    wanted.extend(until.as_ref().map(|until| ("started_at < ?", until as &dyn ToSql)));
    wanted.extend(id.as_ref().map(|id| ("id = ?", id as &dyn ToSql)));
    wanted.extend(reason.as_ref().map(|reason| ("reason = ?", reason as &dyn ToSql)));
    let mut conditions: Vec<_> = wanted.iter().map(|(condition, _)| (*condition).to_owned()).collect();
    if !numbers.is_empty() {
        conditions.push(format!("({})", vec!["? IN (number_hash, line_hash)"; numbers.len()].join(" OR ")));
        wanted.extend(numbers.iter().map(|number| ("", number as &dyn ToSql)));
    }
    let order = if *newest_first { "DESC" } else { "ASC" };
    let mut found = Vec::new();
    let mut passed: usize = 0;
    // As many as were asked for, also if some are left out: fewer mean that there are no more.
    loop {
        let left = limit - found.len();
        let (max, offset) = (i64::try_from(left).unwrap_or(i64::MAX), i64::try_from(passed).unwrap_or(i64::MAX));
        let statement = format!(
            "SELECT * FROM attempts WHERE {} ORDER BY sequence {order} LIMIT {max} OFFSET {offset}",
            conditions.join(" AND ")
        );
        let values: Vec<_> = wanted.iter().map(|(_, value)| *value).collect();
        let passed_now = Cell::new(0);
        let counted = |found: &Found<'_>| {
            passed_now.update(|passed| passed + 1);
            row(found)
        };
        let mut statement = tx.database.prepare_cached(&statement)?;
        found.extend(read_list(tx, RecordKind::Attempt, statement.query(values.as_slice())?, left, counted)?);
        passed = passed.saturating_add(passed_now.get());
        if found.len() >= *limit || passed_now.get() < left {
            return Ok(found);
        }
    }
}

fn row(found: &Found<'_>) -> rusqlite::Result<Row> {
    let time =
        |column: &str| Ok::<_, rusqlite::Error>(found.get::<_, Option<WallTime>>(column)?.map(|WallTime(time)| time));
    let reason: Option<Box<str>> = found.get("reason")?;
    let ended: Option<i64> = found.get("ended")?;
    Ok(Row {
        sequence: u64::try_from(found.get::<_, i64>("sequence")?).unwrap_or_default(),
        attempt: types::attempt(found.get("id")?, found.get("generation")?),
        number: found.get("number")?,
        full_number: found.get("full_number")?,
        number_hash: found.get("number_hash")?,
        line_hash: found.get("line_hash")?,
        node: found.get("node")?,
        backend: found.get("backend")?,
        started: found.get::<_, WallTime>("started_at")?.0,
        placed: time("placed_at")?,
        ringing: time("ringing_at")?,
        answered: time("answered_at")?,
        ended: time("ended_at")?,
        outcome: match (ended, reason) {
            (None, _) => RowOutcome::Pending,
            (Some(_), None) => RowOutcome::Verified,
            (Some(_), Some(reason)) => RowOutcome::Failed(types::failure(found, &reason)?),
        },
        judged_by: types::judged_by(found)?,
        country: types::country(found)?,
        locked_until: time("locked_until_at")?,
    })
}

pub(super) fn steps(tx: &Tx<'_>, attempt: Attempt) -> rusqlite::Result<Vec<Step>> {
    let mut steps = tx.database.prepare_cached(
        "SELECT steps.rowid, at, name, steps.backend, steps.text FROM steps JOIN attempts USING (sequence)
         WHERE id = ?1 AND generation = ?2 ORDER BY at, steps.rowid",
    )?;
    let rows = steps.query(params![attempt.id, types::generation(attempt)])?;
    read_list(tx, RecordKind::Step, rows, usize::MAX, |row| {
        Ok(Step { at: row.get::<_, WallTime>(1)?.0, name: row.get(2)?, backend: row.get(3)?, text: row.get(4)? })
    })
}

pub(super) fn count(tx: &Tx<'_>) -> rusqlite::Result<i64> {
    tx.database.prepare_cached("SELECT count(*) FROM attempts")?.query_row([], |row| row.get(0))
}

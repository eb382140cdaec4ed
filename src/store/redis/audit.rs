//! Reading the attempts and their steps.

use super::model::{self, AttemptRecord, StepRecord};
use super::{Json, PAGE, RedisStore, keys};
use crate::call::{Attempt, CallId};
use crate::store::audit::{Query, Row, Step};
use crate::store::{RecordKind, StoreError};

impl RedisStore {
    pub(super) async fn rows_of(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let mut take = |page: Vec<Row>| {
            rows.extend(page.into_iter().filter(|row| query.matches(row)).take(query.limit - rows.len()));
            rows.len() < query.limit
        };
        if query.limit == 0 {
            return Ok(rows);
        }
        if let Some(id) = query.id {
            let mut sequences = self.sequences_of(id).await?;
            if query.newest_first {
                sequences.reverse();
            }
            for page in sequences.chunks(PAGE as usize) {
                if !take(self.read(page).await?) {
                    break;
                }
            }
            return Ok(rows);
        }
        let mut command = redis::cmd("MGET");
        command.arg(self.keys.single(keys::FIRST_SEQUENCE)).arg(self.keys.single(keys::SEQUENCE));
        let (first, last): (Option<u64>, Option<u64>) = self.query(&command).await?;
        let mut left = first.unwrap_or(1).max(query.after.saturating_add(1))..=last.unwrap_or(0);
        loop {
            let page: Vec<u64> = match query.newest_first {
                true => left.by_ref().rev().take(PAGE as usize).collect(),
                false => left.by_ref().take(PAGE as usize).collect(),
            };
            if page.is_empty() || !take(self.read(&page).await?) {
                return Ok(rows);
            }
        }
    }

    pub(super) async fn steps_of(&self, attempt: Attempt) -> Result<Vec<Step>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.keys.per_item(keys::ID, model::id(attempt.id))).arg(attempt.generation.to_string());
        let Some(sequence): Option<u64> = self.query(&command).await? else { return Ok(Vec::new()) };
        let mut command = redis::cmd("LRANGE");
        let texts: Vec<Json> =
            self.query(command.arg(self.keys.per_item(keys::STEPS, sequence)).arg(0).arg(-1)).await?;
        let step = |(index, json): (usize, &Json)| {
            self.parse_listed(RecordKind::Step, (sequence, index), json, |record: StepRecord| Some(Step::from(record)))
        };
        let mut steps: Vec<Step> = texts.iter().enumerate().filter_map(step).collect();
        steps.sort_by_key(|step| step.at);
        Ok(steps)
    }

    /// The sequences of an id's attempts.
    async fn sequences_of(&self, id: CallId) -> Result<Vec<u64>, StoreError> {
        let mut command = redis::cmd("HVALS");
        let values: Vec<String> = self.query(command.arg(self.keys.per_item(keys::ID, model::id(id)))).await?;
        let mut sequences: Vec<u64> = values.iter().filter_map(|value| value.parse().ok()).collect();
        sequences.sort_unstable();
        sequences.dedup();
        Ok(sequences)
    }

    async fn read(&self, sequences: &[u64]) -> Result<Vec<Row>, StoreError> {
        let mut command = redis::cmd("MGET");
        sequences.iter().for_each(|sequence| {
            command.arg(self.keys.per_item(keys::ATTEMPT, sequence));
        });
        // An attempt may have been swept since its sequence was read.
        let texts: Vec<Option<Json>> = self.query(&command).await?;
        let found = sequences.iter().zip(&texts).filter_map(|(sequence, json)| json.as_deref().zip(Some(sequence)));
        // Scripts do not read an attempt whose sequence is another one.
        let row = |(json, sequence): (&[u8], &u64)| {
            let into = |record: AttemptRecord| record.into_row().filter(|row| row.sequence == *sequence);
            self.parse_listed(RecordKind::Attempt, sequence.to_string().into_bytes(), json, into)
        };
        Ok(found.filter_map(row).collect())
    }
}

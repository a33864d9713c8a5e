//! What is written without a version while a generation is filled from rows: whatever version a row has, it is older.
//!
//! It is noted in an index of its own, `{name}@notes-{number}`, reached by the alias `{name}@Noted.{number}`: a document for each
//! id, empty, with the version that it has in the live generation. A writer notes before it tells the generation that is filled;
//! who brings rows looks behind each write whether something was noted. So one of both sees the other.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use statehouse_core::{Error, ErrorKind, Result};

use super::super::OpenSearchIndex;
use super::super::bulk::{Rule, Run, To};
use super::super::client::Call;
use super::super::error::{self, BACKEND};
use super::super::versions::present;
use super::both::{Both, in_one};
use super::copy;
use super::ground::Ground;
use super::set::{Beside, readable, told};
use super::view::View;
use crate::{DocumentId, Operation, Outcome, Record, Refresh};

fn notes(alias: &str, number: u32) -> String {
    format!("{alias}@notes-{number:06}")
}

fn noted(alias: &str, number: u32) -> String {
    format!("{alias}@Noted.{number:06}")
}

impl Ground {
    /// Makes the place for notes about a generation.
    pub(super) async fn make_notes(&self, number: u32) -> Result<()> {
        let alias = self.alias.as_str();
        let settings = json!({
            "number_of_shards": 1,
            "number_of_replicas": self.config.layout.replicas,
            "gc_deletes": format!("{}ms", self.config.layout.delete_retention.as_millis()),
        });
        let body = json!({
            "aliases": { noted(alias, number): {} },
            "settings": { "index": settings },
            "mappings": { "dynamic": false },
        });
        match self.client.send(&Call::put(format!("/{}", notes(alias, number)), &body)).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes them. What is left is in nobody's way.
    pub(super) async fn remove_notes(&self, number: u32) {
        let call = Call::end(format!("/{}?ignore_unavailable=true", notes(self.alias.as_str(), number)), &json!({}));
        if let Err(error) = self.client.send(&call).await {
            tracing::debug!(name: "search.notes_stay", error = %error, "notes of a generation cannot be removed");
        }
    }
}

impl Both<'_> {
    /// Notes which of these were written without a version. `false` if there is no place for it any more.
    pub(super) async fn note(
        &self,
        number: u32,
        told: &[Operation],
        has_version: impl Fn(usize) -> bool,
    ) -> Result<bool> {
        let note = |(nth, operation): (usize, &Operation)| {
            let (id, version) = (operation.id().clone(), operation.version());
            match version {
                Some(version) if !has_version(nth) => Operation::Upsert(Record::with_id(id).with_version(version)),
                version => Operation::Delete { id, version },
            }
        };
        let operations = Arc::new(told.iter().enumerate().map(note).collect::<Vec<_>>());
        let alias = noted(self.ground.alias.as_str(), number);
        let to = To { client: &self.ground.client, alias: &alias, rule: Rule::Exact };
        let mut run = Run::new(to, &operations, self.is_long, self.deadline);
        run.finish(Refresh::None).await.map_err(in_one)?;
        if !run.gone.is_empty() {
            return Ok(false);
        }
        let failed = run.outcomes.into_iter().flatten().find_map(|outcome| match outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        });
        failed.map_or(Ok(true), |error| Err(in_one(error)))
    }
}

/// A bulk of rows for the generation that is being filled.
pub(crate) struct Rows<'a> {
    pub(crate) index: &'a OpenSearchIndex,
    pub(crate) view: Arc<View>,
    pub(crate) number: u32,
    pub(crate) deadline: tokio::time::Instant,
}

impl Rows<'_> {
    /// Writes rows that are not older than what was written meanwhile.
    pub(crate) async fn bulk(
        &self,
        operations: &[Operation],
        mut outcomes: Vec<Option<Outcome>>,
    ) -> Result<Vec<Outcome>> {
        let (ground, number) = (&*self.index.ground, self.number);
        let alias = ground.alias.as_str();
        self.expect().await?;
        let mut places: Vec<_> = (0..operations.len()).filter(|place| outcomes[*place].is_none()).collect();
        let is_noted = self.noted(operations, &places).await?;
        for place in places.iter().filter(|place| is_noted.contains(operations[**place].id())) {
            outcomes[*place] = Some(Outcome::Stale);
        }
        places.retain(|place| outcomes[*place].is_none());
        let ids = places.iter().map(|place| operations[*place].id().clone()).collect();
        let live = present(&ground.client, &readable(alias, self.view.live.number), ids, self.deadline).await?;
        let sent: Vec<_> = places.iter().zip(live).map(|(place, live)| counted(&operations[*place], live)).collect();
        let (sent, address) = (Arc::new(sent), told(alias, number));
        let to = To { client: &ground.client, alias: &address, rule: Rule::Newer };
        let mut run = Run::new(to, &sent, true, self.deadline);
        run.finish(Refresh::None).await?;
        if !run.gone.is_empty() {
            return Err(gone(number));
        }
        for (nth, outcome) in run.outcomes.into_iter().enumerate() {
            outcomes[places[nth]] = outcome;
        }
        self.restore(operations, &places, &mut outcomes).await?;
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Stale)).collect())
    }

    /// Says that rows come: what the generation holds is not compared with the live one.
    async fn expect(&self) -> Result<()> {
        let set = self.view.set;
        match self.view.set.beside {
            Some((number, Beside::Came)) if number == self.number => Ok(()),
            Some((number, state)) if number == self.number && state.is_filling() => {
                let ground = &self.index.ground;
                if state == Beside::Copied {
                    ground.make_notes(number).await?;
                }
                let to = set.with_beside(Some((number, Beside::Came)));
                if ground.change(set, to, &self.view.live.index, Vec::new()).await? {
                    return Ok(());
                }
                let now = ground.settled().await?.set.beside;
                if now == to.beside { Ok(()) } else { Err(gone(number)) }
            }
            _ => Err(not_filled(self.number)),
        }
    }

    async fn noted(&self, operations: &[Operation], places: &[usize]) -> Result<HashSet<DocumentId>> {
        let ids: Vec<_> = places.iter().map(|place| operations[*place].id().clone()).collect();
        let ground = &self.index.ground;
        let alias = noted(ground.alias.as_str(), self.number);
        let found = present(&ground.client, &alias, ids.clone(), self.deadline).await?;
        Ok(ids.into_iter().zip(found).filter(|(_, found)| found.is_some()).map(|(id, _)| id).collect())
    }

    /// Makes what was noted while a row came as it is in the live one, in the row's version: who writes it again counts on from
    /// that.
    async fn restore(
        &self,
        operations: &[Operation],
        places: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<()> {
        let is_noted = self.noted(operations, places).await?;
        let Some(beside) = self.view.number(self.number) else { return Ok(()) };
        let ground = &*self.index.ground;
        for place in places.iter().copied().filter(|place| is_noted.contains(operations[*place].id())) {
            let (Some(Outcome::Created { version } | Outcome::Updated { version }), id) =
                (&outcomes[place], operations[place].id())
            else {
                continue;
            };
            let live = copy::records(ground, &self.view, &self.view.live, vec![id.clone()]).await?;
            let as_it_is = match live.into_iter().flatten().next() {
                Some(record) => {
                    let record = self.view.record(&self.view.live, beside, &record);
                    Operation::Upsert(record.with_version(*version))
                }
                None => Operation::Delete { id: id.clone(), version: Some(*version) },
            };
            copy::write(ground, &told(ground.alias.as_str(), self.number), Rule::Exact, vec![as_it_is]).await?;
            outcomes[place] = Some(Outcome::Stale);
        }
        Ok(())
    }
}

/// A row without a version is written with that of the live generation: so it is none where anything was told since. Where there is
/// none, with the lowest.
fn counted(operation: &Operation, live: Option<u64>) -> Operation {
    match operation {
        Operation::Upsert(record) if record.version().is_none() => {
            Operation::Upsert(record.clone().with_version(live.unwrap_or(1)))
        }
        other => other.clone(),
    }
}

pub(crate) fn not_filled(number: u32) -> Error {
    let message = format!("generation {number} is not being filled: what is written is written to all");
    Error::new(ErrorKind::Conflict, message).with_backend(BACKEND)
}

fn gone(number: u32) -> Error {
    let message = format!("generation {number}, which rows were for, is no longer being filled");
    Error::new(ErrorKind::Unavailable, message).with_backend(BACKEND).with_retry(error::BACK_OFF)
}

//! Documents of the live generation, in the one beside it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::super::bulk::{Rule, Run, To};
use super::super::client::{Call, deadline};
use super::super::error::{self, BACKEND};
use super::super::found::Known;
use super::super::source::{self, FoundDocument, Read};
use super::super::versions::present;
use super::ground::{Ground, SETTLE};
use super::set::{Beside, Set, readable};
use super::view::View;
use crate::work::away;
use crate::{DocumentId, Operation, Outcome, Record, Refresh};

impl Ground {
    /// Makes the generation beside the live one hold of these ids what that holds. Says how many it did not.
    pub(crate) async fn copy(&self, ids: Vec<DocumentId>) -> Result<u64> {
        let view = self.present().await?;
        let beside = view.beside.as_ref().ok_or_else(none_beside)?;
        View::check_stored(&view.live, beside)?;
        let address = view.address(self.alias.as_str(), beside);
        let until = deadline(self.client.timing.total);
        // What is there is read first: a document that is not in the live one behind that was deleted since, and nothing newer is.
        let there = present(&self.client, &address, ids.clone(), until).await?;
        let live = records(self, &view, &view.live, ids.clone()).await?;
        let mut told = Vec::new();
        for ((id, there), live) in ids.into_iter().zip(there).zip(live) {
            match (live, there) {
                (Some(record), there) if record.version() != there => {
                    told.push(Operation::Upsert(view.record(&view.live, beside, &record)));
                }
                (None, Some(version)) => told.push(Operation::Delete { id, version: Some(version) }),
                _ => {}
            }
        }
        let changed = told.len() as u64;
        let sent: Vec<_> = told.iter().map(|operation| (operation.id().clone(), operation.version())).collect();
        let outcomes = write(self, &address, Rule::Exact, told).await?;
        let late = sent.into_iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Stale));
        let late: Vec<_> = late.map(|(sent, _)| sent).collect();
        match view.beside_of(beside) {
            _ if late.is_empty() => {}
            Some(Beside::Copied | Beside::Kept) => self.finish(&view, beside, late).await?,
            _ => self.force(view, late.into_iter().map(|(id, _)| id).collect()).await?,
        }
        Ok(changed)
    }

    /// Finishes what somebody has written to the other generation first, and perhaps has died of: as it is there it becomes in
    /// the live one, with its version, or else by a delete of no newer than was refused.
    async fn finish(&self, view: &View, beside: &Known, late: Vec<(DocumentId, Option<u64>)>) -> Result<()> {
        let (ids, refused): (Vec<_>, Vec<_>) = late.into_iter().unzip();
        let there = records(self, view, beside, ids.clone()).await?;
        let live = records(self, view, &view.live, ids).await?;
        let mut told = Vec::new();
        for ((there, live), refused) in there.into_iter().zip(live).zip(refused) {
            match (there, live) {
                (Some(there), live) if live.as_ref().and_then(Record::version) < there.version() => {
                    told.push(Operation::Upsert(view.record(beside, &view.live, &there)));
                }
                (None, Some(live)) if live.version() == refused => {
                    told.push(Operation::Delete { id: live.id().clone(), version: live.version() });
                }
                _ => {}
            }
        }
        write(self, &view.set.name(self.alias.as_str()), Rule::Exact, told).await.map(drop)
    }

    /// Makes documents the same in both that the other one, which was filled from elsewhere, has in a newer version, or remembers
    /// as deleted: both get a version that neither had. Nobody writes meanwhile, and whoever has a write on its way sees by the
    /// next number that it did not come in time.
    async fn force(&self, view: View, late: Vec<DocumentId>) -> Result<()> {
        if view.set.frozen {
            return self.force_frozen(&view, late).await;
        }
        let (set, index) = (view.set.frozen(), view.live.index.clone());
        if !self.change(view.set, set, &index, Vec::new()).await? {
            return Ok(());
        }
        sleep(SETTLE).await;
        let forced = self.force_frozen(&View { set, ..view }, late).await;
        let next = Set { last: set.last.saturating_add(1), ..set.thawed() };
        self.change(set, next, &index, Vec::new()).await?;
        forced
    }

    async fn force_frozen(&self, view: &View, late: Vec<DocumentId>) -> Result<()> {
        let Some(beside) = &view.beside else { return Ok(()) };
        let (there, until) = (view.address(self.alias.as_str(), beside), deadline(self.client.timing.total));
        let known = present(&self.client, &there, late.clone(), until).await?;
        let live = records(self, view, &view.live, late).await?;
        for (known, live) in known.into_iter().zip(live) {
            // What is newer in the live one is found by the next pass.
            if let Some(record) = live.filter(|live| known.is_none_or(|known| live.version() < Some(known))) {
                self.force_one(view, beside, (record, known)).await?;
            }
        }
        Ok(())
    }

    async fn force_one(&self, view: &View, beside: &Known, (record, known): (Record, Option<u64>)) -> Result<()> {
        let alias = self.alias.as_str();
        let (rule, version) = known.map_or((Rule::Create, 1), |known| (Rule::Newer, known.saturating_add(1)));
        let told = view.record(&view.live, beside, &record).with_version(version);
        let outcomes = write(self, &view.address(alias, beside), rule, vec![Operation::Upsert(told)]).await?;
        let [Outcome::Created { version } | Outcome::Updated { version }] = outcomes[..] else { return Ok(()) };
        let same = vec![Operation::Upsert(record.with_version(version))];
        write(self, &view.set.name(alias), Rule::Newer, same).await.map(drop)
    }
}

/// Writes operations with versions, all of which must be possible.
pub(super) async fn write(
    ground: &Ground,
    address: &str,
    rule: Rule,
    operations: Vec<Operation>,
) -> Result<Vec<Outcome>> {
    let operations = Arc::new(operations);
    let to = To { client: &ground.client, alias: address, rule };
    let mut run = Run::new(to, &operations, true, deadline(ground.client.timing.total));
    run.finish(Refresh::None).await?;
    if !run.gone.is_empty() {
        return Err(error::of_gone());
    }
    let outcomes = run.outcomes.into_iter().map(|outcome| match outcome {
        Some(Outcome::Failed(error)) => Err(error),
        outcome => Ok(outcome.unwrap_or(Outcome::NotFound)),
    });
    outcomes.collect()
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    docs: Vec<FoundDocument<'a>>,
}

/// Whole documents of a generation, whatever no search has seen yet too.
pub(super) async fn records(
    ground: &Ground,
    view: &View,
    known: &Known,
    ids: Vec<DocumentId>,
) -> Result<Vec<Option<Record>>> {
    let alias = ground.alias.as_str();
    let address =
        if view.set.live == known.number { readable(alias, known.number) } else { view.address(alias, known) };
    let until = deadline(ground.client.timing.total);
    let mut found = Vec::with_capacity(ids.len());
    for page in ids.chunks(PAGE) {
        let left = until.saturating_duration_since(Instant::now());
        let docs: Vec<_> = page.iter().map(|id| json!({ "_id": id.as_str() })).collect();
        let call = Call::ask(format!("/{address}/_mget"), &json!({ "docs": docs })).within(Some(left));
        let body = ground.client.send(&call).await?;
        let (page, schema) = (page.to_vec(), known.stored.schema.clone());
        found.extend(away(Some(left), move |_| read(&schema, &page, &body)).await?);
    }
    Ok(found)
}

/// How many are read at once.
const PAGE: usize = 200;

fn read(schema: &crate::Schema, ids: &[DocumentId], body: &[u8]) -> Result<Vec<Option<Record>>> {
    let Answer { docs } = serde_json::from_slice(body).map_err(error::of_broken_body)?;
    if docs.len() != ids.len() || docs.iter().zip(ids).any(|(doc, id)| *doc.id != *id.as_str()) {
        return Err(error::of_other_question("OpenSearch answered with other documents than were asked for"));
    }
    let record = |doc: FoundDocument<'_>| {
        if let Some(exception) = &doc.error {
            return Err(error::of_exception(500, Some(exception)));
        }
        match (doc.found, doc.source) {
            (Some(false), _) => Ok(None),
            (Some(true), Some(source)) => match source::record(schema, &doc.id, doc.version, Some(source))? {
                Read::Ours(record) => Ok(Some(record)),
                // Something else has written it; it is left out of both.
                Read::Foreign => Ok(None),
            },
            _ => Err(error::of_other_question("OpenSearch did not say which of the documents are there")),
        }
    };
    docs.into_iter().map(record).collect()
}

fn none_beside() -> Error {
    Error::new(ErrorKind::NotFound, "there is no generation beside the live one").with_backend(BACKEND)
}

//! Documents of the live generation, in the one beside it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use statehouse_core::{Error, ErrorKind, Result};
use std::borrow::Cow;
use tokio::time::Instant;

use super::super::bulk::{Rule, Run, To};
use super::super::client::{Call, deadline};
use super::super::error::{self, BACKEND, Exception};
use super::super::source::{self, Read};
use super::super::versions::present;
use super::ground::Ground;
use super::set::readable;
use super::view::{Known, View};
use crate::work::away;
use crate::{DocumentId, Operation, Outcome, Record, Refresh};

impl Ground {
    /// Makes the generation beside the live one hold of these ids what that holds. Says how many it did not.
    pub(in super::super) async fn copy(&self, ids: Vec<DocumentId>) -> Result<u64> {
        let view = self.present().await?;
        let Some(beside) = &view.beside else { return Err(none_beside()) };
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
        let ids: Vec<_> = told.iter().map(|operation| operation.id().clone()).collect();
        let outcomes = write(self, &address, Rule::Exact, told).await?;
        let late = ids.into_iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Stale));
        for (id, _) in late {
            self.force(&view, beside, id).await?;
        }
        Ok(changed)
    }

    /// Makes one document the same in both that the other one has in a newer version, or remembers as deleted: both get a version
    /// that neither had. Whoever writes meanwhile finds that refused, and writes again behind it.
    async fn force(&self, view: &View, beside: &Known, id: DocumentId) -> Result<()> {
        let alias = self.alias.as_str();
        let (there, until) = (view.address(alias, beside), deadline(self.client.timing.total));
        let known = present(&self.client, &there, vec![id.clone()], until).await?.pop().flatten();
        let live = records(self, view, &view.live, vec![id]).await?.pop().flatten();
        // What is newer in the live one is found by the next pass.
        let Some(record) = live.filter(|live| known.is_none_or(|known| live.version() < Some(known))) else {
            return Ok(());
        };
        let (rule, version) = known.map_or((Rule::Create, 1), |known| (Rule::Newer, known.saturating_add(1)));
        let told = view.record(&view.live, beside, &record).with_version(version);
        let outcomes = write(self, &there, rule, vec![Operation::Upsert(told)]).await?;
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
    docs: Vec<Document<'a>>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "_id", borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "_version")]
    version: Option<u64>,
    found: Option<bool>,
    #[serde(rename = "_source", borrow)]
    source: Option<&'a RawValue>,
    error: Option<Exception>,
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
    let record = |doc: Document<'_>| {
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

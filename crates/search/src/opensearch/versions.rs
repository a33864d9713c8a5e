//! Which versions documents have.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use statehouse_core::{Error, Result};
use tokio::time::Instant;

use super::client::{Call, Client};
use super::error::{self, Exception};
use super::source::FoundDocument;
use crate::DocumentId;
use crate::work::away;

/// What the server says of a document.
pub(super) struct Told {
    /// `None` if it is not there.
    version: Option<u64>,
    /// Why it does not know.
    error: Option<Exception>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    docs: Vec<FoundDocument<'a>>,
}

/// How many are asked for at once.
const PAGE: usize = 1_000;

/// The versions of these documents, `None` for those that are not there. Many are written and read on a thread for it.
pub(super) async fn present(
    client: &Client,
    alias: &str,
    ids: Vec<DocumentId>,
    until: Instant,
) -> Result<Vec<Option<u64>>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let left = || Some(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
    if ids.len() <= FEW {
        let body = client.send(&asked(alias, &ids).within(left())).await?;
        return versions(&ids, &body);
    }
    let (ids, mut found) = (Arc::new(ids), Vec::new());
    while found.len() < ids.len() {
        let page = found.len()..ids.len().min(found.len() + PAGE);
        let (alias, asked_for, of) = (alias.to_owned(), Arc::clone(&ids), page.clone());
        let call = away(left(), move |_| Ok(asked(&alias, &asked_for[of]))).await?;
        let body = client.send(&call.within(left())).await?;
        let asked_for = Arc::clone(&ids);
        found.extend(away(left(), move |_| versions(&asked_for[page], &body)).await?);
    }
    Ok(found)
}

/// So many take no time to speak of.
const FEW: usize = 100;

fn versions(ids: &[DocumentId], body: &[u8]) -> Result<Vec<Option<u64>>> {
    read(ids, body)?.into_iter().map(Told::version).collect()
}

/// What is said of one document of an index that may not be there.
pub(super) async fn one(client: &Client, index: &str, id: &DocumentId, time: Option<Duration>) -> Result<Told> {
    let id = std::slice::from_ref(id);
    let body = client.send(&asked(index, id).within(time)).await?;
    read(id, &body)?.pop().ok_or_else(said_nothing)
}

fn asked(index: &str, ids: &[DocumentId]) -> Call {
    let docs: Vec<_> = ids.iter().map(|id| json!({ "_id": id.as_str(), "_source": false })).collect();
    Call::ask(format!("/{index}/_mget"), &json!({ "docs": docs }))
}

fn read(ids: &[DocumentId], body: &[u8]) -> Result<Vec<Told>> {
    let Answer { docs } = serde_json::from_slice(body).map_err(error::of_broken_body)?;
    let same = docs.len() == ids.len() && docs.iter().zip(ids).all(|(doc, id)| *doc.id == *id.as_str());
    if !same || docs.iter().any(|doc| doc.found.is_none() && doc.error.is_none()) {
        return Err(said_nothing());
    }
    let told =
        |doc: FoundDocument<'_>| Told { version: doc.version.filter(|_| doc.found == Some(true)), error: doc.error };
    Ok(docs.into_iter().map(told).collect())
}

fn said_nothing() -> Error {
    error::of_other_question("OpenSearch did not say which of the documents are there")
}

impl Told {
    pub(super) fn lacks_index(&self) -> bool {
        self.error.as_ref().is_some_and(Exception::lacks_index)
    }

    pub(super) fn version(self) -> Result<Option<u64>> {
        match self.error {
            // It comes without a status of its own.
            Some(exception) => Err(error::of_exception(500, Some(&exception))),
            None => Ok(self.version),
        }
    }
}

//! Which versions documents have.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use statehouse_core::Result;

use super::client::{Call, Client};
use super::error;
use crate::DocumentId;

/// The versions of these documents, `None` for those that are not there.
pub(super) async fn present(
    client: &Client,
    alias: &str,
    ids: &[&DocumentId],
    time: Option<Duration>,
) -> Result<Vec<Option<u64>>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        docs: Vec<Version<'a>>,
    }
    #[derive(Deserialize)]
    struct Version<'a> {
        #[serde(rename = "_id", borrow)]
        id: Cow<'a, str>,
        #[serde(rename = "_version")]
        version: Option<u64>,
        found: Option<bool>,
    }
    let docs: Vec<_> = ids.iter().map(|id| json!({ "_id": id.as_str(), "_source": false })).collect();
    let call = Call::ask(format!("/{alias}/_mget"), &json!({ "docs": docs })).within(time);
    let body = client.send(&call).await?;
    let Answer { docs } = serde_json::from_slice(&body).map_err(error::of_broken_body)?;
    let same = docs.len() == ids.len() && docs.iter().zip(ids).all(|(doc, id)| *doc.id == *id.as_str());
    if !same || docs.iter().any(|doc| doc.found.is_none()) {
        return Err(error::of_other_question("OpenSearch did not say which of the documents are there"));
    }
    Ok(docs.into_iter().map(|doc| doc.version.filter(|_| doc.found == Some(true))).collect())
}

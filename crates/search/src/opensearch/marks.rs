//! The marks of locks that guard the index: see [`Fence`].
//!
//! OpenSearch has no step that looks at one document and writes others. So each request of a fenced bulk is sent after a look
//! at the lock's mark, and what is on its way when that rises is applied: until the bulk's deadline at the latest.
//!
//! A mark is a document of the index `{name}@marks`, which holds nothing else. Its id is the mark's name, its source is empty,
//! and its version, an external one, is the token: so the server itself lets it only rise.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use statehouse_core::{ErrorKind, Fence, Namespace, Result, Version};
use tokio::time::{Instant, timeout_at};

use super::client::{self, Call, Client};
use super::error::{self, Effect};
use super::open::wait_for_shards;
use super::source;
use super::versions::one;
use crate::DocumentId;

/// What the answer to a raise is to say.
const FILTER: &str = "filter_path=items.*.status,items.*.error.type,items.*.error.reason";

#[derive(Debug)]
pub(super) struct Marks {
    index: String,
    replicas: u32,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Done,
}

#[derive(Deserialize)]
struct Done {
    status: u16,
    error: Option<error::Exception>,
}

impl Marks {
    pub(super) fn of(alias: &Namespace, replicas: u32) -> Self {
        Self { index: format!("{alias}@marks"), replicas }
    }

    /// Makes the index if nobody has.
    async fn make(&self, client: &Client, time: Option<Duration>) -> Result<()> {
        let settings = json!({ "number_of_shards": 1, "number_of_replicas": self.replicas });
        let body = json!({ "settings": { "index": settings }, "mappings": { "dynamic": false } });
        let call = Call::put(format!("/{}", self.index), &body).within(time);
        match client.send(&call).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// What a mark is. The index is made where it is not there, also if somebody has deleted it: at a write the server would make one by
    /// rules of its own.
    async fn found(&self, client: &Client, id: &DocumentId, time: Option<Duration>) -> Result<Option<u64>> {
        let (until, mut waited) = (client::deadline(time.unwrap_or(client.timing.attempt)), false);
        loop {
            let left = Some(until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
            let told = one(client, &self.index, id, left).await?;
            if told.lacks_index() {
                return self.make(client, left).await.map(|()| None);
            }
            match told.version() {
                // Who writes beside this one may have made the index a moment ago.
                Err(error) if error.kind() == ErrorKind::Unavailable && !waited => {
                    waited = true;
                    timeout_at(until, wait_for_shards(client, &self.index, until)).await.unwrap_or(Err(error))?;
                }
                version => return version,
            }
        }
    }

    /// Raises a mark.
    pub(super) async fn raise(&self, client: &Client, fence: &Fence, time: Option<Duration>) -> Result<()> {
        let id = DocumentId::new(fence.mark())?;
        self.found(client, &id, time).await?;
        self.write(client, (&id, fence), time).await
    }

    async fn write(&self, client: &Client, (id, fence): (&DocumentId, &Fence), time: Option<Duration>) -> Result<()> {
        let mut lines = b"{\"index\":{\"_id\":".to_vec();
        source::write_text(id.as_str(), &mut lines);
        lines.extend_from_slice(b",\"version_type\":\"external_gte\",\"version\":");
        source::write_json(&fence.token().get(), &mut lines);
        lines.extend_from_slice(b"}}\n{}\n");
        let path = format!("/{}/_bulk?{FILTER}", self.index);
        let call = Call::bulk(path, lines.into(), Effect::Repeatable).within(time);
        let Answer { items } = client.read(&call).await?;
        match items.as_slice() {
            [Item { index: Done { status: 200..=299, .. } }] => Ok(()),
            [Item { index: Done { status: 409, .. } }] => Err(Fence::refused()),
            [Item { index }] => Err(error::of_exception(index.status, index.error.as_ref())),
            _ => Err(error::of_other_question("OpenSearch did not say what became of a mark")),
        }
    }

    /// Checks a fence, and raises its mark where that is lower.
    pub(super) async fn check(&self, client: &Client, fence: &Fence, time: Option<Duration>) -> Result<()> {
        let id = DocumentId::new(fence.mark())?;
        match self.found(client, &id, time).await? {
            Some(mark) if mark >= fence.token().get() => fence.check(Version::new(mark)),
            _ => self.write(client, (&id, fence), time).await,
        }
    }
}

//! How the index is: asked of the server within a second, whatever state that is in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Health, HealthStatus, Result};
use tokio::time::{Instant, timeout};

use super::client::{Call, Client};
use super::error::{self, BACKEND};
use super::shards::Shards;

/// How long asking may take in all. Somebody waits for the answer, perhaps a load balancer with a limit of its own.
pub(super) const LIMIT: Duration = Duration::from_millis(950);

/// What the server refuses to do, to the whole cluster or to an index.
#[derive(Default, Deserialize)]
struct Blocked {
    #[serde(default)]
    blocks: Blocks,
}

#[derive(Default, Deserialize)]
struct Blocks {
    #[serde(default)]
    global: BTreeMap<String, Block>,
    #[serde(default)]
    indices: BTreeMap<String, BTreeMap<String, Block>>,
}

#[derive(Deserialize)]
struct Block {
    description: String,
    #[serde(default)]
    levels: Vec<String>,
}

impl Block {
    fn stops(&self, level: &str) -> bool {
        self.levels.iter().any(|stopped| stopped == level)
    }
}

/// What is asked after.
pub(super) struct Asked<'a> {
    pub(super) alias: &'a str,
    /// The index behind the alias.
    pub(super) index: &'a str,
    pub(super) place: &'a str,
}

/// Asks how the cluster and the index are. `shape` finds out whether the index is still as it was opened.
pub(super) async fn ask(client: &Client, asked: Asked<'_>, shape: impl Future<Output = Result<()>>) -> Health {
    let (start, place) = (Instant::now(), asked.place);
    // Only the cluster's own word says that it serves. What else comes too late is not known to be wrong.
    let (cluster, blocks, shape) = tokio::join!(
        timeout(LIMIT, cluster(client, asked.alias)),
        timeout(LIMIT, blocks(client, asked.index)),
        timeout(LIMIT, shape)
    );
    let Ok(cluster) = cluster else {
        return Health::of(place, start.elapsed(), Err(client.name_setting(silent())));
    };
    let (blocks, shape) = (blocks.unwrap_or_default(), shape.unwrap_or(Ok(())));
    let took = start.elapsed();
    let missing = match cluster {
        Ok(shards) => (!shards.all_serve()).then(error::of_missing_shard),
        Err(error) => return Health::of(place, took, Err(error)),
    };
    let reading = blocks.iter().find(|block| block.stops("read"));
    if let Some(block) = reading {
        return Health::of(place, took, Err(blocked("searches", block)));
    }
    let writing = blocks.iter().find(|block| block.stops("write")).map(|block| blocked("writes", block));
    let other = shape.err().filter(|error| error.kind() == ErrorKind::Conflict);
    let mut health = Health::of(place, took, Ok(()));
    health.error = missing.or(writing).or(other);
    if health.error.is_some() {
        health.status = HealthStatus::Degraded;
    }
    health
}

/// Asks whether a node answers.
pub(super) async fn ping(client: &Client) -> Result<()> {
    let call = Call::get("/").within(Some(LIMIT));
    let answered = timeout(LIMIT, client.send(&call)).await.unwrap_or_else(|_| Err(client.name_setting(silent())));
    answered.map(drop)
}

fn silent() -> Error {
    let message = format!("OpenSearch did not answer within {} ms", LIMIT.as_millis());
    Error::new(ErrorKind::Timeout, message).with_backend(BACKEND)
}

async fn cluster(client: &Client, alias: &str) -> Result<Shards> {
    client.read(&Call::get(Shards::path(alias, "timeout=500ms")).within(Some(LIMIT))).await
}

/// Blocks of the cluster and of the index. None for a user who may not ask.
async fn blocks(client: &Client, index: &str) -> Vec<Block> {
    let call = Call::get(format!("/_cluster/state/blocks/{index}?filter_path=blocks")).within(Some(LIMIT));
    let Blocked { mut blocks } = client.read(&call).await.unwrap_or_default();
    // The server tells those of all indices, whichever was asked after.
    let own = blocks.indices.remove(index).unwrap_or_default();
    blocks.global.into_values().chain(own.into_values()).collect()
}

fn blocked(what: &str, block: &Block) -> Error {
    let message = format!("OpenSearch refuses {what}: {}", block.description);
    Error::full(message).with_backend(BACKEND)
}

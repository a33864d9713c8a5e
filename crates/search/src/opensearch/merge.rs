//! One segment of each shard, without what was deleted.
//!
//! A merge alone does not reclaim it: a shard keeps its last operations, deleted documents too, for copies that fall
//! behind, and says only every half minute how far they have come. Until then a merge writes them once more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, sleep};

use super::client::{Call, Client};
use super::{copies, error};

/// How long to wait until a shard lets go of what was deleted. It says every half minute how far its copies have come, and
/// in another round of half a minute what it keeps for them; this is twice as long.
const PATIENCE: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(500);

/// Merges the index until nothing of it is deleted that was when it was asked.
pub(super) async fn all(client: &Client, alias: &str) -> Result<()> {
    // What no refresh has shown yet is not counted as deleted.
    refresh(client, alias).await?;
    let before = all_copies(client, alias).await?;
    let late = Instant::now() + PATIENCE;
    loop {
        if before.values().any(|copy| copy.deleted > 0) {
            wait_for_release(client, alias, &before, late).await?;
        }
        wait(client, start(client, alias).await?).await?;
        refresh(client, alias).await?;
        let after = all_copies(client, alias).await?;
        let kept = |&(place, copy): &(&String, &Copy)| {
            let unchanged = before.get(place).is_some_and(|before| before.last == copy.last);
            unchanged && copy.deleted > 0
        };
        match after.iter().find(kept) {
            None => return Ok(()),
            Some((place, copy)) if Instant::now() >= late => return Err(kept_for_a_copy(place, copy)),
            // A merge of the server's own, which began before it let go, may have been in the way.
            Some(_) => sleep(PAUSE).await,
        }
    }
}

async fn refresh(client: &Client, alias: &str) -> Result<()> {
    client.send(&Call::act(format!("/{alias}/_refresh"))).await.map(drop)
}

/// A copy of a shard.
#[derive(Debug)]
struct Copy {
    /// How many deleted documents it still holds.
    deleted: u64,
    /// The number of its last operation.
    last: i64,
    /// It keeps what was done from this one on.
    kept_from: i64,
}

async fn all_copies(client: &Client, alias: &str) -> Result<BTreeMap<String, Copy>> {
    #[derive(Deserialize)]
    struct Shard {
        docs: Docs,
        seq_no: SeqNo,
        retention_leases: Leases,
    }
    #[derive(Deserialize)]
    struct Docs {
        deleted: u64,
    }
    #[derive(Deserialize)]
    struct SeqNo {
        max_seq_no: i64,
    }
    #[derive(Deserialize)]
    struct Leases {
        leases: Vec<Lease>,
    }
    #[derive(Deserialize)]
    struct Lease {
        retaining_seq_no: i64,
    }
    const WANTED: [&str; 3] = ["docs.deleted", "seq_no.max_seq_no", "retention_leases.leases.retaining_seq_no"];
    let copy = |found: Shard| Copy {
        deleted: found.docs.deleted,
        last: found.seq_no.max_seq_no,
        kept_from: found.retention_leases.leases.iter().map(|lease| lease.retaining_seq_no).min().unwrap_or(i64::MAX),
    };
    let of_shard = |copies::Shard { index, number, copies }| {
        copies.into_iter().enumerate().map(move |(at, found)| (format!("{index}/{number}/{at}"), copy(found)))
    };
    Ok(copies::of(client, alias, &WANTED).await?.into_iter().flat_map(of_shard).collect())
}

/// Waits until the shards keep nothing more of what had been done at first.
async fn wait_for_release(client: &Client, alias: &str, before: &BTreeMap<String, Copy>, late: Instant) -> Result<()> {
    loop {
        let now = all_copies(client, alias).await?;
        let kept = |(place, copy): (&String, &Copy)| before.get(place).is_some_and(|b| copy.kept_from <= b.last);
        // One that keeps more for longer is told of behind the merge, which reclaims what it can.
        if Instant::now() >= late || !now.iter().any(kept) {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// Begins a merge, which outlives the request: behind a proxy none takes as long.
async fn start(client: &Client, alias: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Started {
        task: String,
    }
    let path = format!("/{alias}/_forcemerge?max_num_segments=1&wait_for_completion=false");
    let started: Started = client.read(&Call::act(path)).await?;
    Ok(started.task)
}

async fn wait(client: &Client, task: String) -> Result<()> {
    #[derive(Deserialize)]
    struct Task {
        completed: bool,
        error: Option<Box<RawValue>>,
        response: Option<super::search::Sharded>,
    }
    let mut pauses = Backoff::new(Duration::from_millis(20), PAUSE);
    loop {
        let answer = client.exchange(&Call::get(format!("/_tasks/{task}"))).await?;
        if answer.status == 404 {
            return Err(failed("the node that merged is gone"));
        }
        let body = answer.into_body().map_err(|error| client.name_setting(error))?;
        let found: Task = serde_json::from_slice(&body).map_err(error::of_broken_body)?;
        if found.completed {
            return match (found.error, found.response) {
                (Some(cause), _) => Err(failed("the merge failed").with_source(cause.get().to_owned())),
                (None, Some(response)) => response.check().map(drop),
                (None, None) => Ok(()),
            };
        }
        sleep(pauses.pause()).await;
    }
}

fn failed(message: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, message).with_backend(error::BACKEND).with_retry(Retry::Now)
}

fn kept_for_a_copy(place: &str, copy: &Copy) -> Error {
    let message = format!(
        "OpenSearch keeps what was deleted for a copy of the shard that is away or behind; merge when it is back: {place} \
         holds {} deleted documents, is at operation {} and keeps those from {} on",
        copy.deleted, copy.last, copy.kept_from
    );
    Error::new(ErrorKind::Unavailable, message).with_backend(error::BACKEND)
}

//! Operations as the lines of a `_bulk` request, and what the server says became of each.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use super::client::{Call, Client, back_off};
use super::error::{self, Effect};
use super::source;
use crate::{DocumentId, Operation, Outcome, Refresh};

/// How large one request may become. OpenSearch itself takes 100 MiB; small hosted clusters take 10.
const MAX_BYTES: usize = 8 << 20;

/// How often operations that the server had no room for are sent.
const MAX_ROUNDS: usize = 6;

/// What a bulk asks the server to say: less than half of what it says by default.
const FILTER: &str = "filter_path=items.*.status,items.*.result,items.*._version,items.*.error.type";

/// One bulk on its way.
pub(super) struct Run<'a> {
    pub(super) client: &'a Client,
    pub(super) alias: &'a str,
    pub(super) operations: &'a [Operation],
    /// What became of each operation, as far as it is known. What is known at the start is not sent.
    pub(super) outcomes: Vec<Option<Outcome>>,
    pub(super) deadline: Instant,
    /// How many requests there were.
    pub(super) requests: usize,
}

impl Run<'_> {
    /// Sends everything, and what the server had no room for again. `refresh` was not applied if there was more than
    /// one request.
    pub(super) async fn finish(&mut self, refresh: Refresh) -> Result<()> {
        let mut pending: Vec<_> = (0..self.operations.len()).filter(|place| self.outcomes[*place].is_none()).collect();
        for round in 1..=MAX_ROUNDS {
            pending = self.round(&pending, refresh).await?;
            let pause = back_off(round);
            if pending.is_empty() || Instant::now() + pause >= self.deadline {
                break;
            }
            sleep(pause).await;
        }
        Ok(())
    }

    /// Sends these operations once. Gives those that should be sent again.
    async fn round(&mut self, mut left: &[usize], refresh: Refresh) -> Result<Vec<usize>> {
        let mut again = Vec::new();
        while !left.is_empty() {
            let batch = Batch::take(self.operations, &mut left);
            let refresh = if self.requests == 0 && left.is_empty() { refresh } else { Refresh::None };
            match self.send(&batch, refresh).await {
                Ok(verdicts) => again.extend(self.settle(&batch, verdicts)),
                Err(error) if self.requests == 0 => return Err(error),
                Err(error) => {
                    // The call as a whole has had an effect, so each operation gets its own error.
                    let places = batch.places.iter().chain(left);
                    places.for_each(|place| self.outcomes[*place] = Some(Outcome::Failed(same(&error))));
                    break;
                }
            }
            self.requests += 1;
        }
        Ok(again)
    }

    async fn send(&self, batch: &Batch, refresh: Refresh) -> Result<Vec<Verdict>> {
        let refresh = match refresh {
            Refresh::None => "false",
            Refresh::Wait => "wait_for",
            Refresh::Now => "true",
        };
        let path = format!("/{}/_bulk?require_alias=true&refresh={refresh}&{FILTER}", self.alias);
        let time = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let call = Call::bulk(path, batch.lines.clone(), batch.effect).within(Some(time));
        let body = self.client.send(&call).await?;
        verdicts(self.operations, batch, &body)
    }

    fn settle(&mut self, batch: &Batch, verdicts: Vec<Verdict>) -> Vec<usize> {
        let mut rejected = HashSet::new();
        for (place, verdict) in batch.places.iter().zip(verdicts) {
            self.outcomes[*place] = Some(match verdict {
                Verdict::Done(outcome) => outcome,
                Verdict::Rejected(error) => {
                    rejected.insert(*place);
                    Outcome::Failed(error)
                }
            });
        }
        if rejected.is_empty() { Vec::new() } else { resendable(self.operations, &batch.places, &rejected) }
    }
}

/// One failure of several operations.
fn same(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned()).with_backend(error::BACKEND);
    copy.with_retry(error.retry())
}

/// Some operations of a bulk, written as one request.
#[derive(Debug)]
struct Batch {
    /// Which operations, by their place in the bulk.
    places: Vec<usize>,
    lines: Bytes,
    effect: Effect,
}

impl Batch {
    /// Takes operations from the front of `pending` until the request is large enough.
    fn take(operations: &[Operation], pending: &mut &[usize]) -> Self {
        let mut lines = Vec::new();
        let mut effect = Effect::Repeatable;
        let mut taken = 0;
        for &place in *pending {
            let before = lines.len();
            write(&operations[place], &mut lines);
            if lines.len() > MAX_BYTES && taken > 0 {
                lines.truncate(before);
                break;
            }
            if operations[place].version().is_none() {
                effect = Effect::Once;
            }
            taken += 1;
        }
        let (places, rest) = pending.split_at(taken);
        *pending = rest;
        Self { places: places.to_vec(), lines: lines.into(), effect }
    }
}

fn write(operation: &Operation, lines: &mut Vec<u8>) {
    lines.extend_from_slice(match operation {
        Operation::Upsert(_) => b"{\"index\":{\"_id\":",
        Operation::Delete { .. } => b"{\"delete\":{\"_id\":",
    });
    source::write_text(operation.id().as_str(), lines);
    if let Some(version) = operation.version() {
        lines.extend_from_slice(b",\"version_type\":\"external\",\"version\":");
        source::write_json(&version, lines);
    }
    lines.extend_from_slice(b"}}\n");
    if let Operation::Upsert(record) = operation {
        source::write(record, lines);
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item<'a> {
    #[serde(borrow)]
    Index(Done<'a>),
    #[serde(borrow)]
    Delete(Done<'a>),
}

#[derive(Deserialize)]
struct Done<'a> {
    status: u16,
    #[serde(rename = "_version")]
    version: Option<u64>,
    #[serde(borrow)]
    result: Option<Cow<'a, str>>,
    error: Option<error::Exception>,
}

/// What became of one operation, or that the server had no room for it.
enum Verdict {
    Done(Outcome),
    Rejected(Error),
}

/// Reads the answer to a batch: one verdict for each of its operations.
fn verdicts(operations: &[Operation], batch: &Batch, body: &[u8]) -> Result<Vec<Verdict>> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| lost(error::of_broken_body(error)))?;
    if answer.items.len() != batch.places.len() {
        let message = "OpenSearch answered for another number of operations than it was given";
        return Err(lost(Error::new(ErrorKind::Unexpected, message)));
    }
    let verdict = |(place, item): (&usize, Item<'_>)| verdict(&operations[*place], item);
    Ok(batch.places.iter().zip(answer.items).map(verdict).collect())
}

/// The request was applied, and nobody can say how.
fn lost(cause: Error) -> Error {
    let message = "the answer to a bulk cannot be read";
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(error::BACKEND).with_source(cause)
}

fn verdict(operation: &Operation, item: Item<'_>) -> Verdict {
    let (Item::Index(done) | Item::Delete(done)) = item;
    let version = done.version.unwrap_or_default();
    Verdict::Done(match (done.status, done.result.as_deref()) {
        (_, Some("created")) => Outcome::Created { version },
        (_, Some("updated")) => Outcome::Updated { version },
        (_, Some("deleted")) => Outcome::Deleted { version },
        (_, Some("not_found")) => Outcome::NotFound,
        (409, _) if operation.version().is_some() => Outcome::Stale,
        (status, _) => {
            let exception = done.error.as_ref().and_then(error::Exception::kind);
            let error = error::of_exception(status, exception).with_key(operation.id().as_str());
            if matches!(status, 429 | 503) {
                return Verdict::Rejected(error);
            }
            Outcome::Failed(error)
        }
    })
}

/// Those of the rejected operations that may be sent again, in order: not those that a later operation on the same
/// document has overtaken, unless versions keep the order.
fn resendable(operations: &[Operation], places: &[usize], rejected: &HashSet<usize>) -> Vec<usize> {
    let mut overtaken: HashSet<&DocumentId> = HashSet::new();
    let mut safe = Vec::new();
    for place in places.iter().rev() {
        let operation = &operations[*place];
        if !rejected.contains(place) {
            overtaken.insert(operation.id());
        } else if operation.version().is_some() || !overtaken.contains(operation.id()) {
            safe.push(*place);
        }
    }
    safe.reverse();
    safe
}

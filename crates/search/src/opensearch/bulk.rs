//! Operations as the lines of a `_bulk` request, and what the server says became of each.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use statehouse_core::{Error, ErrorKind, Fence, Result};
use tokio::time::{Instant, sleep};

use super::client::{Call, Client, SHORT_ANSWER, pauses};
use super::error::{self, Effect};
use super::marks::Marks;
use super::source;
use super::versions::present;
use crate::outcome::of_all;
use crate::work::away;
use crate::{DocumentId, Operation, Outcome, Refresh, counters};

/// How large one request may become. OpenSearch itself takes 100 MiB; small hosted clusters take 10.
const MAX_BYTES: usize = 8 << 20;

/// The status for a request that is larger than the server, or something in between, takes.
const TOO_LARGE: u16 = 413;

/// How often operations that the server had no room for are sent.
const MAX_ROUNDS: usize = 6;

/// What a bulk asks the server to say: less than half of what it says by default.
const FILTER: &str =
    "filter_path=items.*._id,items.*.status,items.*.result,items.*._version,items.*.error.type,items.*.error.reason";

/// What a version that is given is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It must be above the one that is there.
    Newer,
    /// It may be the same: what it says of it is so.
    Exact,
    /// Nothing may be there, and no version is given.
    Create,
}

/// One bulk on its way.
pub(super) struct Run<'a> {
    pub(super) client: &'a Client,
    pub(super) alias: &'a str,
    pub(super) rule: Rule,
    pub(super) operations: &'a Arc<Vec<Operation>>,
    /// Whether they are more than what is written and read in place.
    pub(super) is_long: bool,
    /// Under which lock it is written, and where that lock's mark is.
    pub(super) fence: Option<(&'a Marks, &'a Fence)>,
    /// What became of each operation, as far as it is known. What is known at the start is not sent.
    pub(super) outcomes: Vec<Option<Outcome>>,
    pub(super) deadline: Instant,
    /// Those that a generation took before: what is there in the same version is theirs, or was made of them.
    pub(super) again: Arc<HashSet<usize>>,
    /// Those that an earlier request may have applied.
    pub(super) in_doubt: HashSet<usize>,
    /// How many requests there were.
    pub(super) requests: usize,
    /// Those that were not taken in, for the alias is no more there.
    pub(super) gone: HashSet<usize>,
    /// The versions of deletes of what was not there.
    pub(super) absent: HashMap<usize, u64>,
}

/// Which operations go where.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) client: &'a Client,
    pub(super) alias: &'a str,
    pub(super) rule: Rule,
}

impl<'a> Run<'a> {
    /// A bulk of which nothing is known yet.
    pub(super) fn new(to: To<'a>, operations: &'a Arc<Vec<Operation>>, is_long: bool, deadline: Instant) -> Self {
        let To { client, alias, rule } = to;
        Self {
            client,
            alias,
            rule,
            operations,
            is_long,
            fence: None,
            outcomes: operations.iter().map(|_| None).collect(),
            deadline,
            again: Arc::default(),
            in_doubt: HashSet::new(),
            requests: 0,
            gone: HashSet::new(),
            absent: HashMap::new(),
        }
    }
}

impl Run<'_> {
    /// The time that is left.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }

    /// Sends everything, and what the server had no room for again. `refresh` was not applied if there was more than
    /// one request.
    pub(super) async fn finish(&mut self, refresh: Refresh) -> Result<()> {
        let mut pending: Vec<_> = (0..self.operations.len()).filter(|place| self.outcomes[*place].is_none()).collect();
        let mut pauses = pauses();
        for _ in 0..MAX_ROUNDS {
            pending = self.round(&Arc::new(pending), refresh).await?;
            let pause = pauses.pause();
            if pending.is_empty() || Instant::now() + pause >= self.deadline {
                break;
            }
            sleep(pause).await;
            counters::retry("refused_items");
        }
        Ok(())
    }

    /// Sends these operations once. Gives those that should be sent again.
    async fn round(&mut self, places: &Arc<Vec<usize>>, refresh: Refresh) -> Result<Vec<usize>> {
        let (mut rejected, mut sent, mut most) = (HashSet::new(), 0, usize::MAX);
        while sent < places.len() {
            match self.send_next(places, sent..places.len().min(most.saturating_add(sent)), refresh).await {
                Ok((batch, Sent::Answered(verdicts))) => {
                    sent += batch.places.len();
                    most = most.saturating_mul(2);
                    rejected.extend(self.settle(&batch, verdicts));
                }
                // Nothing of it was applied.
                Ok((batch, Sent::TooLarge)) => {
                    most = batch.places.len() / 2;
                    continue;
                }
                Err(error) if self.requests == 0 && self.in_doubt.is_empty() => return Err(error),
                Err(error) => {
                    // The call as a whole has had an effect, so each operation gets its own error.
                    for place in &places[sent..] {
                        self.outcomes[*place] = Some(Outcome::Failed(self.doubted(*place, of_all(&error))));
                    }
                    break;
                }
            }
            self.requests += 1;
        }
        // Of all of them: what was refused of one request may be overtaken by what another one has written.
        Ok(if rejected.is_empty() { Vec::new() } else { resendable(self.operations, places, &rejected) })
    }

    /// Sends as many of these operations as one request may have, from the first of the range on.
    async fn send_next(
        &mut self,
        places: &Arc<Vec<usize>>,
        next: Range<usize>,
        refresh: Refresh,
    ) -> Result<(Arc<Batch>, Sent)> {
        let sent = next.start;
        let batch = self.take(places, next).await?;
        let is_all = self.requests == 0 && sent + batch.places.len() == places.len();
        let answered = self.send(&batch, if is_all { refresh } else { Refresh::None }).await?;
        Ok((batch, answered))
    }

    async fn take(&self, places: &Arc<Vec<usize>>, next: Range<usize>) -> Result<Arc<Batch>> {
        if !self.is_long {
            return Ok(Arc::new(Batch::take(self.operations, &places[next], (self.rule, &self.again))));
        }
        let (operations, places, rule) = (Arc::clone(self.operations), Arc::clone(places), self.rule);
        let again = Arc::clone(&self.again);
        away(self.left(), move |_| Ok(Arc::new(Batch::take(&operations, &places[next], (rule, &again))))).await
    }

    /// What has become of a batch. The server has answered: it takes the time that it takes.
    async fn read(&self, batch: &Arc<Batch>, body: Bytes) -> Result<Vec<Verdict>> {
        if !self.is_long && body.len() <= SHORT_ANSWER {
            return verdicts(self.operations, batch, &body);
        }
        let (operations, batch) = (Arc::clone(self.operations), Arc::clone(batch));
        away(None, move |_| verdicts(&operations, &batch, &body)).await
    }

    async fn send(&mut self, batch: &Arc<Batch>, refresh: Refresh) -> Result<Sent> {
        let refresh = match refresh {
            Refresh::None => "false",
            Refresh::Wait => "wait_for",
            Refresh::Now => "true",
        };
        if let Some((marks, fence)) = self.fence {
            marks.check(self.client, fence, self.left()).await?;
        }
        // The server says that a shard is not there before we take it for silent.
        let patience = (self.client.timing.attempt.min(self.left().unwrap_or_default()) / 2).as_millis().max(1);
        let path = format!("/{}/_bulk?require_alias=true&refresh={refresh}&timeout={patience}ms&{FILTER}", self.alias);
        let call = Call::bulk(path, batch.lines.clone(), batch.effect).within(self.left());
        let answer = self.client.exchange(&call).await?;
        let in_doubt = answer.in_doubt;
        if answer.status == TOO_LARGE {
            self.in_doubt.extend(batch.places.iter().copied().filter(|_| in_doubt));
            let [place] = batch.places[..] else { return Ok(Sent::TooLarge) };
            let error = answer.error().with_key(self.operations[place].id().as_str());
            return Ok(Sent::Answered(vec![Verdict::Done(Outcome::Failed(error))]));
        }
        let refused = |error| if in_doubt { error::of_doubt(batch.effect, error) } else { error };
        let body = answer.into_body().map_err(|error| refused(self.client.name_setting(error)))?;
        let mut verdicts = self.read(batch, body).await?;
        self.read_back(batch, in_doubt, &mut verdicts).await;
        // What an earlier try has done of it, another generation may have undone by now.
        let unsure = |verdict: &Verdict| in_doubt && matches!(verdict, Verdict::Gone(_) | Verdict::Rejected(_));
        let unsure = batch.places.iter().zip(&verdicts).filter(|(_, verdict)| unsure(verdict));
        self.in_doubt.extend(unsure.map(|(place, _)| *place));
        Ok(Sent::Answered(verdicts))
    }

    /// Finds out which operations are stale only because an earlier try of them was applied: one whose answer was lost, be it of
    /// all of them, or one of which the server could not say what became of an operation.
    async fn read_back(&self, batch: &Batch, all: bool, verdicts: &mut [Verdict]) {
        let stale = |verdict: &Verdict| matches!(verdict, Verdict::Done(Outcome::Stale));
        let in_doubt = |at: &usize| all || self.in_doubt.contains(&batch.places[*at]);
        let places: Vec<_> = (0..verdicts.len()).filter(|at| stale(&verdicts[*at])).filter(in_doubt).collect();
        if places.is_empty() {
            return;
        }
        let ids = places.iter().map(|at| self.operations[batch.places[*at]].id().clone()).collect();
        let found = present(self.client, self.alias, ids, self.deadline).await;
        for (nth, at) in places.into_iter().enumerate() {
            let operation = &self.operations[batch.places[at]];
            verdicts[at] = Verdict::Done(match &found {
                Ok(found) => applied(operation, found[nth]),
                Err(error) => Outcome::Failed(
                    error::of_doubt(Effect::Repeatable, of_all(error)).with_key(operation.id().as_str()),
                ),
            });
        }
    }

    /// The failure of an operation that an earlier request may have applied is a doubt, whatever it says of itself.
    fn doubted(&self, place: usize, error: Error) -> Error {
        if error.kind() == ErrorKind::OutcomeUnknown || !self.in_doubt.contains(&place) {
            return error;
        }
        error::of_doubt(Effect::Repeatable, error).with_key(self.operations[place].id().as_str())
    }

    /// Gives those that the server had no room for.
    fn settle(&mut self, batch: &Batch, verdicts: Vec<Verdict>) -> HashSet<usize> {
        let mut rejected = HashSet::new();
        for (place, verdict) in batch.places.iter().zip(verdicts) {
            self.outcomes[*place] = Some(match verdict {
                Verdict::Done(Outcome::Failed(error)) => Outcome::Failed(self.doubted(*place, error)),
                Verdict::Done(outcome) => outcome,
                Verdict::Absent(version) => {
                    self.absent.extend(version.map(|version| (*place, version)));
                    Outcome::NotFound
                }
                Verdict::Gone(error) => {
                    self.gone.insert(*place);
                    Outcome::Failed(self.doubted(*place, error))
                }
                Verdict::Rejected(error) => {
                    rejected.insert(*place);
                    let error = self.doubted(*place, error);
                    if error.kind() == ErrorKind::OutcomeUnknown {
                        self.in_doubt.insert(*place);
                    }
                    Outcome::Failed(error)
                }
            });
        }
        rejected
    }
}

/// What became of a request.
enum Sent {
    Answered(Vec<Verdict>),
    /// It has more than the server takes, and more than one operation.
    TooLarge,
}

/// What became of a stale operation whose earlier try may have been applied, if the index now has this version of its
/// document, or none.
fn applied(operation: &Operation, found: Option<u64>) -> Outcome {
    match (operation, operation.version()) {
        (Operation::Upsert(_), Some(version)) if found == Some(version) => Outcome::Updated { version },
        (Operation::Delete { .. }, Some(version)) if found.is_none() => Outcome::Deleted { version },
        _ => Outcome::Stale,
    }
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
    fn take(operations: &[Operation], pending: &[usize], (rule, again): (Rule, &HashSet<usize>)) -> Self {
        let mut lines = Vec::new();
        let mut effect = Effect::Repeatable;
        let mut taken = 0;
        for &place in pending {
            let before = lines.len();
            let rule = if again.contains(&place) { Rule::Exact } else { rule };
            write(&operations[place], rule, &mut lines);
            if lines.len() > MAX_BYTES && taken > 0 {
                lines.truncate(before);
                break;
            }
            if operations[place].version().is_none() {
                effect = Effect::Once;
            }
            taken += 1;
        }
        Self { places: pending[..taken].to_vec(), lines: lines.into(), effect }
    }
}

fn write(operation: &Operation, rule: Rule, lines: &mut Vec<u8>) {
    lines.extend_from_slice(match operation {
        Operation::Upsert(_) if rule == Rule::Create => b"{\"create\":{\"_id\":",
        Operation::Upsert(_) => b"{\"index\":{\"_id\":",
        Operation::Delete { .. } => b"{\"delete\":{\"_id\":",
    });
    source::write_text(operation.id().as_str(), lines);
    if let Some(version) = operation.version().filter(|_| rule != Rule::Create) {
        lines.extend_from_slice(if rule == Rule::Exact {
            b",\"version_type\":\"external_gte\",\"version\":"
        } else {
            b",\"version_type\":\"external\",\"version\":"
        });
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
    #[serde(borrow, alias = "create")]
    Index(Done<'a>),
    #[serde(borrow)]
    Delete(Done<'a>),
}

#[derive(Deserialize)]
struct Done<'a> {
    #[serde(rename = "_id", borrow)]
    id: Option<Cow<'a, str>>,
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
    /// There was nothing to delete. So many the version counts now.
    Absent(Option<u64>),
    /// The alias is no more there.
    Gone(Error),
}

/// Reads the answer to a batch: one verdict for each of its operations.
fn verdicts(operations: &[Operation], batch: &Batch, body: &[u8]) -> Result<Vec<Verdict>> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| lost(error::of_broken_body(error)))?;
    if answer.items.len() != batch.places.len() {
        let message = "OpenSearch answered for another number of operations than it was given";
        return Err(lost(error::of_other_question(message)));
    }
    let asked = batch.places.iter().map(|place| &operations[*place]);
    let answered: Option<Vec<_>> = asked.zip(answer.items).map(|(operation, item)| verdict(operation, item)).collect();
    let message = "OpenSearch answered for other operations than it was given";
    answered.ok_or_else(|| lost(error::of_other_question(message)))
}

/// What an answer says of these operations, each in a word.
#[cfg(test)]
pub(super) fn read(operations: &[Operation], body: &[u8]) -> Result<Vec<&'static str>> {
    let places: Vec<_> = (0..operations.len()).collect();
    let batch = Batch::take(operations, &places, (Rule::Newer, &HashSet::new()));
    let word = |verdict| match verdict {
        Verdict::Rejected(_) => "rejected",
        Verdict::Done(Outcome::Failed(_)) | Verdict::Gone(_) => "failed",
        Verdict::Done(Outcome::Stale) => "stale",
        Verdict::Done(_) | Verdict::Absent(_) => "done",
    };
    Ok(verdicts(operations, &batch, body)?.into_iter().map(word).collect())
}

/// The request was applied, and nobody can say how.
fn lost(cause: Error) -> Error {
    let message = "the answer to a bulk cannot be read";
    Error::new(ErrorKind::OutcomeUnknown, message).with_backend(error::BACKEND).with_source(cause)
}

/// `None` if the item is of another operation.
fn verdict(operation: &Operation, item: Item<'_>) -> Option<Verdict> {
    let done = match (operation, item) {
        (Operation::Upsert(_), Item::Index(done)) | (Operation::Delete { .. }, Item::Delete(done)) => done,
        _ => return None,
    };
    if done.id.is_some_and(|id| id != operation.id().as_str()) {
        return None;
    }
    let (given, version) = (operation.version(), done.version);
    let deletes = matches!(operation, Operation::Delete { .. });
    if deletes && done.result.as_deref() == Some("not_found") {
        return Some(Verdict::Absent(version));
    }
    Some(Verdict::Done(match (done.result.as_deref(), done.status) {
        (Some("created"), _) if !deletes => Outcome::Created { version: version? },
        (Some("updated"), _) if !deletes => Outcome::Updated { version: version? },
        (Some("deleted"), _) if deletes => Outcome::Deleted { version: version? },
        (Some(_), _) | (None, 200..=299) => return None,
        (None, 409) if given.is_some() => Outcome::Stale,
        (None, status) => {
            let (error, key) = (error::of_exception(status, done.error.as_ref()), operation.id().as_str());
            let in_doubt = |effect, error| error::of_doubt(effect, error).with_key(key);
            if done.error.as_ref().is_some_and(error::Exception::lacks_index) {
                return Some(Verdict::Gone(error.with_key(key)));
            }
            return Some(match error::Verdict::of_item(status, done.error.as_ref()) {
                error::Verdict::Refused => Verdict::Rejected(error.with_key(key)),
                // It may have been applied, which does no harm where a version keeps it from being applied twice.
                error::Verdict::Failed if given.is_some() => Verdict::Rejected(in_doubt(Effect::Repeatable, error)),
                error::Verdict::Failed => Verdict::Done(Outcome::Failed(in_doubt(Effect::Once, error))),
                error::Verdict::Final => Verdict::Done(Outcome::Failed(error.with_key(key))),
            });
        }
    }))
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

//! An index indexed anew while it is read and written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep_until};

use crate::{
    ActivateOptions, BeginOptions, BulkOptions, Document, DocumentId, Durability, Generation, GenerationOptions,
    GenerationState, Operation, Outcome, Reach, Record, Scan, Schema, SearchIndex, SearchIndexExt as _, Verify,
};

/// Fills another generation of an index, compares it, and makes it live: searches and writes go on meanwhile, and the one
/// that was live is kept, so that [`rollback`] gives it back.
///
/// What was begun by a process that has ended is gone on with: run it again. It may run twice at once without harm; a lock or
/// `RunOnce` saves the work.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use std::sync::{Arc, Mutex, PoisonError};
/// use statehouse_search::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let old = Schema::builder().field(Field::text("title")).field(Field::keyword("beds")).build()?;
/// let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(old).await?);
/// index.bulk(vec![Operation::Upsert(Record::new("3")?.with("title", "Surgery").with("beds", "12"))]).await?.check()?;
///
/// let new = Schema::builder().field(Field::text("name")).field(Field::u64("beds")).build()?;
/// let done = Reindex::new(Arc::clone(&index), new)
///     .renamed("title", "name")
///     .batch(100)
///     .per_second(5_000)
///     .on_progress(|progress| println!("{} of {}", progress.seen, progress.total))
///     .run()
///     .await?;
/// assert_eq!(done.index.search(&SearchRequest::new(Query::term("beds", 12_u64))).await?.ids(), ["3"]);
/// // A build before goes on with its own schema, and writes of either are seen by both.
/// done.index.bulk(vec![Operation::Upsert(Record::new("4")?.with("name", "Maternity"))]).await?.check()?;
/// index.refresh().await?;
/// assert_eq!(index.search(&SearchRequest::new(Query::matches("title", "maternity"))).await?.ids(), ["4"]);
/// # Ok(()) }
/// ```
#[must_use = "nothing is done until it is run"]
pub struct Reindex {
    index: Arc<dyn SearchIndex>,
    wanted: Arc<Schema>,
    renamed: Vec<(String, String)>,
    batch: usize,
    per_second: Option<u64>,
    progress: Mutex<Box<dyn FnMut(Progress) + Send>>,
}

/// How far a reindex is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Which pass over the documents this is, from 1 on. The first one copies; later ones find what was missed.
    pub pass: u32,
    /// How many documents were looked at in this pass.
    pub seen: u64,
    /// How many there were when it began; 0 where nobody knows, as of rows.
    pub total: u64,
    /// How many were written in all passes.
    pub written: u64,
}

/// What a reindex has made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reindexed {
    /// A handle of the new schema.
    pub index: Arc<dyn SearchIndex>,
    /// The generation that is live now.
    pub generation: Generation,
    /// How many documents were written, beside what was written by others meanwhile.
    pub written: u64,
    /// How many passes it took.
    pub passes: u32,
}

/// Documents from their source, batch by batch. Every iterator over [`Record`]s is one.
#[async_trait]
pub trait Rows: Send {
    /// The next documents, at most so many; none when there are no more.
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>>;
}

#[async_trait]
impl<I: Iterator<Item = Record> + Send> Rows for I {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        Ok(self.take(limit).collect())
    }
}

/// Rows of documents of one type.
///
#[cfg_attr(all(feature = "derive", feature = "tantivy"), doc = "```")]
#[cfg_attr(not(all(feature = "derive", feature = "tantivy")), doc = "```ignore")]
/// use std::sync::Arc;
/// use statehouse_search::*;
///
/// #[derive(Document)]
/// struct Ward {
///     #[document(id)]
///     id: String,
///     #[document(text)]
///     title: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(Ward::schema()?).await?);
/// let wards = ["Surgery", "Maternity"].into_iter().map(|title| Ward { id: title.into(), title: title.into() });
/// assert_eq!(MassIndexer::new(index).run(rows_of(wards)).await?.written, 2);
/// # Ok(()) }
/// ```
pub fn rows_of<T: Document>(documents: impl Iterator<Item = T> + Send) -> impl Rows {
    Documents(documents)
}

struct Documents<I>(I);

#[async_trait]
impl<T: Document, I: Iterator<Item = T> + Send> Rows for Documents<I> {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>> {
        self.0.by_ref().take(limit).map(|document| document.to_record()).collect()
    }
}

/// How often what was written meanwhile is looked for.
const PASSES: u32 = 50;

impl Reindex {
    /// Of an index, whichever generation its handle is of, by this schema.
    pub fn new(index: Arc<dyn SearchIndex>, wanted: impl Into<Arc<Schema>>) -> Self {
        Self {
            index,
            wanted: wanted.into(),
            renamed: Vec::new(),
            batch: 500,
            per_second: None,
            progress: Mutex::new(Box::new(|_| {})),
        }
    }

    /// Says that a field has another name in the new schema.
    pub fn renamed(mut self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.renamed.push((old.into(), new.into()));
        self
    }

    /// Writes so many documents at once: 500 unless set. Other writes wait for a batch to end.
    pub fn batch(mut self, documents: usize) -> Self {
        self.batch = documents.max(1);
        self
    }

    /// Looks at no more than so many documents in a second, to leave the machine to searches. At least one.
    pub fn per_second(mut self, documents: u64) -> Self {
        self.per_second = Some(documents.max(1));
        self
    }

    /// Is told how far it is, after each batch.
    pub fn on_progress(mut self, told: impl FnMut(Progress) + Send + 'static) -> Self {
        self.progress = Mutex::new(Box::new(told));
        self
    }

    /// Fills it from the stored documents of the live generation; nothing is done where that has this schema already. Values are those of the new field of the same name, if
    /// nothing of them is lost: a number of a text, a text of anything; others are left out.
    ///
    /// # Errors
    /// `Unsupported` without [`REINDEX`](crate::capability::REINDEX), and for a field that is not stored; `Conflict` if
    /// another generation stands beside the live one already. What a document cannot be, naming it. The generation that was
    /// begun stays, to be gone on with or dropped: who asks for its schema is told so (`Conflict`).
    pub async fn run(mut self) -> Result<Reindexed> {
        if let Some(live) = self.live_if_wanted().await? {
            return self.done(live.number, 0, 0).await;
        }
        let (target, number) = match self.begin(false).await {
            // Somebody else may have been faster.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return match self.live_if_wanted().await? {
                    Some(live) => self.done(live.number, 0, 0).await,
                    None => Err(error),
                };
            }
            begun => begun.map(|(target, begun)| (target, begun.number))?,
        };
        let mut written = 0;
        for pass in 1..=PASSES {
            let live = live(&*self.index).await?;
            if live.number == number {
                return self.done(number, written, pass).await;
            }
            let changed = converge(&mut self, &*target, (live, number), (pass, written)).await?;
            written += changed;
            // What is written to both meanwhile is no difference, so that a pass without one is near.
            if changed > self.batch as u64 {
                continue;
            }
            match target.activate_with(number, ActivateOptions::default()).await {
                Ok(()) => return self.done(number, written, pass).await,
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        let message = format!("generation {number} is not the same as the live one after {PASSES} passes");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Fills it from where the documents come from. A row without a version never takes the place of what was
    /// written since it was begun; one with a version none of what was written without one, nor of what has a newer one. What the rows do not have is not in the new generation,
    /// unless it was written meanwhile; and what is written meanwhile has failed if the new one cannot hold it. Each row is read back. An
    /// earlier one that was not finished is begun anew. The ids of what is written without a version meanwhile are kept in memory.
    ///
    /// Where the rows had other ids or versions than the generation before, that one is [`Behind`](GenerationState::Behind)
    /// afterwards: [`rollback`] copies what they brought to it, if all of it is stored. Else it becomes live as it is with
    /// [`Verify::Nothing`], with what it had and what was written since. Other values in the same versions are not told apart: where
    /// rows correct documents without versions, drop the generation before.
    ///
    /// Rows must not be older than versions of deletes are remembered.
    ///
    /// # Errors
    /// As [`run`](Self::run); and those of the rows. `Conflict` if a generation of this schema stands beside the live one that
    /// was filled before: going back to it is what [`rollback`] does, or it is dropped first.
    pub async fn run_from(mut self, mut rows: impl Rows) -> Result<Reindexed> {
        let (target, begun) = self.begin(true).await?;
        let number = begun.number;
        if begun.state != GenerationState::Filling {
            let message = format!("generation {number} has this schema, and was filled before: drop it first");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let (mut progress, start) = (Progress { pass: 1, seen: 0, total: 0, written: 0 }, Instant::now());
        loop {
            let batch = rows.next(self.batch).await?;
            if batch.is_empty() {
                break;
            }
            progress.seen += batch.len() as u64;
            progress.written += fill(&*self.index, &*target, batch).await?;
            self.tell(progress);
            pace(self.per_second, start, progress.seen).await;
        }
        target.activate_with(number, ActivateOptions::default().with_verify(Verify::Nothing)).await?;
        self.done(number, progress.written, 1).await
    }

    async fn begin(&self, from_rows: bool) -> Result<(Arc<dyn SearchIndex>, Generation)> {
        let options = BeginOptions { renamed: self.renamed.clone(), from_rows, ..BeginOptions::default() };
        let target = self.index.begin_with(Arc::clone(&self.wanted), options).await?;
        let mut generations = self.index.generations().await?.into_iter();
        let beside = generations.find(|found| found.state != GenerationState::Live && self.is_wanted(found));
        let gone = || Error::new(ErrorKind::Conflict, "somebody else has ended the reindex");
        Ok((target, beside.ok_or_else(gone)?))
    }

    /// The live generation, if it is by the schema that is wanted.
    async fn live_if_wanted(&self) -> Result<Option<Generation>> {
        let live = live(&*self.index).await?;
        Ok(self.is_wanted(&live).then_some(live))
    }

    /// Whether it has all fields of the schema that is wanted.
    fn is_wanted(&self, found: &Generation) -> bool {
        found.schema.diff(&self.wanted).into_added().is_ok_and(|added| added.is_empty())
    }

    async fn done(&self, number: u32, written: u64, passes: u32) -> Result<Reindexed> {
        let index = self.index.ensure(Arc::clone(&self.wanted)).await?;
        let generation = live(&*index).await?;
        tracing::info!(name: "search.reindexed", generation = number, written, passes, "the index was indexed anew");
        Ok(Reindexed { index, generation, written, passes })
    }

    fn tell(&mut self, progress: Progress) {
        self.progress.get_mut().unwrap_or_else(PoisonError::into_inner)(progress);
    }
}

impl fmt::Debug for Reindex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, renamed, batch, per_second, .. } = self;
        f.debug_struct("Reindex")
            .field("index", index)
            .field("renamed", renamed)
            .field("batch", batch)
            .field("per_second", per_second)
            .finish_non_exhaustive()
    }
}

/// Makes the generation that was live before live again, as before [`Reindex`]: nothing that was written since is lost. One
/// that is behind is made the same first.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if there is none, or only one whose filling was not finished; and what making it live
/// says. `Unsupported` if it is behind, and a field that it needs is not stored: see [`Reindex::run_from`].
pub async fn rollback(index: &Arc<dyn SearchIndex>) -> Result<Generation> {
    let generations = index.generations().await?;
    let was_live = |found: &&Generation| matches!(found.state, GenerationState::Kept | GenerationState::Behind);
    let kept = generations.iter().find(was_live);
    let kept = kept.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no generation to go back to"))?;
    let mut reindex = Reindex::new(Arc::clone(index), Arc::clone(&kept.schema));
    for pass in 1..=PASSES {
        // All ids are read for the comparison, so it is left out where its outcome is known.
        if pass > 1 || kept.state == GenerationState::Kept {
            match index.activate(kept.number).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done.map(|()| kept.clone()),
            }
        }
        converge(&mut reindex, &**index, (live(&**index).await?, kept.number), (pass, 0)).await?;
    }
    Err(Error::new(ErrorKind::Conflict, "the generation to go back to is not the same as the live one"))
}

/// Waits until so many may have been seen since the start.
pub(crate) async fn pace(per_second: Option<u64>, start: Instant, seen: u64) {
    if let Some(per_second) = per_second {
        let due = Duration::from_micros(seen.saturating_mul(1_000_000) / per_second);
        sleep_until(start + due).await;
    }
}

async fn live(index: &dyn SearchIndex) -> Result<Generation> {
    let mut generations = index.generations().await?.into_iter();
    let live = generations.find(|generation| generation.state == GenerationState::Live);
    live.ok_or_else(|| Error::new(ErrorKind::NotFound, "the index has no live generation"))
}

/// One pass over both generations. What differs is made as it is in the live one. Says how many documents were not.
async fn converge(
    reindex: &mut Reindex,
    target: &dyn SearchIndex,
    (live, number): (Generation, u32),
    (pass, before): (u32, u64),
) -> Result<u64> {
    let (start, batch) = (Instant::now(), reindex.batch);
    let mut progress = Progress { pass, seen: 0, total: live.documents, written: before };
    let (mut there, mut here) = (Ids::of(live.number), Ids::of(number));
    loop {
        there.read(target, batch).await?;
        here.read(target, batch).await?;
        // As far as both were read.
        let upto = [&there, &here].into_iter().filter_map(Ids::known_up_to).min().cloned();
        let (theirs, ours) = (there.take(upto.as_ref()), here.take(upto.as_ref()));
        progress.seen += theirs.len() as u64;
        for differing in different(theirs, ours).chunks(batch) {
            progress.written += target.copy_with(differing.to_vec(), GenerationOptions::default()).await?;
        }
        reindex.tell(progress);
        pace(reindex.per_second, start, progress.seen).await;
        if upto.is_none() {
            return Ok(progress.written - before);
        }
    }
}

/// The ids of a generation, with versions: those of a page that were not taken yet.
struct Ids {
    generation: u32,
    page: Vec<(DocumentId, u64)>,
    /// The last that was read.
    last: Option<DocumentId>,
    is_end: bool,
}

impl Ids {
    const fn of(generation: u32) -> Self {
        Self { generation, page: Vec::new(), last: None, is_end: false }
    }

    /// Reads the next page once all of the one before was taken.
    async fn read(&mut self, index: &dyn SearchIndex, batch: usize) -> Result<()> {
        if self.is_end || !self.page.is_empty() {
            return Ok(());
        }
        let scan = Scan::of(self.generation).after(self.last.clone()).limit(batch);
        self.page = index.scan_with(scan, GenerationOptions::default()).await?;
        self.is_end = self.page.len() < batch;
        self.last = self.page.last().map(|(id, _)| id.clone());
        Ok(())
    }

    /// Which id is the last of which is known whether it is there; `None` if that is known of all.
    fn known_up_to(&self) -> Option<&DocumentId> {
        self.last.as_ref().filter(|_| !self.is_end)
    }

    fn take(&mut self, upto: Option<&DocumentId>) -> Vec<(DocumentId, u64)> {
        let taken = upto.map_or(self.page.len(), |upto| self.page.partition_point(|(id, _)| id <= upto));
        let rest = self.page.split_off(taken);
        std::mem::replace(&mut self.page, rest)
    }
}

/// The ids that are not in both with the same version.
fn different(there: Vec<(DocumentId, u64)>, here: Vec<(DocumentId, u64)>) -> Vec<DocumentId> {
    let mut differing: BTreeMap<DocumentId, u64> = there.into_iter().collect();
    for (id, version) in here {
        if differing.get(&id) == Some(&version) {
            differing.remove(&id);
        } else {
            differing.insert(id, version);
        }
    }
    differing.into_keys().collect()
}

/// Writes rows to a generation that is being filled, and reads them back. Says how many were not there.
async fn fill(index: &dyn SearchIndex, target: &dyn SearchIndex, rows: Vec<Record>) -> Result<u64> {
    let ids: Vec<_> = rows.iter().map(|row| row.id().clone()).collect();
    let options = BulkOptions::default().with_reach(Reach::Own).with_durability(Durability::Queued);
    let report = target.bulk_with(rows.into_iter().map(Operation::Upsert).collect(), options).await?;
    let mut written = 0;
    for (outcome, id) in report.outcomes.into_iter().zip(ids) {
        match outcome {
            Outcome::Failed(error) => return Err(error.with_key(id.as_str())),
            Outcome::Stale => continue,
            _ => written += 1,
        }
        // It may have been deleted from both meanwhile.
        if target.get(&id).await?.is_none() && index.get(&id).await?.is_some() {
            let message = "a row that was written cannot be read back";
            return Err(Error::new(ErrorKind::Corrupt, message).with_key(id.as_str()));
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_both_with_the_same_version_is_different() {
        let list = |list: &[(&str, u64)]| -> Vec<_> {
            list.iter().map(|(id, version)| (DocumentId::new(id).unwrap(), *version)).collect()
        };
        let there = list(&[("a", 1), ("b", 2), ("c", 3)]);
        let differing = different(there, list(&[("a", 1), ("b", 1), ("d", 4)]));
        assert_eq!(differing.iter().map(DocumentId::as_str).collect::<Vec<_>>(), ["b", "c", "d"]);
    }
}

//! An index filled from where its documents come from.

use std::collections::HashSet;
use std::fmt;
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use statehouse_core::{AsFence, Error, ErrorKind, Fence, Result, Retry};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::outcome::is_its_own;
use crate::reindex::pace;
use crate::work::panicked;
use crate::{
    BulkOptions, BulkReport, DocumentId, Durability, Operation, Outcome, Record, Rows, SearchIndex, SearchIndexExt as _,
};

/// Fills an index from rows, such as those of a table: batch by batch, several of them on their way at a time.
///
/// Two rows of one document are written in the order in which they come. A row without a version takes the place of what is there; one
/// with a version that is not newer is [stale](MassIndexed::stale), and written twice it is as if written once. So a run that
/// was ended, whatever ended it, is begun again with the rows behind [`last`](MassIndexed::last), or with all of them.
///
/// One process of several does so with `RunOnce`: the guide "Migrations and seeds, once" has all of it. To change a schema,
/// [`Reindex`](crate::Reindex) fills another generation in the same way.
///
/// Dropping its future ends it: what was on its way is written or not.
///
#[cfg_attr(feature = "tantivy", doc = "```")]
#[cfg_attr(not(feature = "tantivy"), doc = "```ignore")]
/// use std::sync::Arc;
/// use statehouse_search::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let schema = Schema::builder().field(Field::text("title")).field(Field::u64("beds")).build()?;
/// let index: Arc<dyn SearchIndex> = Arc::new(TantivyConfig::memory().open(schema).await?);
///
/// let row = |n: u64| Record::new(format!("{n:05}")).map(|record| record.with("title", "Ward").with("beds", n));
/// let rows = (0..3_000).map(row).collect::<Result<Vec<_>, _>>()?;
/// let done = MassIndexer::new(Arc::clone(&index))
///     .batch(500)
///     .in_flight(2)
///     .save_every(1_000)
///     .per_second(50_000)
///     .allow_failures(10)
///     .on_progress(|done| println!("{} rows", done.rows))
///     .run(rows.into_iter())
///     .await?;
/// assert_eq!((done.written, done.failed), (3_000, 0));
/// assert_eq!(done.last.as_ref().map(DocumentId::as_str), Some("02999"));
/// assert_eq!(index.count(&Query::all().into()).await?, 3_000);
/// # Ok(()) }
/// ```
#[must_use = "nothing is done until it is run"]
pub struct MassIndexer {
    index: Arc<dyn SearchIndex>,
    batch: usize,
    in_flight: usize,
    save_every: u64,
    allowed: u64,
    per_second: Option<u64>,
    fence: Option<Fence>,
    progress: Mutex<Told>,
}

/// Who is told how far it is.
type Told = Box<dyn FnMut(&MassIndexed) + Send>;

/// How many failures are kept with their reasons.
const KEPT: usize = 100;

/// What became of the rows so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MassIndexed {
    /// Of how many rows that is known: the sum of the next three.
    pub rows: u64,
    /// How many were written.
    pub written: u64,
    /// How many came too late: what is there has the same version, or a newer one.
    pub stale: u64,
    /// How many cannot be indexed.
    pub failed: u64,
    /// The first 100 of these, and why.
    pub failures: Vec<(DocumentId, Error)>,
    /// The row up to which all were dealt with, failures among them, so that a crash loses none: where the next run goes on behind, if this
    /// one has been ended. None if it has not come so far.
    pub last: Option<DocumentId>,
}

impl MassIndexer {
    /// Of an index.
    pub fn new(index: Arc<dyn SearchIndex>) -> Self {
        Self {
            index,
            batch: 1_000,
            in_flight: 4,
            save_every: 10_000,
            allowed: 0,
            per_second: None,
            fence: None,
            progress: Mutex::new(Box::new(|_| {})),
        }
    }

    /// Writes so many documents at once: 1,000 unless set.
    pub fn batch(mut self, documents: usize) -> Self {
        self.batch = documents.max(1);
        self
    }

    /// Has so many batches on their way at a time: 4 unless set. These are in memory, and two more: the next one, and the one that is
    /// read behind it. An embedded index takes one after the other.
    pub fn in_flight(mut self, batches: usize) -> Self {
        self.in_flight = batches.max(1);
        self
    }

    /// Makes sure after so many rows that a crash loses none of them, and says so: 10,000 unless set. All that is on its way is
    /// waited for then.
    pub fn save_every(mut self, rows: u64) -> Self {
        self.save_every = rows.max(1);
        self
    }

    /// Goes on though so many rows cannot be indexed, such as one with a value that its field does not hold: none unless set.
    /// Which those are is said of the row alone. What the server has no room or no time for is no such row, nor is one of a request
    /// that is refused as a whole: that ends it.
    pub fn allow_failures(mut self, rows: u64) -> Self {
        self.allowed = rows;
        self
    }

    /// Takes no more than so many rows in a second, to leave the machine to searches. At least one.
    pub fn per_second(mut self, rows: u64) -> Self {
        self.per_second = Some(rows.max(1));
        self
    }

    /// Writes only as long as nobody else has acquired the lock since, or has taken over the run: else it ends, refused as
    /// [`Fenced`](ErrorKind::Fenced). The lock should [guard](statehouse_core::Guarded) the index; if it does not, this is refused
    /// once its next holder has written something.
    pub fn fenced(mut self, guard: &impl AsFence) -> Self {
        self.fence = Some(guard.as_fence().clone());
        self
    }

    /// Is told how far it is, after each batch.
    pub fn on_progress(mut self, told: impl FnMut(&MassIndexed) + Send + 'static) -> Self {
        self.progress = Mutex::new(Box::new(told));
        self
    }

    /// Writes all rows. They are seen by searches when it is done. What is on its way when it fails has ended when it returns.
    ///
    /// # Errors
    /// Those of the rows, and of [`bulk_with`](SearchIndex::bulk_with). What the first row cannot be, naming it, if more of
    /// them cannot be indexed than are [allowed](Self::allow_failures).
    pub async fn run(self, rows: impl Rows) -> Result<MassIndexed> {
        self.run_saving(rows, |_| ready(Ok(()))).await
    }

    /// As [`run`](Self::run), and `save` is told each time how far a crash loses nothing any more. It is waited for, and ends
    /// all if it fails: as a lock that was lost does.
    ///
    /// # Errors
    /// As [`run`](Self::run), and those of `save`.
    pub async fn run_saving<S>(
        mut self,
        mut rows: impl Rows,
        mut save: impl FnMut(MassIndexed) -> S + Send,
    ) -> Result<MassIndexed>
    where
        S: Future<Output = Result<()>> + Send,
    {
        let mut flights = Flights::default();
        let done = self.fly(&mut rows, &mut save, &mut flights).await;
        // Who is told that it has failed may begin anew at once: nothing of this one comes behind that.
        while flights.under_way.join_next().await.is_some() {}
        done.map(|()| flights.done)
    }

    async fn fly<S>(
        &mut self,
        rows: &mut impl Rows,
        save: &mut (impl FnMut(MassIndexed) -> S + Send),
        flights: &mut Flights,
    ) -> Result<()>
    where
        S: Future<Output = Result<()>> + Send,
    {
        let (start, mut taken, mut unsaved) = (Instant::now(), 0, 0);
        let mut next = rows.next(self.batch).await?;
        while !next.is_empty() {
            let behind = flights.beside(rows.next(self.batch), self).await??;
            let batch = std::mem::replace(&mut next, behind);
            (taken, unsaved) = (taken + batch.len() as u64, unsaved + batch.len() as u64);
            let saves = next.is_empty() || unsaved >= self.save_every;
            let most = if saves || flights.have_one_of(&batch) { 0 } else { self.in_flight - 1 };
            flights.land(most, self).await?;
            let last = batch.last().map(|row| row.id().clone());
            // What is waited for makes durable what was queued before it.
            let durability = if saves { Durability::Committed } else { Durability::Queued };
            flights.start(self, batch, durability);
            if saves {
                flights.land(0, self).await?;
                (flights.done.last, unsaved) = (last, 0);
                save(flights.done.clone()).await?;
            }
            flights.beside(pace(self.per_second, start, taken), self).await?;
        }
        self.index.refresh().await
    }
}

impl fmt::Debug for MassIndexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, batch, in_flight, save_every, allowed, per_second, fence, progress: _ } = self;
        f.debug_struct("MassIndexer")
            .field("index", index)
            .field("batch", batch)
            .field("in_flight", in_flight)
            .field("save_every", save_every)
            .field("allowed", allowed)
            .field("per_second", per_second)
            .field("fence", fence)
            .finish_non_exhaustive()
    }
}

/// A batch, and what became of it.
type Landed = (Vec<DocumentId>, Result<BulkReport>);

/// What is on its way, and what became of what was.
#[derive(Default)]
struct Flights {
    under_way: JoinSet<Landed>,
    ids: HashSet<DocumentId>,
    done: MassIndexed,
}

impl Flights {
    /// Whether an earlier row of one of these documents is on its way.
    fn have_one_of(&self, batch: &[Record]) -> bool {
        batch.iter().any(|row| self.ids.contains(row.id()))
    }

    fn start(&mut self, of: &MassIndexer, batch: Vec<Record>, durability: Durability) {
        let ids: Vec<_> = batch.iter().map(|row| row.id().clone()).collect();
        self.ids.extend(ids.iter().cloned());
        let options = BulkOptions { durability, fence: of.fence.clone(), ..BulkOptions::default() };
        let index = Arc::clone(&of.index);
        let write = async move {
            let report = index.bulk_with(batch.into_iter().map(Operation::Upsert).collect(), options).await;
            (ids, report)
        };
        self.under_way.spawn(write.in_current_span());
    }

    /// Waits until no more than so many are on their way.
    async fn land(&mut self, most: usize, told: &mut MassIndexer) -> Result<()> {
        while self.under_way.len() > most {
            let Some(landed) = self.under_way.join_next().await else { break };
            self.landed(landed, told)?;
        }
        Ok(())
    }

    /// Waits for something else, and tells of what lands meanwhile.
    async fn beside<T>(&mut self, other: impl Future<Output = T>, told: &mut MassIndexer) -> Result<T> {
        let mut other = pin!(other);
        loop {
            let first = poll_fn(|context| match self.under_way.poll_join_next(context) {
                Poll::Ready(Some(landed)) => Poll::Ready(Err(landed)),
                _ => other.as_mut().poll(context).map(Ok),
            });
            match first.await {
                Ok(done) => return Ok(done),
                Err(landed) => self.landed(landed, told)?,
            }
        }
    }

    fn landed(&mut self, landed: Result<Landed, JoinError>, told: &mut MassIndexer) -> Result<()> {
        let lost =
            |failed: JoinError| if failed.is_panic() { panicked() } else { Error::abandoned().with_source(failed) };
        let (ids, report) = landed.map_err(lost)?;
        for id in &ids {
            self.ids.remove(id);
        }
        self.count(ids, report?)?;
        told.progress.get_mut().unwrap_or_else(PoisonError::into_inner)(&self.done);
        if self.done.failed > told.allowed { Err(self.too_many(told.allowed)) } else { Ok(()) }
    }

    fn count(&mut self, ids: Vec<DocumentId>, report: BulkReport) -> Result<()> {
        let done = &mut self.done;
        for (id, outcome) in ids.into_iter().zip(report.outcomes) {
            match outcome {
                Outcome::Failed(error) if is_of_the_row(&error) => {
                    done.failed += 1;
                    if done.failures.len() < KEPT {
                        done.failures.push((id, error));
                    }
                }
                Outcome::Failed(error) => return Err(error.with_key(id.as_str())),
                Outcome::Stale => done.stale += 1,
                _ => done.written += 1,
            }
            done.rows += 1;
        }
        Ok(())
    }

    fn too_many(&self, allowed: u64) -> Error {
        let message = format!("of {} rows {} cannot be indexed, and {allowed} may", self.done.rows, self.done.failed);
        match self.done.failures.first() {
            Some((id, error)) => Error::new(error.kind(), message).with_key(id.as_str()).with_source(error.clone()),
            None => Error::new(ErrorKind::InvalidInput, message),
        }
    }
}

/// Whether the same row fails whenever it comes, whatever comes with it.
fn is_of_the_row(error: &Error) -> bool {
    is_its_own(error)
        && error.retry() == Retry::Never
        && matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::TooLarge)
}

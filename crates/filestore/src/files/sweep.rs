use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use statehouse_core::{Error, ErrorKind, Result};

use super::place::Place;
use crate::options::{StagesOptions, SweepOptions};
use crate::outcome::{CommitOutcome, DiscardOutcome, Swept};
use crate::stage::{Stage, StageId};

/// How old a stage is at least that is asked about, if nothing else is said.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// How many stages are decided at a time.
const AT_A_TIME: usize = 8;

/// What becomes of a stage that nobody has committed, as the application's database says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Decision {
    /// The transaction that it belongs to was committed: the file is wanted.
    Commit,
    /// It was not, and never will be.
    Discard,
    /// That is not known yet: it is asked again by the next sweep.
    Keep,
}

type Decide<'a> = Box<dyn Fn(String, StageId) -> BoxFuture<'a, Result<Decision>> + Send + Sync + 'a>;

/// A sweep that is being described; `.await` does it and says what was [`Swept`].
///
/// It removes what nobody will: files whose [time to live](crate::Put::time_to_live) is over, and what uploads of processes that have
/// ended have left behind. With [`decide`](Self::decide) it also ends what a process has left between staging a file and committing it.
/// Without that no stage is touched. Several sweeps at a time do no harm; once in the fleet is enough.
///
/// # Time
/// All ages are by the store's clock, whatever the clock of whoever sweeps says. A stage is asked about when it is as old as
/// the [`grace`](Self::grace), which must be longer than any transaction takes from staging its file to its commit: then the
/// database's answer is its last word. A database that makes it so whatever happens is described in the guide to files.
///
/// ```
/// # use std::collections::HashMap;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// let (first, second) = (scans.put("p42", "DICM").stage().await?, scans.put("p43", "DICM").stage().await?);
/// // The row of the first was committed, and then the process was killed.
/// let rows = HashMap::from([(first.id(), "p42")]);
/// let decide = |_name: String, stage: StageId| {
///     let has_row = rows.contains_key(&stage);
///     async move { Ok(if has_row { Decision::Commit } else { Decision::Discard }) }
/// };
/// let swept = scans.sweep().grace(Duration::ZERO).uploads_after(Duration::from_secs(3600)).decide(decide).await?;
/// assert_eq!((swept.committed, swept.discarded), (1, 1));
/// assert_eq!(scans.get("p42").bytes().await?, "DICM");
/// assert_eq!(second.commit().await?, CommitOutcome::Gone);
/// # Ok(()) }
/// ```
#[must_use = "nothing is swept until awaited"]
pub struct Sweep<'a> {
    place: &'a Place,
    grace: Duration,
    options: SweepOptions,
    decide: Option<Decide<'a>>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(place: &'a Place) -> Self {
        let options = SweepOptions::new(format!("{}/", place.namespace));
        Self { place, grace: GRACE, options, decide: None }
    }

    /// Sets how old a stage is at least that is asked about; an hour at first.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long ago an upload must have begun that nobody has ended: longer than the longest one takes. A day at first.
    pub const fn uploads_after(mut self, age: Duration) -> Self {
        self.options.uploads_older_than = age;
        self
    }

    /// Asks, for each stage, by its file's name and its own, what became of the transaction that it belongs to. What cannot be
    /// told is an error: that stage stays, and the sweep fails when it has done the rest.
    pub fn decide<F>(mut self, decide: impl Fn(String, StageId) -> F + Send + Sync + 'a) -> Self
    where
        F: Future<Output = Result<Decision>> + Send + 'a,
    {
        self.decide = Some(Box::new(move |name, stage| decide(name, stage).boxed()));
        self
    }

    async fn run(self) -> Result<Swept> {
        let mut failed = None;
        let mut swept = match &self.decide {
            Some(decide) => self.settle(decide, &mut failed).await,
            None => Swept::default(),
        };
        match self.place.store.sweep_with(self.options).await {
            Ok(Swept { uploads, digests, expired, .. }) => {
                (swept.uploads, swept.digests, swept.expired) = (uploads, digests, expired);
            }
            // A store that keeps nothing of uploads has nothing to be swept.
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => failed = failed.or(Some(error)),
        }
        failed.map_or(Ok(swept), Err)
    }

    async fn settle(&self, decide: &Decide<'a>, failed: &mut Option<Error>) -> Swept {
        let options = StagesOptions::new(format!("{}/", self.place.namespace)).with_older_than(self.grace);
        // Asked in any case: what a store that is opened by its first call can do is known after that.
        let stages = self.place.store.stages_with(options).await.unwrap_or_else(|error| {
            // One that stages nothing has nothing to be settled.
            *failed = Some(error).filter(|error| error.kind() != ErrorKind::Unsupported);
            Vec::new()
        });
        let settled = futures_util::stream::iter(stages).map(|stage| self.settle_one(decide, stage));
        let mut settled = settled.buffer_unordered(AT_A_TIME);
        let mut swept = Swept::default();
        while let Some(one) = settled.next().await {
            match one {
                Ok(Decision::Commit) => swept.committed += 1,
                Ok(Decision::Discard) => swept.discarded += 1,
                Ok(Decision::Keep) => swept.kept += 1,
                Err(error) => *failed = failed.take().or(Some(error)),
            }
        }
        swept
    }

    /// What became of a stage.
    async fn settle_one(&self, decide: &Decide<'a>, stage: Stage) -> Result<Decision> {
        let Some(name) = self.place.name(&stage.key).map(ToOwned::to_owned) else { return Ok(Decision::Keep) };
        match decide(name, stage.id).await? {
            Decision::Keep => Ok(Decision::Keep),
            Decision::Discard => Ok(match self.place.discard(&stage.key, stage.id).await? {
                DiscardOutcome::Discarded | DiscardOutcome::Absent => Decision::Discard,
                DiscardOutcome::Committed => Decision::Commit,
            }),
            Decision::Commit => match self.place.commit(&stage.key, stage.id).await? {
                CommitOutcome::Committed(_) => Ok(Decision::Commit),
                CommitOutcome::Gone => Ok(Decision::Discard),
                CommitOutcome::Conflict => {
                    tracing::warn!(name: "filestore.stage_refused", "a stage is wanted, and what is there is not what it was to replace");
                    Ok(Decision::Keep)
                }
            },
        }
    }
}

impl fmt::Debug for Sweep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep").field("grace", &self.grace).field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Sweep<'a> {
    type Output = Result<Swept>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

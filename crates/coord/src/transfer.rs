//! Taking along what must outlive a move to another store.

use statehouse_core::{Condition, ErrorKind, Result};

use crate::api::{CoordStore, CoordStoreExt as _};
use crate::key::CoordKey;
use crate::lock::durable;
use crate::options::{PutOptions, ScanOptions};
use crate::outcome::PutOutcome;
use crate::record::{Record, WriteId};
use crate::settled::put_settled;
use crate::{run_once, schedule, state};

/// What must not be forgotten when coordination moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LastingKind {
    /// A value of [`SharedState`](crate::SharedState), with its revision.
    State,
    /// What was [run once](crate::RunOnce), with its revision and its checkpoint.
    Run,
    /// The planned time of a [`Schedule`](crate::Schedule) that was done last.
    Schedule,
    /// An [`Epoch`](crate::Epoch): which format is written.
    Epoch,
}

impl LastingKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::State, Self::Run, Self::Schedule, Self::Epoch];

    /// In a word: `state`, `run`, `schedule` or `epoch`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Run => "run",
            Self::Schedule => "schedule",
            Self::Epoch => "epoch",
        }
    }

    /// What their keys begin with.
    const fn prefix(self) -> &'static str {
        match self {
            Self::State => state::KIND,
            Self::Run => run_once::KIND,
            Self::Schedule => schedule::KIND,
            Self::Epoch => "epoch",
        }
    }
}

/// What [`copy_lasting`] has done with the records of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Which.
    pub kind: LastingKind,
    /// How many were not there and are now.
    pub copied: u64,
    /// How many were there already, the same.
    pub same: u64,
    /// Those that are there already and say something else. They were left as they are.
    pub differ: Vec<String>,
    /// Those in whose place is something that is no record. It was left as it is.
    pub damaged: Vec<String>,
    /// How many names of the store that was copied from have something else than a record.
    pub skipped: u64,
}

impl Transferred {
    const fn new(kind: LastingKind) -> Self {
        Self { kind, copied: 0, same: 0, differ: Vec::new(), damaged: Vec::new(), skipped: 0 }
    }

    /// Whether all that was there to be copied is in the other store.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.differ.is_empty() && self.damaged.is_empty() && self.skipped == 0
    }
}

/// Copies what must outlive a move from one store to another: [shared state](crate::SharedState) with its revisions, what was
/// [run once](crate::RunOnce), the last planned times of [schedules](crate::Schedule), and [epochs](crate::Epoch). Locks, members, used tokens and
/// answered requests stay behind: the time of all of them ends.
///
/// It is for a moment in which **nobody uses either store**: what is written meanwhile may be left behind. A record is stored
/// only where there is none, so that it can be done again, after an error or to see that all is the same. What is there already and says something
/// else is told and never overwritten.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, LastingKind, MemoryCoordStore, copy_lasting};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let (from, to) = (Arc::new(MemoryCoordStore::new()), Arc::new(MemoryCoordStore::new()));
/// let (before, after) = (Coordination::new(from.clone()), Coordination::new(to.clone()));
/// before.state::<u64>("hits").update("front", |hits| hits.unwrap_or(0) + 1).await?;
///
/// let done = copy_lasting(&*from, &*to).await?;
/// assert_eq!((done[0].kind, done[0].copied), (LastingKind::State, 1));
/// assert!(done.iter().all(|kind| kind.is_whole()));
/// assert_eq!(after.state::<u64>("hits").update("front", |hits| hits.unwrap_or(0) + 1).await?.revision, 2);
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`ErrorKind::Unsupported`] if the store that is copied to is shared and not durable; else as [`CoordStore`] says. What was copied by then stays.
pub async fn copy_lasting(from: &dyn CoordStore, to: &dyn CoordStore) -> Result<Vec<Transferred>> {
    // What a store can do may be known only once it was asked.
    to.now().await?;
    durable(to)?;
    let mut all = Vec::new();
    for kind in LastingKind::ALL {
        let (prefix, mut done) = (format!("{}/", kind.prefix()), Transferred::new(kind));
        let mut options = ScanOptions::new(prefix.as_str());
        loop {
            let page = from.scan_with(options.clone()).await?;
            done.skipped += page.skipped;
            for (key, record) in &page.records {
                let name = key.strip_prefix(&*prefix).unwrap_or(key);
                done.copy(to, key, record, name).await?;
            }
            match page.next {
                Some(next) => options = options.with_start(next),
                None => break,
            }
        }
        done.differ.sort();
        done.damaged.sort();
        all.push(done);
    }
    Ok(all)
}

impl Transferred {
    async fn copy(&mut self, to: &dyn CoordStore, key: &CoordKey, record: &Record, name: &str) -> Result<()> {
        // None of these has an end. Not with the id of the original: a second copy would be taken for a first whose answer was lost.
        let options = PutOptions::default().with_condition(Condition::Absent);
        match put_settled(to, key, &record.value, WriteId::generate()?, options).await {
            Ok(PutOutcome::Stored(_)) => self.copied += 1,
            Ok(PutOutcome::Conflict(Some(there))) if there.value == record.value => self.same += 1,
            Ok(PutOutcome::Conflict(_)) => self.differ.push(name.to_owned()),
            Err(error) if error.kind() == ErrorKind::Corrupt => self.damaged.push(name.to_owned()),
            Err(error) => return Err(error.with_key(name)),
        }
        Ok(())
    }
}

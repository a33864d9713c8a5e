use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use statehouse_core::{Error, ErrorKind, Fence, Result, Version};

use super::format::{RunState, RunStatus};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::capability::FENCED;
use crate::key::CoordKey;
use crate::leases::Leases;
use crate::lock::{Busy, Lock, LockError, LockKind, holder_of};
use crate::options::{PutOptions, ScanOptions};
use crate::outcome::RemoveOutcome;
use crate::record::Record;

/// Where the state of a run lies, and where its lock.
pub(crate) const KIND: &str = "run";
const LOCK: &str = LockKind::Run.prefix();

/// What runs once in the fleet, whatever it is called: for those who operate it. Made by
/// [`Coordination::runs`](crate::Coordination::runs).
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, MemoryCoordStore, Revision, Run};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let nothing = async |_: Run| Ok::<_, statehouse_core::Error>(());
/// let _ran = coord.run_once("terminology", Revision::new(202_604, "sha256:4a7d1e")).run(nothing).await?;
///
/// let runs = coord.runs();
/// let all = runs.list().await?;
/// assert_eq!(all.runs[0].name, "terminology");
/// assert!(runs.reset("terminology").await?, "whoever comes next runs it again");
/// assert!(runs.get("terminology").await?.is_none());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Runs {
    store: Arc<dyn CoordStore>,
    label: String,
    leases: Leases,
    wait: Duration,
}

/// All runs, as they were when each was read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RunList {
    /// Those that can be read, by their names.
    pub runs: Vec<RunReport>,
    /// How many names have something else than a record.
    pub skipped: u64,
}

/// What is known of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RunReport {
    /// What it is called.
    pub name: String,
    /// The version of its record, which rises with each thing that is said of it.
    pub version: u64,
    /// What it says; none if another version of statehouse has written it and this one cannot read it.
    pub status: Option<RunStatus>,
    /// The bytes of its checkpoint, if there is one.
    pub checkpoint: Option<u64>,
    /// Who has its lock: somebody is at work, or was until the lease is over.
    pub held_by: Option<String>,
}

impl Runs {
    pub(crate) const fn new(store: Arc<dyn CoordStore>, label: String, leases: Leases) -> Self {
        Self { store, label, leases, wait: Duration::ZERO }
    }

    /// Waits so long for somebody who runs what is to be [reset](Self::reset), as [`Lock::wait`]. Not at all at first.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// All runs that were ever begun and not reset.
    ///
    /// # Errors
    /// As [`CoordStore`] says.
    pub async fn list(&self) -> Result<RunList> {
        let (prefix, mut list) = (format!("{KIND}/"), RunList::default());
        let mut options = ScanOptions::new(prefix.as_str());
        loop {
            let page = self.store.scan_with(options.clone()).await?;
            for (key, record) in page.records {
                let Some(name) = key.strip_prefix(&*prefix) else { continue };
                list.runs.push(self.report(name, &record).await?);
            }
            list.skipped += page.skipped;
            match page.next {
                Some(next) => options = options.with_start(next),
                None => break,
            }
        }
        list.runs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(list)
    }

    /// The run of this name, if it was ever begun and not reset.
    ///
    /// # Errors
    /// As [`CoordStore`] says.
    pub async fn get(&self, name: &str) -> Result<Option<RunReport>> {
        match self.store.get(&CoordKey::of(KIND, name)?).await? {
            Some(record) => self.report(name, &record).await.map(Some),
            None => Ok(None),
        }
    }

    async fn report(&self, name: &str, record: &Record) -> Result<RunReport> {
        let state = RunState::decode(&record.value).ok();
        let held_by = match holder_of(&*self.store, &CoordKey::of(LOCK, name)?).await {
            // Held by nobody who could be named, as in the list of locks; the others are there all the same.
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            held_by => held_by?,
        };
        let checkpoint = state.as_ref().and_then(|state| state.checkpoint.as_ref());
        Ok(RunReport {
            name: name.to_owned(),
            version: record.version.get(),
            checkpoint: checkpoint.map(|checkpoint| checkpoint.len() as u64),
            status: state.map(|state| state.status),
            held_by,
        })
    }

    /// Forgets that it was run, and its checkpoint, so that whoever comes next runs it from the beginning, be it of the same
    /// revision or of an older one: after data was restored from a backup, or lost. Whether there was anything to forget.
    ///
    /// It has the run's lock meanwhile, so that nobody runs it; what was done is not undone. What is damaged, so that it can be neither read nor run, is
    /// forgotten as well.
    ///
    /// # Errors
    /// [`Conflict`](statehouse_core::ErrorKind::Conflict) while somebody has the lock, saying who: a run cannot be stopped
    /// from outside, so end that replica, or let it finish. One that was killed is waited for with [`wait`](Self::wait),
    /// longer than its lease. Else as [`CoordStore`] says.
    pub async fn reset(&self, name: &str) -> Result<bool> {
        let (store, label, leases) = (Arc::clone(&self.store), self.label.clone(), self.leases.clone());
        let guard = match Lock::new(store, CoordKey::of(LOCK, name), label, leases).wait(self.wait).await {
            Ok(guard) => guard,
            Err(LockError::Busy(busy)) => return Err(is_run(name, busy)),
            Err(LockError::Failed(error)) => return Err(error),
        };
        let forgotten = guard.run(self.forget(name, guard.fence())).await;
        // Whether or not it is given back now, its lease ends.
        let released = guard.release().await;
        let forgotten = forgotten?;
        match released {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(forgotten),
        }
    }

    async fn forget(&self, name: &str, fence: &Fence) -> Result<bool> {
        let key = CoordKey::of(KIND, name)?;
        let mut seen = match self.store.get(&key).await {
            // What cannot be read has no version to be removed by, and keeps everybody from beginning.
            Err(error) if error.kind() == ErrorKind::Corrupt => self.replace(&key, fence).await?,
            found => found?.map(|record| record.version),
        };
        // Nobody else writes it while the lock is held, save one who has lost it and does not know yet.
        while let Some(version) = seen {
            match self.store.remove(&key, version).await? {
                RemoveOutcome::Removed | RemoveOutcome::Absent => return Ok(true),
                RemoveOutcome::Conflict(record) => seen = Some(record.version),
            }
        }
        Ok(false)
    }

    /// Puts nothing in the place of what is there.
    async fn replace(&self, key: &CoordKey, fence: &Fence) -> Result<Option<Version>> {
        let has_fences = self.store.capabilities().has(FENCED);
        let options = PutOptions { fence: has_fences.then(|| fence.clone()), ..PutOptions::default() };
        Ok(self.store.put_with(key, Bytes::new(), options).await?.stored())
    }
}

fn is_run(name: &str, busy: Busy) -> Error {
    let lease = busy.expires_in.map_or_else(String::new, |left| format!(" for {left:.1?} if it is not renewed"));
    let message = format!("{:?} runs {name:?}, and has it{lease}: let it finish, or end it", busy.holder);
    let busy = Error::from(LockError::Busy(busy));
    Error::new(busy.kind(), message).with_retry(busy.retry()).with_source(busy)
}

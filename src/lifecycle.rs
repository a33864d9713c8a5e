//! How far an application is between its start and its end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};

use crate::standing::Standing;

/// One of a process. It never goes back.
pub(crate) struct Lifecycle {
    began: Instant,
    draining: OnceLock<Instant>,
    tasks: Mutex<Vec<Arc<Task>>>,
    /// None if it is alone, or was not told of others.
    standing: Mutex<Option<Standing>>,
    /// What is to be done at the end.
    last: Mutex<Vec<BoxFuture<'static, ()>>>,
}

/// What has to be done before requests are welcome.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    progress: Mutex<Progress>,
}

/// How far that is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) step: Step,
    pub(crate) done: u64,
    /// Nothing is known of it where it is zero.
    pub(crate) total: u64,
    pub(crate) since: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Waiting,
    Running,
    /// It is tried again.
    Failed(String),
    Finished,
    /// Nobody will finish it, after it failed for this reason, if it did.
    Abandoned(Option<String>),
}

impl Default for Lifecycle {
    fn default() -> Self {
        let (standing, last) = (Mutex::default(), Mutex::default());
        Self { began: Instant::now(), draining: OnceLock::new(), tasks: Mutex::default(), standing, last }
    }
}

impl Lifecycle {
    pub(crate) fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// From now on no new requests are welcome. `false` if that was known.
    pub(crate) fn drain(&self) -> bool {
        self.draining.set(Instant::now()).is_ok()
    }

    /// Since when.
    pub(crate) fn draining(&self) -> Option<Instant> {
        self.draining.get().copied()
    }

    /// A task that is to be done first. One of the same name is replaced.
    pub(crate) fn add(&self, name: String) -> Arc<Task> {
        let task = Arc::new(Task { name, progress: Mutex::new(Progress::new()) });
        let mut tasks = unpoisoned(&self.tasks);
        tasks.retain(|other| other.name != task.name);
        tasks.push(Arc::clone(&task));
        task
    }

    pub(crate) fn tasks(&self) -> Vec<Arc<Task>> {
        unpoisoned(&self.tasks).clone()
    }

    /// How it stands among the others, if there are to be others.
    pub(crate) fn standing(&self) -> Option<Standing> {
        unpoisoned(&self.standing).clone()
    }

    /// What is done when the services are shut down, all at once.
    pub(crate) async fn end(&self) {
        let last = std::mem::take(&mut *unpoisoned(&self.last));
        join_all(last).await;
    }
}

#[cfg(feature = "coord")]
impl Lifecycle {
    /// There are to be others. `false` if that was known.
    pub(crate) fn stands(&self, standing: Standing) -> bool {
        let mut known = unpoisoned(&self.standing);
        let is_first = known.is_none();
        known.get_or_insert(standing);
        is_first
    }

    pub(crate) fn now_stands(&self, standing: Standing) {
        *unpoisoned(&self.standing) = Some(standing);
    }

    pub(crate) fn at_shutdown(&self, work: impl Future<Output = ()> + Send + 'static) {
        unpoisoned(&self.last).push(Box::pin(work));
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_draining = self.draining().is_some();
        f.debug_struct("Lifecycle").field("is_draining", &is_draining).finish_non_exhaustive()
    }
}

impl Task {
    pub(crate) fn progress(&self) -> Progress {
        unpoisoned(&self.progress).clone()
    }

    /// What is finished stays so.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = unpoisoned(&self.progress);
        if progress.step == Step::Finished {
            return;
        }
        let before = std::mem::discriminant(&progress.step);
        change(&mut progress);
        if std::mem::discriminant(&progress.step) != before {
            progress.since = Instant::now();
        }
    }
}

impl Progress {
    fn new() -> Self {
        Self { step: Step::Waiting, done: 0, total: 0, since: Instant::now() }
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

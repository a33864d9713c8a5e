//! How far an application is between its start and its end.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// One of a process. It never goes back.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    began: Instant,
    draining: OnceLock<Instant>,
    tasks: Mutex<Vec<Arc<Task>>>,
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
    /// Nobody will finish it.
    Abandoned,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { began: Instant::now(), draining: OnceLock::new(), tasks: Mutex::default() }
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

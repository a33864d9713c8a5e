use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::count::Counts;
use super::settings::Settings;

/// What the thread and the handle both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: watch::Sender<Settings>,
    counts: Mutex<Counts>,
}

impl Shared {
    pub(super) fn new(settings: watch::Sender<Settings>) -> Self {
        Self { settings, counts: Mutex::default() }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

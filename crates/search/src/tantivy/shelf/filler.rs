//! Whether anybody fills a generation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Who has it fills a generation: the handles that its beginning gave. With the last of them, handles that wait for the
/// generation learn that nobody does.
#[derive(Debug)]
pub(crate) struct Filler {
    epoch: Arc<AtomicU64>,
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// The filler of a generation, as long as there is one.
#[derive(Debug, Default)]
pub(super) struct FilledBy(Mutex<Weak<Filler>>);

impl FilledBy {
    pub(super) fn is_anybody(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0
    }

    /// One more that fills it.
    pub(super) fn join(&self, epoch: &Arc<AtomicU64>) -> Arc<Filler> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let filler = Arc::new(Filler { epoch: Arc::clone(epoch) });
            *known = Arc::downgrade(&filler);
            // Those that were told that nobody fills it wait again.
            epoch.fetch_add(1, Ordering::AcqRel);
            filler
        })
    }
}

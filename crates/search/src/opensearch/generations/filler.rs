//! Whether anybody in this process fills a generation.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Who has it fills a generation: the handles that its beginning gave.
#[derive(Debug)]
pub(in super::super) struct Filler {
    number: u32,
}

/// Those of the handles of an index.
#[derive(Debug, Default)]
pub(in super::super) struct Fillers(Mutex<Vec<Weak<Filler>>>);

impl Fillers {
    /// Whether somebody fills the generation of this number.
    pub(in super::super) fn is_anybody(&self, number: u32) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|filler| filler.upgrade().is_some_and(|filler| filler.number == number))
    }

    /// One more that fills it.
    pub(in super::super) fn join(&self, number: u32) -> Arc<Filler> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|filler| filler.strong_count() > 0);
        let filler = Arc::new(Filler { number });
        known.push(Arc::downgrade(&filler));
        filler
    }
}

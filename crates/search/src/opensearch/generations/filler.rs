//! Whether anybody in this process fills a generation.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Who has it fills a generation: the handles that its beginning gave.
#[derive(Debug)]
pub(crate) struct Filler {
    number: u32,
}

/// Those of the handles of an index.
#[derive(Debug, Default)]
pub(crate) struct Fillers(Mutex<Vec<Weak<Filler>>>);

impl Fillers {
    /// Whether somebody fills the generation of this number.
    pub(crate) fn is_anybody(&self, number: u32) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|filler| filler.upgrade().is_some_and(|filler| filler.number == number))
    }

    /// One more that fills it.
    pub(crate) fn join(&self, number: u32) -> Arc<Filler> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|filler| filler.strong_count() > 0);
        let filler = Arc::new(Filler { number });
        known.push(Arc::downgrade(&filler));
        filler
    }
}

//! What can be put around any store of statehouse, whatever its service: a [`Layer`].

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, ErrorKind, Result};

/// Does something around each call of a store.
///
/// Every service crate has one type that puts a layer around a store: `LayeredCache`, `LayeredSessionStore`,
/// `LayeredFileStore`, `LayeredIndex`, `LayeredCoordStore` and `LayeredSignals`. The store in it answers for capabilities and health.
///
/// There is no layer that tries again: retries have one owner, the backend, and one around it would multiply them.
pub trait Layer: Debug + Send + Sync + 'static {
    /// Does `work`, the call of the method that `operation` names, such as `cache.set`.
    ///
    /// # Errors
    /// Those of the work, and what the layer adds.
    fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a;
}

/// Failures by chance, the same for the same seed, to try out how an application takes them.
///
/// A refused call is one that never reached the store. A call whose answer is lost has been done.
///
/// ```
/// use statehouse_core::ErrorKind;
/// use statehouse_core::layer::{Faults, Layer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let every_call_is_refused = Faults::seeded(7).with_refused_calls(1.0);
/// let refused = every_call_is_refused.around("cache.set", async { Ok(()) }).await;
/// assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
/// let every_answer_is_lost = Faults::seeded(7).with_lost_answers(1.0);
/// let lost = every_answer_is_lost.around("cache.set", async { Ok(()) }).await;
/// assert_eq!(lost.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
/// # }
/// ```
#[derive(Debug)]
pub struct Faults {
    state: AtomicU64,
    refused: f64,
    lost: f64,
}

impl Faults {
    /// No failures yet.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed), refused: 0.0, lost: 0.0 }
    }

    /// The share of calls, from 0 to 1, that fail as [`Unavailable`](ErrorKind::Unavailable) before they are done.
    #[must_use]
    pub const fn with_refused_calls(mut self, share: f64) -> Self {
        self.refused = share;
        self
    }

    /// The share of calls, from 0 to 1, that are done and fail as [`OutcomeUnknown`](ErrorKind::OutcomeUnknown).
    #[must_use]
    pub const fn with_lost_answers(mut self, share: f64) -> Self {
        self.lost = share;
        self
    }

    /// A number from 0 up to 1: SplitMix64, of which every seed gives a sequence of its own.
    fn draw(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bits = u32::try_from((mixed ^ mixed >> 31) >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

impl Layer for Faults {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        // Both are drawn before the work, so that a sequence of calls meets the same failures however long each takes.
        let (refused, lost) = (self.draw() < self.refused, self.draw() < self.lost);
        let failed = |kind, message| Err(Error::new(kind, message).with_operation(operation));
        if refused {
            return failed(ErrorKind::Unavailable, "refused on purpose, by a layer of faults");
        }
        let done = work.await;
        if lost {
            failed(ErrorKind::OutcomeUnknown, "the answer was lost on purpose, by a layer of faults")
        } else {
            done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kinds(faults: &Faults) -> Vec<Option<ErrorKind>> {
        let mut kinds = Vec::new();
        for _ in 0..1_000 {
            kinds.push(faults.around("cache.get", async { Ok(()) }).await.err().map(|error| error.kind()));
        }
        kinds
    }

    #[tokio::test]
    async fn a_seed_gives_the_same_failures_again_in_the_shares_asked_for() {
        let faults = |seed| Faults::seeded(seed).with_refused_calls(0.2).with_lost_answers(0.1);
        let first = kinds(&faults(7)).await;
        assert_eq!(first, kinds(&faults(7)).await);
        assert_ne!(first, kinds(&faults(8)).await);
        let share = |kind| first.iter().filter(|found| **found == Some(kind)).count();
        assert!((150..250).contains(&share(ErrorKind::Unavailable)), "{}", share(ErrorKind::Unavailable));
        assert!((50..130).contains(&share(ErrorKind::OutcomeUnknown)), "{}", share(ErrorKind::OutcomeUnknown));
        assert!(kinds(&Faults::seeded(7)).await.iter().all(Option::is_none));
    }

    #[tokio::test]
    async fn what_is_refused_was_not_done_and_what_is_lost_was() {
        for (faults, done) in
            [(Faults::seeded(1).with_refused_calls(1.0), false), (Faults::seeded(1).with_lost_answers(1.0), true)]
        {
            let mut reached = false;
            let call = async {
                reached = true;
                Ok(())
            };
            faults.around("files.put", call).await.unwrap_err();
            assert_eq!(reached, done);
        }
    }
}

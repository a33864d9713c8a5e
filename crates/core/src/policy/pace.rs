use std::fmt;
use std::time::Duration;

use super::{Breaker, BreakerSettings, Permit, Refused};
use crate::sync::{AtomicU64, Ordering};
use crate::time::whole_micros;
use crate::{Clock, SystemClock};

/// After how many slow answers in a row, the first not counted, the store is not waited for any more.
const SLOW_ANSWERS: u32 = 2;

/// What this process has seen of a store's answers: to reads, or to writes, since a server may hold back one and not the other.
///
/// One that took too long says little: this process itself may have stood still, and then all that waited were slow at once.
/// So an answer counts only if it was asked for after another slow one had come, and that happened twice without a fast one
/// in between. How long a failure took says nothing either, unless that was too long as well: whether the store is there is
/// the connector's to find out.
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::ManualClock;
/// use statehouse_core::policy::Pace;
///
/// let clock = ManualClock::default();
/// let writes = Pace::with_clock(Duration::from_millis(500), clock.clone());
/// for _ in 0..3 {
///     let asked = writes.asks();
///     clock.advance(Duration::from_secs(1));
///     drop(asked); // given up
/// }
/// assert!(writes.is_slow() && writes.refusal().is_some());
/// assert!(writes.may_ask().is_err());
/// writes.asks().answered();
/// assert!(writes.may_ask().is_ok());
/// ```
pub struct Pace<C: Clock = SystemClock> {
    limit: Duration,
    breaker: Breaker<C>,
    clock: C,
    /// When the first slow answer of the row came, in microseconds of the clock, plus one; zero if there is no row.
    slow_since: AtomicU64,
}

/// A question to the store. Dropped, it was given up, which tells something if that took long.
#[must_use]
pub struct Asked<'a, C: Clock = SystemClock> {
    pace: &'a Pace<C>,
    /// Of one that only looks on while others decide, there is none.
    permit: Option<Permit<'a, C>>,
    at: Duration,
}

impl Pace {
    /// One for which an answer is slow that takes longer than `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self::with_clock(limit, SystemClock::default())
    }
}

impl<C: Clock + Clone> Pace<C> {
    /// The same with the time from `clock`.
    #[must_use]
    pub fn with_clock(limit: Duration, clock: C) -> Self {
        let settings = BreakerSettings::default().with_failures(SLOW_ANSWERS).with_silence(Duration::ZERO);
        let breaker = Breaker::with_clock(settings, clock.clone());
        Self { limit, breaker, clock, slow_since: AtomicU64::new(0) }
    }
}

impl<C: Clock> Pace<C> {
    /// From when on an answer is slow.
    #[must_use]
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// To be told of a question that is asked in any case.
    pub fn asks(&self) -> Asked<'_, C> {
        Asked { pace: self, permit: self.breaker.ask().ok(), at: self.clock.elapsed() }
    }

    /// Whether the store is to be asked by who could do without: not while it is slow, save for one caller now and then who
    /// finds out for all.
    ///
    /// # Errors
    /// [`Refused`] while it is slow.
    pub fn may_ask(&self) -> Result<Asked<'_, C>, Refused> {
        Ok(Asked { pace: self, permit: Some(self.breaker.ask()?), at: self.clock.elapsed() })
    }

    /// Whether who could do without is not to ask now, and not to wait for what was asked.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.refusal().is_some()
    }

    /// The refusal, while it is slow. It makes nobody find out for all: for where a task of its own does.
    pub fn refusal(&self) -> Option<Refused> {
        self.breaker.refusal()
    }

    fn was_fast(&self) {
        // Mostly there is nothing to write.
        if self.slow_since.load(Ordering::Relaxed) != 0 {
            self.slow_since.store(0, Ordering::Relaxed);
        }
        self.breaker.note_success();
    }

    fn was_slow(&self, at: Duration, permit: Option<Permit<'_, C>>) {
        let Some(permit) = permit else { return };
        let micros = |time| whole_micros(time).saturating_add(1);
        let now = micros(self.clock.elapsed());
        let first = self.slow_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        if permit.is_probe() || first.is_err_and(|first| micros(at) >= first) {
            permit.failed();
        }
    }
}

impl<C: Clock> Asked<'_, C> {
    /// Whether it finds out for all whether the store is fast again.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_probe)
    }

    fn took(&self) -> Duration {
        self.pace.clock.elapsed().saturating_sub(self.at)
    }

    /// It takes too long already; whatever becomes of it tells nothing more.
    pub fn is_late(&mut self) {
        self.pace.was_slow(self.at, self.permit.take());
    }

    /// The store has answered.
    pub fn answered(self) {
        if self.took() <= self.pace.limit {
            self.came();
        }
    }

    /// The store has answered, however late: for whom a slow answer is as good as any, and only none is not.
    pub fn came(mut self) {
        self.permit = None;
        self.pace.was_fast();
    }
}

impl<C: Clock> Drop for Asked<'_, C> {
    fn drop(&mut self) {
        if self.took() > self.pace.limit {
            self.pace.was_slow(self.at, self.permit.take());
        }
    }
}

impl<C: Clock> fmt::Debug for Pace<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("limit", &self.limit).field("is_slow", &self.is_slow()).finish_non_exhaustive()
    }
}

impl<C: Clock> fmt::Debug for Asked<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    const SLOW: Duration = Duration::from_millis(500);
    const LONG: Duration = Duration::from_millis(501);

    fn pace() -> (Pace<ManualClock>, ManualClock) {
        let clock = ManualClock::default();
        (Pace::with_clock(SLOW, clock.clone()), clock)
    }

    fn slowly(pace: &Pace<ManualClock>, clock: &ManualClock) {
        let asked = pace.asks();
        clock.advance(LONG);
        asked.answered();
    }

    #[test]
    fn slow_answers_in_a_row_are_enough_and_a_fast_one_ends_the_row() {
        let (pace, clock) = pace();
        for _ in 0..3 {
            (0..2).for_each(|_| slowly(&pace, &clock));
            assert!(pace.may_ask().is_ok());
            let asked = pace.asks();
            clock.advance(SLOW);
            asked.answered();
        }
        (0..3).for_each(|_| slowly(&pace, &clock));
        assert!(pace.may_ask().is_err());
        slowly(&pace, &clock);
        let probe = pace.may_ask().unwrap();
        assert!(probe.is_probe() && pace.may_ask().is_err(), "one finds out for all");
        clock.advance(LONG);
        drop(probe);
        assert!(pace.may_ask().is_err(), "it is still slow");
        pace.asks().answered();
        assert!(pace.may_ask().is_ok_and(|asked| !asked.is_probe()), "whoever was answered fast tells it for all");
    }

    #[test]
    fn a_pause_of_this_process_is_one_slow_answer_however_many_wait() {
        let (pace, clock) = pace();
        for _ in 0..2 {
            let waiting: Vec<_> = (0..1_000).map(|_| pace.asks()).collect();
            clock.advance(LONG);
            waiting.into_iter().for_each(Asked::answered);
            assert!(pace.may_ask().is_ok());
            pace.asks().answered();
        }
    }

    #[test]
    fn what_was_given_up_tells_something_only_if_it_took_long() {
        let (pace, clock) = pace();
        for _ in 0..1_000 {
            let asked = pace.asks();
            clock.advance(SLOW);
            drop(asked);
        }
        assert!(pace.may_ask().is_ok());
        for _ in 0..3 {
            let asked = pace.asks();
            clock.advance(LONG);
            drop(asked);
        }
        assert!(pace.may_ask().is_err());
    }

    #[test]
    fn an_answer_that_comes_late_may_count_as_one_all_the_same() {
        let (pace, clock) = pace();
        for _ in 0..10 {
            let mut asked = pace.asks();
            clock.advance(LONG);
            asked.is_late();
            asked.came();
            assert!(pace.refusal().is_none());
        }
        (0..3).for_each(|_| slowly(&pace, &clock));
        assert!(pace.refusal().is_some_and(|refused| refused.after() > Duration::ZERO));
        assert!(pace.may_ask().is_err(), "nobody was made to find out");
    }
}

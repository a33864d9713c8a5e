mod answer;
mod settings;

use std::fmt;
use std::time::Duration;

pub use self::answer::{BreakerState, Refused};
pub use self::settings::BreakerSettings;
use super::Backoff;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};
use crate::{Clock, SystemClock};

/// Spares everybody the wait for a server that is known to be away.
///
/// - Closed, it lets everything pass. Failures in a row, over some time, open it; see [`BreakerSettings`]. One success
///   ends the row.
/// - Open, it refuses at once.
/// - Half-open, after a pause, it lets one caller pass, who finds out for all: its success closes the breaker, its
///   failure begins the next, longer pause. If it gives up, the next to come is the probe.
///
/// A failure is whatever says that the server is away: no connection, no answer in time. An answer that refuses, such as
/// a conflict or a wrong password, is a success: the server is there.
///
/// While all is well it costs one atomic load, or two readings of the clock where latency counts.
pub struct Breaker<C = SystemClock> {
    settings: BreakerSettings,
    clock: C,
    /// Whether there is anything to look at in `state`.
    troubled: AtomicBool,
    state: Mutex<State>,
    openings: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When what failed first in the row began.
    began: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: Duration,
    next_probe: Duration,
    pauses: Backoff,
    probing: bool,
    /// Which opening it is, of all.
    number: u64,
}

/// The right to ask the server once. Whoever has it says what became of it; dropping it says nothing.
#[must_use]
pub struct Permit<'a, C: Clock = SystemClock> {
    breaker: &'a Breaker<C>,
    begun: Option<Duration>,
    /// The opening for which it finds out, if it does.
    probe: Option<u64>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self::with_clock(settings, SystemClock::default())
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(BreakerSettings::default())
    }
}

impl<C: Clock> Breaker<C> {
    /// A closed breaker that takes the time from `clock`.
    #[must_use]
    pub fn with_clock(settings: BreakerSettings, clock: C) -> Self {
        let (troubled, state) = (AtomicBool::new(false), Mutex::default());
        Self { settings, clock, troubled, state, openings: AtomicU64::new(0) }
    }

    /// The right to ask the server, or the refusal.
    ///
    /// # Errors
    /// [`Refused`] while it is open, and while another's probe is under way.
    pub fn ask(&self) -> Result<Permit<'_, C>, Refused> {
        let begun = self.settings.slow.map(|_| self.clock.elapsed());
        if !self.troubled.load(Ordering::Acquire) {
            return Ok(Permit { breaker: self, begun, probe: None });
        }
        let now = self.clock.elapsed();
        let mut state = self.lock();
        match &mut state.open {
            None => Ok(Permit { breaker: self, begun: Some(now), probe: None }),
            Some(open) if !open.probing && open.next_probe <= now => {
                open.probing = true;
                Ok(Permit { breaker: self, begun: Some(now), probe: Some(open.number) })
            }
            Some(open) => Err(self.refused(open, now)),
        }
    }

    /// The refusal, while it is not closed. It makes nobody the probe: for where a task of its own asks the server
    /// again and reports with [`note_success`](Self::note_success) and [`note_failure`](Self::note_failure).
    pub fn refusal(&self) -> Option<Refused> {
        if !self.troubled.load(Ordering::Acquire) {
            return None;
        }
        let now = self.clock.elapsed();
        self.lock().open.as_ref().map(|open| self.refused(open, now))
    }

    fn refused(&self, open: &Open, now: Duration) -> Refused {
        let after = open.next_probe.saturating_sub(now);
        Refused { after: if after.is_zero() { self.settings.first_pause } else { after } }
    }

    /// The server answered. If that closed the breaker, for how long it had been open.
    pub fn note_success(&self) -> Option<Duration> {
        if !self.troubled.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let before = std::mem::take(&mut *state);
        self.troubled.store(false, Ordering::Release);
        before.open.map(|open| self.clock.elapsed().saturating_sub(open.since))
    }

    /// The server did not answer a request, or a probe, that `took` so long. True if that opened the breaker.
    pub fn note_failure(&self, took: Duration) -> bool {
        self.fail(took, Reporter::Prober)
    }

    fn fail(&self, took: Duration, reporter: Reporter) -> bool {
        let now = self.clock.elapsed();
        let began = now.saturating_sub(took);
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        if let Some(open) = &mut state.open {
            if reporter.is_probe_of(open) {
                open.probing = false;
                open.next_probe = now + open.pauses.pause();
            }
            return false;
        }
        state.began = if state.failures == 0 { began } else { state.began.min(began) };
        state.failures = state.failures.saturating_add(1);
        let opens = state.failures >= self.settings.failures && now - state.began >= self.settings.silence;
        if opens {
            let mut pauses = Backoff::new(self.settings.first_pause, self.settings.longest_pause);
            let next_probe = now + pauses.pause();
            let number = self.openings.fetch_add(1, Ordering::Relaxed);
            state.open = Some(Open { since: now, next_probe, pauses, probing: false, number });
        }
        opens
    }

    /// What it does now, for health and metrics.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        let now = self.clock.elapsed();
        match &self.lock().open {
            None => BreakerState::Closed,
            Some(open) if open.probing => BreakerState::HalfOpen { since: now.saturating_sub(open.since) },
            Some(open) => BreakerState::Open {
                since: now.saturating_sub(open.since),
                next_probe: open.next_probe.saturating_sub(now),
            },
        }
    }

    /// How often it has opened, for metrics.
    #[must_use]
    pub fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who reports a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reporter {
    /// Whose task it is to find out.
    Prober,
    /// Somebody who asked to find out, for this opening.
    Probe(u64),
    /// Somebody who asked before it opened.
    Caller,
}

impl Reporter {
    const fn is_probe_of(self, open: &Open) -> bool {
        match self {
            Self::Prober => true,
            Self::Probe(number) => number == open.number,
            Self::Caller => false,
        }
    }
}

impl<C: Clock> Permit<'_, C> {
    /// Whether this is the one that finds out for all whether the server is back.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// The server answered. If that took too long, it counts as a failure.
    pub fn succeeded(self) {
        let slow = self.breaker.settings.slow;
        let took = self.begun.map(|begun| self.breaker.clock.elapsed().saturating_sub(begun));
        match (took, slow) {
            (Some(took), Some(slow)) if took > slow => self.failed(),
            _ => {
                self.breaker.note_success();
            }
        }
    }

    /// The server did not answer, or cannot be reached.
    pub fn failed(mut self) {
        let now = self.breaker.clock.elapsed();
        let took = self.begun.map_or(Duration::ZERO, |begun| now.saturating_sub(begun));
        let reporter = self.probe.take().map_or(Reporter::Caller, Reporter::Probe);
        self.breaker.fail(took, reporter);
    }
}

/// A probe that gave up leaves its place to the next. It has none in an opening after its own.
impl<C: Clock> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        if let Some(number) = self.probe
            && let Some(open) = self.breaker.lock().open.as_mut().filter(|open| open.number == number)
        {
            open.probing = false;
        }
    }
}

impl<C: Clock> fmt::Debug for Breaker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.state()).field("openings", &self.openings()).finish()
    }
}

impl<C: Clock> fmt::Debug for Permit<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("probe", &self.probe).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    const MILLIS: Duration = Duration::from_millis(1);

    fn breaker(settings: BreakerSettings) -> (Breaker<ManualClock>, ManualClock) {
        let clock = ManualClock::default();
        // So that "long ago" is not before the clock's start.
        clock.advance(Duration::from_secs(3600));
        (Breaker::with_clock(settings, clock.clone()), clock)
    }

    fn opened() -> (Breaker<ManualClock>, ManualClock) {
        let (breaker, clock) = breaker(BreakerSettings::default());
        for _ in 0..3 {
            let permit = breaker.ask().unwrap();
            clock.advance(MILLIS * 500);
            permit.failed();
        }
        assert!(matches!(breaker.state(), BreakerState::Open { .. }), "{breaker:?}");
        (breaker, clock)
    }

    #[test]
    fn a_row_of_failures_over_some_time_opens_it_and_less_does_not() {
        let (breaker, clock) = breaker(BreakerSettings::default());
        (0..100).for_each(|_| breaker.ask().unwrap().failed());
        assert_eq!(breaker.state(), BreakerState::Closed, "all at one moment");
        clock.advance(MILLIS * 999);
        breaker.ask().unwrap().failed();
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.ask().unwrap().succeeded();
        clock.advance(MILLIS * 999);
        (0..2).for_each(|_| breaker.ask().unwrap().failed());
        clock.advance(MILLIS * 1500);
        assert_eq!(breaker.state(), BreakerState::Closed, "time alone opens nothing");
        breaker.ask().unwrap().failed();
        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
        assert_eq!(breaker.openings(), 1);
    }

    #[test]
    fn a_failure_counts_from_when_it_began() {
        let (breaker, _clock) = breaker(BreakerSettings::default().with_failures(1));
        assert!(!breaker.note_failure(MILLIS * 999));
        assert!(breaker.note_failure(MILLIS * 1000));
        assert!(breaker.refusal().is_some());
    }

    #[test]
    fn latency_counts_only_where_it_is_asked_for() {
        let slowly = |breaker: &Breaker<ManualClock>, clock: &ManualClock| {
            for _ in 0..10 {
                let permit = breaker.ask();
                clock.advance(MILLIS * 600);
                let _ = permit.map(Permit::succeeded);
            }
        };
        let (tolerant, clock) = breaker(BreakerSettings::default());
        slowly(&tolerant, &clock);
        assert_eq!((tolerant.state(), tolerant.openings()), (BreakerState::Closed, 0));
        let (strict, clock) = breaker(BreakerSettings::default().with_slow(MILLIS * 500));
        slowly(&strict, &clock);
        assert_ne!(strict.state(), BreakerState::Closed);
        let (fast, clock) = breaker(BreakerSettings::default().with_slow(MILLIS * 600));
        slowly(&fast, &clock);
        assert_eq!(fast.state(), BreakerState::Closed);
    }

    #[test]
    fn open_it_refuses_everybody_and_then_lets_one_probe_pass() {
        let (breaker, clock) = opened();
        let refused = breaker.ask().unwrap_err();
        assert!(refused.after() <= MILLIS * 100 && refused.after() >= MILLIS * 50, "{refused:?}");
        clock.advance(refused.after() + MILLIS);
        assert!(breaker.refusal().is_some(), "asking for the refusal makes nobody the probe");
        let probe = breaker.ask().unwrap();
        assert!(probe.is_probe());
        assert_eq!(breaker.state().as_str(), "half_open");
        assert!((0..10).all(|_| breaker.ask().is_err()));
        probe.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.ask().is_ok() && breaker.refusal().is_none());
    }

    #[test]
    fn probes_that_fail_come_less_often_up_to_a_bound() {
        let (breaker, clock) = opened();
        let mut waited = Vec::new();
        for _ in 0..8 {
            let after = breaker.ask().unwrap_err().after();
            waited.push(after);
            clock.advance(after + MILLIS);
            breaker.ask().unwrap().failed();
        }
        assert!(waited.iter().all(|after| *after <= MILLIS * 500), "{waited:?}");
        assert!(waited[4..].iter().all(|after| *after >= MILLIS * 250), "{waited:?}");
        assert_eq!(breaker.openings(), 1);
    }

    #[test]
    fn a_probe_that_gives_up_leaves_its_place_and_late_failures_move_nothing() {
        let (breaker, clock) = breaker(BreakerSettings::default());
        let late = breaker.ask().unwrap();
        for _ in 0..3 {
            clock.advance(MILLIS * 500);
            breaker.note_failure(MILLIS * 500);
        }
        clock.advance(breaker.ask().unwrap_err().after() + MILLIS);
        drop(breaker.ask().unwrap());
        let probe = breaker.ask().unwrap();
        late.failed();
        assert_eq!(breaker.state().as_str(), "half_open");
        drop(probe);
        breaker.ask().unwrap().succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_probe_of_an_earlier_opening_takes_no_place_of_a_later_one() {
        for fails in [false, true] {
            let (breaker, clock) = opened();
            clock.advance(breaker.ask().unwrap_err().after() + MILLIS);
            let first = breaker.ask().unwrap();
            breaker.note_success();
            for _ in 0..3 {
                let permit = breaker.ask().unwrap();
                clock.advance(MILLIS * 500);
                permit.failed();
            }
            clock.advance(breaker.ask().unwrap_err().after() + MILLIS);
            let second = breaker.ask().unwrap();
            assert!(first.is_probe() && second.is_probe());
            if fails {
                first.failed()
            } else {
                drop(first)
            }
            assert!(breaker.ask().is_err(), "one at a time");
            drop(second);
            assert!(breaker.ask().unwrap().is_probe());
        }
    }

    #[test]
    fn an_answer_that_comes_late_closes_it() {
        let (breaker, clock) = breaker(BreakerSettings::default().with_failures(1));
        let late = breaker.ask().unwrap();
        clock.advance(MILLIS * 2000);
        breaker.note_failure(MILLIS * 2000);
        assert!(breaker.ask().is_err());
        late.succeeded();
        assert!(breaker.ask().is_ok());
    }
}

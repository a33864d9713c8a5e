//! Models of core's breaker and of what stands beside it in `policy`.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ManualClock;

use crate::policy::{Breaker, BreakerSettings, BreakerState, RetryBudget, Trouble};
use crate::sync::{AtomicU64, Ordering, any_of};
use crate::together;

/// Longer than any pause.
const LONG: Duration = Duration::from_secs(60);

/// One that opens with the first failure.
fn breaker() -> (Arc<Breaker<ManualClock>>, ManualClock) {
    let clock = ManualClock::default();
    clock.advance(LONG);
    let settings = BreakerSettings::default().with_failures(1).with_silence(Duration::ZERO);
    (Arc::new(Breaker::with_clock(settings, clock.clone())), clock)
}

/// Whoever is let pass while it is open is the only one, whatever becomes of those before.
pub fn one_probe_at_a_time() {
    let (breaker, clock) = breaker();
    breaker.note_failure(Duration::ZERO);
    let (asked, later, probing) = (Arc::clone(&breaker), clock.clone(), AtomicU64::new(0));
    together(3, move || {
        for _ in 0..2 {
            later.advance(LONG);
            let Ok(permit) = asked.ask() else { continue };
            assert!(permit.is_probe(), "nobody else passes");
            assert_eq!(probing.fetch_add(1, Ordering::SeqCst), 0, "two probes at a time");
            probing.fetch_sub(1, Ordering::SeqCst);
            if any_of(2) == 0 { permit.failed() } else { drop(permit) }
        }
    });
    clock.advance(LONG);
    assert!(breaker.ask().is_ok_and(|permit| permit.is_probe()), "somebody may ask again");
}

/// However successes and failures come, what it says at a glance and what it knows agree, and it closes again.
pub fn a_glance_agrees_with_what_it_knows() {
    let (breaker, clock) = breaker();
    let (asked, later) = (Arc::clone(&breaker), clock.clone());
    together(3, move || {
        later.advance(LONG);
        match (any_of(4), asked.ask()) {
            (0, _) => {
                asked.note_success();
            }
            (1, _) => {
                asked.note_failure(Duration::ZERO);
            }
            (2, Ok(permit)) => permit.failed(),
            (_, Ok(permit)) => permit.succeeded(),
            (_, Err(_)) => {}
        }
    });
    assert_eq!(breaker.refusal().is_some(), breaker.state() != BreakerState::Closed);
    clock.advance(LONG);
    match breaker.ask() {
        Ok(permit) => permit.succeeded(),
        Err(refused) => panic!("nobody may ask: {refused:?}"),
    }
    assert!(breaker.refusal().is_none() && breaker.ask().is_ok_and(|permit| !permit.is_probe()));
}

/// Of those who want the last retry that is left one has it.
pub fn a_retry_is_paid_for_once() {
    let budget = RetryBudget::new();
    assert_eq!((0..99).filter(|_| budget.spend()).count(), 99);
    let spent = together(3, move || budget.spend());
    assert_eq!(spent.into_iter().filter(|spent| *spent).count(), 1);
}

/// A trouble is told of once when it begins, and once when it is over.
pub fn a_trouble_begins_and_ends_once() {
    let (clock, trouble) = (ManualClock::default(), Trouble::new(Duration::ZERO));
    let told = together(3, move || (trouble.failed(&clock), trouble.is_over(&clock)));
    let begun = told.iter().filter(|(begun, _)| *begun).count();
    let over: Vec<_> = told.iter().filter_map(|(_, over)| *over).collect();
    assert_eq!((begun, over.iter().sum::<u64>()), (over.len(), 3), "all are over, and each failure is counted");
}

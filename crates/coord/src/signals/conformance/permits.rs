//! Permits.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::race;

use super::kit::{LONG, SignalsBackend, acquire, id, key};
use crate::signals::{AcquireOptions, Acquired, RenewOptions, Renewed, SignalsExt as _};

pub(super) async fn no_more_permits_are_held_than_the_call_says(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let (lease, holders) = (LONG * backend.step(), [id(), id(), id()]);
    assert_eq!(acquire(&*signals, holders[0], 2, lease).await, Acquired::Held(1));
    assert_eq!(acquire(&*signals, holders[1], 2, lease).await, Acquired::Held(2));
    for most in [2, 1] {
        let Acquired::Full { in_use, retry_after } = acquire(&*signals, holders[2], most, lease).await else {
            panic!("more than {most}")
        };
        assert!(in_use == 2 && !retry_after.is_zero() && retry_after <= lease, "{in_use} {retry_after:?}");
    }
    assert_eq!(acquire(&*signals, holders[2], 3, lease).await, Acquired::Held(3));
}

pub(super) async fn of_sixteen_who_want_one_of_five_permits_five_have_one(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let lease = LONG * backend.step();
    let held = race(|_| {
        let signals = Arc::clone(&signals);
        async move { matches!(acquire(&*signals, id(), 5, lease).await, Acquired::Held(_)) }
    })
    .await;
    assert_eq!(held.into_iter().filter(|is_held| *is_held).count(), 5);
}

pub(super) async fn an_id_that_holds_a_permit_has_it_anew(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let (lease, holder) = (LONG * backend.step(), id());
    for _ in 0..3 {
        assert_eq!(acquire(&*signals, holder, 1, lease).await, Acquired::Held(1));
    }
}

pub(super) async fn a_release_frees_a_permit_and_is_idempotent(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let (lease, first, second) = (LONG * backend.step(), id(), id());
    assert_eq!(acquire(&*signals, first, 1, lease).await, Acquired::Held(1));
    for _ in 0..2 {
        signals.release(&key("p"), first).await.expect("an answer");
    }
    assert_eq!(acquire(&*signals, second, 1, lease).await, Acquired::Held(1));
    signals.release(&key("p"), first).await.expect("an answer");
    assert!(matches!(acquire(&*signals, first, 1, lease).await, Acquired::Full { in_use: 1, .. }));
}

pub(super) async fn a_permit_is_over_after_its_lease_and_a_renewal_does_not_bring_it_back(
    backend: &impl SignalsBackend,
) {
    let (signals, step) = (backend.service().await, backend.step());
    let (first, second) = (id(), id());
    assert_eq!(acquire(&*signals, first, 2, 10 * step).await, Acquired::Held(1));
    assert_eq!(acquire(&*signals, second, 2, LONG * step).await, Acquired::Held(2));
    backend.pass_time(11 * step).await;
    let renewed = signals.renew_with(&key("p"), first, RenewOptions::new(step)).await.expect("an answer");
    assert_eq!(renewed, Renewed::Lost);
    assert_eq!(acquire(&*signals, id(), 2, step).await, Acquired::Held(2));
    let unknown = signals.renew_with(&key("q"), first, RenewOptions::new(step)).await.expect("an answer");
    assert_eq!(unknown, Renewed::Lost);
}

pub(super) async fn a_permit_that_is_renewed_is_held(backend: &impl SignalsBackend) {
    let (signals, step, holder) = (backend.service().await, backend.step(), id());
    assert_eq!(acquire(&*signals, holder, 1, LONG * step).await, Acquired::Held(1));
    let renew = async |lease| {
        let renewed = signals.renew_with(&key("p"), holder, RenewOptions::new(lease)).await;
        assert_eq!(renewed.expect("an answer"), Renewed::Held);
    };
    renew(2 * LONG * step).await;
    let Acquired::Full { retry_after, .. } = acquire(&*signals, id(), 1, step).await else { panic!("two") };
    assert!(retry_after > LONG * step, "{retry_after:?}");
    // A renewal may shorten the lease, too.
    renew(2 * step).await;
    backend.pass_time(3 * step).await;
    assert_eq!(acquire(&*signals, id(), 1, step).await, Acquired::Held(1));
}

pub(super) async fn permits_that_no_backend_gives_are_refused(backend: &impl SignalsBackend) {
    let signals = backend.service().await;
    let second = Duration::from_secs(1);
    for (most, lease) in [(0, second), (10_001, second), (1, Duration::ZERO), (1, Duration::MAX)] {
        let refused = signals.acquire_with(&key("p"), id(), AcquireOptions::new(most, lease)).await;
        assert_eq!(refused.expect_err("what cannot be").kind(), ErrorKind::InvalidInput);
    }
    let refused = signals.renew_with(&key("p"), id(), RenewOptions::new(Duration::ZERO)).await;
    assert_eq!(refused.expect_err("what cannot be").kind(), ErrorKind::InvalidInput);
}

//! What is held on a machine that is suspended, as laptops and virtual machines are: for everybody else its time goes on.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep};

use crate::term::suspend::suspend;
use crate::{Coordination, MemberInfo, MemoryCoordStore, MemorySignals};

const MINUTE: Duration = Duration::from_secs(60);

fn coordination() -> Coordination {
    Coordination::new(Arc::new(MemoryCoordStore::new())).with_signals(Arc::new(MemorySignals::new()))
}

/// Work that is at its first step when the machine is suspended, and must not come to its second.
async fn sleeps_through(length: Duration) -> Result<()> {
    suspend(length);
    tokio::task::yield_now().await;
    panic!("it went on");
}

fn is_lost<T: std::fmt::Debug>(answer: Result<T>) {
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_lock_is_lost_by_a_machine_that_is_suspended_for_longer_than_its_lease() {
    let guard = coordination().lock("a").lease(MINUTE).await.unwrap();
    suspend(MINUTE / 2);
    assert!(guard.is_held() && guard.expires_in() <= MINUTE / 2);
    guard.run(async { Ok::<_, Error>(()) }).await.unwrap();
    is_lost(guard.run(sleeps_through(MINUTE / 2)).await);
    assert!(!guard.is_held() && guard.expires_in().is_zero());
    is_lost(guard.release().await);
}

#[tokio::test]
async fn a_permit_is_lost_by_a_machine_that_is_suspended_for_longer_than_its_lease() {
    let coord = coordination();
    let permits = coord.permits("a", 1).lease(MINUTE / 20).wait(Duration::ZERO);
    let begun = Instant::now();
    let permit = permits.acquire().await.unwrap().expect("it is free");
    suspend(MINUTE / 40);
    assert!(permit.is_held());
    is_lost(permit.run(sleeps_through(MINUTE / 40)).await);
    assert!(!permit.is_held());
    is_lost(permit.release().await);
    sleep(MINUTE / 120).await;
    // What it was at may not have ended, and the store lets nobody in as long as it does not know better.
    assert!(permits.acquire().await.unwrap().is_none(), "it was given back too early");
    assert!(permits.wait(MINUTE / 4).acquire().await.unwrap().is_some(), "nobody has it");
    assert!(begun.elapsed() >= MINUTE / 20, "{:?}", begun.elapsed());
}

/// Whoever keeps it gives it up, too: nothing renews it behind its holder's back. Nor does anything free it before the store does:
/// a step of the holder may not have ended, and the wall clock may only have been set forward.
#[tokio::test]
async fn what_was_lost_by_a_machine_that_was_suspended_is_not_renewed() {
    let coord = coordination();
    let (begun, lease) = (Instant::now(), Duration::from_secs(4));
    let guard = coord.lock("a").lease(lease).await.unwrap();
    suspend(lease);
    guard.lost().await;
    assert!(!guard.is_held() && begun.elapsed() < lease / 2);
    is_lost(guard.release().await);
    assert!(begun.elapsed() < lease / 2);
    let other = tokio::time::timeout(3 * lease, coord.lock("a").wait(MINUTE)).await;
    assert!(other.expect("it was renewed").is_ok());
    assert!(begun.elapsed() >= lease, "{:?}", begun.elapsed());
}

/// A renewal is made before the lease is over, however much of it the machine has slept through.
#[tokio::test]
async fn what_is_held_is_renewed_soon_after_a_short_sleep() {
    let coord = coordination();
    let guard = coord.lock("a").lease(MINUTE).await.unwrap();
    let permit = coord.permits("a", 1).lease(MINUTE).acquire().await.unwrap().expect("it is free");
    sleep(Duration::from_millis(100)).await;
    suspend(MINUTE * 3 / 4);
    assert!(guard.is_held() && guard.expires_in() <= MINUTE / 4);
    sleep(Duration::from_secs(3)).await;
    assert!(guard.expires_in() > MINUTE / 2, "{:?}", guard.expires_in());
    suspend(MINUTE / 2);
    assert!(permit.is_held(), "it would be lost by now");
}

#[tokio::test]
async fn a_member_does_not_believe_that_it_is_listed_after_its_machine_was_suspended() {
    let joined = coordination().membership().heartbeat(MINUTE).join(MemberInfo::new("a")).await.unwrap();
    assert!(joined.is_listed());
    suspend(3 * MINUTE);
    assert!(!joined.is_listed());
}

/// By the time the machine is awake its key may be free, and somebody else's request under it may have been passed on.
#[cfg(feature = "tower")]
#[tokio::test]
async fn a_request_that_a_machine_was_suspended_in_does_nothing_more_after_its_lease() {
    use http::{Request, Response, StatusCode};
    use http_body_util::Full;
    use tower::{Layer as _, ServiceExt as _, service_fn};

    let layer = coordination().idempotency("orders", |_| Some("ada".to_owned())).lease(MINUTE);
    let orders = layer.layer(service_fn(async |_| {
        sleeps_through(MINUTE).await?;
        Ok::<_, Error>(Response::new(Full::<bytes::Bytes>::default()))
    }));
    let order = Request::post("/orders").header("idempotency-key", "k1").body(Full::<bytes::Bytes>::default());
    let answer = orders.oneshot(order.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Until then the store has the request under way: the wall clock may only have been set forward.
    let again: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((50..=60).contains(&again), "{again}");
}

//! What is held on a machine that is suspended, as laptops and virtual machines are: for everybody else its time goes on.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result};

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
    let permits = coord.permits("a", 1).lease(MINUTE);
    let permit = permits.acquire().await.unwrap().expect("it is free");
    suspend(MINUTE / 2);
    assert!(permit.is_held());
    is_lost(permit.run(sleeps_through(MINUTE / 2)).await);
    assert!(!permit.is_held());
    is_lost(permit.release().await);
    assert!(permits.acquire().await.unwrap().is_some(), "it was given back");
}

/// Whoever keeps it gives it up, too: nothing renews it behind its holder's back.
#[tokio::test]
async fn what_was_lost_by_a_machine_that_was_suspended_is_not_renewed() {
    let coord = coordination();
    let guard = coord.lock("a").lease(Duration::from_secs(6)).await.unwrap();
    suspend(Duration::from_secs(6));
    let lost = guard.lost();
    let other = tokio::time::timeout(Duration::from_secs(3), coord.lock("a").wait(MINUTE)).await;
    assert!(other.expect("before the lease is over by the other clock").is_ok());
    lost.await;
    assert!(!guard.is_held());
}

#[tokio::test]
async fn a_member_does_not_believe_that_it_is_listed_after_its_machine_was_suspended() {
    let joined = coordination().membership().heartbeat(MINUTE).join(MemberInfo::new("a")).await.unwrap();
    assert!(joined.is_listed());
    suspend(3 * MINUTE);
    assert!(!joined.is_listed());
}

/// By the time the machine is awake its key is free, and somebody else's request under it may have been passed on.
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
}

//! Times to live.

use statehouse_core::{ErrorKind, Version};

use super::kit::{CoordBackend, conflict, get, key, on, put_with};
use crate::api::CoordStoreExt as _;
use crate::capability::{DURABLE, SERVER_TIME, SHARED, SWEEPS};
use crate::coordination::Coordination;
use crate::options::{Condition, PutOptions};
use crate::outcome::RemoveOutcome;
use crate::single_use::Accepted;

/// Long enough that a loaded machine reads in time.
const LONG: u32 = 150;

fn lives(time: std::time::Duration) -> PutOptions {
    PutOptions::default().with_time_to_live(time)
}

pub(super) async fn a_record_says_how_long_it_lives(backend: &impl CoordBackend) {
    let store = backend.service().await;
    put_with(&*store, "a", "1", lives(LONG * backend.step())).await;
    backend.pass_time(backend.step()).await;
    let left = get(&*store, "a").await.expect("the record").expires_in.expect("a time to live");
    assert!(!left.is_zero() && left <= (LONG - 1) * backend.step(), "{left:?}");
    let outcome = store.put_with(&key("a"), "2".into(), on(Condition::Absent)).await.expect("an answer");
    let told = conflict(outcome).expect("the record").expires_in.expect("a time to live");
    assert!(!told.is_zero() && told <= left, "{told:?} after {left:?}");
}

pub(super) async fn an_expired_record_is_absent_for_every_method(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let mut versions = Vec::<Version>::new();
    for name in ["a", "b", "c"] {
        versions.push(put_with(&*store, name, "1", lives(2 * backend.step())).await);
    }
    backend.pass_time(3 * backend.step()).await;
    assert_eq!(get(&*store, "a").await, None);
    let outcome = store.put_with(&key("a"), "2".into(), on(Condition::Match(versions[0]))).await;
    assert_eq!(conflict(outcome.expect("an answer")), None);
    assert_eq!(store.remove(&key("b"), versions[1]).await.expect("an answer"), RemoveOutcome::Absent);
    assert!(store.scan("").await.expect("a page").records.is_empty());
    put_with(&*store, "c", "2", on(Condition::Absent)).await;
}

pub(super) async fn a_put_makes_a_record_live_anew(backend: &impl CoordBackend) {
    let store = backend.service().await;
    let first = put_with(&*store, "a", "1", lives(LONG * backend.step())).await;
    let short = lives(2 * backend.step()).with_condition(Condition::Match(first));
    put_with(&*store, "a", "2", short).await;
    backend.pass_time(3 * backend.step()).await;
    assert_eq!(get(&*store, "a").await, None);
    put_with(&*store, "a", "3", lives(LONG * backend.step())).await;
    backend.pass_time(3 * backend.step()).await;
    assert_eq!(get(&*store, "a").await.expect("it lives anew").value, "3");
}

pub(super) async fn a_put_without_a_time_to_live_makes_a_record_stay(backend: &impl CoordBackend) {
    let store = backend.service().await;
    put_with(&*store, "a", "1", lives(2 * backend.step())).await;
    put_with(&*store, "a", "2", PutOptions::default()).await;
    backend.pass_time(3 * backend.step()).await;
    let kept = get(&*store, "a").await.expect("it stays");
    assert_eq!((&kept.value[..], kept.expires_in), (&b"2"[..], None));
}

/// One of somebody who has died. Nobody gives it back.
pub(super) async fn a_claim_of_a_stranger_counts_for_its_time_and_is_free_then(backend: &impl CoordBackend) {
    let store = backend.service().await;
    for name in ["used/links/1", "idempotency/orders/1"] {
        let long = || lives(LONG * backend.step()).with_condition(Condition::Absent);
        let version = put_with(&*store, name, "1", long()).await;
        let outcome = store.put_with(&key(name), "2".into(), long()).await.expect("an answer");
        assert_eq!(conflict(outcome).expect("the claim").version, version);
        let short = lives(2 * backend.step());
        put_with(&*store, name, "1", short.clone().with_condition(Condition::Match(version))).await;
        backend.pass_time(3 * backend.step()).await;
        assert!(put_with(&*store, name, "2", short.with_condition(Condition::Absent)).await > version);
    }
}

pub(super) async fn a_token_is_accepted_once_or_refused_where_it_would_stay_or_be_forgotten(
    backend: &impl CoordBackend,
) {
    let store = backend.service().await;
    let coord = Coordination::new(std::sync::Arc::clone(&store));
    let links = coord.single_use("links", LONG * backend.step());
    let first = links.accept("x").await;
    let has = store.capabilities();
    let (goes, forgets) = (has.has(SERVER_TIME) || has.has(SWEEPS), has.has(SHARED) && !has.has(DURABLE));
    if !goes || forgets {
        assert_eq!(first.expect_err("it is not offered").kind(), ErrorKind::Unsupported);
        return;
    }
    assert_eq!(first.expect("an answer"), Accepted::First);
    assert_eq!(links.accept("x").await.expect("an answer"), Accepted::Before);
    let nonces = coord.single_use("nonces", 2 * backend.step());
    assert_eq!(nonces.accept("x").await.expect("an answer"), Accepted::First);
    backend.pass_time(3 * backend.step()).await;
    assert_eq!(nonces.accept("x").await.expect("an answer"), Accepted::First, "its time is over");
    assert_eq!(links.accept("x").await.expect("an answer"), Accepted::Before);
}

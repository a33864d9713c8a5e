//! The suite that every backend passes. One behavior of the [`Cache`] contract per case.
//!
//! A backend passes only how to make a cache:
//!
//! ```
//! # #[cfg(feature = "conformance")] mod example {
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use statehouse_cache::conformance::Subject;
//! use statehouse_cache::{Cache, MemoryCache, MemoryConfig};
//! use statehouse_core::ManualClock;
//!
//! struct InMemory { clock: ManualClock, cache: MemoryCache, other: MemoryCache }
//!
//! # #[async_trait::async_trait]
//! impl Subject for InMemory {
//!     async fn open(&self) -> Arc<dyn Cache> { Arc::new(self.cache.clone()) }
//!     async fn open_other(&self) -> Arc<dyn Cache> { Arc::new(self.other.clone()) }
//!     async fn pass(&self, time: Duration) { self.clock.advance(time) }
//! }
//!
//! async fn in_memory() -> InMemory {
//!     let clock = ManualClock::default();
//!     let new = || MemoryCache::new(MemoryConfig::default().with_clock(clock.clone()));
//!     InMemory { cache: new(), other: new(), clock }
//! }
//!
//! statehouse_cache::cache_conformance!(in_memory());
//! # }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::{Capability, CodecId, ErrorKind, Version};
use tokio::task::JoinHandle;

mod late;

#[doc(hidden)]
pub use late::*;

use crate::{
    Cache, CacheExt, CacheKey, Condition, Entry, Lease, MAX_TIME_TO_LIVE, MAX_VALUE_LEN, RemoveOptions, RemoveOutcome,
    Reservation, ReserveOptions, SetOptions, SetOutcome, TouchOutcome,
};

/// How to make and treat the caches of one test. Each test makes its own.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The cache under test, empty at first. Each call gives a handle to the same cache, as from another process if
    /// the backend has [`capability::SHARED`](crate::capability::SHARED).
    async fn open(&self) -> Arc<dyn Cache>;

    /// Another cache beside it, for example of another name in the same namespace.
    async fn open_other(&self) -> Arc<dyn Cache>;

    /// Lets time pass for the store: moves its clock, or sleeps.
    async fn pass(&self, time: Duration);
}

/// Emits a `#[tokio::test]` for each case of the suite; `$subject` is an expression for a future of a
/// [`Subject`](crate::conformance::Subject). The calling crate needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! cache_conformance {
    ($subject:expr) => {
        $crate::cache_conformance! { @each $subject;
            get_of_a_missing_key_is_none [];
            a_set_is_read_back_whole [];
            get_many_keeps_order_length_and_duplicates [];
            a_set_replaces_value_codec_version_and_time_to_live [];
            versions_rise_across_overwrite_removal_and_expiry [];
            set_if_absent_stores_only_the_first [];
            set_if_version_stores_only_on_that_version [];
            of_sixteen_racing_creators_one_wins_in_200_rounds [];
            of_sixteen_racing_updaters_one_wins [];
            remove_of_a_missing_key_is_ok [];
            remove_takes_the_entry_away [];
            remove_if_version_removes_only_that_version [];
            remove_on_the_condition_absent_is_refused [];
            an_entry_expires [];
            touch_prolongs_and_shortens_and_keeps_the_rest [];
            touch_never_brings_an_entry_back [];
            a_time_to_live_out_of_range_is_refused_and_nothing_written [];
            a_value_that_is_too_long_is_refused_and_nothing_written [];
            clear_ends_every_entry_and_later_ones_live [];
            clear_leaves_other_caches_alone [];
            keys_that_look_alike_are_different [];
            reserve_of_a_live_entry_is_a_hit [];
            a_lease_stores_once [];
            a_lease_is_no_entry [];
            two_reservations_share_a_lease_and_the_first_to_store_wins [];
            a_set_during_a_load_wins_over_it [];
            a_removal_during_a_load_ends_it [];
            a_clear_during_a_load_ends_it [];
            a_lease_expires [];
            a_lease_can_be_given_back [];
            reserve_replacing_a_version_counts_it_as_absent [];
            a_lease_that_is_held_is_left_to_its_holder [];
            a_lease_is_renewed_only_while_it_lives [];
            a_late_removal_leaves_what_is_newer [];
            a_late_removal_ends_what_was_being_loaded_before [];
            no_read_gives_what_was_loaded_before_a_removal [];
            no_read_gives_what_was_loaded_before_a_clear [];
            a_cancelled_set_leaves_the_old_entry_or_the_new_one [];
            every_handle_sees_every_write [SHARED];
            a_clear_by_one_handle_reaches_every_other [SHARED];
            health_is_up [];
        }
    };
    (@each $subject:expr; $($case:ident [$($capability:ident),*];)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let subject = $subject.await;
                let needs = [$($crate::capability::$capability),*];
                if $crate::conformance::applies(&subject, stringify!($case), &needs).await {
                    $crate::conformance::$case(&subject).await;
                }
            }
        )*
    };
}

/// Whether the backend has what a case needs. Prints the case as skipped if it has not.
#[doc(hidden)]
#[expect(clippy::print_stdout, reason = "a skipped case must be visible in the test's output")]
pub async fn applies(subject: &impl Subject, case: &str, needs: &[Capability]) -> bool {
    let capabilities = subject.open().await.capabilities();
    let missing = needs.iter().find(|capability| !capabilities.has(**capability));
    if let Some(missing) = missing {
        println!("skipped by capability: {case} needs {}", missing.name());
    }
    missing.is_none()
}

const LONG: Duration = Duration::from_secs(600);

fn key(text: &str) -> CacheKey {
    CacheKey::new(text).expect("a good key")
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn value(cache: &dyn Cache, key: &CacheKey) -> Option<Bytes> {
    cache.get(key).await.expect("a read that works").map(|entry| entry.value)
}

async fn store(cache: &dyn Cache, key: &CacheKey, text: &'static str) -> Version {
    cache.set(key, bytes(text), LONG).await.expect("a write that works")
}

fn stored(outcome: SetOutcome) -> Version {
    outcome.stored().expect("stored")
}

async fn set_if(cache: &dyn Cache, key: &CacheKey, text: &'static str, condition: Condition) -> SetOutcome {
    let options = SetOptions::new(LONG).with_condition(condition);
    cache.set_with(key, bytes(text), options).await.expect("a write that works")
}

async fn reserve(cache: &dyn Cache, key: &CacheKey) -> Lease {
    match cache.reserve_with(key, ReserveOptions::new(LONG)).await.expect("a reservation that works") {
        Reservation::Leased(lease) => lease,
        other => panic!("no lease where one was expected: {other:?}"),
    }
}

async fn late(cache: &dyn Cache, key: &CacheKey, lease: Lease) -> SetOutcome {
    set_if(cache, key, "late", Condition::Lease(lease)).await
}

#[doc(hidden)]
pub async fn get_of_a_missing_key_is_none(subject: &impl Subject) {
    let cache = subject.open().await;
    assert_eq!(cache.get(&key("a")).await.unwrap(), None);
    assert_eq!(cache.get_many(&[key("a"), key("b")]).await.unwrap(), [None, None]);
}

#[doc(hidden)]
pub async fn a_set_is_read_back_whole(subject: &impl Subject) {
    let cache = subject.open().await;
    let every_byte: Bytes = (0..=u8::MAX).collect();
    for (name, value) in [("empty", Bytes::new()), ("every byte", every_byte), ("1 MiB", vec![7; 1 << 20].into())] {
        let options = SetOptions::new(LONG).with_codec(CodecId::JSON);
        let version = stored(cache.set_with(&key(name), value.clone(), options).await.unwrap());
        let entry = cache.get(&key(name)).await.unwrap().unwrap();
        assert_eq!((&entry.value, entry.codec, entry.version), (&value, CodecId::JSON, version), "{name}");
        let off = entry.expires.since(entry.created).abs_diff(LONG);
        assert!(off <= Duration::from_millis(2), "{name}: the times are {off:?} off");
    }
}

#[doc(hidden)]
pub async fn get_many_keeps_order_length_and_duplicates(subject: &impl Subject) {
    let cache = subject.open().await;
    store(&*cache, &key("a"), "A").await;
    store(&*cache, &key("c"), "C").await;
    let keys = ["c", "b", "a", "c"].map(key);
    let read = cache.get_many(&keys).await.unwrap();
    let values: Vec<_> = read.into_iter().map(|entry| entry.map(|entry| entry.value)).collect();
    assert_eq!(values, [Some(bytes("C")), None, Some(bytes("A")), Some(bytes("C"))]);
    assert_eq!(cache.get_many(&[]).await.unwrap(), []);
}

#[doc(hidden)]
pub async fn a_set_replaces_value_codec_version_and_time_to_live(subject: &impl Subject) {
    let cache = subject.open().await;
    let short = SetOptions::new(Duration::from_millis(200)).with_codec(CodecId::JSON);
    let first = stored(cache.set_with(&key("a"), bytes("a longer value"), short).await.unwrap());
    let second = store(&*cache, &key("a"), "new").await;
    subject.pass(Duration::from_millis(400)).await;
    let entry = cache.get(&key("a")).await.unwrap().expect("the old time to live is gone");
    assert_eq!((entry.value, entry.codec, entry.version), (bytes("new"), CodecId::RAW, second));
    assert!(second > first);
}

#[doc(hidden)]
pub async fn versions_rise_across_overwrite_removal_and_expiry(subject: &impl Subject) {
    let cache = subject.open().await;
    let mut last = Version::default();
    for round in 0..20 {
        let version = cache.set(&key("a"), bytes("x"), Duration::from_millis(100)).await.unwrap();
        assert!(version > last, "{version} after {last}");
        last = version;
        match round % 4 {
            0 => assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Removed),
            1 if round == 1 => subject.pass(Duration::from_millis(150)).await,
            2 => cache.clear().await.unwrap(),
            _ => {}
        }
    }
}

#[doc(hidden)]
pub async fn set_if_absent_stores_only_the_first(subject: &impl Subject) {
    let cache = subject.open().await;
    let first = stored(set_if(&*cache, &key("a"), "first", Condition::Absent).await);
    let second = set_if(&*cache, &key("a"), "second", Condition::Absent).await;
    assert_eq!(second, SetOutcome::Conflict(Some(first)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("first")));
    cache.remove(&key("a")).await.unwrap();
    stored(set_if(&*cache, &key("a"), "third", Condition::Absent).await);
    cache.clear().await.unwrap();
    stored(set_if(&*cache, &key("a"), "fourth", Condition::Absent).await);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("fourth")));
}

#[doc(hidden)]
pub async fn set_if_version_stores_only_on_that_version(subject: &impl Subject) {
    let cache = subject.open().await;
    let none = set_if(&*cache, &key("a"), "x", Condition::Match(Version::new(1))).await;
    assert_eq!(none, SetOutcome::Conflict(None));
    assert_eq!(value(&*cache, &key("a")).await, None);
    let first = store(&*cache, &key("a"), "first").await;
    let second = stored(set_if(&*cache, &key("a"), "second", Condition::Match(first)).await);
    let stale = set_if(&*cache, &key("a"), "third", Condition::Match(first)).await;
    assert_eq!(stale, SetOutcome::Conflict(Some(second)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("second")));
    cache.remove(&key("a")).await.unwrap();
    let gone = set_if(&*cache, &key("a"), "fourth", Condition::Match(second)).await;
    assert_eq!(gone, SetOutcome::Conflict(None));
    assert_eq!(value(&*cache, &key("a")).await, None);
}

/// Sixteen tasks set the same key on the same condition; exactly one is stored, and its value stays.
async fn race(cache: &Arc<dyn Cache>, key: &CacheKey, condition: Condition) {
    let tasks: Vec<_> = (0..16_u8)
        .map(|racer| {
            let (cache, key) = (Arc::clone(cache), key.clone());
            tokio::spawn(async move {
                let options = SetOptions::new(LONG).with_condition(condition);
                let outcome = cache.set_with(&key, Bytes::copy_from_slice(&[racer]), options).await.unwrap();
                outcome.stored().map(|version| (racer, version))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.expect("a racer that does not panic"));
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let entry = cache.get(key).await.unwrap().expect("the winner's entry");
    assert_eq!((entry.value.as_ref(), entry.version), (&[winners[0].0][..], winners[0].1));
}

#[doc(hidden)]
pub async fn of_sixteen_racing_creators_one_wins_in_200_rounds(subject: &impl Subject) {
    let cache = subject.open().await;
    for round in 0..200 {
        race(&cache, &key(&format!("round {round}")), Condition::Absent).await;
    }
}

#[doc(hidden)]
pub async fn of_sixteen_racing_updaters_one_wins(subject: &impl Subject) {
    let cache = subject.open().await;
    for _ in 0..50 {
        let version = store(&*cache, &key("a"), "old").await;
        race(&cache, &key("a"), Condition::Match(version)).await;
    }
}

#[doc(hidden)]
pub async fn remove_of_a_missing_key_is_ok(subject: &impl Subject) {
    let cache = subject.open().await;
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Absent);
    let options = RemoveOptions::default().with_condition(Condition::Match(Version::new(1)));
    assert_eq!(cache.remove_with(&key("a"), options).await.unwrap(), RemoveOutcome::Absent);
}

#[doc(hidden)]
pub async fn remove_takes_the_entry_away(subject: &impl Subject) {
    let cache = subject.open().await;
    store(&*cache, &key("a"), "A").await;
    store(&*cache, &key("b"), "B").await;
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(value(&*cache, &key("a")).await, None);
    assert_eq!(value(&*cache, &key("b")).await, Some(bytes("B")));
}

#[doc(hidden)]
pub async fn remove_if_version_removes_only_that_version(subject: &impl Subject) {
    let cache = subject.open().await;
    let first = store(&*cache, &key("a"), "first").await;
    let second = store(&*cache, &key("a"), "second").await;
    let matching = |version| RemoveOptions::default().with_condition(Condition::Match(version));
    assert_eq!(cache.remove_with(&key("a"), matching(first)).await.unwrap(), RemoveOutcome::Conflict(second));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("second")));
    assert_eq!(cache.remove_with(&key("a"), matching(second)).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(value(&*cache, &key("a")).await, None);
}

#[doc(hidden)]
pub async fn remove_on_the_condition_absent_is_refused(subject: &impl Subject) {
    let cache = subject.open().await;
    let options = RemoveOptions::default().with_condition(Condition::Absent);
    assert_eq!(cache.remove_with(&key("a"), options).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[doc(hidden)]
pub async fn an_entry_expires(subject: &impl Subject) {
    let cache = subject.open().await;
    cache.set(&key("short"), bytes("x"), Duration::from_millis(300)).await.unwrap();
    cache.set(&key("least"), bytes("x"), Duration::from_nanos(1)).await.unwrap();
    store(&*cache, &key("long"), "x").await;
    assert!(value(&*cache, &key("short")).await.is_some());
    subject.pass(Duration::from_millis(350)).await;
    assert_eq!(value(&*cache, &key("short")).await, None);
    assert_eq!(value(&*cache, &key("least")).await, None);
    assert_eq!(cache.get_many(&[key("short")]).await.unwrap(), [None]);
    assert!(value(&*cache, &key("long")).await.is_some());
    stored(set_if(&*cache, &key("short"), "again", Condition::Absent).await);
}

#[doc(hidden)]
pub async fn touch_prolongs_and_shortens_and_keeps_the_rest(subject: &impl Subject) {
    let cache = subject.open().await;
    let options = SetOptions::new(Duration::from_millis(300)).with_codec(CodecId::JSON);
    let version = stored(cache.set_with(&key("a"), bytes("A"), options).await.unwrap());
    store(&*cache, &key("b"), "B").await;
    assert_eq!(cache.touch(&key("a"), LONG).await.unwrap(), TouchOutcome::Touched(version));
    assert!(matches!(cache.touch(&key("b"), Duration::from_millis(300)).await.unwrap(), TouchOutcome::Touched(_)));
    subject.pass(Duration::from_millis(350)).await;
    let entry: Entry = cache.get(&key("a")).await.unwrap().expect("prolonged");
    assert_eq!((entry.value, entry.codec, entry.version), (bytes("A"), CodecId::JSON, version));
    assert!(entry.expires.since(entry.created) >= LONG);
    assert_eq!(value(&*cache, &key("b")).await, None);
}

#[doc(hidden)]
pub async fn touch_never_brings_an_entry_back(subject: &impl Subject) {
    let cache = subject.open().await;
    assert_eq!(cache.touch(&key("never"), LONG).await.unwrap(), TouchOutcome::Absent);
    cache.set(&key("expired"), bytes("x"), Duration::from_millis(50)).await.unwrap();
    subject.pass(Duration::from_millis(100)).await;
    store(&*cache, &key("cleared"), "x").await;
    cache.clear().await.unwrap();
    for name in ["expired", "cleared"] {
        assert_eq!(cache.touch(&key(name), LONG).await.unwrap(), TouchOutcome::Absent, "{name}");
        assert_eq!(value(&*cache, &key(name)).await, None, "{name}");
    }
}

#[doc(hidden)]
pub async fn a_time_to_live_out_of_range_is_refused_and_nothing_written(subject: &impl Subject) {
    let cache = subject.open().await;
    store(&*cache, &key("a"), "A").await;
    for wrong in [Duration::ZERO, MAX_TIME_TO_LIVE + Duration::from_millis(1), Duration::MAX] {
        let refused = [
            cache.set(&key("a"), bytes("x"), wrong).await.map(|_| ()),
            cache.touch(&key("a"), wrong).await.map(|_| ()),
            cache.reserve_with(&key("b"), ReserveOptions::new(wrong)).await.map(|_| ()),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
        }
    }
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("A")));
    cache.set(&key("a"), bytes("x"), MAX_TIME_TO_LIVE).await.unwrap();
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("x")));
}

#[doc(hidden)]
pub async fn a_value_that_is_too_long_is_refused_and_nothing_written(subject: &impl Subject) {
    let cache = subject.open().await;
    store(&*cache, &key("a"), "A").await;
    let long = Bytes::from(vec![0; MAX_VALUE_LEN + 1]);
    assert_eq!(cache.set(&key("a"), long, LONG).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("A")));
}

#[doc(hidden)]
pub async fn clear_ends_every_entry_and_later_ones_live(subject: &impl Subject) {
    let cache = subject.open().await;
    cache.clear().await.unwrap();
    let keys: Vec<_> = (0..50).map(|n| key(&format!("key {n}"))).collect();
    for round in 0..3 {
        for key in &keys {
            store(&*cache, key, "x").await;
        }
        cache.clear().await.unwrap();
        assert!(cache.get_many(&keys).await.unwrap().iter().all(Option::is_none), "round {round}");
        assert_eq!(cache.remove(&keys[0]).await.unwrap(), RemoveOutcome::Absent);
        store(&*cache, &keys[1], "later").await;
        assert_eq!(value(&*cache, &keys[1]).await, Some(bytes("later")), "round {round}");
    }
}

#[doc(hidden)]
pub async fn clear_leaves_other_caches_alone(subject: &impl Subject) {
    let (cache, other) = (subject.open().await, subject.open_other().await);
    store(&*cache, &key("a"), "here").await;
    store(&*other, &key("a"), "there").await;
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("here")));
    cache.clear().await.unwrap();
    assert_eq!(value(&*cache, &key("a")).await, None);
    assert_eq!(value(&*other, &key("a")).await, Some(bytes("there")));
}

#[doc(hidden)]
pub async fn keys_that_look_alike_are_different(subject: &impl Subject) {
    let cache = subject.open().await;
    let (long, longer) = ("x".repeat(1023), "x".repeat(1024));
    let texts = [
        "a",
        "A",
        "a ",
        " a",
        "a:0",
        "a:1",
        "{a}",
        "{a}:0",
        "a}",
        "{a",
        "}",
        "{}",
        "%",
        "%7Ba%7D",
        "a/b",
        "a//b",
        "a/../b",
        "b",
        ".",
        "..",
        "../../other:a",
        "*",
        "\u{e9}",
        "e\u{301}",
        "generation",
        &long,
        &longer,
    ];
    let keys = texts.map(key);
    for (n, key) in keys.iter().enumerate() {
        cache.set(key, Bytes::from(n.to_string()), LONG).await.unwrap();
    }
    for (n, entry) in cache.get_many(&keys).await.unwrap().into_iter().enumerate() {
        assert_eq!(entry.expect("stored").value, n.to_string(), "{:?}", texts[n]);
    }
    cache.remove(&keys[0]).await.unwrap();
    let left = cache.get_many(&keys).await.unwrap().iter().flatten().count();
    assert_eq!(left, keys.len() - 1);
}

#[doc(hidden)]
pub async fn reserve_of_a_live_entry_is_a_hit(subject: &impl Subject) {
    let cache = subject.open().await;
    let version = store(&*cache, &key("a"), "A").await;
    match cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap() {
        Reservation::Hit(entry) => assert_eq!((entry.value, entry.version), (bytes("A"), version)),
        other => panic!("{other:?} for a live entry"),
    }
}

#[doc(hidden)]
pub async fn a_lease_stores_once(subject: &impl Subject) {
    let cache = subject.open().await;
    let lease = reserve(&*cache, &key("a")).await;
    let version = stored(set_if(&*cache, &key("a"), "loaded", Condition::Lease(lease)).await);
    assert!(version > lease.token());
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(Some(version)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("loaded")));
}

#[doc(hidden)]
pub async fn a_lease_is_no_entry(subject: &impl Subject) {
    let cache = subject.open().await;
    let lease = reserve(&*cache, &key("a")).await;
    assert_eq!(value(&*cache, &key("a")).await, None);
    assert_eq!(cache.touch(&key("a"), LONG).await.unwrap(), TouchOutcome::Absent);
    let matching = set_if(&*cache, &key("a"), "x", Condition::Match(lease.token())).await;
    assert_eq!(matching, SetOutcome::Conflict(None));
    stored(late(&*cache, &key("a"), lease).await);
    let lease = reserve(&*cache, &key("b")).await;
    assert_eq!(cache.remove(&key("b")).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(late(&*cache, &key("b"), lease).await, SetOutcome::Conflict(None));
}

#[doc(hidden)]
pub async fn two_reservations_share_a_lease_and_the_first_to_store_wins(subject: &impl Subject) {
    let cache = subject.open().await;
    let (first, second) = (reserve(&*cache, &key("a")).await, reserve(&*cache, &key("a")).await);
    assert_eq!(first, second);
    let version = stored(set_if(&*cache, &key("a"), "first", Condition::Lease(first)).await);
    assert_eq!(late(&*cache, &key("a"), second).await, SetOutcome::Conflict(Some(version)));
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("first")));
}

#[doc(hidden)]
pub async fn a_set_during_a_load_wins_over_it(subject: &impl Subject) {
    let cache = subject.open().await;
    for condition in [Condition::Always, Condition::Absent] {
        let lease = reserve(&*cache, &key("a")).await;
        let version = stored(set_if(&*cache, &key("a"), "set", condition).await);
        assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(Some(version)));
        assert_eq!(value(&*cache, &key("a")).await, Some(bytes("set")));
        cache.remove(&key("a")).await.unwrap();
        assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    }
}

#[doc(hidden)]
pub async fn a_removal_during_a_load_ends_it(subject: &impl Subject) {
    let cache = subject.open().await;
    let lease = reserve(&*cache, &key("a")).await;
    cache.remove(&key("a")).await.unwrap();
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    assert_eq!(value(&*cache, &key("a")).await, None);
    let next = reserve(&*cache, &key("a")).await;
    assert_ne!(next, lease);
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None), "beside the next lease");
    stored(set_if(&*cache, &key("a"), "next", Condition::Lease(next)).await);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("next")));
}

#[doc(hidden)]
pub async fn a_clear_during_a_load_ends_it(subject: &impl Subject) {
    let cache = subject.open().await;
    let lease = reserve(&*cache, &key("a")).await;
    cache.clear().await.unwrap();
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    assert_eq!(value(&*cache, &key("a")).await, None);
    let next = reserve(&*cache, &key("a")).await;
    assert_ne!(next, lease);
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None), "beside the next lease");
    stored(set_if(&*cache, &key("a"), "next", Condition::Lease(next)).await);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("next")));
}

#[doc(hidden)]
pub async fn a_lease_expires(subject: &impl Subject) {
    let cache = subject.open().await;
    let options = ReserveOptions::new(Duration::from_millis(100));
    let Reservation::Leased(lease) = cache.reserve_with(&key("a"), options.clone()).await.unwrap() else {
        panic!("a hit")
    };
    subject.pass(Duration::from_millis(150)).await;
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    let Reservation::Leased(short) = cache.reserve_with(&key("b"), options).await.unwrap() else { panic!("a hit") };
    assert_eq!(reserve(&*cache, &key("b")).await, short);
    subject.pass(Duration::from_millis(150)).await;
    stored(late(&*cache, &key("b"), short).await);
}

#[doc(hidden)]
pub async fn a_lease_can_be_given_back(subject: &impl Subject) {
    let cache = subject.open().await;
    let lease = reserve(&*cache, &key("a")).await;
    let options = RemoveOptions::default().with_condition(Condition::Lease(lease));
    assert_eq!(cache.remove_with(&key("a"), options.clone()).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(cache.remove_with(&key("a"), options.clone()).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(late(&*cache, &key("a"), lease).await, SetOutcome::Conflict(None));
    let version = store(&*cache, &key("a"), "A").await;
    assert_eq!(cache.remove_with(&key("a"), options).await.unwrap(), RemoveOutcome::Conflict(version));
}

#[doc(hidden)]
pub async fn reserve_replacing_a_version_counts_it_as_absent(subject: &impl Subject) {
    let cache = subject.open().await;
    let first = store(&*cache, &key("a"), "first").await;
    let second = store(&*cache, &key("a"), "second").await;
    let replacing = |version| ReserveOptions::new(LONG).with_replacing(version);
    let other = cache.reserve_with(&key("a"), replacing(first)).await.unwrap();
    assert!(matches!(other, Reservation::Hit(entry) if entry.version == second));
    let Reservation::Leased(lease) = cache.reserve_with(&key("a"), replacing(second)).await.unwrap() else {
        panic!("a hit of the version that counts as absent")
    };
    let third = stored(set_if(&*cache, &key("a"), "third", Condition::Lease(lease)).await);
    assert!(third > second);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("third")));
}

/// What the readers of [`load_against_invalidation`] share with the writer.
#[derive(Default)]
struct Truth {
    /// What a load reads.
    current: AtomicU64,
    /// The oldest value that a read which begins now may give.
    settled: AtomicU64,
    /// How many loads have read `current`.
    loads: AtomicU64,
    /// How many reads found an entry.
    hits: AtomicU64,
}

const ROUNDS: u64 = 100;

/// Readers load from a source of truth while a writer changes it and then invalidates. A read that begins after an
/// invalidation has returned must not give an older value, also when the store is under load on few cores.
async fn load_against_invalidation<F, Fut>(cache: Arc<dyn Cache>, invalidate: F)
where
    F: Fn(Arc<dyn Cache>, CacheKey) -> Fut,
    Fut: Future<Output = ()>,
{
    let (truth, hot) = (Arc::new(Truth::default()), key("hot"));
    let readers: Vec<_> =
        (0..8).map(|_| tokio::spawn(read_and_load(Arc::clone(&cache), hot.clone(), Arc::clone(&truth)))).collect();
    for round in 1..=ROUNDS {
        // Every other round is ended in the middle of a load, the rest once there is something to invalidate.
        let awaited = if round % 2 == 0 { &truth.hits } else { &truth.loads };
        let before = awaited.load(Ordering::SeqCst);
        truth.current.store(round, Ordering::SeqCst);
        invalidate(Arc::clone(&cache), hot.clone()).await;
        truth.settled.store(round, Ordering::SeqCst);
        while awaited.load(Ordering::SeqCst) == before && !readers.iter().any(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
    for reader in readers {
        reader.await.expect("no stale read");
    }
    assert!(truth.hits.load(Ordering::SeqCst) >= ROUNDS / 2 - 1, "the race was not run");
}

async fn read_and_load(cache: Arc<dyn Cache>, hot: CacheKey, truth: Arc<Truth>) {
    while truth.settled.load(Ordering::SeqCst) < ROUNDS {
        let least = truth.settled.load(Ordering::SeqCst);
        if let Some(entry) = cache.get(&hot).await.unwrap() {
            let seen = u64::from_le_bytes(entry.value.as_ref().try_into().expect("eight bytes"));
            assert!(seen >= least, "read {seen} after {least} was settled");
            truth.hits.fetch_add(1, Ordering::SeqCst);
        } else if let Reservation::Leased(lease) = cache.reserve_with(&hot, ReserveOptions::new(LONG)).await.unwrap() {
            let loaded = truth.current.load(Ordering::SeqCst);
            truth.loads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(loaded % 3)).await;
            let options = SetOptions::new(LONG).with_condition(Condition::Lease(lease));
            let value = Bytes::copy_from_slice(&loaded.to_le_bytes());
            let _ = cache.set_with(&hot, value, options).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

#[doc(hidden)]
pub async fn no_read_gives_what_was_loaded_before_a_removal(subject: &impl Subject) {
    let remove = |cache: Arc<dyn Cache>, key| async move {
        cache.remove(&key).await.unwrap();
    };
    load_against_invalidation(subject.open().await, remove).await;
}

#[doc(hidden)]
pub async fn no_read_gives_what_was_loaded_before_a_clear(subject: &impl Subject) {
    let clear = |cache: Arc<dyn Cache>, _| async move { cache.clear().await.unwrap() };
    load_against_invalidation(subject.open().await, clear).await;
}

#[doc(hidden)]
pub async fn a_cancelled_set_leaves_the_old_entry_or_the_new_one(subject: &impl Subject) {
    let cache = subject.open().await;
    let (old, new) = (Bytes::from(vec![1; 100_000]), Bytes::from(vec![2; 90_000]));
    for delay in 0..20 {
        cache.set(&key("a"), old.clone(), LONG).await.unwrap();
        let (setter, value) = (Arc::clone(&cache), new.clone());
        let task = tokio::spawn(async move { setter.set(&key("a"), value, LONG).await });
        for _ in 0..delay {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
        let entry = cache.get(&key("a")).await.unwrap().expect("one of both");
        assert!(entry.value == old || entry.value == new, "a mixture");
    }
}

#[doc(hidden)]
pub async fn every_handle_sees_every_write(subject: &impl Subject) {
    let (one, two) = (subject.open().await, subject.open().await);
    let first = store(&*one, &key("a"), "one").await;
    assert_eq!(value(&*two, &key("a")).await, Some(bytes("one")));
    stored(set_if(&*two, &key("a"), "two", Condition::Match(first)).await);
    assert_eq!(value(&*one, &key("a")).await, Some(bytes("two")));
    two.remove(&key("a")).await.unwrap();
    assert_eq!(value(&*one, &key("a")).await, None);
    let lease = reserve(&*one, &key("a")).await;
    assert_eq!(reserve(&*two, &key("a")).await, lease);
    two.remove(&key("a")).await.unwrap();
    assert_eq!(late(&*one, &key("a"), lease).await, SetOutcome::Conflict(None));
}

#[doc(hidden)]
pub async fn a_clear_by_one_handle_reaches_every_other(subject: &impl Subject) {
    let (one, two) = (subject.open().await, subject.open().await);
    for round in 0..5 {
        store(&*one, &key("a"), "A").await;
        assert!(value(&*two, &key("a")).await.is_some(), "round {round}");
        let lease = reserve(&*one, &key("b")).await;
        two.clear().await.unwrap();
        assert_eq!(late(&*one, &key("b"), lease).await, SetOutcome::Conflict(None), "round {round}");
        assert_eq!(one.get_many(&[key("a"), key("b")]).await.unwrap(), [None, None], "round {round}");
        stored(set_if(&*one, &key("a"), "A", Condition::Absent).await);
        assert!(value(&*two, &key("a")).await.is_some(), "round {round}: set after the other's clear");
    }
}

#[doc(hidden)]
pub async fn health_is_up(subject: &impl Subject) {
    let health = subject.open().await.health().await;
    assert!(health.is_up(), "{health:?}");
}

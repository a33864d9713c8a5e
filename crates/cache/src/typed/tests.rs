use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use statehouse_core::{Codec, Error, ErrorKind, ManualClock, SchemaId};
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::{Cache, CacheExt, CacheKey, Caches, MemoryCache, MemoryConfig, SetOptions, SetOutcome, TouchOutcome};

const MINUTE: Duration = Duration::from_secs(60);

/// Emits each case for a cache of typed values in memory and for one of bytes.
macro_rules! on_both_tiers {
    ($($(#[$attribute:meta])* async fn $case:ident($caches:ident: Caches) $body:block)*) => {
        $(mod $case {
            use super::*;

            async fn case($caches: Caches) $body

            $(#[$attribute])*
            async fn in_memory() {
                case(Caches::memory(MemoryConfig::default())).await;
            }

            $(#[$attribute])*
            async fn as_bytes() {
                case(bytes()).await;
            }
        })*
    };
}

mod away;
mod bounds;
mod crowd;
mod fenced;
mod large;
mod slow;
mod told;

/// Every cache of these is a byte cache; the same name gives the same bytes, whatever the schema.
fn bytes() -> Caches {
    let cache = MemoryCache::default();
    Caches::backend(move |_, _: SchemaId| Ok(Arc::new(cache.clone())))
}

fn open<V: CacheValue>(caches: &Caches) -> TypedCache<V> {
    caches.cache("test").time_to_live(MINUTE).open().unwrap()
}

fn never() -> std::future::Ready<Result<u32, io::Error>> {
    panic!("the loader must not be called")
}

/// Lets every other task run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

on_both_tiers! {
    #[tokio::test]
    async fn what_is_set_is_read(caches: Caches) {
        let cache = open::<String>(&caches);
        assert_eq!(cache.get("a").await.unwrap(), None);
        let version = cache.set("a", "A".to_owned()).await.unwrap();
        assert_eq!(cache.get("a").await.unwrap().as_deref().map(String::as_str), Some("A"));
        assert_eq!(cache.versioned("a").await.unwrap().unwrap().version, version);
        let many = cache.get_many(&["b", "a"]).await.unwrap();
        assert_eq!((many[0].as_deref(), many[1].as_deref().map(String::as_str)), (None, Some("A")));
        cache.invalidate("a").await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), None);
        cache.set("a", "B".to_owned()).await.unwrap();
        cache.clear().await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn conditions_reach_the_store(caches: Caches) {
        let cache = open::<u32>(&caches);
        let first = cache.set("a", 1).if_absent().await.unwrap().stored().unwrap();
        assert_eq!(cache.set("a", 2).if_absent().await.unwrap(), SetOutcome::Conflict(Some(first)));
        let second = cache.set("a", 3).if_version(first).await.unwrap().stored().unwrap();
        assert_eq!(cache.set("a", 4).if_version(first).await.unwrap(), SetOutcome::Conflict(Some(second)));
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&3));
        assert_eq!(cache.touch("a", MINUTE).await.unwrap(), TouchOutcome::Touched(second));
    }

    #[tokio::test]
    async fn bad_keys_and_times_are_refused(caches: Caches) {
        let cache = open::<u32>(&caches);
        for key in ["", "a\n", &"x".repeat(1025)] {
            assert_eq!(cache.get(key).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
            assert_eq!(cache.set(key, 1).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
            assert_eq!(cache.get_or_load(key, never).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
            assert_eq!(cache.invalidate(key).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
            assert_eq!(cache.get_many(&["a", key]).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        }
        let error = cache.set("a", 1).time_to_live(Duration::ZERO).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Some("cache.set")));
        let load = || async { Ok::<_, io::Error>(1) };
        let error = cache.get_or_load("a", load).time_to_live(Duration::ZERO).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Some("cache.get_or_load")));
    }

    #[tokio::test]
    async fn a_loaded_value_is_stored_and_a_hit_loads_nothing(caches: Caches) {
        let cache = open::<u32>(&caches);
        let local = String::from("22");
        let loaded = cache.get_or_load("a", || async { local.parse::<u32>() }).await.unwrap();
        assert_eq!(*loaded, 22);
        assert_eq!(*cache.get_or_load("a", never).await.unwrap(), 22);
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&22));
    }

    #[tokio::test]
    async fn ten_thousand_waiters_share_one_load(caches: Caches) {
        let cache = open::<u32>(&caches);
        let loads = AtomicUsize::new(0);
        let calls = (0..10_000).map(|_| {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                settle().await;
                Ok::<_, io::Error>(7)
            };
            cache.get_or_load("a", load).into_future()
        });
        assert!(join_all(calls).await.into_iter().all(|value| *value.unwrap() == 7));
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn loads_of_different_keys_do_not_wait_for_each_other(caches: Caches) {
        let cache = open::<u32>(&caches);
        let stuck = cache.get_or_load("stuck", std::future::pending::<Result<u32, io::Error>>).into_future();
        let mut stuck = std::pin::pin!(stuck);
        assert!(futures_util::poll!(&mut stuck).is_pending());
        assert_eq!(*cache.get_or_load("free", || async { Ok::<_, io::Error>(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn everybody_who_waits_gets_the_error_and_the_next_call_loads_again(caches: Caches) {
        let cache = open::<u32>(&caches);
        let loads = AtomicUsize::new(0);
        let calls = (0..100).map(|_| {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                settle().await;
                Err::<u32, _>(io::Error::other("the bank is closed"))
            };
            cache.get_or_load("a", load).into_future()
        });
        for result in join_all(calls).await {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::LoadFailed, Some("cache.get_or_load")));
            let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(cause.to_string(), "the bank is closed");
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert_eq!(*cache.get_or_load("a", || async { Ok::<_, io::Error>(8) }).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_cancelled_leader_hands_over(caches: Caches) {
        let cache = open::<u32>(&caches);
        let leader = cache.clone();
        let leader = tokio::spawn(async move {
            leader.get_or_load("a", std::future::pending::<Result<u32, io::Error>>).await
        });
        settle().await;
        let waiters: Vec<_> = (0..10)
            .map(|n| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.get_or_load("a", || async move { Ok::<_, io::Error>(n) }).await })
            })
            .collect();
        settle().await;
        leader.abort();
        let values: Vec<_> = join_all(waiters).await.into_iter().map(|value| *value.unwrap().unwrap()).collect();
        assert!(values.iter().all(|value| *value == values[0]), "one of those who waited loaded: {values:?}");
    }

    #[tokio::test]
    async fn a_panicking_leader_hands_over(caches: Caches) {
        let cache = open::<u32>(&caches);
        let (go, gone) = oneshot::channel::<()>();
        let leader = cache.clone();
        let leader = tokio::spawn(async move {
            let load = || async move {
                let _ = gone.await;
                panic!("the loader panics");
                #[expect(unreachable_code, reason = "names the type of the loader")]
                Ok::<u32, io::Error>(0)
            };
            leader.get_or_load("a", load).await
        });
        settle().await;
        let waiter = cache.clone();
        let waiter =
            tokio::spawn(async move { waiter.get_or_load("a", || async { Ok::<_, io::Error>(5) }).await });
        settle().await;
        go.send(()).unwrap();
        assert!(leader.await.unwrap_err().is_panic());
        assert_eq!(*waiter.await.unwrap().unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loader_that_takes_too_long_ends_for_everybody(caches: Caches) {
        let cache: TypedCache<u32> =
            caches.cache("test").time_to_live(MINUTE).load_timeout(Duration::from_secs(2)).open().unwrap();
        let start = tokio::time::Instant::now();
        let calls = (0..10).map(|_| {
            cache.get_or_load("a", std::future::pending::<Result<u32, io::Error>>).into_future()
        });
        for result in join_all(calls).await {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout);
        }
        assert!(start.elapsed() < Duration::from_secs(3), "one after the other");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loader_that_asks_for_its_own_key_times_out(caches: Caches) {
        let cache = open::<u32>(&caches);
        let load = || async {
            cache.get_or_load("a", never).await.map(|value| *value)
        };
        let error = cache.get_or_load("a", load).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn what_was_loaded_before_an_invalidation_is_not_stored_after_it(caches: Caches) {
        let cache = open::<u32>(&caches);
        for round in 0..3 {
            let (loading, proceed) = (Notify::new(), Notify::new());
            let load = || async {
                loading.notify_one();
                proceed.notified().await;
                Ok::<_, io::Error>(1)
            };
            let old = async { *cache.get_or_load("a", load).await.unwrap() };
            let invalidate = async {
                loading.notified().await;
                match round {
                    0 => cache.invalidate("a").await.unwrap(),
                    1 => cache.clear().await.unwrap(),
                    _ => {
                        cache.set("a", 2).await.unwrap();
                    }
                }
                proceed.notify_one();
            };
            let (old, ()) = tokio::join!(old, invalidate);
            assert_eq!(old, 1, "the caller gets what it loaded");
            let now = cache.get("a").await.unwrap();
            assert_eq!(now.as_deref().copied(), (round == 2).then_some(2), "round {round}");
            cache.invalidate("a").await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_calls_after_an_invalidation_never_gets_what_was_loaded_before(caches: Caches) {
        let cache = open::<u32>(&caches);
        let (loading, proceed) = (Notify::new(), Notify::new());
        let load = || async {
            loading.notify_one();
            proceed.notified().await;
            Ok::<_, io::Error>(1)
        };
        let early = cache.get_or_load("a", load).into_future();
        let late = async {
            loading.notified().await;
            cache.invalidate("a").await.unwrap();
            let call = cache.get_or_load("a", || async { Ok::<_, io::Error>(2) }).into_future();
            let mut call = std::pin::pin!(call);
            assert!(futures_util::poll!(&mut call).is_pending(), "it waits for the load under way");
            proceed.notify_one();
            *call.await.unwrap()
        };
        let (early, late) = tokio::join!(early, late);
        assert_eq!((*early.unwrap(), late), (1, 2));
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&2));
    }

    #[tokio::test]
    async fn handles_of_one_name_share_entries_and_loads(caches: Caches) {
        let (one, two) = (open::<u32>(&caches), open::<u32>(&caches));
        let stuck = one.get_or_load("a", std::future::pending::<Result<u32, io::Error>>).into_future();
        {
            let mut stuck = std::pin::pin!(stuck);
            assert!(futures_util::poll!(&mut stuck).is_pending());
            let mut waiting = std::pin::pin!(two.get_or_load("a", never).into_future());
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        one.set("a", 1).await.unwrap();
        assert_eq!(two.get("a").await.unwrap().as_deref(), Some(&1));
        let other = caches.cache::<String>("test").time_to_live(MINUTE).open().unwrap_err();
        assert_eq!(other.kind(), ErrorKind::InvalidConfig);
        let other = caches.cache::<u32>("test").time_to_live(MINUTE).capacity(1).open().unwrap_err();
        assert_eq!(other.setting(), Some("capacity"));
    }

    #[tokio::test]
    async fn what_cannot_be_encoded_is_refused_on_every_tier(caches: Caches) {
        // It would come back as `None`.
        let cache = open::<Option<Option<u32>>>(&caches);
        assert_eq!(cache.set("a", Some(None)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let load = || async { Ok::<_, io::Error>(Some(None)) };
        assert_eq!(cache.get_or_load("a", load).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn verify_codec_stores_what_comes_back(caches: Caches) {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Lossy {
            kept: u32,
            #[serde(skip)]
            lost: u32,
        }
        let cache = caches.cache::<Lossy>("test").time_to_live(MINUTE).verify_codec(VerifyCodec::Always).open().unwrap();
        let load = || async { Ok::<_, io::Error>(Lossy { kept: 1, lost: 2 }) };
        assert_eq!(*cache.get_or_load("a", load).await.unwrap(), Lossy { kept: 1, lost: 0 });
        assert_eq!(*cache.get("a").await.unwrap().unwrap(), Lossy { kept: 1, lost: 0 });
    }
}

#[test]
fn a_cache_without_a_time_to_live_or_with_a_bad_name_is_refused() {
    let caches = Caches::memory(MemoryConfig::default());
    let error = caches.cache::<u32>("rates").open().unwrap_err();
    assert_eq!(error.to_string(), "cache \"rates\": a time to live is required (setting time_to_live)");
    for name in ["", "Rates", "a:b", "a/b"] {
        let error = caches.cache::<u32>(name).time_to_live(MINUTE).open().unwrap_err();
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("name")), "{name:?}");
    }
    let error = caches.cache::<u32>("rates").time_to_live(Duration::ZERO).open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[cfg(feature = "postcard")]
#[test]
fn a_compact_codec_has_to_name_its_schema() {
    let caches = Caches::memory(MemoryConfig::default());
    let rates = || caches.cache::<u32>("rates").time_to_live(MINUTE);
    let error = rates().codec(Codec::Postcard).open().unwrap_err();
    assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("schema")), "{error}");
    rates().codec(Codec::Postcard).schema(0).open().unwrap();
    rates().open().unwrap();
}

#[tokio::test]
async fn values_expire_by_the_injected_clock() {
    let clock = ManualClock::default();
    let caches = Caches::memory(MemoryConfig::default().with_clock(clock.clone()));
    let cache = open::<u32>(&caches);
    let load = |value| move || async move { Ok::<_, io::Error>(value) };
    assert_eq!(*cache.get_or_load("a", load(1)).await.unwrap(), 1);
    assert_eq!(*cache.get_or_load("b", load(1)).time_to_live(MINUTE * 5).await.unwrap(), 1);
    clock.advance(MINUTE);
    assert_eq!(*cache.get_or_load("a", load(2)).await.unwrap(), 2);
    assert_eq!(*cache.get_or_load("b", load(2)).await.unwrap(), 1);
}

#[tokio::test]
async fn the_callers_weigher_bounds_the_memory() {
    let caches = Caches::memory(MemoryConfig::default());
    let cache = caches.cache::<u64>("test").time_to_live(MINUTE).capacity(1_000).weigher(|_, value| *value);
    let cache = cache.open().unwrap();
    for n in 0..500 {
        cache.set(n.to_string(), 10).await.unwrap();
    }
    assert!((500..=1_000).contains(&cache.core.tier.weight()), "{}", cache.core.tier.weight());
}

#[tokio::test]
async fn an_entry_weighs_its_encoded_length_its_key_and_the_overhead() {
    let cache = open::<String>(&Caches::memory(MemoryConfig::default()));
    cache.set("key", "x".repeat(1_000)).await.unwrap();
    assert_eq!(cache.core.tier.weight(), 1_003 + 3 + crate::memory::ENTRY_OVERHEAD);
}

#[tokio::test]
async fn a_failed_load_leaves_nothing_in_memory() {
    let cache = open::<u32>(&Caches::memory(MemoryConfig::default()));
    for n in 0..100 {
        let load = || async { Err::<u32, _>(io::Error::other("no")) };
        assert!(cache.get_or_load(n.to_string(), load).await.is_err());
    }
    assert_eq!(cache.core.tier.weight(), 0);
}

#[tokio::test]
async fn an_entry_of_another_codec_or_type_is_a_miss_and_is_replaced() {
    let raw = MemoryCache::default();
    let shared = raw.clone();
    let caches = Caches::backend(move |_, _| Ok(Arc::new(shared.clone())));
    let cache = open::<u32>(&caches);
    let key = CacheKey::new("a").unwrap();
    let foreign = [
        SetOptions::new(MINUTE).with_codec(statehouse_core::CodecId(200)),
        SetOptions::new(MINUTE).with_codec(Codec::default().id()),
    ];
    for options in foreign {
        let _ = raw.set_with(&key, bytes::Bytes::from_static(b"not a number at all"), options).await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), None);
        assert_eq!(*cache.get_or_load("a", || async { Ok::<_, io::Error>(9) }).await.unwrap(), 9);
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&9));
        assert_eq!(raw.get(&key).await.unwrap().unwrap().codec, statehouse_core::CodecId::MESSAGEPACK);
    }
    // A good value, and still not of this cache's codec: the bytes don't choose their decoder.
    let others = (0..=u8::MAX).map(statehouse_core::CodecId).filter_map(Codec::from_id);
    for other in others.filter(|codec| *codec != Codec::default()) {
        let value = other.encode(&7_u32).unwrap();
        let _ = raw.set_with(&key, value.into(), SetOptions::new(MINUTE).with_codec(other.id())).await.unwrap();
        assert_eq!(cache.get("a").await.unwrap(), None, "{other:?}");
        assert_eq!(cache.get_many(&["a"]).await.unwrap(), [None], "{other:?}");
        assert_eq!(*cache.get_or_load("a", || async { Ok::<_, io::Error>(9) }).await.unwrap(), 9, "{other:?}");
    }
}

#[tokio::test]
async fn a_backend_is_opened_once_to_be_asked_how_it_is() {
    let (opened, raw) = (Arc::new(AtomicUsize::new(0)), MemoryCache::default());
    let count = Arc::clone(&opened);
    let caches = Caches::backend(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(raw.clone()))
    });
    for _ in 0..3 {
        assert!(caches.health().await.is_up());
        let _ = caches.capabilities();
    }
    assert_eq!(opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn caches_say_what_each_of_them_can_do() {
    for caches in [Caches::memory(MemoryConfig::default()), bytes()] {
        assert_eq!(caches.capabilities(), open::<u32>(&caches).capabilities());
    }
}

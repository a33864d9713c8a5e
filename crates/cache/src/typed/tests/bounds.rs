//! What a cache in memory holds, and what becomes of what it cannot hold.

use super::*;

#[tokio::test]
async fn callers_share_one_loader_and_the_value_is_kept_in_the_callers_own_unit() {
    for capacity in [1, 2, 100] {
        let caches = Caches::memory(MemoryConfig::default());
        let cache = caches.cache::<u32>("test").time_to_live(MINUTE).capacity(capacity).weigher(|_, _| 1);
        let cache = cache.open().unwrap();
        let loads = AtomicUsize::new(0);
        let calls = (0..200).map(|_| {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                settle().await;
                Ok::<_, io::Error>(7)
            };
            cache.get_or_load("a", load).into_future()
        });
        assert!(join_all(calls).await.into_iter().all(|value| *value.unwrap() == 7));
        assert_eq!(loads.load(Ordering::SeqCst), 1, "capacity {capacity}");
        assert_eq!(*cache.get_or_load("a", never).await.unwrap(), 7, "capacity {capacity}");
    }
}

#[tokio::test]
async fn loads_beside_eviction_run_once_per_key() {
    let caches = Caches::memory(MemoryConfig::default());
    let cache = caches.cache::<u32>("test").time_to_live(MINUTE).max_entries(10).open().unwrap();
    let loads: Vec<_> = (0..50).map(|_| AtomicUsize::new(0)).collect();
    let calls = (0..1_000_usize).map(|n| {
        let loads = &loads[n % 50];
        let cache = &cache;
        async move {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                for other in 0..20 {
                    cache.set(format!("other {n} {other}"), 0).await.unwrap();
                    tokio::task::yield_now().await;
                }
                Ok::<_, Error>(7)
            };
            *cache.get_or_load((n % 50).to_string(), load).await.unwrap()
        }
    });
    assert!(join_all(calls).await.into_iter().all(|value| value == 7));
    assert!(loads.iter().all(|loads| loads.load(Ordering::SeqCst) == 1), "{loads:?}");
}

#[tokio::test]
async fn max_entries_bounds_the_number_whatever_they_weigh() {
    let by_url = Caches::memory(MemoryConfig::default().with_max_entries(100));
    let by_builder = Caches::memory(MemoryConfig::default());
    let by_url = by_url.cache::<String>("test").time_to_live(MINUTE).open().unwrap();
    let by_builder = by_builder.cache::<String>("test").time_to_live(MINUTE).max_entries(100).open().unwrap();
    for cache in [by_url, by_builder] {
        for n in 0..1_000 {
            cache.set(n.to_string(), "x".repeat(n)).await.unwrap();
        }
        assert!((90..=100).contains(&cache.core.tier.weight()), "{}", cache.core.tier.weight());
    }
}

#[test]
fn two_bounds_at_once_are_refused() {
    let open = |builder: CacheBuilder<u32>| builder.time_to_live(MINUTE).open().unwrap_err();
    let caches = Caches::memory(MemoryConfig::default());
    let errors =
        [open(caches.cache("a").max_entries(5).capacity(5)), open(caches.cache("a").max_entries(5).weigher(|_, _| 1))];
    for error in errors {
        assert_eq!((error.kind(), error.setting()), (ErrorKind::InvalidConfig, Some("max_entries")));
    }
    let _open = caches.cache::<u32>("a").time_to_live(MINUTE).max_entries(5).open().unwrap();
    assert_eq!(open(caches.cache("a").max_entries(6)).setting(), Some("max_entries"));
}

on_both_tiers! {
    #[tokio::test]
    async fn a_value_that_is_too_large_is_refused_and_the_old_one_stays(caches: Caches) {
        let cache = open::<String>(&caches);
        let version = cache.set("a", "small".to_owned()).await.unwrap();
        let large = || "x".repeat(65 << 20);
        let refused = [
            cache.set("a", large()).await.map(|_| ()).unwrap_err(),
            cache.set("a", large()).if_version(version).await.map(|_| ()).unwrap_err(),
            cache.set("b", large()).if_absent().await.map(|_| ()).unwrap_err(),
        ];
        for error in refused {
            assert_eq!((error.kind(), error.operation()), (ErrorKind::TooLarge, Some("cache.set")), "{error}");
        }
        assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&"small".to_owned()));
        assert_eq!(cache.get("b").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_loaded_value_that_is_too_large_is_given_to_all_who_wait_and_not_kept(caches: Caches) {
        let cache = open::<String>(&caches);
        for round in 1..=2 {
            let loads = AtomicUsize::new(0);
            let calls = (0..20).map(|_| {
                let load = || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    settle().await;
                    Ok::<_, io::Error>("x".repeat(65 << 20))
                };
                cache.get_or_load("a", load).into_future()
            });
            assert!(join_all(calls).await.into_iter().all(|value| value.unwrap().starts_with("xx")));
            assert_eq!(loads.load(Ordering::SeqCst), 1, "round {round}");
            assert_eq!(cache.get("a").await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn what_is_above_a_shards_share_of_the_memory_is_too_large() {
    let caches = Caches::memory(MemoryConfig::default());
    let cache = open::<String>(&caches);
    let mut refused = 0;
    for mebibytes in [1, 3, 5, 7, 9, 20, 40, 60] {
        let key = mebibytes.to_string();
        match cache.set(&key, "x".repeat(mebibytes << 20)).await {
            Ok(_) => assert!(cache.get(&key).await.unwrap().is_some(), "{mebibytes} MiB were stored and are gone"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TooLarge);
                refused += 1;
            }
        }
    }
    assert!(refused >= 1, "60 MiB of 64 are more than a shard");
    let bytes = MemoryCache::new(MemoryConfig::default().with_capacity(1_000));
    let long = bytes::Bytes::from(vec![0; 2_000]);
    assert_eq!(bytes.set(&CacheKey::new("a").unwrap(), long, MINUTE).await.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_cancelled_load_leaves_no_lease_behind() {
    let cache = open::<u32>(&Caches::memory(MemoryConfig::default()));
    {
        let stuck = cache.get_or_load("a", std::future::pending::<Result<u32, io::Error>>).into_future();
        let mut stuck = std::pin::pin!(stuck);
        assert!(futures_util::poll!(&mut stuck).is_pending());
    }
    let options = crate::ReserveOptions::new(MINUTE).with_holding(crate::Holding::Alone);
    let reserved = cache.core.tier.reserve(&CacheKey::new("a").unwrap(), options, cache.access()).await.unwrap();
    assert!(matches!(reserved, tier::Claim::Load(_)));
}

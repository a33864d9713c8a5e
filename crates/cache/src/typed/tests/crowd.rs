//! Many callers of one key: who loads, who waits, and for how long.

use tokio::time::{Instant, sleep};

use super::*;

const LOAD: Duration = Duration::from_millis(20);

on_both_tiers! {
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_more_than_one_load_that_began_before(caches: Caches) {
        let cache = open::<usize>(&caches);
        // What a load reads, and the oldest that a call which begins now may give.
        let (current, settled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let call = async || {
            let (begun, least) = (Instant::now(), settled.load(Ordering::SeqCst));
            let load = || async {
                let read = current.load(Ordering::SeqCst);
                sleep(LOAD).await;
                Ok::<_, io::Error>(read)
            };
            let value = *cache.get_or_load("a", load).await.unwrap();
            assert!(value >= least, "{value} after {least} was settled");
            // Its own look at the store may cost a step of waiting for another process.
            assert!(begun.elapsed() <= LOAD * 2 + Duration::from_millis(30), "it took {:?}", begun.elapsed());
        };
        let calls = (0..500_u64).map(|n| {
            let call = &call;
            async move {
                sleep(Duration::from_millis(n % 50)).await;
                call().await;
                call().await;
            }
        });
        let invalidate = async {
            loop {
                sleep(Duration::from_millis(4)).await;
                let next = current.fetch_add(1, Ordering::SeqCst) + 1;
                cache.invalidate("a").await.unwrap();
                settled.store(next, Ordering::SeqCst);
            }
        };
        futures_util::future::select(Box::pin(join_all(calls)), Box::pin(invalidate)).await;
        assert!(settled.load(Ordering::SeqCst) > 10, "the race was not run");
    }

    #[tokio::test]
    async fn who_called_before_a_load_began_shares_it_although_it_was_invalidated(caches: Caches) {
        let cache = open::<u32>(&caches);
        let (loading, proceed, loads) = (Notify::new(), Notify::new(), AtomicUsize::new(0));
        let load = || async {
            let number = u32::try_from(loads.fetch_add(1, Ordering::SeqCst)).unwrap();
            loading.notify_one();
            proceed.notified().await;
            Ok::<_, io::Error>(number)
        };
        let calls = join_all((0..100).map(|_| cache.get_or_load("a", load).into_future()));
        let invalidate = async {
            for _ in 0..2 {
                loading.notified().await;
                cache.invalidate("a").await.unwrap();
                proceed.notify_one();
            }
        };
        let (values, ()) = tokio::join!(calls, invalidate);
        let values: Vec<_> = values.into_iter().map(|value| *value.unwrap()).collect();
        assert_eq!((values[0], loads.load(Ordering::SeqCst)), (0, 2));
        assert!(values[1..].iter().all(|value| *value == 1), "{values:?}");
    }
}

/// Several processes on one cache of bytes.
fn processes(count: usize, clock: &ManualClock) -> Vec<TypedCache<u32>> {
    let shared = MemoryCache::new(MemoryConfig::default().with_clock(clock.clone()));
    let open = |_| {
        let shared = shared.clone();
        open(&Caches::backend(move |_, _| Ok(Arc::new(shared.clone()))))
    };
    (0..count).map(open).collect()
}

/// Moves a clock with tokio's, which stands still while anybody works.
struct Ticking(tokio::task::JoinHandle<()>);

impl Ticking {
    fn start(clock: &ManualClock) -> Self {
        let clock = clock.clone();
        Self(tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(100)).await;
                clock.advance(Duration::from_millis(100));
            }
        }))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn callers_in_eight_processes_share_one_loader_however_long_it_takes() {
    // The last is longer than a lease lives without being renewed.
    for time in [5, 200, 25_000].map(Duration::from_millis) {
        let clock = ManualClock::default();
        let (processes, loads) = (processes(8, &clock), AtomicUsize::new(0));
        let _ticking = Ticking::start(&clock);
        let calls = (0..400).map(|n| {
            let load = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                sleep(time).await;
                Ok::<_, io::Error>(7)
            };
            processes[n % 8].get_or_load("a", load).into_future()
        });
        let begun = Instant::now();
        assert!(join_all(calls).await.into_iter().all(|value| *value.unwrap() == 7));
        assert_eq!(loads.load(Ordering::SeqCst), 1, "{time:?}");
        assert!(begun.elapsed() <= time + Duration::from_millis(30), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_or_is_cancelled_in_one_process_is_taken_over_by_another() {
    let processes = processes(2, &ManualClock::default());
    let begun = Instant::now();
    let failing = processes[0].get_or_load("a", || async {
        sleep(LOAD).await;
        Err::<u32, _>(io::Error::other("no"))
    });
    let waiting = processes[1].get_or_load("a", || async { Ok::<_, io::Error>(2) });
    let (failed, loaded) = tokio::join!(failing.into_future(), waiting.into_future());
    assert_eq!((failed.unwrap_err().kind(), *loaded.unwrap()), (ErrorKind::LoadFailed, 2));

    let stuck = processes[0].clone();
    let stuck =
        tokio::spawn(async move { stuck.get_or_load("b", std::future::pending::<Result<u32, io::Error>>).await });
    settle().await;
    let waiting = processes[1].get_or_load("b", || async { Ok::<_, io::Error>(3) }).into_future();
    let cancel = async {
        sleep(LOAD).await;
        stuck.abort();
    };
    assert_eq!(*tokio::join!(waiting, cancel).0.unwrap(), 3);
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_in_the_middle_of_a_load_holds_nobody_up_for_long() {
    let clock = ManualClock::default();
    let shared = MemoryCache::new(MemoryConfig::default().with_clock(clock.clone()));
    let dead = crate::ReserveOptions::new(Duration::from_secs(10));
    assert!(matches!(
        shared.reserve_with(&CacheKey::new("a").unwrap(), dead).await.unwrap(),
        crate::Reservation::Leased(_)
    ));
    let cache = open::<u32>(&Caches::backend(move |_, _| Ok(Arc::new(shared.clone()))));
    let _ticking = Ticking::start(&clock);
    let begun = Instant::now();
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, io::Error>(5) }).await.unwrap(), 5);
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(9) && waited < Duration::from_secs(11), "{waited:?}");
}

#[tokio::test]
async fn errors_name_the_operation_the_cache_and_the_key() {
    let cache = open::<u32>(&Caches::memory(MemoryConfig::default()));
    let load = || async { Err::<u32, _>(io::Error::other("the bank is closed")) };
    let error = cache.get_or_load("EUR/USD", load).await.unwrap_err();
    assert_eq!(error.to_string(), "cache.get_or_load \"test:EUR/USD\": the value could not be loaded");
    let long = "x".repeat(2_000);
    for error in [cache.get(&long).await.unwrap_err(), cache.invalidate(&long).await.unwrap_err()] {
        assert!(error.key().unwrap().starts_with("test:xxx") && error.key().unwrap().len() < 80, "{error}");
    }
    let error = cache.set("a\nb", 1).await.unwrap_err();
    assert_eq!((error.operation(), error.key()), (Some("cache.set"), Some("test:a\\nb")));
}

#[tokio::test]
#[deny(unused_must_use)]
async fn a_write_on_no_condition_gives_a_version_that_nobody_must_use() {
    let cache = open::<u32>(&Caches::memory(MemoryConfig::default()));
    cache.set("a", 1).await.unwrap();
    let version = cache.set("a", 2).time_to_live(MINUTE).await.unwrap();
    assert_eq!(cache.versioned("a").await.unwrap().unwrap().version, version);
}

#[tokio::test]
async fn a_type_that_does_not_survive_its_codec_is_found_in_debug_builds() {
    #[derive(Debug, PartialEq, Serialize)]
    struct OneWay(u32);
    impl<'de> Deserialize<'de> for OneWay {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("never"))
        }
    }
    let caches = Caches::memory(MemoryConfig::default());
    let cache = open::<OneWay>(&caches);
    let error = cache.set("a", OneWay(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let load = || async { Ok::<_, io::Error>(OneWay(1)) };
    assert_eq!(cache.get_or_load("a", load).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let never = caches.cache("never").time_to_live(MINUTE).verify_codec(VerifyCodec::Never).open().unwrap();
    never.set("a", OneWay(1)).await.unwrap();
    assert_eq!(never.get("a").await.unwrap().as_deref(), Some(&OneWay(1)));
}

//! What operators are told: logs and metrics.

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::conformance::{Recorder, Warnings};
use statehouse_core::layer::Faults;
use statehouse_core::{Capabilities, Error, Health, Result};

use super::*;
use crate::{
    ClearOptions, Entry, GetOptions, LayeredCache, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions,
    TouchOptions,
};

const NAME: &str = "statehouse.cache.lookups cache=rates result";

fn rates<V: CacheValue>(caches: &Caches) -> TypedCache<V> {
    caches.cache("rates").time_to_live(MINUTE).open().unwrap()
}

/// A store that cannot be reached.
fn away() -> Caches {
    Caches::backend(|_, _| {
        let memory = Arc::new(MemoryCache::default());
        Ok(Arc::new(LayeredCache::new(memory, Faults::seeded(1).with_refused_calls(1.0))))
    })
}

async fn load(cache: &TypedCache<u32>, key: &str) -> u32 {
    *cache.get_or_load(key, || async { Ok::<_, io::Error>(7) }).await.unwrap()
}

#[tokio::test]
async fn lookups_are_counted_by_cache_and_result() {
    for caches in [Caches::memory(MemoryConfig::default()), bytes()] {
        let seen = Recorder::default();
        let _guard = metrics::set_default_local_recorder(&seen);
        let cache = rates::<u32>(&caches);
        assert_eq!(cache.get("somebody").await.unwrap(), None);
        assert_eq!(load(&cache, "somebody").await, 7);
        assert_eq!(load(&cache, "somebody").await, 7);
        assert_eq!(cache.get("somebody").await.unwrap().as_deref(), Some(&7));
        assert_eq!(cache.get_many(&["somebody", "else"]).await.unwrap().len(), 2);
        let counts: Vec<_> = seen.counts().into_iter().collect();
        assert_eq!(counts, [(format!("{NAME}=hit"), 3), (format!("{NAME}=miss"), 3)]);
    }
}

#[tokio::test]
async fn those_who_wait_for_a_load_have_missed_and_each_counts_once() {
    let seen = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let cache = rates::<u32>(&bytes());
    let slow = || async {
        tokio::task::yield_now().await;
        Ok::<_, io::Error>(7)
    };
    let all = join_all((0..10).map(|_| cache.get_or_load("a", slow).into_future())).await;
    assert!(all.into_iter().all(|value| value.is_ok()));
    assert_eq!(seen.counts().into_iter().collect::<Vec<_>>(), [(format!("{NAME}=miss"), 10)]);
}

#[tokio::test]
async fn what_goes_without_the_store_and_what_cannot_be_read_is_counted_apart() {
    let seen = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let cache = rates::<u32>(&away());
    assert_eq!(load(&cache, "a").await, 7);
    assert!(cache.get("a").await.is_err() && cache.get_many(&["a"]).await.is_err());
    assert_eq!(seen.counts().into_iter().collect::<Vec<_>>(), [(format!("{NAME}=bypass"), 3)]);

    let seen = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&seen);
    let caches = bytes();
    let texts: TypedCache<String> = caches.cache("texts").time_to_live(MINUTE).open().unwrap();
    texts.set("a", "text".to_owned()).await.unwrap();
    let cache = rates::<u32>(&caches);
    assert_eq!(cache.get("a").await.unwrap(), None);
    let counts: Vec<_> = seen.counts().into_iter().collect();
    assert_eq!(counts, [(format!("{NAME}=miss"), 1), (format!("{NAME}=stale"), 1)]);
}

#[tokio::test]
async fn a_thousand_loads_without_the_store_are_one_line() {
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let cache = rates::<u32>(&away());
    for n in 0..1000 {
        assert_eq!(load(&cache, &n.to_string()).await, 7);
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("cache.away") && lines[0].contains("cache=\"rates\""), "{lines:?}");
}

#[tokio::test]
async fn a_thousand_values_that_are_too_large_are_one_line() {
    let caches = Caches::memory(MemoryConfig::default());
    let cache: TypedCache<String> = caches.cache("rates").time_to_live(MINUTE).capacity(4_000).open().unwrap();
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    for n in 0..1000 {
        let text = cache.get_or_load(n.to_string(), || async { Ok::<_, io::Error>("x".repeat(10_000)) }).await;
        assert_eq!(text.unwrap().len(), 10_000);
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("cache.too_large"), "{lines:?}");
    assert!(["cache=\"rates\"", "reason=", "count=1"].iter().all(|part| lines[0].contains(part)), "{lines:?}");
    assert!(!lines[0].contains("xxx"), "no values: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_no_more_than_128_loads_run_at_once() {
    let cache = rates::<u32>(&away());
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let calls = (0..500).map(|n| {
        let load = || async {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, io::Error>(7)
        };
        cache.get_or_load(n.to_string(), load).into_future()
    });
    assert!(join_all(calls).await.into_iter().all(|value| value.is_ok()));
    assert_eq!(most.into_inner(), 128);
}

#[tokio::test]
async fn a_thousand_entries_of_another_build_are_one_line() {
    let caches = bytes();
    let texts: TypedCache<String> = caches.cache("texts").time_to_live(MINUTE).open().unwrap();
    texts.set("a", "text".to_owned()).await.unwrap();
    let cache = rates::<u32>(&caches);
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    for _ in 0..1000 {
        assert_eq!(cache.get("a").await.unwrap(), None);
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("cache.undecodable") && lines[0].contains("count=1"), "{lines:?}");
}

#[tokio::test]
async fn a_call_with_a_deadline_gives_it_to_the_store() {
    let cache = rates::<u32>(&Caches::backend(|_, _| Ok(Arc::new(Patient))));
    let hasty = cache.with_deadline(Duration::from_millis(30));
    let late = |error: Error| assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    late(hasty.get("a").await.unwrap_err());
    late(hasty.get_many(&["a"]).await.unwrap_err());
    late(hasty.set("a", 1).await.unwrap_err());
    late(hasty.set("a", 1).if_absent().await.unwrap_err());
    late(hasty.touch("a", MINUTE).await.unwrap_err());
    late(hasty.invalidate("a").await.unwrap_err());
    late(hasty.clear().await.unwrap_err());
    assert_eq!(load(&hasty, "a").await, 7, "it loads, as from a store that is away");
}

/// A store that never answers: calls to it end by their deadline.
#[derive(Debug)]
struct Patient;

async fn wait<T>(deadline: Option<Duration>) -> Result<T> {
    let Some(deadline) = deadline else { return std::future::pending().await };
    tokio::time::sleep(deadline).await;
    Err(Error::new(ErrorKind::Timeout, "no answer in time"))
}

#[async_trait]
impl Cache for Patient {
    async fn get_with(&self, _: &CacheKey, options: GetOptions) -> Result<Option<Entry>> {
        wait(options.deadline).await
    }

    async fn get_many_with(&self, _: &[CacheKey], options: GetOptions) -> Result<Vec<Option<Entry>>> {
        wait(options.deadline).await
    }

    async fn set_with(&self, _: &CacheKey, _: Bytes, options: SetOptions) -> Result<SetOutcome> {
        wait(options.deadline).await
    }

    async fn remove_with(&self, _: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        wait(options.deadline).await
    }

    async fn touch_with(&self, _: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        wait(options.deadline).await
    }

    async fn reserve_with(&self, _: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        wait(options.deadline).await
    }

    async fn clear_with(&self, options: ClearOptions) -> Result<()> {
        wait(options.deadline).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn health(&self) -> Health {
        Health::of("patient", Duration::ZERO, Ok(()))
    }
}

//! A store that answers slowly, where nothing else is wrong with it.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use statehouse_core::Result;
use statehouse_core::conformance::Warnings;
use statehouse_core::layer::Layer;

use super::*;
use crate::{LayeredCache, Outage};

const DELAY: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(1);

/// Answers after [`DELAY`] while it is told to, and counts what it is asked.
#[derive(Clone, Debug, Default)]
struct Slow {
    is_slow: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
}

impl Layer for Slow {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let done = work.await;
        if self.is_slow.load(Ordering::SeqCst) {
            tokio::time::sleep(DELAY).await;
        }
        done
    }
}

fn slow() -> (Slow, Caches) {
    let (slow, memory) = (Slow::default(), MemoryCache::default());
    let layer = slow.clone();
    let open = move |_: &str, _| -> Result<Arc<dyn Cache>> {
        Ok(Arc::new(LayeredCache::new(Arc::new(memory.clone()), layer.clone())))
    };
    (slow, Caches::backend(open))
}

async fn load(cache: &TypedCache<u32>, key: &str) -> (u32, Duration) {
    let begun = Instant::now();
    let value = *cache.get_or_load(key, || async { Ok::<_, io::Error>(7) }).await.unwrap();
    (value, begun.elapsed())
}

#[tokio::test]
async fn after_three_slow_answers_loaders_answer_until_one_is_fast_again() {
    let (slow, caches) = slow();
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(MINUTE).slow_after(LIMIT).open().unwrap();
    cache.set("hot", 1).await.unwrap();
    assert_eq!(load(&cache, "hot").await.0, 1);
    slow.is_slow.store(true, Ordering::SeqCst);
    let log = Warnings::default();
    let guard = tracing::subscriber::set_default(log.clone());
    for _ in 0..3 {
        let (value, took) = load(&cache, "hot").await;
        assert!(value == 1 && took >= DELAY, "{took:?}");
    }
    // Now and then one finds out for all, and waits for as long as the limit. Nobody else asks.
    let before = slow.calls.load(Ordering::SeqCst);
    let took: Vec<_> = join_all((0..500).map(|_| load(&cache, "hot"))).await;
    assert!(took.iter().all(|(value, _)| *value == 7), "{took:?}");
    let asked = slow.calls.load(Ordering::SeqCst) - before;
    assert!(asked <= 10, "{asked} of 500 asked a slow store");
    drop(guard);
    assert!(log.lines()[0].starts_with("cache.slow"), "{:?}", log.lines());
    slow.is_slow.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while load(&cache, "hot").await.0 != 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the store is not asked again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_cache_that_does_not_load_in_an_outage_waits_for_a_slow_store() {
    let (slow, caches) = slow();
    let cache = caches.cache::<u32>("rates").time_to_live(MINUTE).slow_after(LIMIT).on_outage(Outage::Fail);
    let cache = cache.open().unwrap();
    cache.set("hot", 1).await.unwrap();
    slow.is_slow.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(load(&cache, "hot").await.0, 1);
    }
}

//! A store that is away for a moment.

use std::sync::atomic::AtomicBool;

use statehouse_core::Result;
use statehouse_core::layer::Layer;

use super::*;
use crate::LayeredCache;

/// Refuses everything while it is told to.
#[derive(Clone, Debug, Default)]
struct Away(Arc<AtomicBool>);

impl Layer for Away {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        work.await
    }
}

fn away() -> (Away, TypedCache<u32>) {
    let (away, memory) = (Away::default(), MemoryCache::default());
    let layer = away.clone();
    let caches = Caches::backend(move |_: &str, _| -> Result<Arc<dyn Cache>> {
        Ok(Arc::new(LayeredCache::new(Arc::new(memory.clone()), layer.clone())))
    });
    (away, caches.cache("rates").time_to_live(MINUTE).open().unwrap())
}

#[tokio::test]
async fn who_calls_after_a_set_does_not_share_what_was_being_loaded_without_the_store() {
    for conditional in [false, true] {
        let (away, cache) = away();
        let (loading, proceed) = (Notify::new(), Notify::new());
        let slow = || async {
            loading.notify_one();
            proceed.notified().await;
            Ok::<_, io::Error>(1)
        };
        away.0.store(true, Ordering::SeqCst);
        let early = cache.get_or_load("a", slow).into_future();
        let set = async {
            loading.notified().await;
            away.0.store(false, Ordering::SeqCst);
            if conditional {
                assert!(cache.set("a", 2).if_absent().await.unwrap().stored().is_some());
            } else {
                cache.set("a", 2).await.unwrap();
            }
            // What the store has cannot be seen, so the next one joins the load that is under way, and must not share it.
            away.0.store(true, Ordering::SeqCst);
            let late = cache.get_or_load("a", || async { Ok::<_, io::Error>(5) }).into_future();
            let release = async { proceed.notify_one() };
            *tokio::join!(late, release).0.unwrap()
        };
        let (early, late) = tokio::join!(early, set);
        assert_eq!((*early.unwrap(), late), (1, 5));
    }
}

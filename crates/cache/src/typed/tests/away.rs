//! A store that is away for a moment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32};

use statehouse_core::Result;
use statehouse_core::layer::Layer;

use super::*;
use crate::{LayeredCache, Outage};

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

/// Two processes, of which the store is away from one.
#[tokio::test]
async fn who_calls_after_another_process_invalidated_does_not_share_what_was_being_loaded_without_the_store() {
    let (away, memory) = (Away::default(), MemoryCache::default());
    let (layer, shared) = (away.clone(), memory.clone());
    let cut_off = Caches::backend(move |_: &str, _| -> Result<Arc<dyn Cache>> {
        Ok(Arc::new(LayeredCache::new(Arc::new(shared.clone()), layer.clone())))
    });
    let well = Caches::backend(move |_: &str, _| -> Result<Arc<dyn Cache>> { Ok(Arc::new(memory.clone())) });
    let open = |caches: &Caches| -> TypedCache<u32> { caches.cache("rates").time_to_live(MINUTE).open().unwrap() };
    let (cut_off, well) = (open(&cut_off), open(&well));
    away.0.store(true, Ordering::SeqCst);
    let (loading, proceed, row, loads) = (Notify::new(), Notify::new(), AtomicU32::new(1), AtomicU32::new(0));
    let load = || async {
        let (found, number) = (row.load(Ordering::SeqCst), loads.fetch_add(1, Ordering::SeqCst));
        loading.notify_one();
        if number == 0 {
            proceed.notified().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, io::Error>(found)
    };
    let early = cut_off.get_or_load("a", load).into_future();
    let others = async {
        loading.notified().await;
        row.store(2, Ordering::SeqCst);
        well.invalidate("a").await.unwrap();
        let late = async { join_all((0..10).map(|_| cut_off.get_or_load("a", load).into_future())).await };
        tokio::join!(late, async { proceed.notify_one() }).0
    };
    let (early, late) = tokio::join!(early, others);
    assert_eq!(*early.unwrap(), 1);
    assert!(late.into_iter().all(|value| *value.unwrap() == 2), "older than the call");
    assert_eq!(loads.into_inner(), 2, "those that called later share one");
}

/// Keeps the first reservation waiting until it is told how that fails.
#[derive(Clone, Debug, Default)]
struct FirstFails(Arc<Mutex<Option<oneshot::Receiver<Error>>>>);

impl Layer for FirstFails {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let first = (operation == "cache.reserve").then(|| self.0.lock().unwrap().take()).flatten();
        match first {
            Some(fails) => Err(fails.await.unwrap()),
            None => work.await,
        }
    }
}

/// A cache whose first reservation fails as is told, opened to fail in an outage and to load.
fn first_fails() -> (oneshot::Sender<Error>, [TypedCache<u32>; 2]) {
    let (fail, fails) = oneshot::channel();
    let layer = FirstFails(Arc::new(Mutex::new(Some(fails))));
    let memory = MemoryCache::default();
    let caches = Caches::backend(move |_: &str, _| -> Result<Arc<dyn Cache>> {
        Ok(Arc::new(LayeredCache::new(Arc::new(memory.clone()), layer.clone())))
    });
    let open = |outage| caches.cache("rates").time_to_live(MINUTE).on_outage(outage).open().unwrap();
    (fail, [open(Outage::Fail), open(Outage::Load)])
}

#[tokio::test]
async fn a_hasty_caller_makes_nobody_fail_who_waits_for_longer() {
    let (fail, [strict, _]) = first_fails();
    let (hasty, hastier) = (strict.with_deadline(2 * MINUTE), strict.with_deadline(MINUTE));
    let load = || async { Ok::<_, io::Error>(7) };
    let leads = hasty.get_or_load("a", never).into_future();
    let patient = strict.get_or_load("a", load).into_future();
    let as_hasty = hastier.get_or_load("a", never).into_future();
    let release = async { fail.send(Error::new(ErrorKind::Timeout, "late")).unwrap() };
    let (leads, patient, as_hasty, ()) = tokio::join!(leads, patient, as_hasty, release);
    assert_eq!(*patient.unwrap(), 7);
    assert_eq!([leads, as_hasty].map(|lost| lost.unwrap_err().kind()), [ErrorKind::Timeout; 2]);
}

#[tokio::test]
async fn who_leads_and_fails_in_an_outage_makes_nobody_fail_who_loads_in_one() {
    let (fail, [strict, loads]) = first_fails();
    let leads = strict.get_or_load("a", never).into_future();
    let waits = loads.get_or_load("a", || async { Ok::<_, io::Error>(7) }).into_future();
    let as_strict = strict.get_or_load("a", never).into_future();
    let release = async { fail.send(Error::new(ErrorKind::Unavailable, "away")).unwrap() };
    let (leads, waits, as_strict, ()) = tokio::join!(leads, waits, as_strict, release);
    assert_eq!(*waits.unwrap(), 7);
    assert_eq!([leads, as_strict].map(|lost| lost.unwrap_err().kind()), [ErrorKind::Unavailable; 2]);
    assert!(loads.get("a").await.unwrap().is_none(), "it was loaded without the store");
}

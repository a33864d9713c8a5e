//! Readers, loads and invalidations at the same time.

use super::kit::*;

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
            let options = SetOptions::new(LONG).with_lease(lease);
            let value = Bytes::copy_from_slice(&loaded.to_le_bytes());
            let _ = cache.set_with(&hot, value, options).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn no_read_gives_what_was_loaded_before_a_removal(backend: &impl CacheBackend) {
    let remove = |cache: Arc<dyn Cache>, key| async move {
        let _ = cache.remove(&key).await.unwrap();
    };
    load_against_invalidation(backend.service().await, remove).await;
}

pub(super) async fn no_read_gives_what_was_loaded_before_a_clear(backend: &impl CacheBackend) {
    let clear = |cache: Arc<dyn Cache>, _| async move { cache.clear().await.unwrap() };
    load_against_invalidation(backend.service().await, clear).await;
}

pub(super) async fn a_cancelled_set_leaves_the_old_entry_or_the_new_one(backend: &impl CacheBackend) {
    let cache = backend.service().await;
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

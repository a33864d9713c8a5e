//! Many callers of one key, in several processes.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::*;

async fn processes(subject: &InRedis, count: usize) -> Vec<TypedCache<usize>> {
    let mut processes = Vec::new();
    for _ in 0..count {
        let caches = Caches::redis(subject.client().await, &subject.namespace);
        processes.push(caches.cache("rates").time_to_live(LONG).open().unwrap());
    }
    processes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_eight_processes_share_one_loader() {
    for subject in [single().await, cluster().await] {
        let processes = processes(&subject, 8).await;
        for round in 0..5 {
            let (key, loads) = (format!("cold {round}"), AtomicUsize::new(0));
            let calls = (0..400).map(|n| {
                let load = || async {
                    let number = loads.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(200)).await;
                    Ok::<_, io::Error>(number)
                };
                processes[n % 8].get_or_load(&key, load).into_future()
            });
            assert!(join_all(calls).await.into_iter().all(|value| *value.unwrap() == 0));
            assert_eq!(loads.load(Ordering::SeqCst), 1, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_loads_the_others_see_and_an_invalidation_reaches_all() {
    let processes = processes(&single().await, 2).await;
    let (one, two) = (&processes[0], &processes[1]);
    let load = |value: usize| move || async move { Ok::<_, io::Error>(value) };
    assert_eq!(*one.get_or_load("a", load(1)).await.unwrap(), 1);
    assert_eq!(*two.get_or_load("a", load(2)).await.unwrap(), 1);
    one.invalidate("a").await.unwrap();
    assert_eq!(*two.get_or_load("a", load(3)).await.unwrap(), 3);
    assert_eq!(one.get("a").await.unwrap().as_deref(), Some(&3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_a_key_that_is_always_invalidated_is_not_served_one_by_one() {
    let processes = processes(&single().await, 3).await;
    let (current, settled, loads) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let call = async |cache: &TypedCache<usize>| {
        let least = settled.load(Ordering::SeqCst);
        let load = || async {
            loads.fetch_add(1, Ordering::SeqCst);
            let read = current.load(Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
            Ok::<_, io::Error>(read)
        };
        let value = *cache.get_or_load("hot", load).await.unwrap();
        assert!(value >= least, "{value} after {least} was settled");
    };
    let calls = join_all((0..500).map(|n| {
        let (call, cache) = (&call, &processes[n % 2]);
        async move { call(cache).await }
    }));
    let invalidate = async {
        loop {
            sleep(Duration::from_millis(4)).await;
            let next = current.fetch_add(1, Ordering::SeqCst) + 1;
            processes[2].invalidate("hot").await.unwrap();
            settled.store(next, Ordering::SeqCst);
        }
    };
    let done = futures_util::future::select(Box::pin(calls), Box::pin(invalidate)).await;
    let futures_util::future::Either::Left(_) = done;
    // One by one it would be a load for each.
    let loads = loads.load(Ordering::SeqCst);
    assert!(loads <= 50, "{loads} loads for 500 callers");
}

#[tokio::test]
async fn a_write_that_has_returned_is_seen_although_the_cache_was_cleared_a_moment_before() {
    let subject = single().await;
    let (clearing, writing, reading) =
        (subject.cache("main").await, subject.cache("main").await, subject.cache("main").await);
    for round in 0..30_u32 {
        let name = key(&format!("{round}"));
        // The reader has just seen the generation that ends now.
        reading.get(&name).await.unwrap();
        let clear = async { clearing.clear().await.unwrap() };
        let write = async {
            sleep(Duration::from_millis(3)).await;
            writing.clear().await.unwrap();
        };
        // Somebody who knows the new generation writes while the clears are under way.
        let seen = async {
            sleep(Duration::from_millis(6)).await;
            let fresh = subject.cache("main").await;
            fresh.set(&name, Bytes::from_static(b"x"), LONG).await.unwrap();
            reading.get(&name).await.unwrap()
        };
        let ((), (), seen) = tokio::join!(clear, write, seen);
        assert!(seen.is_some(), "round {round}");
    }
}

#[tokio::test]
async fn keys_that_look_like_paths_stay_in_their_namespace() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    let texts = ["..", "../../x", "a/../b", "}:generation", "{%}:generation", "%", "x:cache:main:{a}:1"];
    for text in texts {
        stored(&cache, text, "v").await;
    }
    for text in texts {
        let place = place(&subject, text, 1);
        assert_eq!(raw(server, &[b"EXISTS", place.as_bytes()]).await, Reply::Integer(1), "{text}");
    }
}

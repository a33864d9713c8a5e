//! A server that is full and evicts nothing.

use statehouse_core::Retry;

use super::*;

/// Fills the server until it refuses to take more, and then takes some of its room away: what is free is not exact.
async fn fill(server: &RedisServer) {
    for n in 0..10_000_u32 {
        let name = format!("filler:{n}");
        if matches!(raw(server, &[b"SET", name.as_bytes(), &[b'x'; 10_000]]).await, Reply::Error(_)) {
            raw(server, &[b"CONFIG", b"SET", b"maxmemory", b"4mb"]).await;
            return;
        }
    }
    panic!("the server did not get full");
}

#[tokio::test]
async fn a_full_server_still_removes_and_clears_and_loaders_answer() {
    let server = RedisServer::builder().max_memory(6 << 20, "noeviction").start().await;
    let subject = InRedis::new(server.url());
    let open = async || -> TypedCache<u32> {
        let caches = Caches::redis(subject.client().await, &subject.namespace);
        caches.cache("rates").time_to_live(LONG).open().unwrap()
    };
    let (cache, other) = (open().await, open().await);
    for key in ["a", "b", "c"] {
        cache.set(key, 1).await.unwrap();
    }
    fill(&server).await;
    let load = |value| move || async move { Ok::<_, io::Error>(value) };
    let error = cache.set("d", 1).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::FULL), "{error:?}");
    assert_eq!(*cache.get_or_load("a", load(9)).await.unwrap(), 1, "a hit needs no room");
    assert_eq!(*cache.get_or_load("d", load(2)).await.unwrap(), 2);

    cache.invalidate("a").await.unwrap();
    assert_eq!(other.get("a").await.unwrap(), None);
    cache.clear().await.unwrap();
    assert_eq!(other.get_many(&["a", "b", "c"]).await.unwrap(), [None, None, None]);
    // Once more, where there is no generation any more.
    cache.invalidate("b").await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(*cache.get_or_load("b", load(3)).await.unwrap(), 3);

    // With room again everything is as it was, and what was cleared stays so.
    raw(&server, &[b"CONFIG", b"SET", b"maxmemory", b"100mb"]).await;
    assert_eq!(other.get("c").await.unwrap(), None);
    cache.set("b", 4).await.unwrap();
    assert_eq!(other.get_many(&["b", "c"]).await.unwrap()[0].as_deref(), Some(&4));
    assert_eq!(other.get("c").await.unwrap(), None);
}

#[tokio::test]
async fn on_a_full_server_an_entry_lives_as_much_longer_as_is_said() {
    let server = RedisServer::builder().max_memory(6 << 20, "noeviction").start().await;
    let subject = InRedis::new(server.url());
    let caches = Caches::redis(subject.client().await, &subject.namespace);
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(LONG).open().unwrap();
    cache.set("a", 1).await.unwrap();
    fill(&server).await;
    assert!(matches!(cache.touch("a", LONG * 2).await.unwrap(), TouchOutcome::Touched(_)));
    let Reply::Array(keys) = raw(&server, &[b"KEYS", b"test-*:a"]).await else { panic!("no keys") };
    let Reply::Integer(left) = raw(&server, &[b"PTTL", keys[0].text().unwrap().as_bytes()]).await else {
        panic!("no key")
    };
    assert!(keys.len() == 1 && left > 600_000, "{left} of {keys:?}");
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&1));
}

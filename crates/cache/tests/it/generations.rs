//! The generations of the groups of a cache: lost, planted, and on a server that is down.

use super::*;

async fn plant(server: &RedisServer, place: &str, what: &[&[u8]]) {
    raw(server, &[b"DEL", place.as_bytes()]).await;
    if let Some((verb, rest)) = what.split_first() {
        let command = [&[*verb, place.as_bytes()], rest].concat();
        assert!(!matches!(raw(server, &command).await, Reply::Error(_)), "{what:?}");
    }
}

#[tokio::test]
async fn a_lost_or_planted_generation_makes_entries_misses_and_never_brings_cleared_ones_back() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    let generation = generation_of(&subject, "a");
    let planted: [&[&[u8]]; 19] = [
        &[],
        &[b"SET", b""],
        &[b"SET", b"0"],
        &[b"SET", b"nonsense"],
        &[b"SET", b"1795223382034413x"],
        &[b"SET", b"17952233820344130"],
        &[b"SET", b"9007199254740992"],
        &[b"SET", b"2999999999999998"],
        &[b"SET", b"3000000000000000"],
        &[b"SET", b"18446744073709551615"],
        &[b"SET", b"inf"],
        &[b"SET", b"nan"],
        &[b"SET", b"-1"],
        &[b"SET", b"0x00000000000010"],
        &[b"SET", b"0000000000000000 1"],
        &[b"RPUSH", b"x"],
        &[b"HSET", b"x", b"y"],
        &[b"SADD", b"x"],
        &[b"XADD", b"*", b"x", b"y"],
    ];
    for what in planted {
        stored(&cache, "a", "old").await;
        cache.clear().await.unwrap();
        plant(server, &generation, what).await;
        for clear_first in [false, true] {
            let fresh = subject.cache("main").await;
            assert_eq!(fresh.get(&key("a")).await.unwrap(), None, "after {what:?}");
            if clear_first {
                plant(server, &generation, what).await;
                fresh.clear().await.unwrap();
                assert_eq!(fresh.get(&key("a")).await.unwrap(), None, "cleared after {what:?}");
            }
            let version = stored(&fresh, "a", "new").await;
            assert_eq!(fresh.get(&key("a")).await.unwrap().map(|entry| entry.version), Some(version), "{what:?}");
            let other = subject.cache("main").await;
            assert_eq!(other.get(&key("a")).await.unwrap().map(|entry| entry.version), Some(version), "{what:?}");
            other.clear().await.unwrap();
            assert_eq!(fresh.get(&key("a")).await.unwrap(), None, "cleared, {what:?}");
        }
        plant(server, &generation, what).await;
        let fresh = subject.cache("main").await;
        let reserved = fresh.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
        let Reservation::Leased(lease) = reserved else { panic!("{reserved:?} after {what:?}") };
        let options = SetOptions::new(LONG).with_lease(lease);
        let outcome = fresh.set_with(&key("a"), Bytes::from_static(b"loaded"), options).await.unwrap();
        assert!(outcome.stored().is_some(), "{what:?}");
        // What was stored under a generation is live as long as somebody plants it again.
        plant(server, &place(&subject, "a", 1), &[]).await;
        plant(server, &generation, what).await;
        let fresh = subject.cache("main").await;
        assert_eq!(fresh.remove(&key("a")).await.unwrap(), RemoveOutcome::Absent, "{what:?}");
        assert_eq!(fresh.touch(&key("a"), LONG).await.unwrap(), TouchOutcome::Absent, "{what:?}");
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_blocks_no_key_and_versions_rise() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    stored(&cache, "a", "value").await;
    let place = place(&subject, "a", 1);
    let mut record = Record::decode(&dump(&subject, &place).await).unwrap();
    record.version += 3_600_000_000;
    for (text, plain) in [("always", true), ("match", false)] {
        raw(server, &[b"SET", place.as_bytes(), &record.encode([7; 8])]).await;
        let ahead = cache.get(&key("a")).await.unwrap().unwrap().version;
        assert_eq!(ahead.get(), record.version);
        let condition = if plain { Condition::Always } else { Condition::Match(ahead) };
        let options = SetOptions::new(LONG).with_condition(condition);
        let outcome = cache.set_with(&key("a"), Bytes::from_static(b"new"), options).await.unwrap();
        assert_eq!(outcome.stored().map(Version::get), Some(record.version + 1), "{text}");
        let entry = cache.get(&key("a")).await.unwrap().unwrap();
        assert_eq!((entry.value.as_ref(), entry.version.get()), (&b"new"[..], record.version + 1), "{text}");
    }
    // A generation of the future is one like any other, and clearing goes on from there.
    raw(server, &[b"SET", generation_of(&subject, "a").as_bytes(), b"1999999999999999 1"]).await;
    let fresh = subject.cache("main").await;
    assert_eq!(fresh.get(&key("a")).await.unwrap(), None);
    stored(&fresh, "a", "new").await;
    fresh.clear().await.unwrap();
    assert_eq!(fresh.get(&key("a")).await.unwrap(), None);
    stored(&fresh, "a", "newer").await;
    assert!(fresh.get(&key("a")).await.unwrap().is_some());
}

/// The keys of a cluster's cache, by whether the group of each is reachable.
async fn by_reach(cache: &RedisCache, keys: &[CacheKey]) -> (Vec<CacheKey>, Vec<CacheKey>) {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for key in keys {
        match cache.get(key).await {
            Ok(_) => up.push(key.clone()),
            Err(_) => down.push(key.clone()),
        }
    }
    (up, down)
}

/// A cluster of which nobody takes over a shard that is down.
async fn without_failover() -> RedisCluster {
    let partial = RedisServer::builder().arg("--cluster-require-full-coverage", "no");
    RedisCluster::start_with(partial.arg("--cluster-replica-no-failover", "yes")).await
}

/// Kills the shard of `key 0`, and tells the keys that are still reached from those that are not.
async fn lose_a_shard(cluster: &RedisCluster, subject: &InRedis, keys: &[CacheKey]) -> (Vec<CacheKey>, Vec<CacheKey>) {
    let cache = subject.cache("main").await;
    cluster.primary_of(&place(subject, "key 0", 1)).await.unwrap().expect("an owner").kill();
    let begun = std::time::Instant::now();
    loop {
        let (up, down) = by_reach(&cache, keys).await;
        if !down.is_empty() {
            return (up, down);
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the killed shard answers");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_down_takes_its_own_keys_with_it_and_no_others() {
    let cluster = without_failover().await;
    let subject = InRedis::new(cluster.url());
    let (cache, fresh) = (subject.cache("main").await, subject.cache("main").await);
    let keys: Vec<_> = (0..300).map(|n| key(&format!("key {n}"))).collect();
    for key in &keys {
        cache.set(key, Bytes::from_static(b"old"), LONG).await.unwrap();
    }
    let (up, down) = lose_a_shard(&cluster, &subject, &keys).await;
    assert!((100..=280).contains(&up.len()), "{} of 300 keys are reachable", up.len());
    for key in &up {
        for cache in [&cache, &fresh] {
            cache.set(key, Bytes::from_static(b"new"), LONG).await.unwrap();
            assert_eq!(cache.get(key).await.unwrap().unwrap().value, "new");
        }
        let _ = fresh.remove(key).await.unwrap();
        let reserved = fresh.reserve_with(key, ReserveOptions::new(LONG)).await.unwrap();
        assert!(matches!(reserved, Reservation::Leased(_)));
        cache.set(key, Bytes::from_static(b"newer"), LONG).await.unwrap();
    }
    assert!(cache.get_many(&up).await.unwrap().iter().all(Option::is_some));
    assert!(cache.get(&down[0]).await.is_err());
    // What can be cleared is, and the caller is told that it was not all.
    let error = cache.clear().await.unwrap_err();
    assert!(error.message().contains("of the 32 groups"), "{error}");
    assert!(fresh.get_many(&up).await.unwrap().iter().all(Option::is_none));
}

/// It is replayed until all of it is done, and what it has reached already is not cleared again each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clear_that_a_shard_misses_costs_the_others_nothing() {
    let cluster = without_failover().await;
    let subject = InRedis::new(cluster.url());
    let open = async || -> TypedCache<u32> {
        let caches = Caches::redis(subject.client().await, &subject.namespace);
        caches.cache("main").schema(1).time_to_live(LONG).open().unwrap()
    };
    let (cache, other) = (open().await, open().await);
    let keys: Vec<_> = (0..100).map(|n| key(&format!("key {n}"))).collect();
    for key in &keys {
        cache.set(key, 1).await.unwrap();
    }
    let (up, down) = lose_a_shard(&cluster, &subject, &keys).await;
    assert!(cache.clear().await.is_err());
    // So is an invalidation where nobody answers.
    assert!(cache.invalidate(&down[0]).await.is_err());
    for (n, key) in up.iter().enumerate() {
        let by = if n % 2 == 0 { &cache } else { &other };
        assert_eq!(*by.get_or_load(key, || async { Ok::<_, io::Error>(2) }).await.unwrap(), 2);
    }
    for round in 0..10 {
        for cache in [&cache, &other] {
            let found = cache.get_many(&up).await.unwrap();
            assert!(found.iter().all(|value| value.as_deref() == Some(&2)), "round {round}: {found:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for key in &down {
        let error = cache.get(key).await.unwrap_err();
        assert!([ErrorKind::Unavailable, ErrorKind::Timeout].contains(&error.kind()), "{error:?}");
    }
}

#[tokio::test]
async fn a_clear_that_is_repeated_leaves_alone_what_it_has_cleared() {
    let subject = single().await;
    let (cache, other) = (subject.cache("main").await, subject.cache("main").await);
    let before = std::time::Instant::now();
    stored(&cache, "a", "old").await;
    let repeated = ClearOptions::default().with_since(before);
    cache.clear_with(repeated.clone()).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), None, "it was not cleared since");
    stored(&cache, "a", "new").await;
    cache.clear_with(repeated.clone()).await.unwrap();
    assert!(cache.get(&key("a")).await.unwrap().is_some(), "it was cleared since");
    other.clear_with(repeated).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), None, "by somebody who does not know of it");
    stored(&cache, "a", "newer").await;
    cache.clear_with(ClearOptions::default().with_since(std::time::Instant::now())).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), None, "it was asked for later");
}

/// A replica was promoted whose clock is behind that of its old master: nobody can tell how old an entry of the future is.
#[tokio::test]
async fn a_late_removal_takes_what_a_server_with_a_clock_ahead_has_stored() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    let place = place(&subject, "a", 1);
    let late = RemoveOptions::default().with_min_age(Duration::from_secs(5));
    for (lead, taken) in [(3_600_000_000, true), (0, false)] {
        stored(&cache, "a", "value").await;
        let mut record = Record::decode(&dump(&subject, &place).await).unwrap();
        (record.version, record.created) = (record.version + lead, record.created + lead);
        raw(server, &[b"SET", place.as_bytes(), &record.encode([7; 8])]).await;
        let outcome = cache.remove_with(&key("a"), late.clone()).await.unwrap();
        assert_eq!(outcome == RemoveOutcome::Removed, taken, "{lead}: {outcome:?}");
        assert_eq!(cache.get(&key("a")).await.unwrap().is_none(), taken, "{lead}");
        // What is written from now on has a later version all the same.
        let version = stored(&cache, "a", "new").await;
        assert_eq!(cache.get(&key("a")).await.unwrap().map(|entry| entry.version), Some(version));
        let _ = cache.remove(&key("a")).await.unwrap();
    }
}

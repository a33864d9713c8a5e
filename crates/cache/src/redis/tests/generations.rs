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
    let mut record = Record::decode(dump(&subject, &place).await.into()).unwrap();
    record.version += 3_600_000_000;
    for (text, plain) in [("always", true), ("match", false)] {
        raw(server, &[b"SET", place.as_bytes(), &record::tests::encode(&record, [7; 8])]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_down_takes_its_own_keys_with_it_and_no_others() {
    let cluster = RedisCluster::start().await;
    for node in cluster.nodes() {
        raw(node, &[b"CONFIG", b"SET", b"cluster-require-full-coverage", b"no"]).await;
        // Nobody takes the shard over.
        raw(node, &[b"CONFIG", b"SET", b"cluster-replica-no-failover", b"yes"]).await;
    }
    let subject = InRedis { url: cluster.url(), namespace: namespace() };
    let (cache, fresh) = (subject.cache("main").await, subject.cache("main").await);
    let keys: Vec<_> = (0..300).map(|n| key(&format!("key {n}"))).collect();
    for key in &keys {
        cache.set(key, Bytes::from_static(b"old"), LONG).await.unwrap();
    }
    cluster.primary_of(&place(&subject, "key 0", 1)).await.unwrap().expect("an owner").kill();
    let begun = std::time::Instant::now();
    let (up, down) = loop {
        let (up, down) = by_reach(&cache, &keys).await;
        if !down.is_empty() {
            break (up, down);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the killed shard answers");
    };
    assert!((100..=280).contains(&up.len()), "{} of 300 keys are reachable", up.len());
    for key in &up {
        for cache in [&cache, &fresh] {
            cache.set(key, Bytes::from_static(b"new"), LONG).await.unwrap();
            assert_eq!(cache.get(key).await.unwrap().unwrap().value, "new");
        }
        fresh.remove(key).await.unwrap();
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

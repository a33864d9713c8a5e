//! Redis: what is stored there, and what becomes of it under other schemas, in a server that evicts, and without one.

use super::*;

#[tokio::test]
async fn what_is_stored_is_a_stamped_record_that_ends() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let version = stored(&subject.cache("main").await, "a", "value").await;
    let place = place(&subject, "a", 1);
    let record = Record::decode(&dump(&subject, &place).await).unwrap();
    assert_eq!((record.version, record.schema), (version.get(), SchemaId(1)));
    assert_eq!(record.payload.as_ref(), b"value");
    assert_eq!(record.expires - record.created / 1000, 600_000);
    let Reply::Integer(left) = raw(server, &[b"PTTL", place.as_bytes()]).await else { panic!("no time to live") };
    assert!((590_000..=600_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_truncated_or_changed_record_is_a_miss_and_is_replaced() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let (cache, place) = (subject.cache("main").await, place(&subject, "a", 1));
    stored(&cache, "a", "value").await;
    let good = dump(&subject, &place).await;
    let mut damaged: Vec<Vec<u8>> = [0, 1, 55, 71, 72, good.len() - 1].map(|end| good[..end].to_vec()).into();
    damaged.push([good.as_slice(), b"x"].concat());
    damaged.extend((0..good.len()).map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        bad
    }));
    for (n, bad) in damaged.iter().enumerate() {
        raw(server, &[b"SET", place.as_bytes(), bad]).await;
        assert_eq!(cache.get(&key("a")).await.unwrap(), None, "damage {n}");
        let Reservation::Leased(lease) = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap() else {
            panic!("damage {n} is a hit")
        };
        let options = SetOptions::new(LONG).with_lease(lease);
        let outcome = cache.set_with(&key("a"), Bytes::from_static(b"value"), options).await.unwrap();
        assert!(outcome.stored().is_some(), "damage {n}");
        assert!(cache.get(&key("a")).await.unwrap().is_some(), "damage {n}");
    }
    raw(server, &[b"DEL", place.as_bytes()]).await;
    raw(server, &[b"RPUSH", place.as_bytes(), b"a list"]).await;
    assert_eq!(cache.get_many(&[key("a"), key("b")]).await.unwrap(), [None, None]);
    stored(&cache, "a", "value").await;
    assert!(cache.get(&key("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn schemas_have_entries_of_their_own_and_end_each_others_old_ones() {
    let subject = single().await;
    let of = |schema| {
        let subject = &subject;
        async move {
            let client = subject.client().await;
            RedisCache::new(client, &subject.namespace, "main", SchemaId(schema)).unwrap()
        }
    };
    let (old, new) = (of(1).await, of(2).await);
    let load = async |cache: &RedisCache, text: &'static str| {
        let reserved = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
        let Reservation::Leased(lease) = reserved else { panic!("a hit") };
        let options = SetOptions::new(LONG).with_lease(lease);
        cache.set_with(&key("a"), Bytes::from_static(text.as_bytes()), options).await.unwrap().stored().unwrap();
    };
    load(&old, "1").await;
    load(&new, "2").await;
    assert_eq!(old.get(&key("a")).await.unwrap().unwrap().value, "1", "a load is no news to the other schema");
    assert_eq!(new.get(&key("a")).await.unwrap().unwrap().value, "2");
    let _ = new.remove(&key("a")).await.unwrap();
    assert_eq!(old.get(&key("a")).await.unwrap(), None, "removed under the new schema");
    load(&new, "2").await;
    stored(&old, "a", "changed").await;
    assert_eq!(new.get(&key("a")).await.unwrap(), None, "set under the old schema");
    load(&new, "3").await;
    new.clear().await.unwrap();
    assert_eq!(old.get(&key("a")).await.unwrap(), None, "cleared under the new schema");
}

#[tokio::test]
async fn a_write_under_one_schema_ends_the_entries_of_all_others_however_far_apart() {
    for subject in [single().await, cluster().await] {
        let client = subject.client().await;
        let of = |schema| RedisCache::new(client.clone(), &subject.namespace, "main", SchemaId(schema)).unwrap();
        let all = [0, 1, 3, 10, 31, u32::MAX].map(of);
        let write = async |cache: &RedisCache, verb: &str| match verb {
            "set" => drop(stored(cache, "a", "new").await),
            "set_if" => {
                let options = SetOptions::new(LONG).with_condition(Condition::Absent);
                let _ = cache.remove(&key("a")).await.unwrap();
                let outcome = cache.set_with(&key("a"), Bytes::from_static(b"new"), options).await.unwrap();
                assert!(outcome.stored().is_some());
            }
            _ => drop(cache.remove(&key("a")).await.unwrap()),
        };
        for (writer, verb) in (0..all.len()).flat_map(|n| ["set", "set_if", "remove"].map(|verb| (n, verb))) {
            for cache in &all {
                let reserved = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
                if let Reservation::Leased(lease) = reserved {
                    let options = SetOptions::new(LONG).with_lease(lease);
                    cache.set_with(&key("a"), Bytes::from_static(b"old"), options).await.unwrap().stored().unwrap();
                }
            }
            for cache in &all {
                assert!(cache.get(&key("a")).await.unwrap().is_some(), "a load is no news to the others");
            }
            write(&all[writer], verb).await;
            for (reader, cache) in all.iter().enumerate().filter(|(reader, _)| *reader != writer) {
                assert_eq!(cache.get(&key("a")).await.unwrap(), None, "{verb} by {writer}, read by {reader}");
            }
        }
    }
}

/// What a removal forbids is what there was before it, whichever schema stored it.
#[tokio::test]
async fn a_late_removal_ends_older_entries_of_other_schemas_beside_a_newer_one_of_its_own() {
    for subject in [single().await, cluster().await] {
        let client = subject.client().await;
        let of = |schema| RedisCache::new(client.clone(), &subject.namespace, "main", SchemaId(schema)).unwrap();
        let [old, leased, own, young, none] = [1, 2, 3, 4, 5].map(of);
        let reserve = async |cache: &RedisCache| {
            let reserved = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
            let Reservation::Leased(lease) = reserved else { panic!("a hit") };
            SetOptions::new(LONG).with_lease(lease)
        };
        let store = async |cache: &RedisCache, options| {
            cache.set_with(&key("a"), Bytes::from_static(b"loaded"), options).await.unwrap().stored()
        };
        // All that the generation names.
        stored(&none, "b", "b").await;
        store(&old, reserve(&old).await).await.unwrap();
        let early = reserve(&leased).await;
        tokio::time::sleep(Duration::from_millis(5_500)).await;
        for cache in [&own, &young] {
            store(cache, reserve(cache).await).await.unwrap();
        }
        let late = RemoveOptions::default().with_min_age(Duration::from_secs(5));
        let outcome = own.remove_with(&key("a"), late.clone()).await.unwrap();
        assert!(matches!(outcome, RemoveOutcome::Conflict(_)), "{outcome:?}");
        assert_eq!(old.get(&key("a")).await.unwrap(), None, "it is older");
        assert_eq!(store(&leased, early).await, None, "its load began before");
        // By one that has nothing of its own.
        assert_eq!(none.remove_with(&key("a"), late).await.unwrap(), RemoveOutcome::Absent);
        for cache in [&own, &young] {
            assert!(cache.get(&key("a")).await.unwrap().is_some(), "what was loaded since stays");
        }
    }
}

/// What names no schema more is over, or nobody would end the entries of one that was left out.
#[tokio::test]
async fn more_schemas_than_a_generation_names_begin_another_one() {
    let subject = single().await;
    let client = subject.client().await;
    let of = |schema| RedisCache::new(client.clone(), &subject.namespace, "main", SchemaId(schema)).unwrap();
    let first = of(1);
    let load = async |cache: &RedisCache| {
        let reserved = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
        let Reservation::Leased(lease) = reserved else { panic!("a hit") };
        let options = SetOptions::new(LONG).with_lease(lease);
        cache.set_with(&key("a"), Bytes::from_static(b"loaded"), options).await.unwrap().stored().unwrap();
    };
    load(&first).await;
    for schema in 2..100 {
        load(&of(schema)).await;
    }
    let _ = of(100).remove(&key("a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(25)).await;
    for schema in 1..100 {
        assert_eq!(of(schema).get(&key("a")).await.unwrap(), None, "schema {schema}");
    }
}

#[tokio::test]
async fn a_server_that_evicts_loses_entries_and_nothing_else() {
    let server = RedisServer::builder().max_memory(4 << 20, "allkeys-lru").start().await;
    let subject = InRedis::new(server.url());
    let cache = subject.cache("main").await;
    stored(&cache, "cleared", "old").await;
    cache.clear().await.unwrap();
    for n in 0..600_u32 {
        let value = Bytes::from(vec![u8::try_from(n % 251).unwrap(); 20_000]);
        cache.set(&key(&n.to_string()), value.clone(), LONG).await.unwrap();
        if let Some(entry) = cache.get(&key(&(n / 2).to_string())).await.unwrap() {
            assert_eq!(entry.value[0], u8::try_from(n / 2 % 251).unwrap());
        }
    }
    assert_eq!(cache.get(&key("cleared")).await.unwrap(), None);
    // Which ones go is chance: the server's clock of uses has whole seconds.
    let mut evicted = 0;
    for n in 0..600_u32 {
        evicted += u32::from(cache.get(&key(&n.to_string())).await.unwrap().is_none());
    }
    assert!(evicted > 300, "only {evicted} of 600 entries of 20 kB were evicted from 4 MiB");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_and_not_a_miss() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let mut parsed = ServiceUrl::parse("URL", &proxy.url(&server.url())).unwrap();
    let client = RedisClient::open(RedisConfig::from_url(&mut parsed).unwrap()).await.unwrap();
    let caches = Caches::redis(client, &namespace());
    let cache: TypedCache<u32> = caches.cache("rates").time_to_live(LONG).open().unwrap();
    cache.set("a", 1).await.unwrap();
    proxy.black_hole();
    let kinds = [ErrorKind::Timeout, ErrorKind::Unavailable];
    let error = cache.get("a").await.unwrap_err();
    assert!(kinds.contains(&error.kind()), "{error:?}");
    let load = || async { Ok::<_, io::Error>(2) };
    assert_eq!(*cache.get_or_load("b", load).await.unwrap(), 2);
    assert!(!caches.health().await.is_up());
    proxy.heal();
    // The connector asks nothing until a probe of its own was answered.
    let begun = std::time::Instant::now();
    while cache.get("a").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(8), "not healed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&1));
    assert!(caches.health().await.is_up());
}

#[tokio::test]
async fn a_value_that_was_loaded_is_returned_although_the_server_is_gone_meanwhile() {
    let server = RedisServer::start().await;
    let proxy = FaultProxy::start(server.address());
    let mut parsed = ServiceUrl::parse("URL", &proxy.url(&server.url())).unwrap();
    let client = RedisClient::open(RedisConfig::from_url(&mut parsed).unwrap()).await.unwrap();
    let cache: TypedCache<u32> = Caches::redis(client, &namespace()).cache("rates").time_to_live(LONG).open().unwrap();
    let load = || async {
        proxy.black_hole();
        Ok::<_, io::Error>(7)
    };
    assert_eq!(*cache.get_or_load("a", load).await.unwrap(), 7);
}

#[tokio::test]
async fn an_entry_of_an_unknown_codec_is_a_miss() {
    let subject = single().await;
    let raw = RedisCache::new(subject.client().await, &subject.namespace, "rates", SchemaId(0)).unwrap();
    let cache: TypedCache<u32> =
        Caches::redis(subject.client().await, &subject.namespace).cache("rates").time_to_live(LONG).open().unwrap();
    let options = SetOptions::new(LONG).with_codec(statehouse_core::CodecId(250));
    let _ = raw.set_with(&key("a"), Bytes::from_static(b"?"), options).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), None);
    assert_eq!(*cache.get_or_load("a", || async { Ok::<_, io::Error>(4) }).await.unwrap(), 4);
    assert_eq!(cache.get("a").await.unwrap().as_deref(), Some(&4));
}

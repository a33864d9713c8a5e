//! What somebody else has put at the keys of a cache, of every type that Redis has.

use super::format::tagged;
use super::*;

/// What is stored at a key by a command: without the key itself, which comes second.
const PLANTED: [&[&[u8]]; 10] = [
    &[b"RPUSH", b"x"],
    &[b"HSET", b"x", b"y"],
    &[b"SADD", b"x"],
    &[b"ZADD", b"1", b"x"],
    &[b"XADD", b"*", b"x", b"y"],
    &[b"PFADD", b"x"],
    &[b"GEOADD", b"1", b"1", b"x"],
    &[b"SETBIT", b"700", b"1"],
    &[b"SET", b""],
    &[b"SET", b"SHC\x01"],
];

async fn plant(server: &RedisServer, place: &str, what: &[&[u8]]) {
    raw(server, &[b"DEL", place.as_bytes()]).await;
    let command = [&[what[0], place.as_bytes()], &what[1..]].concat();
    assert!(!matches!(raw(server, &command).await, Reply::Error(_)), "{what:?}");
}

/// Calls each verb on a key that holds nothing of the cache's, planting it before each.
async fn every_verb_finds_nothing(cache: &RedisCache, plant: &impl AsyncFn(), what: &str) {
    let (a, value) = (key("a"), Bytes::from_static(b"value"));
    plant().await;
    assert_eq!(cache.get(&a).await.unwrap(), None, "{what}");
    assert_eq!(cache.get_many(&[a.clone(), key("b")]).await.unwrap(), [None, None], "{what}");
    assert_eq!(cache.touch(&a, LONG).await.unwrap(), TouchOutcome::Absent, "{what}");
    for options in [RemoveOptions::default(), RemoveOptions::default().with_min_age(Duration::MAX)] {
        plant().await;
        assert_eq!(cache.remove_with(&a, options).await.unwrap(), RemoveOutcome::Absent, "{what}");
    }
    plant().await;
    let condition = Condition::Match(Version::new(7));
    let outcome = cache.remove_with(&a, RemoveOptions::default().with_condition(condition)).await.unwrap();
    assert_eq!(outcome, RemoveOutcome::Absent, "{what}");
    let outcome = cache.set_with(&a, value.clone(), SetOptions::new(LONG).with_condition(condition)).await.unwrap();
    assert_eq!(outcome, SetOutcome::Conflict(None), "{what}");
    for condition in [Condition::Absent, Condition::Always] {
        plant().await;
        let options = SetOptions::new(LONG).with_condition(condition);
        let version = cache.set_with(&a, value.clone(), options).await.unwrap().stored().unwrap();
        assert_eq!(cache.get(&a).await.unwrap().map(|entry| entry.version), Some(version), "{what}");
    }
    plant().await;
    let reserved = cache.reserve_with(&a, ReserveOptions::new(LONG)).await.unwrap();
    let Reservation::Leased(lease) = reserved else { panic!("{reserved:?}, {what}") };
    // Taken away in the middle of a load.
    plant().await;
    let options = SetOptions::new(LONG).with_lease(lease);
    assert_eq!(cache.set_with(&a, value, options).await.unwrap(), SetOutcome::Conflict(None), "{what}");
    let renewed = ReserveOptions::new(LONG).with_holding(Holding::Renew(lease));
    assert!(matches!(cache.reserve_with(&a, renewed).await.unwrap(), Reservation::Ended), "{what}");
}

#[tokio::test]
async fn whatever_lies_at_the_key_of_an_entry_is_nothing_to_every_verb_and_is_replaced() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    for what in PLANTED {
        let plant = async || plant(server, &place(&subject, "a", 1), what).await;
        every_verb_finds_nothing(&cache, &plant, &format!("{what:?}")).await;
    }
}

#[tokio::test]
async fn whatever_lies_where_a_neighbouring_schema_would_have_its_entry_is_in_nobodys_way() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    // Both neighbours are in use, so that each write ends their entries.
    for schema in [0, 2] {
        let neighbour = RedisCache::new(subject.client().await, &subject.namespace, "main", SchemaId(schema)).unwrap();
        stored(&neighbour, "a", "value").await;
    }
    for what in PLANTED {
        for schema in [0, 2] {
            plant(server, &place(&subject, "a", schema), what).await;
        }
        stored(&cache, "a", "value").await;
        assert_eq!(cache.get(&key("a")).await.unwrap().unwrap().value, "value");
        assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Removed);
        for schema in [0, 2] {
            let left = raw(server, &[b"EXISTS", place(&subject, "a", schema).as_bytes()]).await;
            assert_eq!(left.integer(), Some(0), "{what:?} under schema {schema}");
        }
    }
}

#[tokio::test]
async fn whatever_lies_at_the_key_of_a_tag_is_no_generation() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    for what in PLANTED {
        for tag in ["0123456789abcdef", "ffffffffffffffff"] {
            tagged(server, &subject, [1_795_223_000_000_002, 7]).await;
            plant(server, &format!("{}:{tag}", generation_of(&subject, "a")), what).await;
            assert_eq!(cache.get(&key("a")).await.unwrap(), None, "{what:?}");
            assert_eq!(cache.get_many(&[key("a")]).await.unwrap(), [None], "{what:?}");
            assert_eq!(cache.touch(&key("a"), LONG).await.unwrap(), TouchOutcome::Absent, "{what:?}");
            let version = stored(&cache, "a", "value").await;
            assert_eq!(cache.get(&key("a")).await.unwrap().map(|entry| entry.version), Some(version), "{what:?}");
        }
    }
}

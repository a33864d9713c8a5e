//! What is set is read, until it is removed or cleared.

use super::kit::*;

pub(super) async fn get_of_a_missing_key_is_none(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    assert_eq!(cache.get(&key("a")).await.unwrap(), None);
    assert_eq!(cache.get_many(&[key("a"), key("b")]).await.unwrap(), [None, None]);
}

pub(super) async fn a_set_is_read_back_whole(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let every_byte: Bytes = (0..=u8::MAX).collect();
    for (name, value) in [("empty", Bytes::new()), ("every byte", every_byte), ("1 MiB", vec![7; 1 << 20].into())] {
        let options = SetOptions::new(LONG).with_codec(CodecId::JSON);
        let version = stored(cache.set_with(&key(name), value.clone(), options).await.unwrap());
        let entry = cache.get(&key(name)).await.unwrap().unwrap();
        assert_eq!((&entry.value, entry.codec, entry.version), (&value, CodecId::JSON, version), "{name}");
        let off = entry.expires.since(entry.created).abs_diff(LONG);
        assert!(off <= Duration::from_millis(2), "{name}: the times are {off:?} off");
    }
}

pub(super) async fn get_many_keeps_order_length_and_duplicates(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    store(&*cache, &key("a"), "A").await;
    store(&*cache, &key("c"), "C").await;
    let keys = ["c", "b", "a", "c"].map(key);
    let read = cache.get_many(&keys).await.unwrap();
    let values: Vec<_> = read.into_iter().map(|entry| entry.map(|entry| entry.value)).collect();
    assert_eq!(values, [Some(bytes("C")), None, Some(bytes("A")), Some(bytes("C"))]);
    assert_eq!(cache.get_many(&[]).await.unwrap(), []);
}

pub(super) async fn a_set_replaces_value_codec_version_and_time_to_live(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let short = SetOptions::new(Duration::from_millis(200)).with_codec(CodecId::JSON);
    let first = stored(cache.set_with(&key("a"), bytes("a longer value"), short).await.unwrap());
    let second = store(&*cache, &key("a"), "new").await;
    backend.pass_time(Duration::from_millis(400)).await;
    let entry = cache.get(&key("a")).await.unwrap().expect("the old time to live is gone");
    assert_eq!((entry.value, entry.codec, entry.version), (bytes("new"), CodecId::RAW, second));
    assert!(second > first);
}

pub(super) async fn versions_rise_across_overwrite_removal_and_expiry(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let mut last = Version::default();
    for round in 0..20 {
        let version = cache.set(&key("a"), bytes("x"), Duration::from_millis(100)).await.unwrap();
        assert!(version > last, "{version} after {last}");
        last = version;
        match round % 4 {
            0 => assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Removed),
            1 if round == 1 => backend.pass_time(Duration::from_millis(150)).await,
            2 => cache.clear().await.unwrap(),
            _ => {}
        }
    }
}

pub(super) async fn remove_of_a_missing_key_is_ok(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Absent);
    let options = RemoveOptions::default().with_condition(Condition::Match(Version::new(1)));
    assert_eq!(cache.remove_with(&key("a"), options).await.unwrap(), RemoveOutcome::Absent);
}

pub(super) async fn remove_takes_the_entry_away(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    store(&*cache, &key("a"), "A").await;
    store(&*cache, &key("b"), "B").await;
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Absent);
    assert_eq!(value(&*cache, &key("a")).await, None);
    assert_eq!(value(&*cache, &key("b")).await, Some(bytes("B")));
}

pub(super) async fn clear_ends_every_entry_and_later_ones_live(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    cache.clear().await.unwrap();
    let keys: Vec<_> = (0..50).map(|n| key(&format!("key {n}"))).collect();
    for round in 0..3 {
        for key in &keys {
            store(&*cache, key, "x").await;
        }
        cache.clear().await.unwrap();
        assert!(cache.get_many(&keys).await.unwrap().iter().all(Option::is_none), "round {round}");
        assert_eq!(cache.remove(&keys[0]).await.unwrap(), RemoveOutcome::Absent);
        store(&*cache, &keys[1], "later").await;
        assert_eq!(value(&*cache, &keys[1]).await, Some(bytes("later")), "round {round}");
    }
}

pub(super) async fn clear_leaves_other_caches_alone(backend: &impl CacheBackend) {
    let (cache, other) = (backend.service().await, backend.another().await.service().await);
    store(&*cache, &key("a"), "here").await;
    store(&*other, &key("a"), "there").await;
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("here")));
    cache.clear().await.unwrap();
    assert_eq!(value(&*cache, &key("a")).await, None);
    assert_eq!(value(&*other, &key("a")).await, Some(bytes("there")));
}

pub(super) async fn keys_that_look_alike_are_different(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let (long, longer) = ("x".repeat(1023), "x".repeat(1024));
    let texts = [
        "a",
        "A",
        "a ",
        " a",
        "a:0",
        "a:1",
        "{a}",
        "{a}:0",
        "a}",
        "{a",
        "}",
        "{}",
        "%",
        "%7Ba%7D",
        "a/b",
        "a//b",
        "a/../b",
        "b",
        ".",
        "..",
        "../../other:a",
        "*",
        "\u{e9}",
        "e\u{301}",
        "generation",
        &long,
        &longer,
    ];
    let keys = texts.map(key);
    for (n, key) in keys.iter().enumerate() {
        cache.set(key, Bytes::from(n.to_string()), LONG).await.unwrap();
    }
    for (n, entry) in cache.get_many(&keys).await.unwrap().into_iter().enumerate() {
        assert_eq!(entry.expect("stored").value, n.to_string(), "{:?}", texts[n]);
    }
    let _ = cache.remove(&keys[0]).await.unwrap();
    let left = cache.get_many(&keys).await.unwrap().iter().flatten().count();
    assert_eq!(left, keys.len() - 1);
}

pub(super) async fn every_handle_sees_every_write(backend: &impl CacheBackend) {
    let (one, two) = (backend.service().await, backend.service().await);
    let first = store(&*one, &key("a"), "one").await;
    assert_eq!(value(&*two, &key("a")).await, Some(bytes("one")));
    stored(set_if(&*two, &key("a"), "two", Condition::Match(first)).await);
    assert_eq!(value(&*one, &key("a")).await, Some(bytes("two")));
    let _ = two.remove(&key("a")).await.unwrap();
    assert_eq!(value(&*one, &key("a")).await, None);
    let lease = reserve(&*one, &key("a")).await;
    assert_eq!(reserve(&*two, &key("a")).await, lease);
    let _ = two.remove(&key("a")).await.unwrap();
    assert_eq!(late(&*one, &key("a"), lease).await, SetOutcome::Conflict(None));
}

pub(super) async fn a_clear_by_one_handle_reaches_every_other(backend: &impl CacheBackend) {
    let (one, two) = (backend.service().await, backend.service().await);
    for round in 0..5 {
        store(&*one, &key("a"), "A").await;
        assert!(value(&*two, &key("a")).await.is_some(), "round {round}");
        let lease = reserve(&*one, &key("b")).await;
        two.clear().await.unwrap();
        assert_eq!(late(&*one, &key("b"), lease).await, SetOutcome::Conflict(None), "round {round}");
        assert_eq!(one.get_many(&[key("a"), key("b")]).await.unwrap(), [None, None], "round {round}");
        stored(set_if(&*one, &key("a"), "A", Condition::Absent).await);
        assert!(value(&*two, &key("a")).await.is_some(), "round {round}: set after the other's clear");
    }
}

pub(super) async fn a_store_that_works_is_up(backend: &impl CacheBackend) {
    let health = backend.service().await.health().await;
    assert!(health.is_up(), "{health:?}");
}

pub(super) async fn a_deadline_that_is_kept_changes_nothing(backend: &impl CacheBackend) {
    let (cache, there) = (backend.service().await, key("a"));
    let options = SetOptions::new(LONG).with_deadline(LONG);
    let version = stored(cache.set_with(&there, bytes("A"), options).await.unwrap());
    let get = GetOptions::default().with_deadline(LONG);
    assert_eq!(cache.get_with(&there, get.clone()).await.unwrap().map(|entry| entry.version), Some(version));
    let found = cache.get_many_with(&[key("b"), there.clone()], get).await.unwrap();
    assert_eq!(
        found.into_iter().map(|entry| entry.map(|entry| entry.version)).collect::<Vec<_>>(),
        [None, Some(version)]
    );
    let touch = TouchOptions::new(LONG).with_deadline(LONG);
    assert_eq!(cache.touch_with(&there, touch).await.unwrap(), TouchOutcome::Touched(version));
    let reserve = ReserveOptions::new(LONG).with_deadline(LONG);
    assert!(matches!(cache.reserve_with(&there, reserve).await.unwrap(), Reservation::Hit(_)));
    let remove = RemoveOptions::default().with_deadline(LONG);
    assert_eq!(cache.remove_with(&there, remove).await.unwrap(), RemoveOutcome::Removed);
    store(&*cache, &there, "A").await;
    cache.clear_with(ClearOptions::default().with_deadline(LONG)).await.unwrap();
    assert_eq!(value(&*cache, &there).await, None);
}

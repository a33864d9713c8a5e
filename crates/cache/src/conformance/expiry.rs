//! Times to live, and what is refused.

use super::kit::*;

pub(super) async fn an_entry_expires(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    cache.set(&key("short"), bytes("x"), Duration::from_secs(2)).await.unwrap();
    cache.set(&key("least"), bytes("x"), Duration::from_nanos(1)).await.unwrap();
    store(&*cache, &key("long"), "x").await;
    assert!(value(&*cache, &key("short")).await.is_some());
    backend.pass_time(Duration::from_millis(2_300)).await;
    assert_eq!(value(&*cache, &key("short")).await, None);
    assert_eq!(value(&*cache, &key("least")).await, None);
    assert_eq!(cache.get_many(&[key("short")]).await.unwrap(), [None]);
    assert!(value(&*cache, &key("long")).await.is_some());
    stored(set_if(&*cache, &key("short"), "again", Condition::Absent).await);
}

pub(super) async fn touch_prolongs_and_shortens_and_keeps_the_rest(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    let options = SetOptions::new(Duration::from_secs(2)).with_codec(CodecId::JSON);
    let version = stored(cache.set_with(&key("a"), bytes("A"), options).await.unwrap());
    store(&*cache, &key("b"), "B").await;
    assert_eq!(cache.touch(&key("a"), LONG).await.unwrap(), TouchOutcome::Touched(version));
    assert!(matches!(cache.touch(&key("b"), Duration::from_secs(2)).await.unwrap(), TouchOutcome::Touched(_)));
    backend.pass_time(Duration::from_millis(2_300)).await;
    let entry: Entry = cache.get(&key("a")).await.unwrap().expect("prolonged");
    assert_eq!((entry.value, entry.codec, entry.version), (bytes("A"), CodecId::JSON, version));
    // A backend may keep the end in whole milliseconds, of which the first may have begun before the entry was made.
    assert!(entry.expires.since(entry.created) > LONG - Duration::from_millis(1));
    assert_eq!(value(&*cache, &key("b")).await, None);
}

pub(super) async fn touch_never_brings_an_entry_back(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    assert_eq!(cache.touch(&key("never"), LONG).await.unwrap(), TouchOutcome::Absent);
    cache.set(&key("expired"), bytes("x"), Duration::from_millis(50)).await.unwrap();
    backend.pass_time(Duration::from_millis(100)).await;
    store(&*cache, &key("cleared"), "x").await;
    cache.clear().await.unwrap();
    for name in ["expired", "cleared"] {
        assert_eq!(cache.touch(&key(name), LONG).await.unwrap(), TouchOutcome::Absent, "{name}");
        assert_eq!(value(&*cache, &key(name)).await, None, "{name}");
    }
}

pub(super) async fn a_time_to_live_out_of_range_is_refused_and_nothing_written(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    store(&*cache, &key("a"), "A").await;
    for wrong in [Duration::ZERO, MAX_TIME_TO_LIVE + Duration::from_millis(1), Duration::MAX] {
        let refused = [
            cache.set(&key("a"), bytes("x"), wrong).await.map(|_| ()),
            cache.touch(&key("a"), wrong).await.map(|_| ()),
            cache.reserve_with(&key("b"), ReserveOptions::new(wrong)).await.map(|_| ()),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
        }
    }
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("A")));
    cache.set(&key("a"), bytes("x"), MAX_TIME_TO_LIVE).await.unwrap();
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("x")));
}

pub(super) async fn a_value_that_is_too_long_is_refused_and_nothing_written(backend: &impl CacheBackend) {
    let cache = backend.service().await;
    store(&*cache, &key("a"), "A").await;
    let long = Bytes::from(vec![0; MAX_VALUE_LEN + 1]);
    assert_eq!(cache.set(&key("a"), long, LONG).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(value(&*cache, &key("a")).await, Some(bytes("A")));
}

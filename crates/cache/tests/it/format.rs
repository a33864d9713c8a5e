//! Entries as other builds may write them.

use super::*;
use crate::record::{PLAIN, Tag};

/// What a later build would store: an entry with two tags, and their generations.
pub(super) async fn tagged(server: &RedisServer, subject: &InRedis, generations: [u64; 2]) -> Record {
    let cache = subject.cache("main").await;
    let _ = cache.remove(&key("a")).await.unwrap();
    stored(&cache, "a", "value").await;
    let place = place(subject, "a", 1);
    let mut record = Record::decode(&dump(subject, &place).await).unwrap();
    let hashes = [*b"\x01\x23\x45\x67\x89\xab\xcd\xef", [0xff; 8]];
    record.tags = hashes.iter().zip(generations).map(|(hash, generation)| Tag { hash: *hash, generation }).collect();
    raw(server, &[b"SET", place.as_bytes(), &record.encode(*b"a writer")]).await;
    for (hash, generation) in ["0123456789abcdef", "ffffffffffffffff"].iter().zip(generations) {
        let tag = format!("{}:{hash}", generation_of(subject, "a"));
        raw(server, &[b"SET", tag.as_bytes(), format!("{generation:016}").as_bytes()]).await;
    }
    record
}

#[tokio::test]
async fn an_entry_with_tags_lives_while_all_their_generations_are_current() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    let record = tagged(server, &subject, [1_795_223_000_000_002, 7]).await;
    let version = Version::new(record.version);
    let live = async || {
        let entry = cache.get(&key("a")).await.unwrap().expect("the entry");
        assert_eq!((entry.value.as_ref(), entry.version), (&b"value"[..], version));
        assert!(cache.get_many(&[key("b"), key("a")]).await.unwrap()[1].is_some());
        let hit = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
        assert!(matches!(hit, Reservation::Hit(entry) if entry.version == version));
        let absent = SetOptions::new(LONG).with_condition(Condition::Absent);
        let outcome = cache.set_with(&key("a"), Bytes::from_static(b"x"), absent).await.unwrap();
        assert_eq!(outcome, SetOutcome::Conflict(Some(version)));
    };
    live().await;
    // Whatever this build does to it, the tags stay.
    assert_eq!(cache.touch(&key("a"), LONG * 2).await.unwrap(), TouchOutcome::Touched(version));
    live().await;
    let touched = Record::decode(&dump(&subject, &place(&subject, "a", 1)).await).unwrap();
    assert_eq!(touched.tags, record.tags);
    assert_eq!(cache.remove(&key("a")).await.unwrap(), RemoveOutcome::Removed);

    for lost in ["0123456789abcdef", "ffffffffffffffff"] {
        for planted in [&b"1795223000000003"[..], b"", b"7", b"nonsense"] {
            tagged(server, &subject, [1_795_223_000_000_002, 7]).await;
            let tag = format!("{}:{lost}", generation_of(&subject, "a"));
            raw(server, &[b"SET", tag.as_bytes(), planted]).await;
            if planted.is_empty() {
                raw(server, &[b"DEL", tag.as_bytes()]).await;
            }
            assert_eq!(cache.get(&key("a")).await.unwrap(), None, "{lost} is {planted:?}");
            let reserved = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
            assert!(matches!(reserved, Reservation::Leased(_)), "{lost} is {planted:?}");
        }
    }
}

#[tokio::test]
async fn an_entry_with_flags_or_a_format_of_another_build_is_a_miss_and_is_replaced() {
    let (server, subject) = (RedisServer::shared().await, single().await);
    let cache = subject.cache("main").await;
    let place = place(&subject, "a", 1);
    for flags in [1, 2, 16, 0x8000, 4 | 8] {
        let version = stored(&cache, "a", "value").await;
        let mut record = Record::decode(&dump(&subject, &place).await).unwrap();
        assert_eq!(record.flags, PLAIN);
        record.flags = flags;
        raw(server, &[b"SET", place.as_bytes(), &record.encode(*b"a writer")]).await;
        assert_eq!(cache.get(&key("a")).await.unwrap(), None, "flags {flags}");
        let absent = SetOptions::new(LONG).with_condition(Condition::Absent);
        let outcome = cache.set_with(&key("a"), Bytes::from_static(b"x"), absent).await.unwrap();
        assert!(outcome.stored().is_some_and(|newer| newer > version), "flags {flags}");
        assert_eq!(cache.get(&key("a")).await.unwrap().unwrap().value, "x");
    }
}

//! A replica becomes the primary, and its clock is a quarter of an hour behind.

use statehouse_testkit::RedisSuccession;

use super::*;

const BEHIND: Duration = Duration::from_secs(15 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_rise_and_what_was_removed_stays_so_behind_a_primary_whose_clock_is_behind() {
    let succession = RedisSuccession::behind(BEHIND).await;
    let subject = InRedis::new(succession.url());
    let cache = subject.cache("main").await;
    let first = stored(&cache, "kept", "first").await;
    let second = stored(&cache, "kept", "second").await;
    assert!(second > first);
    let gone = stored(&cache, "removed", "x").await;
    assert_eq!(cache.remove(&key("removed")).await.unwrap(), RemoveOutcome::Removed);
    stored(&cache, "cleared", "x").await;
    let other = subject.cache("other").await;
    stored(&other, "cleared", "x").await;
    other.clear().await.unwrap();

    succession.happens().await;
    let kept = loop {
        // What is asked first may meet the connection that was lost.
        if let Ok(kept) = cache.get(&key("kept")).await {
            break kept.unwrap();
        }
    };
    assert_eq!((kept.value.as_ref(), kept.version), (&b"second"[..], second));
    assert_eq!(cache.get(&key("removed")).await.unwrap(), None);
    assert_eq!(other.get(&key("cleared")).await.unwrap(), None, "what was cleared stays so");
    let matching = |version| SetOptions::new(LONG).with_condition(Condition::Match(version));
    for (name, stale) in [("kept", first), ("removed", gone)] {
        let set = cache.set_with(&key(name), Bytes::from_static(b"stale"), matching(stale)).await.unwrap();
        assert_eq!(set.stored(), None, "{name}: {set:?}");
    }
    let mut last = second;
    for _ in 0..3 {
        let set = cache.set_with(&key("kept"), Bytes::from_static(b"next"), matching(last)).await.unwrap();
        let next = set.stored().unwrap();
        assert!(next > last, "{next:?} after {last:?}");
        last = next;
    }
    assert_eq!(cache.remove(&key("kept")).await.unwrap(), RemoveOutcome::Removed);
    assert_eq!(cache.get(&key("kept")).await.unwrap(), None);
    cache.clear().await.unwrap();
    assert_eq!(cache.get(&key("cleared")).await.unwrap(), None, "a clear counts on from the old server's time");
    stored(&cache, "cleared", "after").await;
    assert!(cache.get(&key("cleared")).await.unwrap().is_some(), "and what is written after it is there");
}

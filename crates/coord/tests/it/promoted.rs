//! A replica becomes the primary, and its clock is a quarter of an hour behind.

use std::time::Duration;

use statehouse_coord::{
    Condition, CoordKey, CoordStore as _, CoordStoreExt as _, PutOptions, PutOutcome, RemoveOutcome,
};
use statehouse_testkit::RedisSuccession;

use crate::{open_redis, random_namespace};

const BEHIND: Duration = Duration::from_secs(15 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_rise_and_what_was_removed_stays_so_behind_a_primary_whose_clock_is_behind() {
    let succession = RedisSuccession::behind(BEHIND).await;
    let store = open_redis(&succession.url(), &random_namespace()).await;
    let [kept, removed, begun] = ["kept", "removed", "begun"].map(|name| CoordKey::new(name).unwrap());
    let first = store.put(&kept, "first").await.unwrap().stored().unwrap();
    let second = store.put(&kept, "second").await.unwrap().stored().unwrap();
    let gone = store.put(&removed, "x").await.unwrap().stored().unwrap();
    assert_eq!(store.remove(&removed, gone).await.unwrap(), RemoveOutcome::Removed);
    let before = store.now().await.unwrap();

    succession.happens().await;
    let now = loop {
        // What is asked first may meet the connection that was lost.
        if let Ok(now) = store.now().await {
            break now;
        }
    };
    assert!(before.since(now) > BEHIND - Duration::from_secs(60), "its clock is behind: {before:?} {now:?}");

    assert_eq!(store.get(&kept).await.unwrap().unwrap().version, second);
    assert_eq!(store.get(&removed).await.unwrap(), None);
    let matching = |version| PutOptions::default().with_condition(Condition::Match(version));
    for stale in [first, gone] {
        let key = if stale == first { &kept } else { &removed };
        let put = store.put_with(key, "stale".into(), matching(stale)).await.unwrap();
        assert!(matches!(put, PutOutcome::Conflict(_)), "{put:?}");
    }
    let mut last = second;
    for round in 0..3 {
        let next = store.put_with(&kept, "next".into(), matching(last)).await.unwrap().stored().unwrap();
        assert!(next > last, "round {round}: {next:?} after {last:?}");
        last = next;
    }
    // As a fencing token: who begins anew is later than whoever was there before.
    let again = store.put(&removed, "again").await.unwrap().stored().unwrap();
    assert!(again > gone, "{again:?} after {gone:?}");
    let mut last = store.put(&begun, "here").await.unwrap().stored().unwrap();
    for _ in 0..3 {
        let next = store.put(&begun, "here").await.unwrap().stored().unwrap();
        assert!(next > last);
        last = next;
    }
}

//! Deadlines of callers, and what is too large to be read back.

use std::time::Instant;

use statehouse_testkit::Direction;
use tokio::time::sleep;

use super::*;

/// A cache of bytes behind a proxy, and the name of its namespace.
async fn behind(proxy: &FaultProxy, parameters: &str) -> InRedis {
    InRedis::new(format!("{}{parameters}", proxy.url(&RedisServer::shared().await.url())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_removal_has_one_deadline() {
    const DEADLINE: Duration = Duration::from_secs(8);
    let proxy = FaultProxy::start(RedisServer::shared().await.address());
    let cache = behind(&proxy, PATIENT).await.cache("main").await;
    stored(&cache, "a", "value").await;
    // Eight readings of the server's clock, none of which is quick; and behind them the removal, whose answer is lost.
    proxy.delay(Direction::ToClient, Duration::from_millis(600));
    let before = proxy.counts().command("EVALSHA");
    let late = RemoveOptions::default().with_min_age(Duration::from_secs(1)).with_deadline(DEADLINE);
    let begun = Instant::now();
    let removal = async { cache.remove_with(&key("a"), late).await };
    let lose = async {
        while proxy.counts().command("EVALSHA") < before + 9 && begun.elapsed() < DEADLINE {
            sleep(Duration::from_millis(5)).await;
        }
        proxy.black_hole();
    };
    let (outcome, ()) = tokio::join!(removal, lose);
    assert!(outcome.is_err(), "{outcome:?}");
    // With the whole deadline for the last step it would take almost thirteen seconds.
    assert!(begun.elapsed() < DEADLINE + DEADLINE / 2, "{:?} of {DEADLINE:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reads_beside_what_is_kept_have_one_deadline() {
    const DEADLINE: Duration = Duration::from_millis(500);
    let proxy = FaultProxy::start(RedisServer::shared().await.address());
    let subject = behind(&proxy, "").await;
    let caches = Caches::redis(subject.client().await, &subject.namespace);
    let cache: TypedCache<u32> = caches.cache("main").time_to_live(LONG).open().unwrap();
    let keys: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    cache.set("0", 1).await.unwrap();
    proxy.cut();
    let hasty = cache.with_deadline(Duration::from_millis(20));
    for key in &keys {
        assert!(hasty.invalidate(key).await.is_err(), "{key}");
    }
    // Each is paid before it is read, which takes nine answers.
    proxy.delay(Direction::ToClient, Duration::from_millis(20));
    proxy.heal();
    proxy.delay(Direction::ToClient, Duration::from_millis(20));
    while cache.get("other").await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    let read = cache.with_deadline(DEADLINE).get_many(&keys).await;
    let took = begun.elapsed();
    // With a deadline for each, more than ten seconds.
    assert!(took < 16 * DEADLINE, "{took:?} of {DEADLINE:?}: {read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_read_back_is_refused_as_too_large() {
    let server = RedisServer::shared().await;
    let narrow = InRedis::new(format!("{}?max_answer=1MiB", server.url()));
    let wide = InRedis { url: server.url(), namespace: narrow.namespace.clone(), name: "main" };
    let value = |length: usize| Bytes::from(vec![b'x'; length]);
    let cache = narrow.cache("main").await;
    let error = cache.set(&key("a"), value(2 << 20), LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    assert_eq!(cache.get(&key("a")).await.unwrap(), None);
    // The largest that is taken comes back, and so does what is reserved.
    cache.set(&key("a"), value((1 << 20) - (1 << 10)), LONG).await.unwrap();
    assert!(cache.get(&key("a")).await.unwrap().is_some());
    let reserved = cache.reserve_with(&key("a"), ReserveOptions::new(LONG)).await.unwrap();
    assert!(matches!(reserved, Reservation::Hit(_)));
    // What somebody with another limit has stored is loaded, whether or not a read has found it before.
    let open = async |subject: &InRedis| -> TypedCache<String> {
        let caches = Caches::redis(subject.client().await, &subject.namespace);
        // Of a store that is well nothing else may be said.
        caches.cache("texts").time_to_live(LONG).on_outage(Outage::Fail).open().unwrap()
    };
    let (narrow, wide) = (open(&narrow).await, open(&wide).await);
    wide.set("a", "x".repeat(2 << 20)).await.unwrap();
    // Where nobody has seen it yet, it is reserved first.
    for n in 0..3 {
        let load = || async { Ok::<_, io::Error>("loaded".to_owned()) };
        assert_eq!(*narrow.get_or_load("a", load).await.unwrap(), "loaded", "{n}");
        assert_eq!(narrow.get("a").await.unwrap_err().kind(), ErrorKind::TooLarge);
    }
}

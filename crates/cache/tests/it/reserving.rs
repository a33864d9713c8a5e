//! Leases that nobody knows of who could give them back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use statehouse_testkit::Direction;
use tokio::time::sleep;

use super::*;

/// A process behind a network of its own, and one beside it on the same server.
struct Pair {
    proxy: FaultProxy,
    subject: InRedis,
    cut_off: TypedCache<u32>,
    other: TypedCache<u32>,
}

/// The client of the one that is cut off has these `settings`; that of the other waits for as long as it must.
async fn pair(settings: &str) -> Pair {
    let server = RedisServer::shared().await;
    let subject = InRedis::new(format!("{}{PATIENT}", server.url()));
    let proxy = FaultProxy::start(server.address());
    let behind = InRedis {
        url: format!("{}{settings}", proxy.url(&server.url())),
        namespace: subject.namespace.clone(),
        name: "main",
    };
    let open = async |subject: &InRedis| -> TypedCache<u32> {
        let caches = Caches::redis(subject.client().await, &subject.namespace);
        caches.cache("main").schema(1).time_to_live(LONG).open().unwrap()
    };
    let (cut_off, other) = (open(&behind).await, open(&subject).await);
    // The server has the scripts, and its clock is known.
    for cache in [&cut_off, &other] {
        assert_eq!(load(cache, "warm", 1).await, 1);
    }
    Pair { proxy, subject, cut_off, other }
}

async fn load(cache: &TypedCache<u32>, key: &str, value: u32) -> u32 {
    *cache.get_or_load(key, || async move { Ok::<_, io::Error>(value) }).await.unwrap()
}

impl Pair {
    async fn is_reserved(&self, name: &str) {
        let (server, place) = (RedisServer::shared().await, place(&self.subject, name, 1));
        while raw(server, &[b"EXISTS", place.as_bytes()]).await != Reply::Integer(1) {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Before a lease that nobody has given back ends by itself, which whoever wants the key would wait for.
    async fn is_loaded_soon(&self, name: &str) {
        let begun = Instant::now();
        let (server, place) = (RedisServer::shared().await, place(&self.subject, name, 1));
        let lives = raw(server, &[b"PTTL", place.as_bytes()]).await;
        assert_eq!(load(&self.other, name, 2).await, 2);
        // None, if it has been given back already.
        if let Reply::Integer(lives @ 0..) = lives {
            let (took, lives) = (begun.elapsed(), Duration::from_millis(lives.unsigned_abs()));
            assert!(took < lives, "{name}: waited for {took:?} for nobody");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_while_it_reserves_holds_nobody_up() {
    let pair = pair(PATIENT).await;
    for round in 0..3 {
        pair.proxy.black_hole_way(Direction::ToClient);
        let name = format!("left {round}");
        let loads = AtomicUsize::new(0);
        let load = || async {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<_, io::Error>(1)
        };
        tokio::select! {
            biased;
            _ = pair.cut_off.get_or_load(&name, load).into_future() => panic!("answered before its answer came"),
            () = pair.is_reserved(&name) => {}
        }
        pair.proxy.heal();
        assert_eq!(loads.into_inner(), 0, "it had left before it was told that it may load");
        pair.is_loaded_soon(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_whose_answer_was_lost_holds_nobody_up() {
    let pair = pair("").await;
    pair.proxy.black_hole_way(Direction::ToClient);
    let (value, ()) = tokio::join!(load(&pair.cut_off, "lost", 1), pair.is_reserved("lost"));
    assert_eq!(value, 1, "the loader answers");
    pair.proxy.reset_connections();
    pair.proxy.heal();
    pair.is_loaded_soon("lost").await;
}

/// It has that deadline for each question to the store, and not for the load of somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_with_a_deadline_waits_for_the_load_of_another_process_and_shares_it() {
    const DEADLINE: Duration = Duration::from_secs(4);
    let pair = pair(PATIENT).await;
    let caches = Caches::redis(pair.subject.client().await, &pair.subject.namespace);
    for (name, outage) in [("load", Outage::Load), ("fail", Outage::Fail)] {
        // However late the answers are, it is not the store that is slow.
        let waiting = caches.cache("main").schema(1).time_to_live(LONG).on_outage(outage).slow_after(PATIENCE);
        let waiting: TypedCache<u32> = waiting.open().unwrap();
        let (waiting, loads) = (waiting.with_deadline(DEADLINE), AtomicUsize::new(0));
        let slow = || async {
            loads.fetch_add(1, Ordering::SeqCst);
            sleep(DEADLINE + Duration::from_secs(1)).await;
            Ok::<_, io::Error>(1)
        };
        let shares = async {
            pair.is_reserved(name).await;
            load(&waiting, name, 2).await
        };
        let (first, second) = tokio::join!(pair.other.get_or_load(name, slow).into_future(), shares);
        assert_eq!((*first.unwrap(), second, loads.into_inner()), (1, 1, 1), "{name}");
    }
}

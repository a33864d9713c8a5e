//! Counters, limits, permits and broadcasts of several replicas, and what becomes of them without their store.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use statehouse_coord::{
    Coordination, DecidedBy, LayeredSignals, MemoryCoordStore, MemorySignals, News, Permits, Rate, RateLimitLayer,
    Signals, WithoutStore,
};
use statehouse_core::layer::Faults;
use statehouse_core::{ErrorKind, Namespace};
use statehouse_testkit::{FaultProxy, RedisServer};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer as _, ServiceExt as _};

use crate::random_namespace;
use crate::signals::open;

const LIMIT: Duration = Duration::from_secs(30);

fn over(signals: Arc<dyn Signals>) -> Coordination {
    Coordination::new(Arc::new(MemoryCoordStore::new())).with_signals(signals)
}

async fn replica(url: &str, namespace: &Namespace) -> Coordination {
    over(Arc::new(open(url, namespace).await))
}

fn refusing() -> Coordination {
    over(Arc::new(LayeredSignals::new(Arc::new(MemorySignals::new()), Faults::seeded(1).with_refused_calls(1.0))))
}

/// Ten times as much is asked for as the limit allows, by three replicas.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_for_all_replicas_together() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (served, begun) = (Arc::new(AtomicU32::new(0)), Instant::now());
    let rate = Rate::new(100, Duration::from_secs(1)).unwrap();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let limiter =
            replica(&server.url(), &namespace).await.limiter("requests", rate, WithoutStore::Closed).patience(LIMIT);
        let served = Arc::clone(&served);
        replicas.push(tokio::spawn(async move {
            for _ in 0..300 {
                let decision = limiter.check("all").await.unwrap();
                assert_eq!(decision.by, DecidedBy::Store);
                served.fetch_add(u32::from(decision.is_allowed()), Ordering::Relaxed);
                sleep(Duration::from_millis(3)).await;
            }
        }));
    }
    for replica in replicas {
        replica.await.unwrap();
    }
    let (served, most) = (served.load(Ordering::Relaxed), 100.0 + begun.elapsed().as_secs_f64() * 100.0);
    assert!(f64::from(served) <= most.ceil() && served >= 100, "{served} of {most}");
}

#[tokio::test]
async fn without_its_store_a_limit_does_as_it_is_told() {
    let coord = refusing();
    let rate = Rate::new(8, Duration::from_secs(3600)).unwrap();
    let open = coord.limiter("a", rate, WithoutStore::Open).check("x").await.unwrap();
    assert!(open.is_allowed() && open.by == DecidedBy::Nobody);
    assert_eq!(open.headers().count(), 0);
    let closed = coord.limiter("a", rate, WithoutStore::Closed).check("x").await.unwrap();
    assert!(!closed.is_allowed() && closed.by == DecidedBy::Nobody);
    let share = WithoutStore::LocalShare { replicas: NonZeroU32::new(4).unwrap() };
    let shared = coord.limiter("a", rate, share);
    for (whom, is_allowed) in [("x", true), ("x", true), ("x", false), ("y", true)] {
        let decision = shared.check(whom).await.unwrap();
        assert_eq!((decision.is_allowed(), decision.by), (is_allowed, DecidedBy::Replica), "{whom}");
    }
    let replicas = NonZeroU32::new(2).unwrap();
    let (whole, share) = (Rate::new(8, Duration::from_secs(60)).unwrap(), WithoutStore::LocalShare { replicas });
    let many = coord.limiter("b", whole, share);
    for (count, is_allowed) in [(8, false), (5, false), (4, true), (1, false)] {
        let decision = many.check_many("x", count).await.unwrap();
        assert_eq!((decision.is_allowed(), decision.by), (is_allowed, DecidedBy::Replica), "{count}");
    }
    let none = Coordination::new(Arc::new(MemoryCoordStore::new())).limiter("a", rate, WithoutStore::Open);
    assert_eq!(none.check("x").await.unwrap_err().kind(), ErrorKind::Unsupported);
    let odd = over(Arc::new(MemorySignals::new())).limiter("a", rate, WithoutStore::Open);
    for whom in ["", "../\0", &"x".repeat(10_000)] {
        assert!(odd.check(whom).await.unwrap().is_allowed(), "any text");
    }
    assert_eq!(odd.check_many("x", 9).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn requests_above_the_limit_are_answered_429_and_all_are_told() {
    let ok = tower::service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new("served")));
    let whom = |parts: &Parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned());
    let rate = Rate::new(2, Duration::from_secs(60)).unwrap();
    let layer = |coord: Coordination, without| RateLimitLayer::new(coord.limiter("api", rate, without), whom).layer(ok);
    let call = |user: Option<&str>| {
        let request = Request::builder();
        user.map_or(request, |user| Request::builder().header("x-user", user)).body(()).unwrap()
    };
    let service = layer(over(Arc::new(MemorySignals::new())), WithoutStore::Closed);
    for left in ["1", "0"] {
        let response = service.clone().oneshot(call(Some("anna"))).await.unwrap();
        assert_eq!((response.status(), *response.body()), (StatusCode::OK, "served"));
        let told = response.headers()["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"api\";r={left};t=")), "{told}");
    }
    let refused = service.clone().oneshot(call(Some("anna"))).await.unwrap();
    assert_eq!((refused.status(), *refused.body()), (StatusCode::TOO_MANY_REQUESTS, ""));
    assert_eq!(refused.headers()["retry-after"], "30");
    assert_eq!(refused.headers()["ratelimit-policy"], "\"api\";q=2;w=60");
    // One limit within another: both are told.
    let all = |_: &Parts| Some("all".to_owned());
    let wide = over(Arc::new(MemorySignals::new())).limiter("all", rate, WithoutStore::Closed);
    let refused = RateLimitLayer::new(wide, all).layer(service.clone()).oneshot(call(Some("anna"))).await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "30");
    let told: Vec<_> = refused.headers().get_all("ratelimit").iter().map(|told| told.to_str().unwrap()).collect();
    assert!(told[0].starts_with("\"api\";r=0;") && told[1].starts_with("\"all\";r=1;"), "{told:?}");
    for user in [Some("bob"), None, None, None] {
        assert_eq!(service.clone().oneshot(call(user)).await.unwrap().status(), StatusCode::OK);
    }
    let away = layer(refusing(), WithoutStore::Closed).oneshot(call(Some("anna"))).await.unwrap();
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.headers().contains_key("retry-after") && !away.headers().contains_key("ratelimit"));
    let nowhere = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let broken = layer(nowhere, WithoutStore::Open).oneshot(call(Some("anna"))).await.unwrap();
    assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

fn short(coord: &Coordination) -> Permits {
    coord.permits("exports", 1).lease(Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_is_kept_by_itself_and_given_back() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (one, other) = (replica(&server.url(), &namespace).await, replica(&server.url(), &namespace).await);
    let permit = short(&one).lease(Duration::from_secs(5)).acquire().await.unwrap().expect("a permit");
    sleep(Duration::from_secs(6)).await;
    assert!(permit.is_held() && short(&other).acquire().await.unwrap().is_none());
    let waiting = tokio::spawn(async move { short(&other).wait(LIMIT).acquire().await });
    sleep(Duration::from_millis(100)).await;
    permit.release().await.unwrap();
    let next = timeout(LIMIT / 2, waiting).await.expect("in time").unwrap().unwrap().expect("a permit");
    drop(next);
    let again = short(&one).wait(LIMIT).acquire().await.unwrap();
    assert!(again.is_some());
    for wrong in [one.permits("a", 0), one.permits("a//b", 1), one.permits("a", 1).lease(Duration::from_millis(999))] {
        assert_eq!(wrong.acquire().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// Whoever no longer reaches the store steps down by itself, before another one is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_cannot_be_renewed_is_lost_before_somebody_else_has_it() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let proxy = FaultProxy::start(server.address());
    let cut = replica(&proxy.url(&server.url()), &namespace).await;
    let other = replica(&server.url(), &namespace).await;
    let permit = short(&cut).acquire().await.unwrap().expect("a permit");
    proxy.black_hole();
    let work = permit.run(std::future::pending::<Result<(), statehouse_core::Error>>());
    let (dropped, next) = tokio::join!(
        async {
            let error = timeout(LIMIT, work).await.expect("it is dropped").unwrap_err();
            (error.kind(), Instant::now())
        },
        async {
            let permit = short(&other).wait(LIMIT).acquire().await.unwrap().expect("a permit");
            (permit, Instant::now())
        }
    );
    assert_eq!(dropped.0, ErrorKind::Conflict);
    assert!(!permit.is_held() && next.0.is_held());
    assert!(dropped.1 <= next.1 + Duration::from_millis(100), "{:?} late", dropped.1 - next.1);
}

/// An acquisition that is given up leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquisition_that_is_dropped_gives_the_permit_back() {
    let coord = over(Arc::new(MemorySignals::new()));
    let permits = coord.permits("exports", 1);
    let first = permits.acquire().await.unwrap().expect("a permit");
    let waiting = permits.clone().wait(LIMIT);
    assert!(timeout(Duration::from_millis(50), waiting.acquire()).await.is_err());
    first.release().await.unwrap();
    assert!(permits.wait(LIMIT).acquire().await.unwrap().is_some());
}

/// As locks are: work that stops at its own pace has its permit until then, and nobody acquires one any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_a_program_a_permit_is_free_once_its_holder_has_stopped() {
    let signals: Arc<dyn Signals> = Arc::new(MemorySignals::new());
    let (one, other) = (over(Arc::clone(&signals)), over(signals));
    let exports = |coord: &Coordination| coord.permits("exports", 1).lease(LIMIT * 4);
    let permit = exports(&one).acquire().await.unwrap().expect("a permit");
    let waiting = exports(&one).wait(LIMIT);
    let (ended, refused, ()) = tokio::join!(
        async {
            timeout(LIMIT, permit.lost()).await.expect("it is told");
            assert!(!permit.is_held() && exports(&other).acquire().await.unwrap().is_none(), "two have it");
            permit.release().await
        },
        waiting.acquire(),
        async {
            sleep(Duration::from_millis(20)).await;
            one.close().await;
        }
    );
    ended.unwrap();
    let refused = refused.unwrap_err();
    assert!(refused.kind() == ErrorKind::Unavailable && !refused.is_retryable(), "{refused:?}");
    assert_eq!(exports(&one).acquire().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(exports(&other).wait(LIMIT).acquire().await.unwrap().is_some(), "before its lease is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_and_broadcasts_are_those_of_all_replicas() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let (one, other) = (replica(&server.url(), &namespace).await, replica(&server.url(), &namespace).await);
    assert_eq!(one.counter("visits").add(2).await.unwrap(), 2);
    assert_eq!(other.counter("visits").add(3).await.unwrap(), 5);
    other.counter("visits").reset().await.unwrap();
    assert_eq!(one.counter("visits").get().await.unwrap(), 0);
    assert_eq!(one.counter("a//b").add(1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut subscriber = other.broadcast("prices").subscribe().unwrap();
    assert_eq!(timeout(LIMIT, subscriber.next()).await.unwrap(), Some(News::Resync));
    one.broadcast("prices").send("EUR").await.unwrap();
    let heard = timeout(LIMIT, subscriber.next()).await.unwrap();
    assert!(matches!(heard, Some(News::Message { message, .. }) if message == "EUR"));
}

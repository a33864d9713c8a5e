//! What becomes of an answer that cannot be kept when it is given, and of a claim whose answer is lost.

use http::header::CONTENT_ENCODING;
use statehouse_core::conformance::Warnings;

use super::*;

async fn behind(proxy: &FaultProxy, server: &statehouse_testkit::RedisServer) -> IdempotencyLayer {
    let url = format!("{}?timeout=300ms&deadline=600ms", proxy.url(&server.url()));
    layer(open_redis(&url, &random_namespace()).await)
}

/// What cuts the store off cuts the client off, too: it comes again, and finds what its request came to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_could_not_be_kept_at_once_is_kept_when_the_store_is_back() {
    let server = durable_redis().await;
    let proxy = Arc::new(FaultProxy::start(server.address()));
    let (layer, count) = (behind(&proxy, &server).await, Arc::new(AtomicUsize::new(0)));
    let orders = orders(&layer, {
        let (count, proxy) = (Arc::clone(&count), Arc::clone(&proxy));
        move |_| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                proxy.cut();
            }
            async { Response::new(Full::new("done".into())) }
        }
    });
    let first = ask(&orders, order("k1", "apples")).await;
    assert_eq!((first.status, first.is_replayed), (200, false), "the answer is given");
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 503);
    proxy.heal();
    let again = until_answered(&orders).await;
    assert!(again.is_replayed && again.body == "done", "{again:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_is_lost_takes_the_key_only_until_the_store_is_back() {
    let server = durable_redis().await;
    let proxy = FaultProxy::start(server.address());
    let (orders, count) = counting(&behind(&proxy, &server).await);
    assert_eq!(ask(&orders, order("warm", "apples")).await.status, 201);
    proxy.black_hole_way(Direction::ToClient);
    assert_eq!(ask(&orders, order("k1", "apples")).await.status, 503);
    proxy.reset_connections();
    proxy.heal();
    // Much sooner than the lease, which is a minute.
    let answer = until_answered(&orders).await;
    assert_eq!((answer.status, answer.is_replayed, count.load(Ordering::SeqCst)), (201, false, 2));
}

#[tokio::test]
async fn what_is_told_again_says_how_its_bytes_are_encoded() {
    let layer = layer(MemoryCoordStore::new()).headers([HeaderName::from_static("x-order")]);
    let orders = orders(&layer, |_| async {
        let response = Response::builder().header(CONTENT_ENCODING, "gzip").header("x-other", "1");
        response.body(Full::new(Bytes::from_static(b"\x1f\x8b\x08"))).unwrap()
    });
    for is_replayed in [false, true] {
        let response = orders.clone().oneshot(order("k1", "apples")).await.unwrap();
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers().contains_key("x-other"), !is_replayed);
    }
}

#[tokio::test]
async fn requests_that_cannot_be_answered_once_are_said_once() {
    let for_good = layer(Without(Arc::new(MemoryCoordStore::new()), &[SERVER_TIME]));
    let nameless = Coordination::new(Arc::new(MemoryCoordStore::new())).idempotency("", |_| Some("ada".to_owned()));
    for wrong in [for_good, nameless] {
        let log = Warnings::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        let (orders, count) = counting(&wrong);
        for number in 0..5 {
            assert_eq!(ask(&orders, order(&number.to_string(), "apples")).await.status, 500);
        }
        assert_eq!(count.load(Ordering::SeqCst), 0);
        let lines = log.lines();
        assert!(lines.len() == 1 && lines[0].starts_with("coord.idempotency_failed"), "{lines:?}");
    }
}

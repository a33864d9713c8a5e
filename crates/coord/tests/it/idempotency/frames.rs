//! Bodies in pieces, and paths of which a router takes a part away.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use statehouse_coord::{Coordination, IdempotencyBody, MemoryCoordStore};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{ask, counting, layer, order};

type Framed = Request<IdempotencyBody<UnsyncBoxBody<Bytes, Infallible>>>;

/// A frame takes some 100 bytes beside its own, and may be a small part of a buffer that it keeps.
#[tokio::test]
async fn a_request_in_very_many_frames_takes_no_more_than_its_bytes() {
    static HELD: AtomicUsize = AtomicUsize::new(0);
    /// A buffer of which a frame is one byte.
    struct Buffer;
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }
    impl Drop for Buffer {
        fn drop(&mut self) {
            HELD.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let buffer = |_| {
        HELD.fetch_add(1, Ordering::SeqCst);
        Bytes::from_owner(Buffer)
    };
    let count = 100_000;
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let layer = coord.idempotency("orders", |_| Some("ada".to_owned())).max_request(count).max_response(count);
    let service = layer.layer(service_fn(|request: Framed| {
        let held = HELD.load(Ordering::SeqCst);
        async move {
            let mut body = request.into_body();
            let (mut frames, mut bytes) = (0, 0);
            while let Some(frame) = body.frame().await {
                bytes += frame.unwrap().into_data().unwrap().len();
                frames += 1;
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("{bytes} in {frames}, {held} held")))))
        }
    }));
    for (key, empty, full, expected) in [
        ("full", 0, count, "100000 in 1, 0 held"),
        ("empty", 1_000_000, 0, "0 in 0, 0 held"),
        ("both", 1_000_000, count, "100000 in 1, 0 held"),
    ] {
        let full = (0..full).map(buffer);
        let frames: Vec<_> = full.flat_map(|full| [Bytes::new(), full]).chain(vec![Bytes::new(); empty]).collect();
        let frames = frames.into_iter().map(|frame| Ok::<_, Infallible>(Frame::data(frame)));
        let request = Request::post("/").header("idempotency-key", key);
        let request = request.body(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{key}");
    }
}

#[tokio::test]
async fn trailers_come_behind_the_data_of_what_is_passed_on() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let layer = coord.idempotency("orders", |_| Some("ada".to_owned()));
    let service = layer.layer(service_fn(|request: Framed| async move {
        let body = request.into_body().collect().await.unwrap();
        let sum = body.trailers().unwrap()["sum"].to_str().unwrap().to_owned();
        let text = format!("{} {sum}", String::from_utf8(body.to_bytes().to_vec()).unwrap());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    }));
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("sum"), "7".parse().unwrap())]);
    let frames = [Frame::data("ab".into()), Frame::data("cd".into()), Frame::trailers(trailers)];
    let frames = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
    let request = Request::post("/").header("idempotency-key", "k").body(frames.boxed_unsync()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abcd 7");
}

/// Two routers in one have the same path each, of what is left of it.
#[tokio::test]
async fn what_a_router_takes_away_of_a_path_counts() {
    use axum::{Router, body::Body, routing::post};
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let once = coord.idempotency("charges", |_| Some("ada".to_owned()));
    let charging =
        |name: &'static str| Router::new().route("/charge", post(move || async move { name })).layer(once.clone());
    let app = Router::new().nest("/live", charging("live")).nest("/test", charging("test"));
    for (path, status, body) in [
        ("/test/charge", 200, "test"),
        ("/live/charge", 422, ""),
        ("/test/charge", 200, "test"),
        ("/test/charge?x", 422, ""),
    ] {
        let request = Request::post(path).header("idempotency-key", "k1").body(Body::from("1")).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty() || answer == body, "{path}: {answer:?}");
    }
    // Another kind of router, of which the application says what it has taken away.
    let (orders, _) = counting(&layer(MemoryCoordStore::new()).target(|request| {
        let whole = request.extensions.get::<&str>();
        (*whole.unwrap()).to_owned()
    }));
    for (whole, status) in [("/test/charge", 201), ("/live/charge", 422), ("/test/charge", 201)] {
        let mut request = order("k1", "1");
        request.extensions_mut().insert(whole);
        assert_eq!(ask(&orders, request).await.status, status, "{whole}");
    }
}

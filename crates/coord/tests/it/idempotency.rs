//! Requests that are answered once, however often they come.

mod frames;
mod in_files;
mod kept;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use statehouse_coord::capability::SERVER_TIME;
use statehouse_coord::{
    CoordKey, CoordStore, CoordStoreExt as _, Coordination, FilesConfig, FilesCoordStore, IdempotencyBody,
    IdempotencyLayer, LayeredCoordStore, MemoryConfig, MemoryCoordStore, ScanOptions,
};
use statehouse_core::ManualClock;
use statehouse_core::layer::Faults;
use statehouse_filestore::MemoryFileStore;
use statehouse_testkit::{Direction, FaultProxy};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::without::Without;
use crate::{durable_redis, open_redis, random_namespace};

const LONG: Duration = Duration::from_secs(60);

type Got = Request<IdempotencyBody<Full<Bytes>>>;
type Orders = BoxCloneSyncService<Request<Full<Bytes>>, Response<IdempotencyBody<Full<Bytes>>>, Infallible>;

#[derive(Clone)]
struct User(&'static str);

fn layer(store: impl CoordStore) -> IdempotencyLayer {
    let coord = Coordination::new(Arc::new(store));
    coord.idempotency("orders", |request| Some(request.extensions.get::<User>()?.0.to_owned()))
}

/// What the orders are answered by.
fn orders<F>(layer: &IdempotencyLayer, answer: impl Fn(Got) -> F + Clone + Send + Sync + 'static) -> Orders
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let inner = service_fn(move |request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    BoxCloneSyncService::new(layer.layer(inner))
}

/// Counts the orders, and says which each is.
fn counting(layer: &IdempotencyLayer) -> (Orders, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let answer = move |request: Got| {
        let count = Arc::clone(&counted);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let response = Response::builder().status(StatusCode::CREATED).header("location", format!("/o/{number}"));
            let text = format!("order {number}: {}", String::from_utf8_lossy(&body));
            response.header("set-cookie", "secret").body(Full::new(text.into())).unwrap()
        }
    };
    (orders(layer, answer), count)
}

fn order(key: &str, body: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/orders?x=1").header("idempotency-key", key).extension(User("ada"));
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: String,
    location: Option<String>,
    is_replayed: bool,
    retry_after: Option<String>,
}

async fn ask(orders: &Orders, request: Request<Full<Bytes>>) -> Answer {
    let response = timeout(LONG, orders.clone().oneshot(request)).await.unwrap().unwrap();
    let (parts, body) = response.into_parts();
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: parts.status.as_u16(),
        body: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        location: text("location"),
        is_replayed: text("idempotency-replayed").as_deref() == Some("true"),
        retry_after: text("retry-after"),
    }
}

#[tokio::test]
async fn a_request_that_comes_again_is_told_the_same_and_not_passed_on() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let (redis, folder) = (layer(open_redis(&server.url(), &namespace).await), tempfile::tempdir().unwrap());
    for layer in [layer(MemoryCoordStore::new()), redis, layer(in_files::on_disk(folder.path(), 0).await)] {
        let (orders, count) = counting(&layer);
        let first = ask(&orders, order("k1", "apples")).await;
        let whole = ("order 1: apples", Some("/o/1"), 201, false);
        assert_eq!((&first.body[..], first.location.as_deref(), first.status, first.is_replayed), whole);
        let again = ask(&orders, order("k1", "apples")).await;
        assert_eq!(again, Answer { is_replayed: true, ..first });
        let response = orders.clone().oneshot(order("k1", "apples")).await.unwrap();
        assert!(!response.headers().contains_key("set-cookie"), "only chosen headers are told again");

        // Another request under the key: by its body, its path or its method.
        let mut path = order("k1", "apples");
        *path.uri_mut() = "/orders?x=2".parse().unwrap();
        let mut method = order("k1", "apples");
        *method.method_mut() = Method::PATCH;
        for other in [order("k1", "pears"), path, method] {
            assert_eq!(ask(&orders, other).await.status, 422);
        }
        // Another principal's key, another key, and what has no key or no principal.
        let mut bob = order("k1", "apples");
        bob.extensions_mut().insert(User("bob"));
        let mut nobody = order("k1", "apples");
        nobody.extensions_mut().remove::<User>();
        let mut keyless = order("k1", "apples");
        keyless.headers_mut().remove("idempotency-key");
        let mut get = order("k1", "apples");
        *get.method_mut() = Method::PUT;
        for (number, request) in (2..).zip([bob, order("k2", "apples"), nobody, keyless, get]) {
            let answer = ask(&orders, request).await;
            assert!(!answer.is_replayed && answer.body == format!("order {number}: apples"), "{answer:?}");
        }
        assert_eq!(count.load(Ordering::SeqCst), 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_passed_on_and_the_others_are_told_to_come_back() {
    let (server, namespace) = (durable_redis().await, random_namespace());
    let [one, other] = [open_redis(&server.url(), &namespace).await, open_redis(&server.url(), &namespace).await];
    let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let replicas = [layer(one), layer(other)].map(|layer| {
        let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        orders(&layer, move |_| {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                go_on.acquire().await.unwrap().forget();
                Response::new(Full::new("done".into()))
            }
        })
    });
    let mut clients = JoinSet::new();
    for client in 0..12 {
        let orders = replicas[client % 2].clone();
        clients.spawn(async move { ask(&orders, order("k1", "apples")).await });
    }
    let mut answers = Vec::new();
    while answers.len() < 11 {
        answers.push(clients.join_next().await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| answer.status == 409 && answer.retry_after.is_some()), "{answers:?}");
    assert_eq!(ask(&replicas[0], order("k1", "pears")).await.status, 422, "while it is under way, too");
    go_on.add_permits(1);
    let answer = clients.join_next().await.unwrap().unwrap();
    assert!(answer.status == 200 && !answer.is_replayed, "{answer:?}");
    assert!(ask(&replicas[1], order("k1", "apples")).await.is_replayed);
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_frees_the_key_and_one_that_refuses_does_not() {
    let count = Arc::new(AtomicUsize::new(0));
    let layer = layer(MemoryCoordStore::new());
    let orders = orders(&layer, {
        let count = Arc::clone(&count);
        move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            async move {
                let status = [503, 500, 429, 0, 404][number];
                let status = StatusCode::from_u16(status).expect("the third is none");
                Response::builder().status(status).body(Full::default()).unwrap()
            }
        }
    });
    for status in [503, 500, 429] {
        let answer = ask(&orders, order("k1", "apples")).await;
        assert_eq!((answer.status, answer.is_replayed), (status, false));
    }
    let panicking = orders.clone();
    let panicked = tokio::spawn(async move { ask(&panicking, order("k1", "apples")).await }).await;
    assert!(panicked.unwrap_err().is_panic());
    for is_replayed in [false, true, true] {
        let answer = ask(&orders, order("k1", "apples")).await;
        assert_eq!((answer.status, answer.is_replayed), (404, is_replayed));
    }
}

#[tokio::test]
async fn a_key_is_free_when_its_process_has_died_and_its_time_is_over() {
    let clock = ManualClock::default();
    let store = Arc::new(MemoryCoordStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
    let lease = Duration::from_secs(30);
    let layer = layer(Arc::clone(&store)).lease(lease).time_to_live(LONG);
    let (orders_again, count) = counting(&layer);
    // A runtime that ends with what it does.
    let dying = orders(&layer, |_| std::future::pending());
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked = async move { timeout(Duration::from_millis(50), dying.oneshot(order("k1", "apples"))).await };
        assert!(runtime.block_on(asked).is_err());
        runtime.shutdown_background();
    });
    process.join().unwrap();
    assert_eq!(ask(&orders_again, order("k1", "apples")).await.status, 409);
    clock.advance(lease);
    assert_eq!(ask(&orders_again, order("k1", "apples")).await.body, "order 1: apples");
    clock.advance(LONG - Duration::from_millis(1));
    assert!(ask(&orders_again, order("k1", "apples")).await.is_replayed);
    clock.advance(Duration::from_millis(1));
    assert_eq!(ask(&orders_again, order("k1", "apples")).await.body, "order 2: apples");
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let page = store.scan_with(ScanOptions::new("")).await.unwrap();
    assert_eq!(page.records.len(), 1, "what is over is gone");
}

#[tokio::test]
async fn a_handler_that_takes_longer_than_its_lease_is_dropped() {
    let layer = layer(MemoryCoordStore::new()).lease(Duration::from_millis(100));
    let (ended, has_ended) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let orders = orders(&layer, {
        let (ended, has_ended) = (Arc::clone(&ended), Arc::clone(&has_ended));
        move |_| {
            let (ended, has_ended) = (Arc::clone(&ended), Arc::clone(&has_ended));
            async move {
                ended.notified().await;
                has_ended.fetch_add(1, Ordering::SeqCst);
                Response::new(Full::default())
            }
        }
    });
    let answer = ask(&orders, order("k1", "apples")).await;
    assert!(answer.status == 503 && answer.retry_after.is_some(), "{answer:?}");
    ended.notify_waiters();
    tokio::task::yield_now().await;
    assert_eq!(has_ended.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_finds_the_answer_when_it_comes_back() {
    let layer = layer(MemoryCoordStore::new());
    let go_on = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&go_on);
    let orders = orders(&layer, move |_| {
        let go_on = Arc::clone(&waiting);
        async move {
            go_on.acquire().await.unwrap().forget();
            Response::new(Full::new("done".into()))
        }
    });
    let hung_up = timeout(Duration::from_millis(50), orders.clone().oneshot(order("k1", "apples"))).await;
    assert!(hung_up.is_err());
    go_on.add_permits(1);
    let answer = loop {
        match ask(&orders, order("k1", "apples")).await {
            answer if answer.status == 409 => tokio::task::yield_now().await,
            answer => break answer,
        }
    };
    assert!(answer.is_replayed && answer.body == "done", "{answer:?}");
}

/// Between the claim and its answer nobody knows of it but the store: who drops it there has taken the key for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_while_its_key_is_claimed_finds_the_answer_too() {
    let server = durable_redis().await;
    let proxy = FaultProxy::start(server.address());
    let (orders, count) = counting(&layer(open_redis(&proxy.url(&server.url()), &random_namespace()).await));
    assert_eq!(ask(&orders, order("warm", "apples")).await.status, 201);
    proxy.delay(Direction::ToClient, Duration::from_secs(1));
    let hung_up = timeout(Duration::from_millis(100), orders.clone().oneshot(order("k1", "apples"))).await;
    assert!(hung_up.is_err(), "it has no answer yet");
    proxy.heal();
    let answer = until_answered(&orders).await;
    assert!(answer.is_replayed && answer.body == "order 2: apples", "{answer:?}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// Asks until it is not under way, for much less than a lease.
async fn until_answered(orders: &Orders) -> Answer {
    let asking = async {
        loop {
            match ask(orders, order("k1", "apples")).await {
                answer if [409, 503].contains(&answer.status) => tokio::time::sleep(Duration::from_millis(20)).await,
                answer => break answer,
            }
        }
    };
    timeout(Duration::from_secs(30), asking).await.expect("it stays under way, though nobody is at it")
}

#[tokio::test]
async fn a_handler_that_panics_after_its_client_has_hung_up_frees_the_key() {
    let (count, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let orders = orders(&layer(MemoryCoordStore::new()), {
        let (count, go_on) = (Arc::clone(&count), Arc::clone(&go_on));
        move |_| {
            let (is_first, go_on) = (count.fetch_add(1, Ordering::SeqCst) == 0, Arc::clone(&go_on));
            async move {
                go_on.acquire().await.unwrap().forget();
                assert!(!is_first, "the first panics");
                Response::new(Full::new("done".into()))
            }
        }
    });
    let hung_up = timeout(Duration::from_millis(50), orders.clone().oneshot(order("k1", "apples"))).await;
    assert!(hung_up.is_err());
    go_on.add_permits(2);
    let answer = until_answered(&orders).await;
    assert!(!answer.is_replayed && answer.body == "done", "{answer:?}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_or_not_kept_and_keys_are_checked() {
    let layer = layer(MemoryCoordStore::new()).max_request(10).max_response(20).headers([HeaderName::from_static("x")]);
    let (orders, count) = counting(&layer);
    assert_eq!(ask(&orders, order("k1", "12345678901")).await.status, 413);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let first = ask(&orders, order("k2", "1234567890")).await;
    assert_eq!((first.status, &first.body[..]), (201, "order 1: 1234567890"), "19 bytes");
    let again = ask(&orders, order("k2", "1234567890")).await;
    assert_eq!((again.is_replayed, again.location), (true, None), "no chosen header");
    for key in ["", &"k".repeat(256)] {
        assert_eq!(ask(&orders, order(key, "a")).await.status, 400, "{key}");
    }
    let mut two = order("k3", "a");
    two.headers_mut().append("idempotency-key", "k4".parse().unwrap());
    assert_eq!(ask(&orders, two).await.status, 400);
    let (required, _) = counting(&layer.clone().required());
    let mut keyless = order("k3", "a");
    keyless.headers_mut().remove("idempotency-key");
    assert_eq!(ask(&required, keyless).await.status, 400);
    // More than is kept: all of it once.
    let (orders, count) = counting(&layer.max_response(18));
    assert_eq!(ask(&orders, order("k5", "1234567890")).await.body, "order 1: 1234567890");
    let again = ask(&orders, order("k5", "1234567890")).await;
    assert_eq!((again.status, again.retry_after, count.load(Ordering::SeqCst)), (409, None, 1));
}

/// A body that comes in pieces, ends early or goes on for ever is as it was for the first client, and no answer to keep if it
/// failed; and what it was the answer of is done.
#[tokio::test]
async fn a_response_in_pieces_is_kept_and_one_that_breaks_off_is_not() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let layer = coord.idempotency("orders", |_| Some("ada".to_owned())).max_response(8);
    let service = layer.layer(service_fn(|request: Got| async move {
        let pieces: Vec<Result<_, &str>> = match request.headers()["idempotency-key"].to_str().unwrap() {
            "whole" => vec![Ok("abc"), Ok("def")],
            "long" => vec![Ok("abc"), Ok("defghi"), Ok("jkl")],
            _ => vec![Ok("abc"), Err("broken")],
        };
        let frames = pieces.into_iter().map(|piece| piece.map(|piece| http_body::Frame::data(Bytes::from(piece))));
        Ok::<_, Infallible>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
    }));
    for (key, first, again) in [
        ("whole", Ok("abcdef"), (200, true)),
        ("long", Ok("abcdefghijkl"), (409, false)),
        ("broken", Err("broken"), (409, false)),
    ] {
        let response = service.clone().oneshot(order(key, "a")).await.unwrap();
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        assert_eq!(body, first.map(Bytes::from), "{key}");
        let response = service.clone().oneshot(order(key, "a")).await.unwrap();
        let is_replayed = response.headers().contains_key("idempotency-replayed");
        assert_eq!((response.status().as_u16(), is_replayed), again, "{key}");
    }
}

#[tokio::test]
async fn nothing_is_passed_on_while_the_store_is_away_or_cannot_do_it() {
    let memory: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
    let (orders, count) =
        counting(&layer(LayeredCoordStore::new(Arc::clone(&memory), Faults::seeded(1).with_refused_calls(1.0))));
    let answer = ask(&orders, order("k1", "apples")).await;
    assert!(answer.status == 503 && answer.retry_after.is_some(), "{answer:?}");
    let (for_good, other) = counting(&layer(Without(Arc::clone(&memory), &[SERVER_TIME])));
    assert_eq!(ask(&for_good, order("k1", "apples")).await.status, 500);
    assert_eq!((count.load(Ordering::SeqCst), other.load(Ordering::SeqCst)), (0, 0));
    // Lost answers are found out: whatever is said, no order is made twice.
    let memory: Arc<dyn CoordStore> = Arc::new(MemoryCoordStore::new());
    for seed in 0..20 {
        let faults = Faults::seeded(seed).with_lost_answers(0.3);
        let (orders, count) = counting(&layer(LayeredCoordStore::new(Arc::clone(&memory), faults)));
        for _ in 0..3 {
            let answer = ask(&orders, order(&format!("k{seed}"), "apples")).await;
            assert!([201, 409, 503].contains(&answer.status), "{answer:?}");
        }
        assert!(count.load(Ordering::SeqCst) <= 1);
    }
}

fn large(key: &str, user: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post("/orders").header("idempotency-key", key).extension(User(user));
    request.body(Full::new(Bytes::from(vec![b'x'; 20 << 10]))).unwrap()
}

/// Of a principal who orders without end the last answers are kept, and of all others as well.
#[tokio::test]
async fn so_much_is_kept_of_a_principal_and_of_all_and_of_the_rest_that_it_was_answered() {
    let layer = layer(MemoryCoordStore::new()).max_kept(64 << 10).max_kept_of_all(96 << 10);
    let (orders, count) = counting(&layer);
    let seen = async |key: &str, user| {
        let Answer { status, is_replayed, .. } = ask(&orders, large(key, user)).await;
        (status, is_replayed)
    };
    assert_eq!(seen("k", "bob").await, (201, false));
    for number in 0..5 {
        assert_eq!(seen(&number.to_string(), "ada").await, (201, false));
    }
    for number in 0..5 {
        let told = if number < 2 { (409, false) } else { (201, true) };
        assert_eq!(seen(&number.to_string(), "ada").await, told, "{number}");
    }
    assert_eq!(seen("k", "bob").await, (201, true), "it is nobody else's");
    assert_eq!(seen("k", "eve").await, (201, false));
    assert_eq!(seen("k", "bob").await, (409, false), "the oldest of all");
    assert_eq!((seen("k", "eve").await, count.load(Ordering::SeqCst)), ((201, true), 7));
}

/// Whoever orders without end fills no store with it, and no lock waits for a day.
#[tokio::test]
async fn however_much_is_answered_locks_and_runs_have_room() {
    let store = Arc::new(MemoryCoordStore::with_config(MemoryConfig::default().with_capacity(256 << 10).unwrap()));
    let coord = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    let layer = coord.idempotency("orders", |request| Some(request.extensions.get::<User>()?.0.to_owned()));
    let (orders, count) = counting(&layer);
    for number in 0..600 {
        let answer = ask(&orders, large(&number.to_string(), "ada")).await;
        assert!([201, 503].contains(&answer.status), "{number}: {answer:?}");
        if number == 20 {
            assert_eq!((answer.status, ask(&orders, large("20", "ada")).await.status), (201, 409), "not made again");
        }
    }
    assert!(count.load(Ordering::SeqCst) < 600, "it is full of requests");
    let guard = coord.lock("export").await.unwrap();
    let value = Bytes::from(vec![7; 100 << 10]);
    assert!(store.put(&CoordKey::new("exports/last").unwrap(), value).await.unwrap().stored().is_some());
    guard.release().await.unwrap();
}

//! An application that is served by the library: impatient with clients that stand still, patient with slow ones.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper_util::rt::TokioIo;
use statehouse::{Config, Operations, Services, UnderWay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Within this the machine, however busy, has done what is expected at once.
const SOON: Duration = Duration::from_secs(20);

struct Served {
    address: String,
    stop: oneshot::Sender<()>,
    /// A permit for each request that the application has begun with, and one for the stop that was heard.
    begun: Arc<Semaphore>,
    ended: JoinHandle<io::Result<()>>,
}

async fn serve(settings: impl FnOnce(Operations) -> Operations) -> Served {
    let begun = Arc::new(Semaphore::new(0));
    let [slow, for_ever, taken_over, going_on, heard] = std::array::from_fn(|_| Arc::clone(&begun));
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/unread", post(|| async { "not now" }))
        .route(
            "/slow",
            get(async move || {
                slow.add_permits(1);
                sleep(Duration::from_millis(600)).await;
            }),
        )
        .route(
            "/for-ever",
            get(async move || {
                for_ever.add_permits(1);
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/goes-on",
            get(async move |Extension(under_way): Extension<UnderWay>| {
                tokio::spawn(async move {
                    going_on.add_permits(1);
                    sleep(Duration::from_millis(600)).await;
                    going_on.add_permits(1);
                    drop(under_way);
                });
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/upgraded",
            get(async move |mut request: Request| {
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut io = TokioIo::new(upgraded.await.unwrap());
                    taken_over.add_permits(1);
                    io.read_to_end(&mut Vec::new()).await.unwrap();
                });
                (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "x")])
            }),
        )
        .route("/much", get(|| async { Body::from(vec![b'x'; 64 << 20]) }));
    let services = Services::open(Config::in_memory()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let until = async move {
        stopped.await.unwrap_or_default();
        heard.add_permits(1);
    };
    let operations = settings(services.operations().delay(Duration::ZERO));
    let ended = tokio::spawn(operations.serve_until(listener, app, until));
    Served { address, stop, begun, ended }
}

impl Served {
    async fn client(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// What the server sends on the connection until it ends it, after `request` was sent.
    async fn answer(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.write_all(request.as_bytes()).await.unwrap();
        rest(&mut client).await
    }

    /// Waits for a request that the application has begun with, or for the stop.
    async fn begins(&self) {
        timeout(SOON, self.begun.acquire()).await.expect("it begins").unwrap().forget();
    }

    /// Another client, where there is place for one.
    async fn answers_once_it_has_gone(&self, first: TcpStream) {
        let mut second = Box::pin(self.answer(HELLO));
        assert!(timeout(Duration::from_millis(300), &mut second).await.is_err(), "it is answered beside the first");
        drop(first);
        assert!(second.as_mut().await.ends_with("hello"));
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        timeout(SOON, self.ended).await.unwrap().unwrap().unwrap();
    }
}

async fn rest(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has ended, too.
    let _reset = timeout(SOON, client.read_to_end(&mut answer)).await.expect("the server ends the connection");
    String::from_utf8(answer).unwrap()
}

const HELLO: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_whose_head_never_ends_is_cut_off_and_others_are_answered() {
    let served = serve(|operations| operations.head_within(Duration::from_secs(4))).await;
    let mut half = Vec::new();
    for _ in 0..50 {
        let mut client = served.client().await;
        client.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
        half.push(client);
    }
    assert!(served.answer(HELLO).await.ends_with("hello"));
    for mut client in half {
        assert!(!rest(&mut client).await.contains("200"));
    }
    served.end().await;
}

const HEAD: &str = "POST /length HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 12\r\n\r\n";

#[tokio::test]
async fn a_body_that_stands_still_is_cut_off_and_a_slow_one_is_not() {
    let served = serve(|operations| operations.stalled_within(Duration::from_secs(4))).await;
    let half = format!("{HEAD}12345");
    let stalled = served.answer(&half);
    let (stalled, slow) = tokio::join!(stalled, answer_to_a_slow_body(&served));
    assert!(stalled.starts_with("HTTP/1.1 400"), "{stalled}");
    assert!(slow.ends_with("12"), "{slow}");
    served.end().await;
}

/// Longer in all than a body may stand still. A try in which this machine was slower than the client does not count.
async fn answer_to_a_slow_body(served: &Served) -> String {
    loop {
        let mut client = served.client().await;
        client.write_all(HEAD.as_bytes()).await.unwrap();
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        for _ in 0..12 {
            sleep(Duration::from_millis(400)).await;
            let _cut_off = client.write_all(b"x").await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        let answer = rest(&mut client).await;
        if longest < Duration::from_secs(2) {
            return answer;
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_ends_its_own_connection() {
    let served = serve(|operations| operations.stalled_within(Duration::from_millis(300)).max_connections(1)).await;
    let mut client = served.client().await;
    client.write_all(b"GET /much HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // There is room for one connection: the next is answered once this one has been given up.
    assert!(timeout(SOON, served.answer(HELLO)).await.unwrap().ends_with("hello"));
    drop(client);
    served.end().await;
}

#[tokio::test]
async fn one_connection_more_than_allowed_waits_for_another_to_end() {
    let served = serve(|operations| operations.max_connections(1)).await;
    let mut first = served.client().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    first.read_exact(&mut answer).await.unwrap();
    served.answers_once_it_has_gone(first).await;
    served.end().await;
}

#[tokio::test]
async fn a_connection_that_is_upgraded_counts_until_it_ends() {
    let served = serve(|operations| operations.max_connections(1)).await;
    let mut first = served.client().await;
    first.write_all(b"GET /upgraded HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    served.begins().await;
    served.answers_once_it_has_gone(first).await;
    served.end().await;
}

#[tokio::test]
async fn the_head_of_a_request_is_bounded_while_it_comes() {
    let served = serve(|operations| operations.head_within(10 * SOON)).await;
    let head = |len: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx: {}", "x".repeat(len));
    assert!(served.answer(&(head(60_000) + "\r\n\r\n")).await.ends_with("hello"));
    let endless = served.answer(&head(70_000)).await;
    assert!(endless.starts_with("HTTP/1.1 431"), "{endless}");
    served.end().await;
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_refuses_what_comes_later() {
    let served = serve(|operations| operations).await;
    let mut under_way = served.client().await;
    under_way.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut idle = served.client().await;
    served.begins().await;
    served.stop.send(()).unwrap();
    let (under_way, idle) = (rest(&mut under_way).await, rest(&mut idle).await);
    assert!(under_way.starts_with("HTTP/1.1 200"), "{under_way}");
    assert_eq!(idle, "");
    timeout(SOON, served.ended).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(&served.address).await.is_err());
}

/// A handler that goes on without its client: it has the place of its connection, and a stop waits for it.
#[tokio::test]
async fn what_goes_on_when_its_client_has_gone_is_under_way() {
    let served = serve(|operations| operations.max_connections(1)).await;
    let go_on = async || {
        let mut client = served.client().await;
        client.write_all(b"GET /goes-on HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        served.begins().await;
        // Here its client goes.
    };
    go_on().await;
    assert!(served.answer(HELLO).await.ends_with("hello"));
    assert_eq!(served.begun.available_permits(), 1, "what went on had the place until it was done");
    served.begins().await;
    go_on().await;
    let begun = Arc::clone(&served.begun);
    served.end().await;
    assert_eq!(begun.available_permits(), 2, "the stop, and what was waited for");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let served = serve(|operations| operations.drain_within(Duration::from_millis(200))).await;
    let mut client = served.client().await;
    client.write_all(b"GET /for-ever HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    served.begins().await;
    served.stop.send(()).unwrap();
    timeout(SOON, served.ended).await.unwrap().unwrap().unwrap();
    assert_eq!(rest(&mut client).await, "");
}

/// Also where somebody has shortened what a stop may take, and not the delay.
#[tokio::test]
async fn what_comes_at_the_end_of_the_delay_has_time_to_be_answered() {
    let Served { address, stop, begun, ended } =
        serve(|operations| operations.delay(10 * SOON).drain_within(Duration::from_secs(6))).await;
    stop.send(()).unwrap();
    timeout(SOON, begun.acquire()).await.expect("the stop is heard").unwrap().forget();
    let mut answered = 0;
    while let Ok(mut client) = TcpStream::connect(&address).await {
        let _gone = client.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = rest(&mut client).await;
        // A connection that nobody has taken before the end is not one that was cut off.
        let Ok(has_begun) = begun.try_acquire() else { break };
        has_begun.forget();
        assert!(answer.starts_with("HTTP/1.1 200"), "after {answered}: {answer:?}");
        answered += 1;
    }
    assert!(answered > 0, "new requests are answered for a while");
    timeout(SOON, ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn during_the_delay_connections_are_accepted() {
    let Served { address, stop, begun, ended } =
        serve(|operations| operations.delay(10 * SOON).drain_within(20 * SOON)).await;
    stop.send(()).unwrap();
    timeout(SOON, begun.acquire()).await.expect("the stop is heard").unwrap().forget();
    let ask = async |path: &str| {
        let mut client = TcpStream::connect(&address).await.unwrap();
        // The connection would be kept: the answer says that it is not.
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        rest(&mut client).await
    };
    let start = Instant::now();
    let ready = loop {
        let ready = ask("/ready").await;
        if ready.starts_with("HTTP/1.1 503") {
            break ready;
        }
        assert!(start.elapsed() < SOON, "{ready}");
    };
    assert!(ready.contains("requests that are under way are finished"), "{ready}");
    let hello = ask("/").await;
    assert!(hello.ends_with("hello") && hello.contains("connection: close"), "{hello}");
    assert!(ask("/live").await.starts_with("HTTP/1.1 200"), "nobody is to restart it");
    assert!(!ended.is_finished());
    ended.abort();
}

/// Their connections are there for the client, which may have sent its request.
#[tokio::test]
async fn at_a_stop_those_who_wait_in_the_queue_are_answered() {
    for _ in 0..20 {
        let served = serve(|operations| operations).await;
        assert!(served.answer(HELLO).await.ends_with("hello"), "it serves");
        // Nothing else runs on this thread meanwhile: nobody has accepted them when the server is told.
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let mut client = std::net::TcpStream::connect(&served.address).unwrap();
                io::Write::write_all(&mut client, HELLO.as_bytes()).unwrap();
                client.set_nonblocking(true).unwrap();
                TcpStream::from_std(client).unwrap()
            })
            .collect();
        served.stop.send(()).unwrap();
        for mut client in waiting {
            let answer = rest(&mut client).await;
            assert!(answer.ends_with("hello"), "{answer:?}");
        }
        timeout(SOON, served.ended).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_is_done_at_a_stop_is_over_before_anything_is_closed_and_is_cut_off_in_the_end() {
    let services = Services::open(Config::in_memory()).await.unwrap();
    let (asked, done) = (services.clone(), Arc::new(Semaphore::new(0)));
    let tell = Arc::clone(&done);
    let operations = services.operations().delay(Duration::ZERO).drain_within(Duration::from_secs(2));
    let operations = operations.at_stop(async move {
        let ready = asked.operations().probes().answer("/ready").await.unwrap();
        assert!(ready.body().contains("stopping for"), "{}", ready.body());
        tell.add_permits(1);
        std::future::pending::<()>().await;
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    timeout(SOON, operations.serve_until(listener, Router::new(), async {})).await.expect("it is cut off").unwrap();
    assert_eq!(done.available_permits(), 1);
    let ready = services.operations().probes().answer("/ready").await.unwrap();
    assert!(ready.body().contains("the services were shut down"), "{}", ready.body());
}

#[tokio::test]
async fn what_panics_at_a_stop_keeps_nothing_from_being_answered_and_stored() {
    let mut of_it = None;
    let served = serve(|operations| {
        of_it = Some(operations.probes());
        operations.at_stop(async { panic!("on purpose") })
    })
    .await;
    let mut under_way = served.client().await;
    under_way.write_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    served.begins().await;
    let Served { stop, ended, .. } = served;
    stop.send(()).unwrap();
    let under_way = rest(&mut under_way).await;
    assert!(under_way.starts_with("HTTP/1.1 200"), "{under_way}");
    timeout(SOON, ended).await.unwrap().expect("no panic").unwrap();
    let ready = of_it.unwrap().answer("/ready").await.unwrap();
    assert!(ready.body().contains("the services were shut down"), "{}", ready.body());
}

#[tokio::test]
async fn a_server_does_not_begin_where_a_service_that_is_used_cannot_be_had() {
    // Nobody can make a folder there, not even root.
    let services = Services::open(Config::embedded("/sys/statehouse")).await.unwrap();
    let serve = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        services.operations().serve_until(listener, Router::new(), async {}).await
    };
    let _scans = services.files("scans").unwrap();
    let refused = serve().await.unwrap_err().to_string();
    assert!(refused.contains("STATEHOUSE_FILES_URL") && !refused.contains("SESSIONS"), "{refused}");
}

/// The client looks at the answer only when it has sent everything, as browsers do.
#[tokio::test]
async fn an_answer_before_the_end_of_the_request_arrives() {
    const LENGTH: usize = 20 << 20;
    let served = serve(|operations| operations).await;
    for head in [format!("Content-Length: {LENGTH}\r\n"), "Transfer-Encoding: chunked\r\n".to_owned()] {
        let mut client = served.client().await;
        client.write_all(format!("POST /unread HTTP/1.1\r\nHost: h\r\n{head}\r\n").as_bytes()).await.unwrap();
        if head.starts_with("Transfer") {
            client.write_all(format!("{LENGTH:x}\r\n").as_bytes()).await.unwrap();
        }
        for _ in 0..LENGTH >> 20 {
            client.write_all(&[b'x'; 1 << 20]).await.expect("the server goes on reading");
        }
        let mut answer = String::new();
        let read = timeout(SOON, client.read_to_string(&mut answer)).await.expect("the server ends the connection");
        read.expect("no reset");
        assert!(answer.ends_with("not now"), "{answer}");
    }
    served.end().await;
}

/// A request that nobody reads keeps the connection's place for a while only.
#[tokio::test]
async fn a_client_that_goes_on_sending_what_nobody_reads_is_cut_off() {
    let served = serve(|operations| operations.max_connections(1)).await;
    let mut client = served.client().await;
    client.write_all(b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n").await.unwrap();
    let sending = async { while client.write_all(&[b'x'; 1 << 20]).await.is_ok() {} };
    timeout(SOON, sending).await.expect("it is cut off");
    assert!(timeout(SOON, served.answer(HELLO)).await.unwrap().ends_with("hello"));
    served.end().await;
}

#[tokio::test]
async fn limits_without_an_end_serve_and_stop() {
    const MAX: Duration = Duration::MAX;
    let served = serve(|operations| operations.head_within(MAX).stalled_within(MAX).drain_within(MAX)).await;
    assert!(served.answer(HELLO).await.ends_with("hello"));
    served.end().await;
    let services = Services::open(Config::in_memory()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let operations = services.operations().delay(MAX).drain_within(Duration::ZERO);
    timeout(SOON, operations.serve_until(listener, Router::new(), async {})).await.unwrap().unwrap();
}

//! What each operation says of each way in which a network or a server fails, and how soon.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use statehouse_core::{Error, ErrorKind};
use statehouse_filestore::{Body, Files, ObjectFileStore, Probe};
use statehouse_testkit::{Direction, FaultProxy, S3Server};

use crate::s3::{config, files};

const MIB: usize = 1 << 20;

/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(2);

/// The longest that anything may take: a request, its repetition, and the look at what became of it; on a machine that
/// has other things to do.
const SOON: Duration = Duration::from_secs(15);

type Call = fn(Files) -> BoxFuture<'static, Result<(), Error>>;

fn long() -> Body {
    Body::from_stream(futures_util::stream::iter((0..7).map(|_| Ok::<_, Error>(vec![7_u8; MIB]))))
}

/// Every operation, and whether it writes.
const CALLS: [(&str, bool, Call); 8] = [
    ("put", true, |files| Box::pin(async move { files.put("new", "x").await.map(drop) })),
    ("put in parts", true, |files| Box::pin(async move { files.put("long", long()).await.map(drop) })),
    ("get", false, |files| Box::pin(async move { read(&files, "small", 5).await })),
    ("get of much", false, |files| Box::pin(async move { read(&files, "large", 3 * MIB).await })),
    ("head", false, |files| Box::pin(async move { files.head("small").await.map(drop) })),
    ("list", false, |files| {
        Box::pin(async move { files.list("").await.map(|page| assert!(!page.entries.is_empty())) })
    }),
    ("delete", true, |files| Box::pin(async move { files.delete("gone").await.map(drop) })),
    ("copy", true, |files| Box::pin(async move { files.copy("small", "copied").await.map(drop) })),
];

async fn read(files: &Files, name: &str, len: usize) -> Result<(), Error> {
    let read = files.get(name).bytes().await?;
    assert_eq!(read.len(), len, "{name} was cut short");
    Ok(())
}

/// A way to fail, and whether it is worked through, or how it is told.
type Fault = (&'static str, fn(&FaultProxy), Outcome);

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Works,
    Fails(ErrorKind),
}

const FAULTS: [Fault; 7] = [
    ("cut", FaultProxy::cut, Outcome::Fails(ErrorKind::Unavailable)),
    ("silent", FaultProxy::black_hole, Outcome::Fails(ErrorKind::Timeout)),
    ("requests lost", |proxy| proxy.black_hole_way(Direction::ToServer), Outcome::Fails(ErrorKind::Timeout)),
    ("answers lost", |proxy| proxy.black_hole_way(Direction::ToClient), Outcome::Fails(ErrorKind::Timeout)),
    ("answers late", |proxy| proxy.delay(Direction::ToClient, Duration::from_millis(300)), Outcome::Works),
    ("answers cut short", |proxy| proxy.truncate(Direction::ToClient, 40), Outcome::Fails(ErrorKind::Unavailable)),
    ("requests cut short", |proxy| proxy.truncate(Direction::ToServer, 40), Outcome::Fails(ErrorKind::Unavailable)),
];

/// Once no connection is left that was broken before, and this machine has time for it.
async fn works_again(what: &str, files: &Files, call: Call) {
    let begun = Instant::now();
    while let Err(error) = call(files.clone()).await {
        let may_pass = [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&error.kind());
        assert!(may_pass && begun.elapsed() < 2 * SOON, "{what}: {error:?}");
    }
}

/// A store of its own for each cell, so that all of them fail at the same time.
async fn store(endpoint: String, server: &S3Server, silence: Duration) -> ObjectFileStore {
    let config =
        config(server).with_endpoint(endpoint).with_probe(Probe::Never).with_part_size(5 << 20).with_retries(1);
    ObjectFileStore::open_s3(config.with_timeouts(silence, silence)).await.unwrap()
}

async fn prepare(files: &Files) {
    files.put("small", "small").await.unwrap();
    files.put("large", vec![7; 3 * MIB]).await.unwrap();
    files.put("gone", "x").await.unwrap();
}

fn judge(cell: &str, writes: bool, expected: Outcome, result: Result<(), Error>, took: Duration) {
    // What is worked through may take long on a busy machine.
    assert!(took < SOON || matches!(expected, Outcome::Works), "{cell} took {took:?}");
    match (expected, result) {
        (Outcome::Works, Ok(())) => {}
        (Outcome::Fails(kind), Err(error)) => {
            // A server that hears no more may close the connection first.
            let also = matches!((kind, error.kind()), (ErrorKind::Unavailable, ErrorKind::Timeout));
            let unknown = writes && error.kind() == ErrorKind::OutcomeUnknown;
            // Half a request is a wrong one, and an answer to a HEAD does not say more.
            let wrong = cell.ends_with("requests cut short") && error.kind() == ErrorKind::Unexpected;
            assert!(error.kind() == kind || also || unknown || wrong, "{cell}: {error:?}");
        }
        (expected, result) => panic!("{cell}: {expected:?}, but {result:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_is_told_soon_and_never_as_an_absent_file() {
    let server = S3Server::shared().await;
    let direct = &Arc::new(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let cells = FAULTS.iter().flat_map(|fault| CALLS.iter().map(move |call| (fault, call)));
    let cells = cells.map(|((fault, inflict, expected), (name, writes, call))| async move {
        let proxy = FaultProxy::start(server.address());
        let silence = if matches!(expected, Outcome::Works) { SOON } else { SILENCE };
        let files = files(store(proxy.url(&server.endpoint()), server, silence).await);
        prepare(&Files::new(Arc::clone(direct) as _, files.namespace().clone())).await;
        inflict(&proxy);
        let start = Instant::now();
        let result = call(files.clone()).await;
        judge(&format!("{name}, {fault}"), *writes, *expected, result, start.elapsed());
        if matches!(expected, Outcome::Fails(_)) {
            let start = Instant::now();
            assert!(!files.store().health().await.is_up(), "{fault}");
            assert!(start.elapsed() < Duration::from_secs(20), "{fault}: {:?}", start.elapsed());
        }
        proxy.reset_connections();
        proxy.heal();
        works_again(&format!("{name} after {fault}"), &files, *call).await;
    });
    // Sixteen at a time: the waiting is done side by side, and the work of two processors is not.
    let all = futures_util::stream::iter(cells).buffer_unordered(16);
    assert_eq!(all.count().await, FAULTS.len() * CALLS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_told_soon() {
    let server = S3Server::start().await;
    let files = files(store(server.endpoint(), &server, SILENCE).await);
    prepare(&files).await;
    server.pause();
    let calls = CALLS.iter().map(|(name, writes, call)| {
        let files = files.clone();
        async move {
            let start = Instant::now();
            let result = call(files).await;
            judge(name, *writes, Outcome::Fails(ErrorKind::Timeout), result, start.elapsed());
        }
    });
    futures_util::future::join_all(calls).await;
    server.resume();
    for (name, _, call) in CALLS {
        works_again(name, &files, call).await;
    }
}

/// Passes on so many bytes a second each way.
fn slow_link(server: String, bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let pump = move |mut from: TcpStream, mut to: TcpStream| {
        let mut piece = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            std::thread::sleep(Duration::from_millis(read as u64 * 1000 / bytes));
            if to.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&server).unwrap();
            let (up, down) = ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
            std::thread::spawn(move || pump(up.0, up.1));
            std::thread::spawn(move || pump(down.0, down.1));
        }
    });
    endpoint
}

/// A request takes many times as long as the server may be silent, and is not silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_is_slow_and_no_failure() {
    let server = S3Server::shared().await;
    let endpoint = slow_link(server.address().to_owned(), 600 << 10);
    let files = files(store(endpoint, server, SILENCE).await);
    prepare(&files).await;
    let start = Instant::now();
    let calls = CALLS.iter().map(|(name, _, call)| {
        let files = files.clone();
        async move { call(files).await.unwrap_or_else(|error| panic!("{name}: {error:?}")) }
    });
    futures_util::future::join_all(calls).await;
    assert!(start.elapsed() > SILENCE * 2, "{:?} is not slow", start.elapsed());
}

/// The caller's deadline is shorter than the server may be silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_ends_by_the_deadline_of_its_call() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(60), Duration::from_secs(60));
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let etag = files.put("a", "x").await.unwrap().etag;
    proxy.black_hole();
    let soon = Duration::from_millis(300);
    let stream = || Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7; 9 << 20])]));
    let calls = async {
        tokio::join!(
            async { files.put("a", "y").deadline(soon).await.map(drop) },
            async { files.put("a", stream()).if_match(&etag).deadline(soon).await.map(drop) },
            async { files.get("a").deadline(soon).await.map(drop) },
            async { files.list("").deadline(soon).await.map(drop) },
            async { files.delete("a").if_match(&etag).deadline(soon).await.map(drop) },
            async { files.copy("a", "b").if_absent().deadline(soon).await.map(drop) },
        )
    };
    let (put, parts, get, list, delete, copy) = tokio::time::timeout(Duration::from_secs(20), calls).await.unwrap();
    for (result, writes) in [(put, true), (parts, true), (get, false), (list, false), (delete, true), (copy, true)] {
        let kind = result.unwrap_err().kind();
        assert!(kind == ErrorKind::Timeout || writes && kind == ErrorKind::OutcomeUnknown, "{kind:?}");
    }
    proxy.reset_connections();
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "x");
}

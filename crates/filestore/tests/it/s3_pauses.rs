//! Transfers last as long as their source or reader: deadlines count the server's silence.
//!
//! In `cargo xtask test` the pauses of source, reader and server take 4 seconds, which is longer than the server may be silent. With
//! `STATEHOUSE_SOAK` set, as `cargo xtask soak` sets it, they take 40, and the server may be silent for 10.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use statehouse_core::conformance::rounds;
use statehouse_core::{Error, ErrorKind};
use statehouse_filestore::{Body, Digest, Files, ObjectFileStore, Probe};
use statehouse_testkit::{FaultProxy, S3Server};

use crate::s3::{config, files};

const MIB: usize = 1 << 20;

/// The server's silence, and the pauses of everybody else: short, or as they were reported.
fn times() -> (Duration, Duration) {
    match rounds(0, 1) {
        0 => (Duration::from_millis(1500), Duration::from_secs(4)),
        _ => (Duration::from_secs(10), Duration::from_secs(40)),
    }
}

fn noise(len: usize) -> Bytes {
    let mut state = 7_u64;
    let bytes = (0..len).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    bytes.collect()
}

/// The content in pieces, with a pause before each of these.
fn paused(
    content: &Bytes,
    piece: usize,
    pauses: &[usize],
    pause: Duration,
) -> impl Stream<Item = Result<Bytes, Error>> + use<> {
    let pieces: Vec<_> =
        (0..content.len()).step_by(piece).map(|at| content.slice(at..content.len().min(at + piece))).collect();
    let pauses = pauses.to_vec();
    futures_util::stream::iter(pieces.into_iter().enumerate()).then(move |(at, piece)| {
        let wait = if pauses.contains(&at) { pause } else { Duration::ZERO };
        async move {
            tokio::time::sleep(wait).await;
            Ok(piece)
        }
    })
}

async fn through(proxy: &FaultProxy, server: &S3Server) -> Files {
    let (silence, _) = times();
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_part_size(5 << 20);
    let config = config.with_timeouts(Duration::from_secs(5), silence.max(Duration::from_secs(1)));
    files(ObjectFileStore::open_s3(config).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_outlast_every_pause_of_their_source() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    let (_, pause) = times();
    let content = noise(16 * MIB);
    // In the first part, where one part ends, in the middle of another, with parts under way, before the end.
    let cases: [&[usize]; 4] = [&[1], &[5, 10], &[7, 12], &[15]];
    let puts = cases.into_iter().zip(["a", "b", "c", "d"]).map(|(pauses, name)| {
        let (files, body) = (files.clone(), Body::from_stream(paused(&content, MIB, pauses, pause)));
        async move { files.put(name, body).await.unwrap() }
    });
    // One that never gives much, for as long as the others take.
    let drops = noise(40);
    let trickle = files.put("e", Body::from_stream(paused(&drops, 1, &(0..40).collect::<Vec<_>>(), pause / 20)));
    let (stored, slow) = tokio::join!(futures_util::future::join_all(puts), trickle);
    assert!(stored.iter().all(|stored| stored.sha256 == Some(Digest::of(&content))));
    assert_eq!(slow.unwrap().len, 40);
    for name in ["a", "b", "c", "d", "e"] {
        let read = files.get(name).await.unwrap().verify_sha256().bytes().await.unwrap();
        assert!(read == content || name == "e" && read == drops, "{name}");
        files.delete(name).await.unwrap();
    }
}

/// What has come is at the server, and not in memory, while the source says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_leave_while_their_source_pauses() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    let content = noise(17 * MIB);
    let begin = paused(&content, MIB, &[], Duration::ZERO);
    let body = Body::from_stream(begin.chain(futures_util::stream::pending()));
    let put = tokio::spawn({
        let files = files.clone();
        async move { files.put("a", body).await }
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while proxy.counts().bytes_to_server < 15 * MIB as u64 {
        assert!(Instant::now() < deadline, "{} bytes have left", proxy.counts().bytes_to_server);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    put.abort();
}

/// Whatever the server does, no more is taken from the sources than there is room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_uploads_hold_no_more_memory_than_is_allowed() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint())).with_probe(Probe::Never);
    let config = config.with_part_size(5 << 20).with_upload_memory(24 << 20);
    let files = files(
        ObjectFileStore::open_s3(config.with_timeouts(Duration::from_secs(5), Duration::from_secs(60))).await.unwrap(),
    );
    proxy.black_hole();
    let taken = Arc::new(AtomicU64::new(0));
    let puts: Vec<_> = (0..30)
        .map(|n| {
            let taken = Arc::clone(&taken);
            let body = futures_util::stream::iter(0..64).map(move |_| {
                taken.fetch_add(MIB as u64, Ordering::Relaxed);
                Ok::<_, Error>(Bytes::from(vec![0; MIB]))
            });
            let files = files.clone();
            tokio::spawn(async move { files.put(format!("f{n}"), Body::from_stream(body)).await })
        })
        .collect();
    let (mut before, mut still) = (0, 0);
    let start = Instant::now();
    // Until nothing more is taken for a while: on a busy machine it takes a while until anything is.
    while still < 25 || (before < 20 << 20 && start.elapsed() < Duration::from_secs(30)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = taken.load(Ordering::Relaxed);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    // Each source gave one piece that found no room.
    assert!(before >= 20 << 20, "{before}");
    assert!(before <= (24 + 30 + 5) << 20, "{before} bytes are in memory");
    puts.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_says_nothing_any_more_is_given_up_and_leaves_no_parts() {
    let server = S3Server::start().await;
    let config = config(&server).with_part_size(5 << 20).with_body_timeout(Duration::from_millis(300));
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    for len in [1000, 12 * MIB] {
        let content = noise(len);
        let body = paused(&content, MIB, &[], Duration::ZERO).chain(futures_util::stream::pending());
        let error = files.put("a", Body::from_stream(body)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.message().contains("body_timeout"), "{error}");
    }
    crate::s3_leftovers::no_uploads(&server).await;
    assert!(!files.exists("a").await.unwrap());
}

/// The longest time that there is, as people write it who want no limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_without_end_are_times() {
    let base = config(S3Server::shared().await).with_timeouts(Duration::MAX, Duration::MAX);
    let base = base.with_body_timeout(Duration::MAX).with_read_limit(Duration::MAX).with_part_size(5 << 20);
    let files = files(ObjectFileStore::open_s3(base).await.unwrap());
    let content = noise(11 * MIB);
    files.put("a", Body::from_stream(paused(&content, MIB, &[], Duration::ZERO))).await.unwrap();
    files.copy("a", "b").await.unwrap();
    assert_eq!(files.get("b").bytes().await.unwrap(), content);
    for name in ["a", "b"] {
        files.delete(name).await.unwrap();
    }
    assert!(files.list("").await.unwrap().entries.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_any_size_are_stored_and_hold_little_memory() {
    let server = S3Server::shared().await;
    let files = files(ObjectFileStore::open_s3(config(server)).await.unwrap());
    let content = noise(rounds(9, 20) * MIB);
    let bytes = (0..content.len()).map({
        let content = content.clone();
        move |at| Ok::<_, Error>(Bytes::copy_from_slice(&content[at..=at]))
    });
    let stored = files.put("bytes", Body::from_stream(futures_util::stream::iter(bytes))).await.unwrap();
    assert_eq!(stored.sha256, Some(Digest::of(&content)));
    // A small piece and a longer one by turns.
    let cuts = [1, 20_000, 15_000, 3, 300_000, 0, 70_000];
    let (mut at, mut pieces) = (0, Vec::new());
    while at < content.len() {
        let end = content.len().min(at + cuts[pieces.len() % cuts.len()]);
        pieces.push(Ok::<_, Error>(content.slice(at..end)));
        at = end;
    }
    let stored = files.put("mixed", Body::from_stream(futures_util::stream::iter(pieces))).await.unwrap();
    assert_eq!(stored.sha256, Some(Digest::of(&content)));
    for name in ["bytes", "mixed"] {
        assert_eq!(files.get(name).await.unwrap().verify_sha256().bytes().await.unwrap(), content);
        files.delete(name).await.unwrap();
    }
}

/// Whoever waits for it longer than it stands still goes on, and whoever does not is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_outlast_a_pause_of_the_server_or_say_that_it_is_silent() {
    let server = S3Server::start().await;
    let (silence, pause) = times();
    let open = async |silence| {
        let config = config(&server).with_part_size(5 << 20).with_retries(1);
        ObjectFileStore::open_s3(config.with_timeouts(silence, silence)).await.unwrap()
    };
    let patient = files(open(pause * 5).await);
    let hasty = Files::new(Arc::new(open(silence).await), patient.namespace().clone());
    let content = noise(20 * MIB);
    patient.put("a", content.clone()).await.unwrap();
    let mut stream = patient.get("a").stream().await.unwrap();
    let mut read = stream.next().await.unwrap().unwrap().to_vec();
    server.pause();
    let reader = async {
        while let Some(piece) = stream.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
    };
    let upload = patient.put("b", Body::from_stream(paused(&content, MIB, &[], Duration::ZERO))).into_future();
    let told = async { tokio::join!(hasty.get("a").into_future(), hasty.put("c", "x").into_future()) };
    let resumed = async {
        tokio::time::sleep(pause).await;
        server.resume();
    };
    let ((), uploaded, (got, put), ()) = tokio::join!(reader, upload, told, resumed);
    assert!(read == content, "{} of {} bytes", read.len(), content.len());
    assert_eq!(uploaded.unwrap().sha256, Some(Digest::of(&content)));
    // A repetition may have come when the pause was over.
    for kind in [got.err().map(|error| error.kind()), put.err().map(|error| error.kind())].into_iter().flatten() {
        assert!([ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&kind), "{kind:?}");
    }
    hasty.put("c", "x").await.unwrap();
    assert_eq!(hasty.get("c").bytes().await.unwrap(), "x");
}

/// Also if connections end meanwhile, as they do at servers that nobody reads from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_outlast_every_pause_of_their_reader() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    let (_, pause) = times();
    let content = noise(40 * MIB);
    files.put("a", content.clone()).await.unwrap();
    let read = async |cut: bool| {
        let mut stream = files.get("a").stream().await.unwrap();
        let (mut read, mut pauses) = (Vec::new(), 0);
        while let Some(piece) = stream.next().await {
            read.extend_from_slice(&piece.unwrap());
            if read.len() > pauses * 15 * MIB {
                pauses += 1;
                tokio::time::sleep(pause).await;
                if cut {
                    proxy.reset_connections();
                }
            }
        }
        assert!(pauses >= 3);
        assert!(read == content, "{} of {} bytes", read.len(), content.len());
    };
    tokio::join!(read(false), read(true));
    files.delete("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_with_the_same_state_of_the_file_or_not_at_all() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let files = through(&proxy, server).await;
    files.put("a", vec![1; 20 * MIB]).await.unwrap();
    let mut stream = files.get("a").stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    files.put("a", vec![2; 20 * MIB]).await.unwrap();
    proxy.reset_connections();
    let error = loop {
        match stream.next().await.expect("an error before the end") {
            Ok(piece) => assert!(piece.iter().all(|byte| *byte == 1), "a mixture"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(stream.next().await.is_none());
    files.delete("a").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_ends_when_its_own_limit_or_the_servers_silence_says_so() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let base = config(server).with_endpoint(proxy.url(&server.endpoint())).with_probe(Probe::Never);
    let base = base.with_timeouts(Duration::from_secs(5), Duration::from_secs(1));
    let limited = files(ObjectFileStore::open_s3(base.clone().with_read_limit(Duration::from_secs(3))).await.unwrap());
    limited.put("a", vec![1; 20 * MIB]).await.unwrap();
    let mut stream = limited.get("a").stream().await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let error = loop {
        if let Err(error) = stream.next().await.unwrap() {
            break error;
        }
    };
    assert_eq!((error.kind(), error.message().contains("read_limit")), (ErrorKind::Timeout, true), "{error:?}");
    let silent = Files::new(Arc::new(ObjectFileStore::open_s3(base).await.unwrap()), limited.namespace().clone());
    let mut stream = silent.get("a").stream().await.unwrap();
    proxy.black_hole();
    let start = Instant::now();
    let error = loop {
        if let Err(error) = stream.next().await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    proxy.heal();
    silent.delete("a").await.unwrap();
}

//! Tries to break things.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use statehouse_coord::*;
use statehouse_core::{Capabilities, Error, ErrorKind, Health, Result, Timestamp, Version};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::{durable_redis, random_namespace, signals};

#[tokio::test]
async fn b1_replay_loses_content_encoding() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let layer = coord.idempotency("orders", |_| Some("ada".to_owned()));
    let service = layer.layer(service_fn(|_: Request<IdempotencyBody<Full<Bytes>>>| async {
        let r = Response::builder().header("content-type", "application/json").header("content-encoding", "gzip");
        Ok::<_, Infallible>(r.body(Full::new(Bytes::from_static(b"\x1f\x8b\x08"))).unwrap())
    }));
    for _ in 0..2 {
        let request = Request::post("/o").header("idempotency-key", "k").body(Full::new(Bytes::new())).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        eprintln!("B1 {:?}", response.headers());
    }
}

#[tokio::test]
async fn b2_tokens_fill_the_store_of_locks() {
    let store = Arc::new(MemoryCoordStore::with_config(MemoryConfig::default().with_capacity(64 << 10).unwrap()));
    let coord = Coordination::new(store);
    let links = coord.single_use("links", Duration::from_secs(900));
    let mut n = 0;
    while links.accept(format!("guess {n}")).await.is_ok() {
        n += 1;
    }
    eprintln!("B2 {n} tokens; lock: {:?}", coord.lock("export").await.map(drop));
    let ran = coord.run_once("x", Revision::new(1, "")).run(async |_: Run| Ok::<_, Error>(()));
    eprintln!("B2 run_once: {:?}", tokio::time::timeout(Duration::from_secs(3), ran).await);
}

#[derive(Debug)]
struct Hangs(MemoryCoordStore);

#[async_trait]
impl CoordStore for Hangs {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        self.0.get_with(key, options).await
    }
    async fn put_with(&self, _: &CoordKey, _: Bytes, options: PutOptions) -> Result<PutOutcome> {
        tokio::time::sleep(options.deadline.unwrap_or(Duration::from_secs(30))).await;
        Err(Error::new(ErrorKind::Timeout, "no answer"))
    }
    async fn remove_with(&self, key: &CoordKey, v: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.0.remove_with(key, v, options).await
    }
    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        self.0.scan_with(options).await
    }
    async fn now_with(&self, options: NowOptions) -> Result<Timestamp> {
        self.0.now_with(options).await
    }
    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        self.0.wait_with(key, seen, options).await
    }
    async fn health(&self) -> Health {
        self.0.health().await
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

#[tokio::test(start_paused = true)]
async fn b3_wait_is_overshot() {
    let coord = Coordination::new(Arc::new(Hangs(MemoryCoordStore::new())));
    for wait in [Duration::ZERO, Duration::from_millis(100)] {
        let begun = tokio::time::Instant::now();
        let got = coord.lock("x").wait(wait).await.map(drop);
        eprintln!("B3 wait {wait:?}: after {:?} {got:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_deaf_and_ready_after_a_runtime_ended() {
    let server = durable_redis().await;
    let signals: RedisSignals = signals::open(&server.url(), &random_namespace()).await;
    let channel = CoordKey::new("news").unwrap();
    let (there, ch) = (signals.clone(), channel.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut one = there.subscribe(&[ch]).unwrap();
            assert_eq!(one.next().await, Some(News::Resync));
        });
    })
    .join()
    .unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut two = signals.subscribe(std::slice::from_ref(&channel)).unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), two.next()).await;
    let begun = Instant::now();
    signals.publish(&channel, "drop it").await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(10), two.next()).await;
    eprintln!("B4 first {first:?}; heard {heard:?} after {:?}; ready {}", begun.elapsed(), two.is_ready());
}

#[tokio::test]
async fn b5_a_name_that_is_none_is_told_with_each_request() {
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    for name in ["", "orders/", &"x".repeat(124)] {
        let layer = coord.idempotency(name, |_| Some("ada".to_owned()));
        let service = layer.layer(service_fn(|_: Request<IdempotencyBody<Full<Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }));
        let request = Request::post("/o").header("idempotency-key", "k").body(Full::new(Bytes::new())).unwrap();
        eprintln!("B5 {:?} {}", name.len(), service.oneshot(request).await.unwrap().status());
    }
}

#[derive(Debug)]
struct Away(MemoryCoordStore, std::sync::atomic::AtomicBool);

#[async_trait]
impl CoordStore for Away {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        self.0.get_with(key, options).await
    }
    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        if self.1.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        self.0.put_with(key, value, options).await
    }
    async fn remove_with(&self, key: &CoordKey, v: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.0.remove_with(key, v, options).await
    }
    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        self.0.scan_with(options).await
    }
    async fn now_with(&self, options: NowOptions) -> Result<Timestamp> {
        self.0.now_with(options).await
    }
    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        self.0.wait_with(key, seen, options).await
    }
    async fn health(&self) -> Health {
        self.0.health().await
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

#[tokio::test]
async fn b6_a_blip_at_the_end_has_it_done_twice() {
    let store = Arc::new(Away(MemoryCoordStore::new(), false.into()));
    let coord = Coordination::new(Arc::clone(&store) as Arc<dyn CoordStore>);
    let layer = coord.idempotency("orders", |_| Some("ada".to_owned())).lease(Duration::from_millis(1500));
    let (count, blip) = (Arc::new(std::sync::atomic::AtomicU32::new(0)), Arc::clone(&store));
    let counted = Arc::clone(&count);
    let service = layer.layer(service_fn(move |_: Request<IdempotencyBody<Full<Bytes>>>| {
        let (count, blip) = (Arc::clone(&counted), Arc::clone(&blip));
        async move {
            if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                blip.1.store(true, std::sync::atomic::Ordering::SeqCst);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    blip.1.store(false, std::sync::atomic::Ordering::SeqCst);
                });
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    }));
    for _ in 0..5 {
        let request = Request::post("/o").header("idempotency-key", "k").body(Full::new(Bytes::new())).unwrap();
        let status = service.clone().oneshot(request).await.unwrap().status();
        eprintln!("B6 {status} done {}", count.load(std::sync::atomic::Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn b7_a_failed_body_frees_the_key() {
    use http_body_util::StreamBody;
    let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    let layer = coord.idempotency("orders", |_| Some("ada".to_owned()));
    let count = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let service = layer.layer(service_fn(move |_: Request<IdempotencyBody<Full<Bytes>>>| {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async {
            let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"half"))), Err(std::io::Error::other("x"))];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            Ok::<_, Infallible>(Response::builder().status(201).body(body).unwrap())
        }
    }));
    for _ in 0..3 {
        let request = Request::post("/o").header("idempotency-key", "k").body(Full::new(Bytes::new())).unwrap();
        let status = service.clone().oneshot(request).await.unwrap().status();
        eprintln!("B7 {status} done {}", count.load(std::sync::atomic::Ordering::SeqCst));
    }
}

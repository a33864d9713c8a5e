//! A link that is slow all the time, and a caller that does not wait for one that is broken.

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use statehouse_core::{ErrorKind, Fence, Key, RaiseOptions, Result, Version};
use statehouse_filestore::{
    Body, CommitOptions, DiscardOptions, FileStore as _, ObjectFileStore, PutOptions, StagesOptions, SweepOptions,
};
use statehouse_testkit::{AzureServer, Direction, FaultProxy, S3Server};

use super::served::{Served, verbs_of};
use super::verbs::{Sizes, call, prepare};
use super::{PATIENCE, SILENCE, cell};
use crate::s3::{config, files};

/// A request takes many times as long as the server may be silent, and is not silent.
async fn every_verb_over_a_slow_link(server: Served<'_>) {
    let proxy = server.proxy();
    let direct = server.open(&server.endpoint(), PATIENCE).await;
    let store = server.open(&proxy.url(&server.endpoint()), SILENCE).await;
    let verbs = verbs_of(&direct);
    let given = join_all(verbs.iter().map(|verb| prepare(verb, cell(&direct), Sizes::usual()))).await;
    for way in [Direction::ToServer, Direction::ToClient] {
        proxy.limit(way, 600 << 10);
    }
    let start = Instant::now();
    let calls = verbs.iter().zip(given).map(|(verb, given)| {
        let work = call(verb, given.through(&store));
        async move { work.await.unwrap_or_else(|error| panic!("{}: {error:?}", verb.name)) }
    });
    join_all(calls).await;
    assert!(start.elapsed() > SILENCE * 2, "{:?} is not slow", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_is_slow_and_no_failure() {
    every_verb_over_a_slow_link(Served::S3(S3Server::shared().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_to_azure_is_slow_and_no_failure() {
    every_verb_over_a_slow_link(Served::Azure(AzureServer::shared().await)).await;
}

/// The caller's deadline is shorter than the server may be silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_ends_by_the_deadline_of_its_call() {
    let server = S3Server::shared().await;
    let proxy = FaultProxy::start(server.address());
    let config = config(server).with_endpoint(proxy.url(&server.endpoint()));
    let config = config.with_timeouts(Duration::from_secs(60), Duration::from_secs(60));
    let files = files(ObjectFileStore::open_s3(config).await.unwrap());
    let etag = &files.put("a", "x").await.unwrap().etag;
    let stage = files.put("b", "x").stage().await.unwrap().id();
    let (store, b) = (files.store(), &files.key("b").unwrap());
    let fence = &Fence::new(Key::new(format!("lock/{}", files.namespace())).unwrap(), Version::new(2));
    proxy.black_hole();
    let soon = Duration::from_millis(300);
    let stream = || Body::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(vec![7; 9 << 20])]));
    let writes: [BoxFuture<'_, Result<()>>; 10] = [
        Box::pin(async { files.put("a", "y").deadline(soon).await.map(drop) }),
        Box::pin(async { files.put("a", stream()).if_match(etag).deadline(soon).await.map(drop) }),
        Box::pin(async { files.put("a", "y").fenced(fence).deadline(soon).await.map(drop) }),
        Box::pin(async { files.delete("a").if_match(etag).deadline(soon).await.map(drop) }),
        Box::pin(async { files.copy("a", "c").if_absent().deadline(soon).await.map(drop) }),
        Box::pin(async move {
            let options = PutOptions::default().with_deadline(soon);
            store.stage_with(b, stream(), options).await.map(drop)
        }),
        Box::pin(
            async move { store.commit_with(b, stage, CommitOptions::default().with_deadline(soon)).await.map(drop) },
        ),
        Box::pin(
            async move { store.discard_with(b, stage, DiscardOptions::default().with_deadline(soon)).await.map(drop) },
        ),
        Box::pin(async move { store.raise_with(fence, RaiseOptions::default().with_deadline(soon)).await }),
        Box::pin(async move { store.sweep_with(SweepOptions::new("").with_deadline(soon)).await.map(drop) }),
    ];
    let reads: [BoxFuture<'_, Result<()>>; 4] = [
        Box::pin(async { files.get("a").deadline(soon).await.map(drop) }),
        Box::pin(async { files.head("a").deadline(soon).await.map(drop) }),
        Box::pin(async { files.list("").deadline(soon).await.map(drop) }),
        Box::pin(async move { store.stages_with(StagesOptions::new("").with_deadline(soon)).await.map(drop) }),
    ];
    let all = async { tokio::join!(join_all(writes), join_all(reads)) };
    let (writes, reads) = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    let kinds = |results: Vec<Result<()>>| results.into_iter().map(|result| result.unwrap_err().kind());
    for (at, kind) in kinds(writes).enumerate() {
        assert!([ErrorKind::Timeout, ErrorKind::OutcomeUnknown].contains(&kind), "write {at}: {kind:?}");
    }
    assert!(kinds(reads).all(|kind| kind == ErrorKind::Timeout));
    proxy.reset_connections();
    proxy.heal();
    assert_eq!(files.get("a").bytes().await.unwrap(), "x");
}

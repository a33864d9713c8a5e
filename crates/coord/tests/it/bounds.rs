//! Records that are too long for an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use statehouse_coord::{CoordKey, CoordStore as _, CoordStoreExt as _, RedisCoordStore, ScanOptions};
use statehouse_core::{ErrorKind, Namespace};
use statehouse_testkit::RedisServer;
use tokio::task::JoinSet;

use crate::{open_redis, random_namespace};

fn key(name: &str) -> CoordKey {
    CoordKey::new(name).unwrap()
}

fn bytes(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

async fn narrow(server: &RedisServer, namespace: &Namespace, max_answer: &str) -> RedisCoordStore {
    open_redis(&format!("{}?connections=1&max_answer={max_answer}", server.url()), namespace).await
}

/// Else each get of it would end the connection that others wait for answers on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_could_not_be_read_back_is_too_large_and_nothing_is_stored() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let store = Arc::new(narrow(server, &namespace, "64KiB").await);
    assert!(store.put(&key("small"), bytes(60 << 10)).await.unwrap().stored().is_some());
    let mut others = JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(&store);
        others.spawn(async move {
            for _ in 0..50 {
                let record = store.get(&key("small")).await.unwrap().expect("it is there");
                assert_eq!(record.value.len(), 60 << 10, "{number}");
            }
        });
    }
    for len in [64 << 10, 100 << 10, 1 << 20] {
        let error = store.put(&key("large"), bytes(len)).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::TooLarge, Some("large")), "{error:?}");
        assert!(error.to_string().contains("max_answer"), "{error}");
        assert_eq!(store.get(&key("large")).await.unwrap(), None);
    }
    others.join_all().await;
}

async fn names(store: &RedisCoordStore, limit: u16) -> (Vec<String>, usize) {
    let (mut names, mut options, mut pages) = (Vec::new(), ScanOptions::new("a/").with_limit(limit), 0);
    loop {
        let page = store.scan_with(options.clone()).await.unwrap();
        assert!(page.records.len() <= usize::from(limit));
        names.extend(page.records.into_iter().map(|(key, _)| key.as_str().to_owned()));
        pages += 1;
        match page.next {
            Some(next) => options = options.with_start(next),
            None => return (names, pages),
        }
    }
}

/// However many of them a page may have: it ends where an answer would be too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_records_that_are_large_together_a_page_has_fewer() {
    let (server, namespace) = (RedisServer::shared().await, random_namespace());
    let wide = open_redis(&server.url(), &namespace).await;
    let long = "n".repeat(150);
    for number in 0..600 {
        let len = if number % 20 == 0 { 60 << 10 } else { 10 };
        assert!(wide.put(&key(&format!("a/{long}/{number}")), bytes(len)).await.unwrap().stored().is_some());
    }
    for max_answer in ["64KiB", "1MiB", "512MiB"] {
        let store = narrow(server, &namespace, max_answer).await;
        let (names, pages) = names(&store, 1000).await;
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!((names.len(), different.len()), (600, 600), "{max_answer}");
        assert_eq!(pages > 1, max_answer != "512MiB", "{max_answer}: {pages} pages");
    }
    // What was stored by somebody whose answers may be longer ends no listing, and no connection.
    assert!(wide.put(&key("a/long"), bytes(100 << 10)).await.unwrap().stored().is_some());
    let store = narrow(server, &namespace, "64KiB").await;
    let (listed, _) = names(&store, 1000).await;
    assert!(listed.len() == 600 && !listed.iter().any(|name| name == "a/long"));
    assert_eq!(names(&wide, 1000).await.0.len(), 601);
    // More than a server is to put together for one answer, and than a reader is to keep at once.
    for number in 0..24 {
        assert!(wide.put(&key(&format!("a/{number}")), bytes(1 << 20)).await.unwrap().stored().is_some());
    }
    let (all, pages) = names(&wide, 1000).await;
    assert!(all.len() == 625 && pages > 4, "{} in {pages} pages", all.len());
}

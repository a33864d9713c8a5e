//! A store that is used from several runtimes, of which one ends: what that one does for all is done by another then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Result, ServiceUrl};
use statehouse_redis::{RedisClient, RedisConfig};
use statehouse_session::{NewSession, RedisSessionStore, SessionStoreExt as _, Snapshot, Token};
use statehouse_testkit::{RedisServer, Reply};

use crate::random_namespace;

const MINUTE: Duration = Duration::from_secs(60);

/// Much longer than it takes, on a machine that is busy with other tests.
const ENOUGH: Duration = Duration::from_secs(30);

async fn create(store: &RedisSessionStore) -> Result<Snapshot> {
    let token = Token::generate()?;
    store.create(&token.key(), &NewSession::new(token.verifier_hash(), 10 * MINUTE, 60 * MINUTE)).await
}

/// Does this on a runtime that ends at once when it is done.
async fn on_one_that_ends<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    let ran = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    ran.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_sent_again_although_the_runtime_has_ended_on_which_that_was_to_be_found_out() {
    let server = RedisServer::start().await;
    let mut url = ServiceUrl::parse("URL", &format!("{}?timeout=10s&deadline=20s", server.url())).unwrap();
    let redis = RedisClient::open(RedisConfig::from_url(&mut url).unwrap()).await.unwrap();
    let store = Arc::new(RedisSessionStore::new(redis, &random_namespace()).unwrap());
    create(&store).await.unwrap();
    // Once while it finds out, and once before it has begun to.
    for pause in [Duration::from_millis(300), Duration::ZERO] {
        server.command(&["CLIENT", "PAUSE", "120000", "WRITE"]).await.unwrap();
        let writer = Arc::clone(&store);
        on_one_that_ends(async move || {
            let begun = Instant::now();
            while create(&writer).await.is_err_and(|error| error.kind() == ErrorKind::OutcomeUnknown) {
                assert!(begun.elapsed() < ENOUGH, "nothing is refused");
            }
            tokio::time::sleep(pause).await;
        })
        .await;
        server.command(&["CLIENT", "UNPAUSE"]).await.unwrap();
        let begun = Instant::now();
        while let Err(error) = create(&store).await {
            assert!(begun.elapsed() < ENOUGH, "for ever: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous_sessions_are_counted_although_the_runtime_has_ended_on_which_that_was_to_be_told() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = Arc::new(crate::open_redis(&server.url(), &namespace).await);
    let key = format!("{namespace}:session:anonymous:count");
    let counted = async || {
        let Reply::Array(pairs) = server.command(&["HVALS", &key]).await.unwrap() else { panic!("no hash") };
        pairs.iter().map(|number| number.text().unwrap().parse::<i64>().unwrap()).sum::<i64>()
    };
    let first = Arc::clone(&store);
    on_one_that_ends(async move || drop(create(&first).await.unwrap())).await;
    let (begun, before) = (Instant::now(), counted().await);
    create(&store).await.unwrap();
    while counted().await <= before {
        assert!(begun.elapsed() < ENOUGH, "it is told no more: {before}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

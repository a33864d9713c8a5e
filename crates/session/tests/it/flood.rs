//! More anonymous sessions than there may be, on replicas that share a Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, Namespace, Result};
use statehouse_session::{
    Authority, Delta, NewSession, Principal, RedisSessionStore, Rotation, Saved, SessionStoreExt as _, Snapshot, Token,
};
use statehouse_testkit::{RedisCluster, RedisServer, Reply};

use crate::logs::Log;
use crate::{open_redis, random_namespace};

const BOUND: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);

async fn create(store: &RedisSessionStore) -> Result<(Token, Snapshot)> {
    let token = Token::generate()?;
    let created = store.create(&token.key(), &NewSession::new(token.verifier_hash(), 10 * MINUTE, 60 * MINUTE)).await?;
    Ok((token, created))
}

/// Waits for what becomes true as replicas tell each other.
pub(crate) async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn replicas(url: &str, namespace: &Namespace) -> [Arc<RedisSessionStore>; 2] {
    let url = format!("{url}{}max_anonymous={BOUND}", if url.contains('?') { '&' } else { '?' });
    [Arc::new(open_redis(&url, namespace).await), Arc::new(open_redis(&url, namespace).await)]
}

/// Creates until each replica refuses, and returns what it created.
async fn flood(replicas: &[Arc<RedisSessionStore>; 2]) -> Vec<(Token, Snapshot)> {
    let mut there = Vec::new();
    for replica in replicas {
        loop {
            match create(replica).await {
                Ok(created) => there.push(created),
                Err(error) => break assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
            }
            assert!(there.len() <= 3 * BOUND, "as many as two replicas create that have not heard of each other");
        }
    }
    there
}

async fn are_bounded_together(url: &str) {
    let namespace = random_namespace();
    let replicas = replicas(url, &namespace).await;
    let there = flood(&replicas).await;
    assert!((BOUND..=2 * BOUND).contains(&there.len()), "{}", there.len());
    // A replica that begins later hears of them.
    let late = &self::replicas(url, &namespace).await[0];
    until("the replica that began later", async || create(late).await.is_err().then_some(())).await;
    // Who logs in is one of them no more, and logins go on all the time.
    for (token, base) in &there {
        let next = token.with_new_verifier().unwrap().verifier_hash();
        let login = Rotation::login(next, Principal::new("u42").unwrap());
        let holder = Authority::Holder(token.verifier_hash());
        let saved = replicas[0].rotate(base, holder, &login, &Delta::new()).await.unwrap();
        assert!(matches!(saved, Saved::Applied(_)), "{saved:?}");
    }
    until("room on the other replica", async || create(&replicas[1]).await.ok()).await;
}

#[tokio::test]
async fn anonymous_sessions_of_replicas_are_bounded_together() {
    are_bounded_together(&RedisServer::shared().await.url()).await;
}

#[tokio::test]
async fn anonymous_sessions_of_replicas_are_bounded_together_in_a_cluster() {
    are_bounded_together(&RedisCluster::shared().await.url()).await;
}

#[tokio::test]
async fn a_flood_is_logged_once_and_its_end_too() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let replicas = replicas(&RedisServer::shared().await.url(), &random_namespace()).await;
    let there = flood(&replicas).await;
    for _ in 0..100 {
        assert!(create(&replicas[0]).await.is_err());
    }
    let count = |text: &str| log.text().matches(text).count();
    assert_eq!(count("nobody is logged in to are refused"), 2, "one line of each: {}", log.text());
    for (token, base) in &there {
        let next = token.with_new_verifier().unwrap().verifier_hash();
        let login = Rotation::login(next, Principal::new("u42").unwrap());
        let holder = Authority::Holder(token.verifier_hash());
        drop(replicas[0].rotate(base, holder, &login, &Delta::new()).await.unwrap());
    }
    until("room again", async || create(&replicas[0]).await.ok()).await;
    assert_eq!(count("have room again refused=101"), 1, "{}", log.text());
}

/// What stands in the server, in the layout that the documentation says.
#[tokio::test]
async fn what_is_used_and_what_expires_is_counted_where_it_is() {
    let (server, namespace) = (RedisServer::start().await, random_namespace());
    let store = open_redis(&server.url(), &namespace).await;
    let key = format!("{namespace}:session:anonymous:count");
    let counted = async || {
        let Reply::Array(pairs) = server.command(&["HGETALL", &key]).await.unwrap() else { panic!("no hash") };
        let numbers: Vec<i64> = pairs.iter().map(|number| number.text().unwrap().parse().unwrap()).collect();
        numbers.chunks(2).map(|pair| (pair[0], pair[1])).filter(|(_, number)| *number != 0).collect::<Vec<_>>()
    };
    let (token, created) = create(&store).await.unwrap();
    let second = created.record().expiry_if_unused().as_micros().div_ceil(1_000_000).next_multiple_of(16);
    let second = i64::try_from(second).unwrap();
    until("the count", async || (counted().await == [(second, 1)]).then_some(())).await;
    // By a touch at a time that is another part of the timeout.
    until("another second", async || {
        let _ = store.touch(&token.key()).await.unwrap();
        let found = counted().await;
        (found.len() == 1 && found[0].0 > second && found[0].1 == 1).then_some(())
    })
    .await;
    let Reply::Integer(ttl) = server.command(&["TTL", &key]).await.unwrap() else { panic!("no time to live") };
    assert!((1..=640).contains(&ttl), "it goes with the last of them: {ttl}");
}

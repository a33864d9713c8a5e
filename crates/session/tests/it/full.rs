//! A server or a disk without space: nothing new is stored, and whoever logs out is logged out.

use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_redis::RedisClient;
use statehouse_session::{
    Authority, Deleted, LocalSessionStore, NewSession, RedisSessionStore, SessionKey, SessionStore,
    SessionStoreExt as _, Token, Touched,
};
use statehouse_testkit::{RedisServer, SmallDisk};

use crate::random_namespace;

fn new(token: &Token) -> NewSession {
    NewSession::new(token.verifier_hash(), Duration::from_secs(600), Duration::from_secs(6_000))
}

async fn create(store: &dyn SessionStore) -> Token {
    let token = Token::generate().unwrap();
    store.create(&token.key(), &new(&token)).await.unwrap();
    token
}

async fn is_there(store: &dyn SessionStore, key: &SessionKey) -> bool {
    store.load(key).await.unwrap().found().is_some()
}

/// What holds on a store that has no room, for sessions that were created before.
async fn ends_sessions(store: &dyn SessionStore, [held, other, kept]: [&Token; 3]) {
    let refused = Token::generate().unwrap();
    let error = store.create(&refused.key(), &new(&refused)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");

    let stranger = Authority::Holder(refused.verifier_hash());
    assert_eq!(store.delete(&held.key(), stranger).await.unwrap(), Deleted::Refused);
    assert_eq!(store.delete(&held.key(), Authority::Holder(held.verifier_hash())).await.unwrap(), Deleted::Removed);
    assert_eq!(store.delete(&other.key(), Authority::Application).await.unwrap(), Deleted::Removed);
    for key in [held.key(), other.key()] {
        assert!(!is_there(store, &key).await);
        assert_eq!(store.delete(&key, Authority::Application).await.unwrap(), Deleted::Gone);
        assert_eq!(store.touch(&key).await.unwrap(), Touched::Gone);
    }
    assert_eq!(store.touch(&kept.key()).await.unwrap(), Touched::Slid);
    assert!(is_there(store, &kept.key()).await);
}

#[tokio::test]
async fn a_redis_without_memory_ends_sessions() {
    let server = RedisServer::builder().max_memory(64 << 20, "noeviction").start().await;
    let config = statehouse_redis::RedisConfig::from_url(
        &mut statehouse_core::ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &server.url()).unwrap(),
    );
    let store = RedisSessionStore::new(RedisClient::open(config.unwrap()).await.unwrap(), &random_namespace()).unwrap();
    let (held, other, kept) = (create(&store).await, create(&store).await, create(&store).await);
    // The scripts are known to the server from here on: it could not take a new one.
    let warm = create(&store).await;
    let _ = store.touch(&warm.key()).await.unwrap();
    let _ = store.delete(&warm.key(), Authority::Holder(warm.verifier_hash())).await.unwrap();
    // Less than it has in use already, so that no buffer that is freed makes room.
    server.command(&["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    ends_sessions(&store, [&held, &other, &kept]).await;
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    create(&store).await;
}

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let store = LocalSessionStore::open(disk.path().join("sessions")).await.unwrap();
    let (held, other, kept) = (create(&store).await, create(&store).await, create(&store).await);
    disk.fill("filler");
    ends_sessions(&store, [&held, &other, &kept]).await;
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    create(&store).await;
}

#[test]
fn a_disk_without_space_ends_sessions() {
    SmallDisk::run(4, "full::the_process_on_the_small_disk");
}

//! Redis behind TLS: each verb of the store, and what it answers.

use std::time::Duration;

use statehouse_session::{
    Attribute, AttributeName, Authority, Deleted, Delta, Loaded, NewSession, Principal, Rotation, Saved,
    SessionStore as _, SessionStoreExt as _, Token, Touched,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::random_namespace;

/// A session from its creation to its end. The url names the authority that signed the servers' certificates.
async fn every_verb(url: &str) {
    let store = crate::open_redis(url, &random_namespace()).await;
    assert!(store.health().await.is_up());
    let (token, next) = (Token::generate().unwrap(), Token::generate().unwrap());
    let new = NewSession::new(token.verifier_hash(), Duration::from_secs(600), Duration::from_secs(6_000));
    let created = store.create(&token.key(), &new).await.unwrap();

    let name = AttributeName::new("a").unwrap();
    let delta = Delta::new().with_set(name, Attribute::encode(&7).unwrap());
    let holder = Authority::Holder(token.verifier_hash());
    let Saved::Applied(saved) = store.save(&created, holder, &delta).await.unwrap() else { panic!("a save") };
    let login = Rotation::login(next.verifier_hash(), Principal::new("u42").unwrap());
    let rotated = store.rotate(&saved, holder, &login, &delta).await.unwrap();
    assert!(matches!(rotated, Saved::Applied(_)), "{rotated:?}");

    assert_eq!(store.touch(&token.key()).await.unwrap(), Touched::Slid);
    let loaded = store.load(&token.key()).await.unwrap().found().unwrap();
    assert_eq!(loaded.record().principal().map(Principal::as_str), Some("u42"));
    let holder = Authority::Holder(next.verifier_hash());
    assert_eq!(store.delete(&token.key(), holder).await.unwrap(), Deleted::Removed);
    assert!(matches!(store.load(&token.key()).await.unwrap(), Loaded::Deleted { .. }));
}

#[tokio::test]
async fn every_verb_works_over_tls() {
    let server = RedisServer::builder().tls().start().await;
    every_verb(&format!("{}?ca={}", server.tls_url(), server.tls_authority().display())).await;
}

#[tokio::test]
async fn every_verb_works_over_tls_in_a_cluster() {
    let cluster = RedisCluster::start_with(RedisServer::builder().tls()).await;
    every_verb(&format!("{}?ca={}", cluster.tls_url(), cluster.nodes()[0].tls_authority().display())).await;
}

//! The contract on every backend, sessions through HTTP, and Redis when it fails.

mod acceptance;
mod attributes;
mod cancel;
mod clock;
mod conformance;
mod csrf;
mod devices;
mod flood;
mod full;
mod http;
mod index;
mod key;
mod late;
mod left;
mod limits;
mod login;
mod logs;
mod lost;
mod matrix;
mod network;
mod orders;
mod outage;
mod plain;
mod planted;
mod promoted;
mod redis;
mod remembered;
mod replicas;
mod responses;
mod revoked;
mod rfc6265bis;
mod rounds;
mod sealed;
#[cfg(feature = "redis-tls")]
mod secure;
mod tower;
mod under_way;

use statehouse_core::{Namespace, ServiceUrl};
use statehouse_session::{RedisSessionStore, Token};

/// A namespace that no other test uses.
fn random_namespace() -> Namespace {
    let key = Token::generate().unwrap().key().to_string();
    Namespace::new(format!("test-{}", &key[..16])).unwrap()
}

async fn open_redis(url: &str, namespace: &Namespace) -> RedisSessionStore {
    let url = ServiceUrl::parse("STATEHOUSE_SESSION_URL", url).unwrap();
    RedisSessionStore::open(url, namespace).await.unwrap()
}

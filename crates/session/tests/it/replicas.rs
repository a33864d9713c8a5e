//! Sessions whose writes wait for a replica.

use std::time::Duration;

use statehouse_core::{ErrorKind, ServiceUrl};
use statehouse_session::{
    Attribute, AttributeName, Attributes, Authority, Deleted, Delta, NewSession, SessionStoreExt as _, Token, open,
};
use statehouse_testkit::{RedisSentinel, RedisServer};

use crate::flood::until;
use crate::random_namespace;

const HOUR: Duration = Duration::from_secs(3_600);

/// A logout above all: undone, it would be somebody who is logged in again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_primary_and_what_no_replica_has_is_of_unknown_outcome() {
    let group = RedisSentinel::start().await;
    let url = format!("{}?wait_replicas=1", group.url());
    let store = open(ServiceUrl::parse("STATEHOUSE_SESSIONS_URL", &url).unwrap(), &random_namespace()).await.unwrap();
    let tokens = [Token::generate().unwrap(), Token::generate().unwrap()];
    let theme = |value: &str| (AttributeName::new("theme").unwrap(), Attribute::encode(value).unwrap());
    for token in &tokens {
        let new = NewSession::new(token.verifier_hash(), HOUR, HOUR).with_attributes(Attributes::from([theme("dark")]));
        until("a replica", async || store.create(&token.key(), &new).await.ok()).await;
    }
    let [kept, ended] = &tokens;
    let primary = group.primary().await.unwrap().unwrap();
    let replica = group.servers().iter().find(|server| server.address() != primary.address()).unwrap();
    replica.pause();
    let base = store.load(&kept.key()).await.unwrap().found().unwrap();
    let (name, value) = theme("light");
    let error = store.save(&base, Authority::Application, &Delta::new().with_set(name, value)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    let error = store.delete(&ended.key(), Authority::Application).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert!(store.load(&ended.key()).await.unwrap().found().is_none(), "it was made");

    replica.resume();
    let deleted = async || matches!(store.delete(&ended.key(), Authority::Application).await, Ok(Deleted::Gone));
    until("a replica again", async || deleted().await.then_some(())).await;
    primary.kill();
    let is_next = |now: &&RedisServer| now.address() == replica.address();
    until("a successor", async || group.primary().await.ok().flatten().filter(is_next).map(drop)).await;
    until("an answer of it", async || store.load(&kept.key()).await.is_ok().then_some(())).await;
    let read = store.load(&kept.key()).await.unwrap().found().unwrap();
    assert_eq!(read.record().attributes()[&theme("").0].decode::<String>().unwrap(), "light");
    assert!(store.load(&ended.key()).await.unwrap().found().is_none());
}

//! What takes longer than a test may wait.

use std::time::Duration;

use statehouse_core::ServiceUrl;
use statehouse_testkit::RedisServer;

use super::*;
use crate::api::SessionStoreExt as _;
use crate::token::Token;

/// Also by the store that has put it there itself.
#[tokio::test]
async fn a_session_that_is_lost_from_its_index_is_back_once_it_is_used() {
    let server = RedisServer::shared().await;
    let token = Token::generate().unwrap();
    let namespace = Namespace::new(format!("test-{}", &token.key().to_string()[..16])).unwrap();
    let url = ServiceUrl::parse("STATEHOUSE_SESSION_URL", &server.url()).unwrap();
    let store = RedisSessionStore::open(url, &namespace).await.unwrap();
    let who = Principal::new("u42").unwrap();
    let minute = Duration::from_secs(60);
    let new = NewSession::new(token.verifier_hash(), minute, minute).with_principal(who.clone());
    store.create_with(&token.key(), &new, CreateOptions::default()).await.unwrap();
    for _ in 0..2 {
        let index = format!("{namespace}:session:principals:{{u42}}:sessions");
        assert_eq!(server.command(&["DEL", &index]).await.unwrap().integer(), Some(1));
        assert!(store.list(&who).await.unwrap().is_empty());
        store.met.age(&token.key());
        assert_eq!(store.touch(&token.key()).await.unwrap(), Touched::Slid);
        assert_eq!(store.list(&who).await.unwrap().len(), 1);
    }
}

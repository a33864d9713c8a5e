//! Attributes that another build of the application has stored.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use serde::{Deserialize, Serialize};
use statehouse_core::{ErrorKind, ManualClock};
use statehouse_session::{
    Attribute, Authority, ConflictPolicy, Delta, MemoryConfig, MemorySessionStore, Rotate, Rotation, Session,
    SessionConfig, SessionConfigBuilder, SessionStoreExt as _, Sessions, Token, UnreadablePolicy,
};

use crate::http::MINUTE;
use crate::logs::Log;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    articles: Vec<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Basket {
    items: Vec<u32>,
}

fn sessions(
    store: &Arc<MemorySessionStore>,
    configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder,
) -> Sessions {
    Sessions::new(Arc::clone(store), configure(SessionConfig::builder()).build().unwrap())
}

/// Commits, and returns the headers of the next request.
async fn next(session: &Session) -> HeaderMap {
    session.commit().await.unwrap();
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    let cookie = response[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())])
}

#[tokio::test]
async fn an_attribute_of_another_build_is_absent_and_reported_once_for_all_sessions() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let store = Arc::new(MemorySessionStore::new());
    let (old, new) = (sessions(&store, |config| config), sessions(&store, |config| config));
    let mut all = Vec::new();
    for _ in 0..5 {
        let session = old.open(&HeaderMap::new());
        session.insert("cart", &Cart { articles: vec![7] }).unwrap();
        session.insert("theme", "dark").unwrap();
        all.push(next(&session).await);
    }
    for headers in all.iter().chain(&all) {
        let session = new.open(headers);
        assert_eq!(session.get::<Basket>("cart").await.unwrap(), None);
        assert_eq!(session.get::<String>("theme").await.unwrap().as_deref(), Some("dark"));
        // It is there for the build that stored it.
        assert_eq!(old.open(headers).get::<Cart>("cart").await.unwrap(), Some(Cart { articles: vec![7] }));
    }
    let said = log.text();
    let report = "an attribute of another build counts as absent: \
                  the attribute was stored as Cart and cannot be read as Basket";
    assert_eq!(said.matches(report).count(), 1, "{said}");
    assert!(said.contains("attribute=\"cart\""), "{said}");
    let session = new.open(&all[0]);
    session.update("cart", |basket: Option<Basket>| basket.unwrap_or(Basket { items: vec![1] })).await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(new.open(&all[0]).get::<Basket>("cart").await.unwrap(), Some(Basket { items: vec![1] }));
}

#[tokio::test]
async fn by_policy_it_is_an_error_that_names_the_attribute_and_both_types() {
    let store = Arc::new(MemorySessionStore::new());
    let strict = |config: SessionConfigBuilder| config.on_unreadable_attribute(UnreadablePolicy::Fail);
    let sessions = sessions(&store, strict);
    let session = sessions.open(&HeaderMap::new());
    session.insert("cart", &Cart { articles: vec![7] }).unwrap();
    let headers = next(&session).await;
    let session = sessions.open(&headers);
    let errors = [
        session.get::<Basket>("cart").await.unwrap_err(),
        session.update("cart", |basket: Option<Basket>| basket.unwrap()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Corrupt, Some("cart")), "{error}");
        assert!(error.message().contains("stored as Cart and cannot be read as Basket"), "{error}");
    }
}

#[tokio::test]
async fn what_another_build_stored_is_migrated_with_each_read_until_it_is_set_again() {
    let store = Arc::new(MemorySessionStore::new());
    let old = sessions(&store, |config| config);
    let new = sessions(&store, |config| {
        config.attribute_schema("cart", 2, |stored| {
            let Cart { articles } = stored.decode().ok()?;
            assert_eq!(stored.type_name(), "Cart");
            Attribute::encode(&Basket { items: articles }).ok()
        })
    });
    let session = old.open(&HeaderMap::new());
    session.insert("cart", &Cart { articles: vec![7] }).unwrap();
    let headers = next(&session).await;
    for _ in 0..2 {
        let session = new.open(&headers);
        assert_eq!(session.get::<Basket>("cart").await.unwrap(), Some(Basket { items: vec![7] }));
    }
    let session = new.open(&headers);
    let push = |basket: Option<Basket>| Basket { items: [basket.unwrap().items, vec![8]].concat() };
    session.update("cart", push).await.unwrap();
    session.commit().await.unwrap();
    let session = new.open(&headers);
    assert_eq!(session.get::<Basket>("cart").await.unwrap(), Some(Basket { items: vec![7, 8] }));
    // The other build knows no schema 2, also if it could read the bytes.
    assert_eq!(old.open(&headers).get::<Basket>("cart").await.unwrap(), None);
    assert_eq!(old.open(&headers).get::<Cart>("cart").await.unwrap(), None);
}

#[tokio::test]
async fn a_value_that_would_not_come_back_is_refused_at_the_insert() {
    let store = Arc::new(MemorySessionStore::new());
    let sessions = sessions(&store, |config| config);
    let session = sessions.open(&HeaderMap::new());
    for refused in
        [session.insert("a", &Some(None::<u32>)), session.insert("a", &u128::MAX), session.insert("a", &Some(()))]
    {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some("a")), "{error}");
    }
    session.insert("a", &(f64::INFINITY, u64::MAX, i128::from(i64::MIN))).unwrap();
    let headers = next(&session).await;
    let read = sessions.open(&headers).get::<(f64, u64, i128)>("a").await.unwrap();
    assert_eq!(read, Some((f64::INFINITY, u64::MAX, i128::from(i64::MIN))));
}

#[tokio::test]
async fn an_attribute_that_has_ended_is_absent_to_whoever_has_read_it_before() {
    let clock = ManualClock::default();
    let store = Arc::new(MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
    let sessions = sessions(&store, |config| config);
    let session = sessions.open(&HeaderMap::new());
    session.insert_for("code", &7, MINUTE).unwrap();
    session.insert_for("brief", &7, Duration::from_micros(1)).unwrap();
    session.insert("code", &8).unwrap();
    session.insert_for("code", &9, MINUTE).unwrap();
    session.flash("info", "sent").unwrap();
    assert_eq!(session.get::<u32>("brief").await.unwrap(), Some(7), "its time begins with the commit");
    let headers = next(&session).await;
    assert_eq!(session.get::<u32>("code").await.unwrap(), Some(9));
    assert_eq!(session.get::<u32>("brief").await.unwrap(), None, "of the session that this request has saved");
    clock.advance(MINUTE);
    let session = sessions.open(&headers);
    assert_eq!(session.get::<u32>("code").await.unwrap(), None);
    assert_eq!(session.take_flash().await.unwrap().len(), 1, "messages wait for the next page");

    session.insert_for("code", &7, MINUTE).unwrap();
    session.commit().await.unwrap();
    clock.advance(MINUTE / 2);
    let session = sessions.open(&headers);
    session.insert("code", &7).unwrap();
    session.commit().await.unwrap();
    clock.advance(MINUTE);
    assert_eq!(sessions.open(&headers).get::<u32>("code").await.unwrap(), Some(7), "it has no end any more");
}

#[tokio::test]
async fn no_time_at_all_is_refused_and_an_end_is_nobodys_change() {
    let clock = ManualClock::default();
    let store = Arc::new(MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
    let sessions = sessions(&store, |config| config.on_conflict(ConflictPolicy::Fail));
    let session = sessions.open(&HeaderMap::new());
    let refused = session.insert_for("code", &7, Duration::ZERO).unwrap_err();
    assert_eq!((refused.kind(), refused.key()), (ErrorKind::InvalidInput, Some("code")));
    session.insert_for("code", &7, MINUTE).unwrap();
    let headers = next(&session).await;
    let session = sessions.open(&headers);
    assert_eq!(session.get::<u32>("code").await.unwrap(), Some(7));
    let key = session.key().await.unwrap().unwrap();
    let base = store.load(&key).await.unwrap().found().unwrap();
    clock.advance(MINUTE);
    let next = Token::generate().unwrap().verifier_hash();
    let renewal = Rotation::new(next, Rotate::Renewal { grace: MINUTE });
    let _ = store.rotate(&base, Authority::Application, &renewal, &Delta::new()).await.unwrap();
    session.insert("theme", "dark").unwrap();
    session.commit().await.unwrap();
    assert_eq!(sessions.open(&headers).get::<u32>("code").await.unwrap(), None);
    assert_eq!(sessions.open(&headers).get::<String>("theme").await.unwrap().as_deref(), Some("dark"));
}

/// What has ended since it was read is none for who changes it, as it is for who reads it.
#[tokio::test]
async fn an_update_of_what_has_ended_since_begins_anew() {
    let store = Arc::new(MemorySessionStore::new());
    let sessions = sessions(&store, |config| config);
    let session = sessions.open(&HeaderMap::new());
    session.insert_for("tries", &7, Duration::from_millis(50)).unwrap();
    let headers = next(&session).await;
    let session = sessions.open(&headers);
    let _ = session.get::<u32>("tries").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    session.update("tries", |tries: Option<u32>| tries.unwrap_or(0) + 1).await.unwrap();
    session.commit().await.unwrap();
    assert_eq!(sessions.open(&headers).get::<u32>("tries").await.unwrap(), Some(1));
}

/// What has ended takes up nothing, whenever it was added up.
#[tokio::test]
async fn an_attribute_that_has_ended_leaves_room_for_another_of_its_size() {
    let large = "x".repeat(40_000);
    let sessions = sessions(&Arc::default(), |config| config.max_session_size(64 << 10));
    for adds_up_before in [false, true] {
        let session = sessions.open(&HeaderMap::new());
        session.insert_for("code", &large, Duration::from_millis(200)).unwrap();
        let session = sessions.open(&next(&session).await);
        let _ = session.get::<String>("code").await.unwrap();
        if adds_up_before {
            session.insert("small", &1).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        session.insert("code", &large).unwrap();
        session.remove("code").unwrap();
        session.insert("other", &large).unwrap();
        session.commit().await.unwrap();
    }
}

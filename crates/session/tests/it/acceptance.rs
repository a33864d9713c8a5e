//! What others ask of their stores and layers, asked of ours: the acceptance cases of actix-session, and those of Spring Session's
//! repositories, by what they observe.

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_session::{
    Authority, LocalSessionStore, MemorySessionStore, Principal, Session, SessionConfig, SessionStore,
    SessionStoreExt as _, Sessions, Token,
};
use statehouse_testkit::{RedisCluster, RedisServer};
use tempfile::TempDir;

use crate::{open_redis, random_namespace};

struct Site {
    sessions: Sessions,
    _folder: Option<TempDir>,
}

impl Site {
    fn on(store: impl SessionStore) -> Self {
        Self { sessions: Sessions::new(store, SessionConfig::default()), _folder: None }
    }

    fn open(&self, cookie: &str) -> Session {
        let cookies = (!cookie.is_empty()).then(|| (COOKIE, cookie.parse().unwrap()));
        self.sessions.open(&HeaderMap::from_iter(cookies))
    }

    /// Who is logged in, and how often something was done; and the cookie that the response sets.
    async fn index(&self, cookie: &str) -> (Option<String>, u32, Option<String>) {
        let session = self.open(cookie);
        let who = session.principal().await.unwrap().map(|who| who.to_string());
        let counter = session.get("counter").await.unwrap().unwrap_or(0);
        (who, counter, respond(&session).await)
    }

    async fn do_something(&self, cookie: &str) -> Option<String> {
        let session = self.open(cookie);
        session.update("counter", |counter: Option<u32>| counter.unwrap_or(0) + 1).await.unwrap();
        respond(&session).await
    }

    async fn log_in(&self, cookie: &str, who: &str) -> String {
        let session = self.open(cookie);
        session.login(who).await.unwrap();
        respond(&session).await.expect("a new token")
    }
}

/// The whole `Set-Cookie`.
async fn respond(session: &Session) -> Option<String> {
    session.commit().await.unwrap();
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    Some(response.get(SET_COOKIE)?.to_str().unwrap().to_owned())
}

fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

fn key(cookie: &str) -> statehouse_session::SessionKey {
    Token::parse(pair(cookie).split_once('=').unwrap().1).unwrap().key()
}

fn somebody() -> String {
    format!("u{}", &Token::generate().unwrap().key().to_string()[..16])
}

/// actix-session's `complex_workflow`, step by step.
async fn what_actix_session_asks_of_a_store(site: Site) {
    let user = somebody();
    assert_eq!(site.index("").await, (None, 0, None), "a session that is not written sets no cookie");
    let first = site.do_something("").await.expect("it begins one");
    let first = pair(&first);
    assert_eq!(site.index(first).await, (None, 1, None));
    site.do_something(first).await;
    assert_eq!(site.index(first).await, (None, 2, None));
    let second = site.log_in(first, &user).await;
    let second = pair(&second);
    assert_ne!(first, second, "a login renews the cookie");
    assert_eq!(site.index(second).await, (Some(user.clone()), 2, None), "and keeps the state");
    site.do_something(second).await;
    assert_eq!(site.index(second).await, (Some(user), 3, None));
    assert_eq!(site.index(first).await, (None, 0, None), "the cookie before the login opens nothing");
    let session = site.open(second);
    session.logout().await.unwrap();
    let removal = respond(&session).await.expect("the cookie is removed");
    assert!(removal.starts_with("__Host-id=;") && removal.contains("Max-Age=0"), "{removal}");
    assert_eq!(site.index(second).await, (None, 0, None), "and its session is gone");
}

/// Of its repositories: what is saved, renamed, deleted, and found by the name of a principal.
async fn what_spring_session_asks_of_a_repository(site: Site) {
    let (store, user, other) = (site.sessions.store(), somebody(), somebody());
    let found = async |who: &str| {
        let listed = store.list(&Principal::new(who).unwrap()).await.unwrap();
        listed.iter().map(|session| *session.record().key()).collect::<Vec<_>>()
    };
    // saves, putAllOnSingleAttrDoesNotRemoveOld
    let cookie = site.log_in("", &user).await;
    let cookie = pair(&cookie);
    for name in ["a", "b"] {
        let session = site.open(cookie);
        session.insert(name, name).unwrap();
        respond(&session).await;
    }
    for name in ["a", "b"] {
        assert_eq!(site.open(cookie).get::<String>(name).await.unwrap().as_deref(), Some(name));
    }
    // findByPrincipalName, findByPrincipalNameNoPrincipalNameChange, findByDeletedPrincipalName
    assert_eq!(found(&user).await, [key(cookie)]);
    site.do_something(cookie).await;
    assert_eq!(found(&user).await, [key(cookie)]);
    // changeSessionIdWhenOnlyChangeId, …WhenChangeTwice, …WhenSetAttributeOnChangedSession
    let mut ids = vec![cookie.to_owned()];
    for _ in 0..2 {
        let session = site.open(ids.last().unwrap());
        session.rotate().await.unwrap();
        session.insert("c", "c").unwrap();
        ids.push(pair(&respond(&session).await.unwrap()).to_owned());
    }
    for former in &ids[..2] {
        assert_eq!(site.index(former).await.0, None);
    }
    let last = ids.last().unwrap();
    assert_eq!(site.open(last).get::<String>("c").await.unwrap().as_deref(), Some("c"));
    assert_eq!(found(&user).await, [key(last)], "found by the principal under the new id");
    // findByChangedPrincipalName
    let changed = site.log_in(last, &other).await;
    assert_eq!((found(&user).await, found(&other).await), (Vec::new(), vec![key(&changed)]));
    // sessionFromReadIsNotSavedAfterDelete, changeSessionIdWhenSessionIsDeleted: none comes back
    let [writes, rotates] = [site.open(pair(&changed)), site.open(pair(&changed))];
    writes.principal().await.unwrap();
    rotates.rotate().await.unwrap();
    let _ = store.delete(&key(&changed), Authority::Application).await.unwrap();
    writes.insert("late", "x").unwrap();
    for late in [&writes, &rotates] {
        assert_eq!(respond(late).await, None);
    }
    assert_eq!(site.index(pair(&changed)).await.0, None);
    assert!(found(&other).await.is_empty());
}

macro_rules! on_every_store {
    ($($case:ident)*) => {
        on_every_store! { @on memory [Site::on(MemorySessionStore::new())] $($case)* }
        on_every_store! { @on disk [{
            let folder = tempfile::tempdir().unwrap();
            let site = Site::on(LocalSessionStore::open(folder.path()).await.unwrap());
            Site { _folder: Some(folder), ..site }
        }] $($case)* }
        on_every_store! { @on redis [
            Site::on(open_redis(&RedisServer::shared().await.url(), &random_namespace()).await)
        ] $($case)* }
        on_every_store! { @on redis_cluster [
            Site::on(open_redis(&RedisCluster::shared().await.url(), &random_namespace()).await)
        ] $($case)* }
        on_every_store! { @on sealed [Site::on(crate::sealed::in_memory(&["a"]))] $($case)* }
    };
    (@on $name:ident [$site:expr] $($case:ident)*) => {
        mod $name {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($site).await;
            })*
        }
    };
}

on_every_store! {
    what_actix_session_asks_of_a_store
    what_spring_session_asks_of_a_repository
}

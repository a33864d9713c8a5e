//! Calls that are refused and answers that are lost, at every verb.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::Result;
use statehouse_core::conformance::rounds;
use statehouse_core::layer::Faults;
use statehouse_session::{
    LayeredSessionStore, LocalSessionStore, MemorySessionStore, Session, SessionConfig, SessionStore, Sessions,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::{open_redis, random_namespace};

/// A browser that tries each request again until it is loaded, and a handler that tries each commit again.
struct Browser<'a> {
    sessions: &'a Sessions,
    cookie: String,
    who: Option<String>,
    /// How often the session of now was changed.
    changes: u32,
}

impl Browser<'_> {
    async fn open(&self) -> Session {
        let headers = HeaderMap::from_iter([(COOKIE, self.cookie.parse().unwrap())]);
        until_done(async || {
            let session = self.sessions.open(&headers);
            session.principal().await.map(|_| session)
        })
        .await
    }

    async fn commit(&mut self, session: &Session) {
        until_done(async || session.commit().await).await;
        let mut headers = HeaderMap::new();
        session.write_cookie(&mut headers);
        for set in headers.get_all(SET_COOKIE) {
            set.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
    }

    async fn does(&mut self, what: u32, case: &str) {
        let session = self.open().await;
        assert_eq!(session.principal().await.unwrap().map(|who| who.to_string()), self.who, "{case}");
        match what {
            0 if self.who.is_some() => {
                until_done(async || session.logout().await).await;
                (self.who, self.changes) = (None, 0);
                self.cookie.clear();
            }
            1 if self.who.is_none() => {
                self.who = Some(case.replace(' ', "-"));
                session.login(self.who.as_ref().unwrap()).await.unwrap();
            }
            2 => session.rotate().await.unwrap(),
            3 => {
                session.flash("info", "x").unwrap();
                self.commit(&session).await;
                let taken = until_done(async || session.take_flash().await).await;
                assert!(taken.len() <= 1, "{case}: {taken:?}");
            }
            _ => {}
        }
        if what != 0 {
            session.update("changes", |changes: Option<u32>| changes.unwrap_or(0) + 1).await.unwrap();
            self.changes += 1;
        }
        self.commit(&session).await;
        let changes = self.open().await.get::<u32>("changes").await.unwrap();
        assert_eq!(changes.unwrap_or(0), self.changes, "{case}: each change once");
    }
}

async fn until_done<T>(mut work: impl AsyncFnMut() -> Result<T>) -> T {
    const TRIES: usize = 1_000;
    let mut last = None;
    for _ in 0..TRIES {
        match work().await {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("not done in {TRIES} tries: {last:?}");
}

async fn nothing_is_lost_and_nothing_done_twice(store: Arc<dyn SessionStore>, seeds: usize) {
    for seed in 0..u32::try_from(seeds).unwrap() {
        let faults = Faults::seeded(seed.into()).with_refused_calls(0.2).with_lost_answers(0.3);
        let sessions = Sessions::new(LayeredSessionStore::new(Arc::clone(&store), faults), SessionConfig::default());
        let mut browser = Browser { sessions: &sessions, cookie: String::new(), who: None, changes: 0 };
        for step in 0..12_u32 {
            let what = seed.wrapping_mul(2_654_435_761).rotate_left(3 * step) % 5;
            browser.does(what, &format!("seed {seed} step {step} does {what}")).await;
        }
    }
}

#[tokio::test]
async fn in_memory_nothing_is_lost_or_done_twice_whatever_answers_are_lost() {
    nothing_is_lost_and_nothing_done_twice(Arc::new(MemorySessionStore::new()), rounds(100, 5_000)).await;
}

#[tokio::test]
async fn on_disk_nothing_is_lost_or_done_twice_whatever_answers_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalSessionStore::open(folder.path()).await.unwrap();
    nothing_is_lost_and_nothing_done_twice(Arc::new(store), rounds(5, 500)).await;
}

#[tokio::test]
async fn in_redis_nothing_is_lost_or_done_twice_whatever_answers_are_lost() {
    let store = open_redis(&RedisServer::shared().await.url(), &random_namespace()).await;
    nothing_is_lost_and_nothing_done_twice(Arc::new(store), rounds(10, 1_000)).await;
}

#[tokio::test]
async fn in_a_cluster_nothing_is_lost_or_done_twice_whatever_answers_are_lost() {
    let store = open_redis(&RedisCluster::shared().await.url(), &random_namespace()).await;
    nothing_is_lost_and_nothing_done_twice(Arc::new(store), rounds(10, 1_000)).await;
}

/// As many as two replicas have at once, of one session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_256_writers_in_two_processes_none_fails_and_none_is_lost() {
    let (url, namespace) = (RedisServer::shared().await.url(), random_namespace());
    let mut replicas = Vec::new();
    for _ in 0..2 {
        replicas.push(Sessions::new(open_redis(&url, &namespace).await, SessionConfig::default()));
    }
    let first = replicas[0].open(&HeaderMap::new());
    first.login("u42").await.unwrap();
    first.commit().await.unwrap();
    let mut headers = HeaderMap::new();
    first.write_cookie(&mut headers);
    let cookie = headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let headers = HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]);
    let writers = (0..256_usize).map(|number| {
        let session = replicas[number % 2].open(&headers);
        tokio::spawn(async move {
            session.update("sum", |sum: Option<u32>| sum.unwrap_or(0) + 1).await?;
            session.insert(&format!("n{number}"), &number)?;
            session.commit().await
        })
    });
    for done in futures_util::future::join_all(writers).await {
        done.unwrap().unwrap();
    }
    let session = replicas[1].open(&headers);
    assert_eq!(session.get::<u32>("sum").await.unwrap(), Some(256));
    for number in 0..256_usize {
        assert_eq!(session.get::<usize>(&format!("n{number}")).await.unwrap(), Some(number));
    }
}

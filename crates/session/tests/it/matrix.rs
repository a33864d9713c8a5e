//! Each way in which a session ends or changes hands, among each kind of request that is under way, on the node that ends it and on
//! another, as often as `cargo xtask soak` does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::conformance::rounds;
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, Result};
use statehouse_session::{
    LayeredSessionStore, LocalSessionStore, MemorySessionStore, Principal, Session, SessionConfig, SessionStore,
    Sessions, Token,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::{open_redis, random_namespace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    LogOut,
    Revoke,
    RevokeAll,
    Rotate,
    LogInAsAnother,
}

const ENDS: [Ends; 5] = [Ends::LogOut, Ends::Revoke, Ends::RevokeAll, Ends::Rotate, Ends::LogInAsAnother];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Read,
    Write,
    LateLoad,
    /// A write, and what ends the session has to be done again.
    LostAnswer,
}

const SLOW: [Slow; 4] = [Slow::Read, Slow::Write, Slow::LateLoad, Slow::LostAnswer];

/// Loses the answer of the next operation that is no load, once it is done. And lets others run before each operation and after it, each
/// time as often as another number: what is in memory never waits, so that two that are joined would come one after the other.
#[derive(Clone, Debug, Default)]
struct Losing(Arc<AtomicBool>, Arc<AtomicUsize>);

impl Losing {
    async fn turns(&self) {
        for _ in 0..self.1.fetch_add(1, Ordering::Relaxed) % 5 {
            tokio::task::yield_now().await;
        }
    }
}

impl Layer for Losing {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        self.turns().await;
        let answer = work.await;
        self.turns().await;
        if operation != "session.load" && self.0.swap(false, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::OutcomeUnknown, "no answer"));
        }
        answer
    }
}

/// Two nodes of one site, of which the first may lose answers.
struct Site {
    nodes: [Sessions; 2],
    loses: Losing,
}

impl Site {
    fn new(stores: [Arc<dyn SessionStore>; 2]) -> Self {
        let loses = Losing::default();
        let [first, second] = stores;
        let first = Arc::new(LayeredSessionStore::new(first, loses.clone()));
        let second = Arc::new(LayeredSessionStore::new(second, Losing::default()));
        Self {
            nodes: [Sessions::new(first, SessionConfig::default()), Sessions::new(second, SessionConfig::default())],
            loses,
        }
    }
}

/// The cookies of a browser, which takes what each response says.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn open(&self, sessions: &Sessions) -> Session {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        sessions.open(&HeaderMap::from_iter([(COOKIE, cookies.join("; ").parse().unwrap())]))
    }

    /// Whether the response says anything of the cookie itself. In Redis the time of a rotation is that of the load before it: a request
    /// that arrived in between may take it for one that came before, and keeps what it has to say in a cookie beside that one.
    fn takes(&mut self, session: &Session) -> bool {
        let mut is_said = false;
        let mut headers = HeaderMap::new();
        session.write_cookie(&mut headers);
        for set in headers.get_all(SET_COOKIE) {
            let (name, value) = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            is_said |= !name.ends_with("-fallback");
            self.cookies.insert(name.to_owned(), value.to_owned());
            self.cookies.retain(|_, value| !value.is_empty());
        }
        is_said
    }

    async fn log_in(&mut self, sessions: &Sessions, who: &str) {
        let session = self.open(sessions);
        session.login(who).await.unwrap();
        session.insert("owner", who).unwrap();
        session.commit().await.unwrap();
        self.takes(&session);
    }

    /// Who is logged in, whose attributes they have, and what came late.
    async fn looks(&self, sessions: &Sessions) -> [Option<String>; 3] {
        let session = self.open(sessions);
        let who = session.principal().await.unwrap().map(|who| who.to_string());
        [who, session.get("owner").await.unwrap(), session.get("late").await.unwrap()]
    }
}

/// Ends the session of the browser's request, once more if the answer is lost.
async fn end(site: &Site, ends: Ends, session: &Session, (user, other): (&Principal, &str)) {
    let node = &site.nodes[0];
    let key = session.key().await.unwrap().unwrap();
    for _ in 0..2 {
        let done = match ends {
            Ends::LogOut => session.logout().await,
            Ends::Revoke => node.revoke(user, &key).await,
            Ends::RevokeAll => node.revoke_all(user).await,
            Ends::Rotate => session.rotate().await,
            Ends::LogInAsAnother => session.login(other).await.and_then(|()| session.insert("owner", other)),
        };
        match done.and(session.commit().await) {
            Ok(()) => return,
            Err(lost) => assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown, "{ends:?}: {lost}"),
        }
    }
    panic!("{ends:?}: not done");
}

async fn finish(slow: Slow, session: &Session) {
    if slow == Slow::Read {
        session.principal().await.unwrap();
    } else {
        session.insert("late", "x").unwrap();
    }
    if let Err(lost) = session.commit().await {
        assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown, "{lost}");
        session.commit().await.unwrap();
    }
}

async fn holds(site: &Site, (ends, slow, other_node): (Ends, Slow, bool), round: usize) {
    let case = format!("{ends:?} among {slow:?}, on another node: {other_node}, round {round}");
    let name = Token::generate().unwrap().key().to_string();
    let (user, another) = (format!("u{}", &name[..16]), format!("v{}", &name[..16]));
    let [node, elsewhere] = &site.nodes;
    let mut browser = Browser::default();
    browser.log_in(node, &user).await;
    let stolen = Browser { cookies: browser.cookies.clone() };

    let under_way = browser.open(if other_node { elsewhere } else { node });
    if slow != Slow::LateLoad {
        under_way.principal().await.unwrap();
    }
    let ending = browser.open(node);
    site.loses.0.store(slow == Slow::LostAnswer, Ordering::Relaxed);
    let who = (&Principal::new(&user).unwrap(), &*another);
    // One after the other, or at the same time.
    if round.is_multiple_of(2) {
        end(site, ends, &ending, who).await;
        finish(slow, &under_way).await;
    } else {
        tokio::join!(end(site, ends, &ending, who), finish(slow, &under_way));
    }
    site.loses.0.store(false, Ordering::Relaxed);
    browser.takes(&ending);
    assert!(!browser.takes(&under_way), "{case}: a cookie that clobbers a newer one");

    for sessions in &site.nodes {
        assert_eq!(stolen.looks(sessions).await, [None, None, None], "{case}: revived");
        let [found, owner, late] = browser.looks(sessions).await;
        let expected = match ends {
            Ends::Rotate => Some(user.clone()),
            Ends::LogInAsAnother => Some(another.clone()),
            Ends::LogOut | Ends::Revoke | Ends::RevokeAll => None,
        };
        assert_eq!((&found, &owner), (&expected, &expected), "{case}: another's");
        assert!(late.is_none() || ends == Ends::Rotate, "{case}: of a session that has ended");
    }
    browser.log_in(elsewhere, &user).await;
    for sessions in &site.nodes {
        let [found, owner, _] = browser.looks(sessions).await;
        assert_eq!((found.as_deref(), owner.as_deref()), (Some(&*user), Some(&*user)), "{case}: locked out");
    }
}

async fn hold(stores: [Arc<dyn SessionStore>; 2], few: usize) {
    let site = Site::new(stores);
    let cells = ENDS
        .into_iter()
        .flat_map(|ends| SLOW.into_iter().flat_map(move |slow| [(ends, slow, false), (ends, slow, true)]));
    for (ends, slow, other_node) in cells {
        for round in 0..rounds(few, if slow == Slow::LostAnswer { 50 } else { 500 }) {
            holds(&site, (ends, slow, other_node), round).await;
        }
    }
}

#[tokio::test]
async fn in_memory_no_session_that_has_ended_comes_back_among_whatever_is_under_way() {
    let store: Arc<dyn SessionStore> = Arc::new(MemorySessionStore::new());
    hold([Arc::clone(&store), store], 10).await;
}

#[tokio::test]
async fn on_disk_no_session_that_has_ended_comes_back_among_whatever_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn SessionStore> = Arc::new(LocalSessionStore::open(folder.path()).await.unwrap());
    hold([Arc::clone(&store), store], 2).await;
}

#[tokio::test]
async fn in_redis_no_session_that_has_ended_comes_back_among_whatever_is_under_way() {
    let (url, namespace) = (RedisServer::shared().await.url(), random_namespace());
    hold([Arc::new(open_redis(&url, &namespace).await), Arc::new(open_redis(&url, &namespace).await)], 2).await;
}

#[tokio::test]
async fn in_a_cluster_no_session_that_has_ended_comes_back_among_whatever_is_under_way() {
    let (url, namespace) = (RedisCluster::shared().await.url(), random_namespace());
    hold([Arc::new(open_redis(&url, &namespace).await), Arc::new(open_redis(&url, &namespace).await)], 2).await;
}

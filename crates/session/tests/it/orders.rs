//! Three requests of one browser in every order in which they may overtake each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, ManualClock};
use statehouse_session::{
    LocalSessionStore, MemoryConfig, MemorySessionStore, Session, SessionConfig, SessionStore, Sessions,
};
use statehouse_testkit::{RedisCluster, RedisServer};

use crate::{open_redis, random_namespace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    LogIn,
    LogOut,
    Rotate,
    Put,
}

const DOES: [Does; 4] = [Does::LogIn, Does::LogOut, Does::Rotate, Does::Put];

/// The session that the browser has before the three. Of a browser without one, two requests begin two that know nothing of
/// each other.
#[derive(Clone, Copy, Debug)]
enum Before {
    Anonymous,
    LoggedIn,
}

const BEFORE: [Before; 2] = [Before::Anonymous, Before::LoggedIn];

/// The next request arrives, or the one with this number is answered.
#[derive(Clone, Copy, Debug)]
enum Step {
    Arrives,
    IsAnswered(usize),
}

/// Every order in which three requests arrive one after the other and each is answered at some time after that.
fn orders() -> Vec<Vec<Step>> {
    fn go_on(order: &[Step], arrived: usize, answered: [bool; 3], all: &mut Vec<Vec<Step>>) {
        if answered == [true; 3] {
            all.push(order.to_vec());
        }
        if arrived < 3 {
            go_on(&[order, &[Step::Arrives]].concat(), arrived + 1, answered, all);
        }
        for request in (0..arrived).filter(|request| !answered[*request]) {
            let mut answered = answered;
            answered[request] = true;
            go_on(&[order, &[Step::IsAnswered(request)]].concat(), arrived, answered, all);
        }
    }
    let mut all = Vec::new();
    go_on(&[], 0, [false; 3], &mut all);
    all
}

/// The browser, and who should be logged in there.
struct Browser<'a> {
    case: String,
    sessions: &'a Sessions,
    clock: Option<ManualClock>,
    cookies: BTreeMap<String, String>,
    who: Option<String>,
    /// How often that has changed, and the token of the session with it.
    changes: u32,
    rotations: u32,
    /// How many changes there had been when a session was begun beside one whose token was gone by then: a request that came
    /// before that may have a cookie of the other, and cannot know of this one.
    forked: u32,
}

/// A request that is under way, and what had happened when it arrived.
struct UnderWay {
    session: Session,
    has_no_cookie: bool,
    changes: u32,
    rotations: u32,
}

impl<'a> Browser<'a> {
    async fn new(case: String, sessions: &'a Sessions, clock: Option<ManualClock>, before: Before) -> Self {
        let mut browser =
            Self { case, sessions, clock, cookies: BTreeMap::new(), who: None, changes: 0, rotations: 0, forked: 0 };
        let first = browser.open();
        match before {
            Before::Anonymous => first.insert("n", &0).unwrap(),
            Before::LoggedIn => browser.log_in(&first, "u").await,
        }
        browser.end(&first).await;
        browser
    }

    fn open(&self) -> Session {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.sessions.open(&HeaderMap::from_iter([(COOKIE, cookies.join("; ").parse().unwrap())]))
    }

    async fn arrives(&self, reads: bool) -> UnderWay {
        let session = self.open();
        if reads {
            session.principal().await.unwrap();
        }
        UnderWay { session, has_no_cookie: self.cookies.is_empty(), changes: self.changes, rotations: self.rotations }
    }

    async fn log_in(&mut self, session: &Session, name: &str) {
        session.login(name).await.unwrap();
        session.insert("owner", name).unwrap();
        self.who = Some(name.to_owned());
        self.changes += 1;
    }

    async fn log_out(&mut self, UnderWay { session, changes, rotations, .. }: &UnderWay) {
        let is_late = *changes != self.changes;
        match session.logout().await {
            Ok(()) if is_late => {}
            Ok(()) => {
                self.who = None;
                self.changes += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}: {}", self.case);
                assert!(is_late || *rotations != self.rotations, "{error:?}: {}", self.case);
            }
        }
    }

    /// Says whether it is known what becomes of it.
    async fn is_answered(&mut self, request: &UnderWay, does: Does, number: usize) -> bool {
        let is_late = request.changes != self.changes || request.rotations != self.rotations;
        // The same holds for one that came without any.
        if request.changes < self.forked || (is_late && request.has_no_cookie) {
            return false;
        }
        match does {
            Does::LogIn => {
                self.log_in(&request.session, &format!("u{number}")).await;
                self.forked = if is_late { self.changes } else { self.forked };
            }
            Does::LogOut => self.log_out(request).await,
            Does::Rotate => {
                request.session.rotate().await.unwrap();
                self.rotations += 1;
            }
            Does::Put => request.session.insert(&format!("n{number}"), &number).unwrap(),
        }
        self.end(&request.session).await;
        true
    }

    /// As the layer does it. Then a request that comes later is asked who is logged in.
    async fn end(&mut self, session: &Session) {
        self.answer(session).await;
        if let Some(clock) = &self.clock {
            clock.advance(Duration::from_millis(400));
            tokio::task::yield_now().await;
        }
        let later = self.open();
        let who = later.principal().await.unwrap().map(|who| who.to_string());
        assert_eq!(who, self.who, "who is logged in: {}", self.case);
        assert_eq!(later.get::<String>("owner").await.unwrap(), self.who, "whose attributes these are: {}", self.case);
        self.answer(&later).await;
    }

    async fn answer(&mut self, session: &Session) {
        session.commit().await.unwrap();
        let mut headers = HeaderMap::new();
        session.write_cookie(&mut headers);
        for set in headers.get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
            self.cookies.retain(|_, value| !value.is_empty());
        }
    }
}

/// One of so many cases is tried; in a soak all of them.
async fn hold_in_every_order(
    store: Arc<dyn SessionStore>,
    config: SessionConfig,
    clock: Option<ManualClock>,
    one_of: usize,
) {
    let (sessions, orders) = (Sessions::new(store, config), orders());
    assert_eq!(orders.len(), 15);
    let triples =
        DOES.into_iter().flat_map(|one| DOES.into_iter().flat_map(move |two| DOES.map(|three| [one, two, three])));
    let cases = triples
        .flat_map(|does| BEFORE.into_iter().flat_map(move |before| [(does, before, false), (does, before, true)]));
    let cases = cases.flat_map(|case| orders.iter().map(move |order| (case, order)));
    for ((does, before, reads), order) in cases.step_by(one_of / rounds(1, one_of)) {
        let case = format!("{before:?}, {does:?}, {order:?}, reads: {reads}");
        let mut browser = Browser::new(case, &sessions, clock.clone(), before).await;
        let mut under_way: Vec<UnderWay> = Vec::new();
        for step in order {
            match *step {
                Step::Arrives => under_way.push(browser.arrives(reads).await),
                Step::IsAnswered(number) => {
                    if !browser.is_answered(&under_way[number], does[number], number).await {
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn in_memory_whoever_logged_in_or_out_last_counts_in_every_order() {
    hold_in_every_order(Arc::new(MemorySessionStore::new()), SessionConfig::default(), None, 7).await;
}

/// The token is renewed in between, and the old one has its grace.
#[tokio::test]
async fn among_renewals_whoever_logged_in_or_out_last_counts_in_every_order() {
    let clock = ManualClock::default();
    let store = MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone()));
    let second = Duration::from_secs(1);
    let config = SessionConfig::builder().renew_every(second, second).build().unwrap();
    hold_in_every_order(Arc::new(store), config, Some(clock), 11).await;
}

#[tokio::test]
async fn on_disk_whoever_logged_in_or_out_last_counts_in_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalSessionStore::open(folder.path()).await.unwrap();
    hold_in_every_order(Arc::new(store), SessionConfig::default(), None, 61).await;
}

#[tokio::test]
async fn in_redis_whoever_logged_in_or_out_last_counts_in_every_order() {
    let store = open_redis(&RedisServer::shared().await.url(), &random_namespace()).await;
    hold_in_every_order(Arc::new(store), SessionConfig::default(), None, 41).await;
}

#[tokio::test]
async fn in_a_cluster_whoever_logged_in_or_out_last_counts_in_every_order() {
    let store = open_redis(&RedisCluster::shared().await.url(), &random_namespace()).await;
    hold_in_every_order(Arc::new(store), SessionConfig::default(), None, 47).await;
}

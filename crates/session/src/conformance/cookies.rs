//! What becomes of a browser's cookie when answers are lost and requests overtake each other.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, SET_COOKIE};

use super::kit::{SessionBackend, cookie_of, header, logged_in};
use crate::api::SessionStoreExt as _;
use crate::config::SessionConfig;
use crate::outcome::{Deleted, Loaded};
use crate::record::Authority;
use crate::session::{Session, Sessions};

/// Through [`Session`]: a browser that did not get the answer of a renewal stays logged in, and gets another.
pub(super) async fn a_browser_that_does_not_get_a_renewed_token_stays_logged_in(backend: &impl SessionBackend) {
    let grace = (2 * backend.step()).max(Duration::from_secs(1));
    let config = SessionConfig::builder().idle_timeout(1000 * grace).renew_every(grace, grace).build();
    let sessions = Sessions::new(backend.service().await, config.expect("good settings"));
    let old = logged_in(&sessions).await;
    backend.pass_time(grace).await;
    let lost = sessions.open(&old);
    lost.principal().await.expect("an answer").expect("somebody");
    lost.commit().await.expect("a renewal");
    let lost = cookie_of(&lost).expect("a cookie that never arrives");
    for _ in 0..2 {
        backend.pass_time(2 * grace).await;
        let session = sessions.open(&old);
        assert!(session.principal().await.expect("an answer").is_some(), "the old token is all that the browser has");
        session.commit().await.expect("a renewal");
        assert_ne!(cookie_of(&session), Some(lost.clone()), "it gets another");
        // The answers of the first two are lost, too.
    }
    backend.pass_time(2 * grace).await;
    let session = sessions.open(&old);
    session.insert("a", &1).expect("a small value");
    session.commit().await.expect("a renewal");
    let new = header(&cookie_of(&session).expect("a cookie"));
    let session = sessions.open(&new);
    session.insert("a", &2).expect("a small value");
    session.commit().await.expect("a save");
    backend.pass_time(2 * grace).await;
    assert!(sessions.open(&new).principal().await.expect("an answer").is_some());
    assert!(sessions.open(&old).principal().await.expect("an answer").is_none(), "the new one was used");
}

/// Through [`Session`]: whether the request had read its session before or not. The browser may have
/// logged in again in the meantime, so that no response of such a request may touch its cookie.
pub(super) async fn a_request_under_way_when_its_session_is_deleted_begins_no_other(backend: &impl SessionBackend) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    let cookie = logged_in(&sessions).await;
    let open = || sessions.open(&cookie);
    let [loaded, unread, leaving, unread_leaving, login] = [open(), open(), open(), open(), open()];
    let key = loaded.key().await.expect("an answer").expect("a session");
    leaving.principal().await.expect("an answer");
    let deleted = backend.service().await.delete(&key, Authority::Application).await;
    assert_eq!(deleted.expect("an answer"), Deleted::Removed);
    for (name, session) in [("loaded", &loaded), ("unread", &unread)] {
        for _ in 0..2 {
            session.insert("late", &1).expect("a small value");
            session.commit().await.expect("the change is dropped");
            assert_eq!(session.key().await.expect("an answer"), None, "{name}");
            assert_eq!(cookie_of(session), None, "{name}");
        }
    }
    for (name, session) in [("loaded", &leaving), ("unread", &unread_leaving)] {
        session.logout().await.expect("nobody is logged in");
        session.commit().await.expect("nothing to save");
        assert_eq!(cookie_of(session), None, "logout, {name}");
    }
    login.login("u42").await.expect("a login");
    login.commit().await.expect("a new session");
    let next = login.key().await.expect("an answer").expect("a session");
    assert_ne!(next, key);
}

/// The cookies of a browser: a response replaces those that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    async fn logged_in(sessions: &Sessions, who: &str) -> Self {
        let mut browser = Self::default();
        browser.log_in(sessions, who).await;
        browser
    }

    async fn log_in(&mut self, sessions: &Sessions, who: &str) {
        let session = self.open(sessions);
        session.login(who).await.expect("a login");
        session.commit().await.expect("a save");
        self.receive(&answer(&session));
    }

    fn open(&self, sessions: &Sessions) -> Session {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        sessions.open(&HeaderMap::from_iter([(COOKIE, pairs.join("; ").parse().expect("a header"))]))
    }

    fn receive(&mut self, answer: &HeaderMap) {
        for cookie in answer.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("a text");
            let (name, rest) = cookie.split_once('=').expect("a name");
            let value = rest.split(';').next().expect("a value");
            if rest.contains("Max-Age=0") {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn received(mut self, answer: &HeaderMap) -> Self {
        self.receive(answer);
        self
    }

    /// Who is logged in here, with what the answer to asking says about the cookies.
    async fn who(&mut self, sessions: &Sessions) -> Option<String> {
        let session = self.open(sessions);
        let who = session.principal().await.expect("an answer");
        session.commit().await.expect("nothing to save");
        self.receive(&answer(&session));
        who.map(|who| who.to_string())
    }
}

fn answer(session: &Session) -> HeaderMap {
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    response
}

/// The answer to a request of this browser that keeps something in its session. Such requests are sent until one of them
/// is not taken for one that was under way, as on a machine that is slow.
async fn kept_late(browser: &Browser, sessions: &Sessions) -> HeaderMap {
    for _ in 0..1_000 {
        let session = browser.open(sessions);
        session.insert("form", &1).expect("a small value");
        session.commit().await.expect("a new session");
        let answer = answer(&session);
        if answer.contains_key(SET_COOKIE) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    panic!("each request was taken for one that was under way");
}

/// What a late request kept is there for the next one of its browser, which is not logged in, and can be.
async fn is_kept_until_a_login(mut browser: Browser, sessions: &Sessions) {
    let session = browser.open(sessions);
    assert_eq!(session.get::<u32>("form").await.expect("an answer"), Some(1));
    assert_eq!(browser.who(sessions).await, None);
    browser.log_in(sessions, "u44").await;
    assert_eq!(browser.who(sessions).await.as_deref(), Some("u44"));
    assert_eq!(browser.0.len(), 1, "{browser:?}");
}

/// Through [`Session`]: it was sent before the answer of the login came, or that answer was lost. So it throws out nobody,
/// and what it keeps is there for the next, such as the form to log in with.
pub(super) async fn a_request_that_arrives_after_a_login_begins_a_session_beside_it(backend: &impl SessionBackend) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    let old = Browser::logged_in(&sessions, "u42").await;
    let [login, under_way] = [old.open(&sessions), old.open(&sessions)];
    login.login("u43").await.expect("a login");
    login.commit().await.expect("a rotation");
    under_way.insert("form", &1).expect("a small value");
    under_way.commit().await.expect("the change is dropped");
    assert_eq!(answer(&under_way).get(SET_COOKIE), None, "the browser may have a newer cookie");
    backend.pass_time(backend.step() / 2).await;
    let (late, login) = (kept_late(&old, &sessions).await, answer(&login));
    for answers in [[&login, &late], [&late, &login]] {
        let mut browser = answers.into_iter().fold(old.clone(), Browser::received);
        assert_eq!(browser.0.len(), 2, "{browser:?}");
        assert_eq!(browser.who(&sessions).await.as_deref(), Some("u43"), "{answers:?}");
        assert_eq!(browser.0.len(), 1, "the other is of no use any more: {browser:?}");
    }
    is_kept_until_a_login(old.received(&late), &sessions).await;
}

/// Through [`Session`]: whichever of them comes first, and whoever is logged in by them. Else one of them would be the browser's
/// session whenever its cookie came first.
pub(super) async fn a_login_and_a_logout_end_the_sessions_of_all_cookies_that_the_browser_sent(
    backend: &impl SessionBackend,
) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    for leaves in [false, true] {
        let mut several = Vec::new();
        for number in 0..6 {
            several.push(Browser::logged_in(&sessions, &format!("u{number}")).await);
        }
        let pairs: Vec<_> = several.iter().flat_map(|browser| &browser.0).collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let session = sessions.open(&HeaderMap::from_iter([(COOKIE, pairs.join("; ").parse().expect("a header"))]));
        if leaves {
            session.logout().await.expect("a logout");
        } else {
            session.login("u9").await.expect("a login");
        }
        session.commit().await.expect("a save");
        for browser in &mut several {
            assert_eq!(browser.clone().who(&sessions).await, None, "{leaves}: {browser:?}");
        }
        let next = Browser::default().received(&answer(&session)).who(&sessions).await;
        assert_eq!(next.as_deref(), (!leaves).then_some("u9"));
    }
}

/// Through [`Session`]: it was sent before the answer of a logout came, or its session was ended from elsewhere.
pub(super) async fn a_request_that_arrives_after_the_deletion_of_its_session_begins_another_beside_the_cookie(
    backend: &impl SessionBackend,
) {
    let sessions = Sessions::new(backend.service().await, SessionConfig::default());
    let old = Browser::logged_in(&sessions, "u42").await;
    let leaving = old.open(&sessions);
    let key = leaving.key().await.expect("an answer").expect("a session");
    leaving.logout().await.expect("a logout");
    backend.pass_time(backend.step() / 2).await;
    let found = backend.service().await.load(&key).await.expect("an answer");
    assert!(matches!(found, Loaded::Deleted { ago } if ago >= backend.step() / 4), "{found:?}");
    let late = kept_late(&old, &sessions).await;
    let mut browser = old.clone().received(&answer(&leaving));
    assert_eq!(browser, Browser::default());
    browser.log_in(&sessions, "u43").await;
    browser.receive(&late);
    assert_eq!(browser.who(&sessions).await.as_deref(), Some("u43"));
    let again = old.open(&sessions);
    again.logout().await.expect("nobody is logged in");
    assert_eq!(answer(&again).get(SET_COOKIE), None, "a second logout comes too late to remove a cookie");
    is_kept_until_a_login(old.received(&late), &sessions).await;
}

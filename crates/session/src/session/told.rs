//! What operators are told: logs and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;
use statehouse_core::conformance::{Recorder, Warnings};
use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, ManualClock, Result};

use super::watch::Watch;
use super::{Session, Sessions};
use crate::api::{SessionStore, SessionStoreExt as _};
use crate::config::{ConflictPolicy, OutagePolicy, SessionConfig, SessionConfigBuilder};
use crate::layer::error_response;
use crate::layered::LayeredSessionStore;
use crate::memory::{MemoryConfig, MemorySessionStore};
use crate::record::Authority;
use crate::token::Token;

/// Fails while it is told to.
#[derive(Clone, Debug, Default)]
struct Switch {
    refuses: Arc<AtomicBool>,
    loses_answers: Arc<AtomicBool>,
    /// How often in each three calls it refuses, from the first on.
    stumbles: Arc<AtomicU32>,
    calls: Arc<AtomicU32>,
}

impl Layer for Switch {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        let stumbles = self.calls.fetch_add(1, Ordering::Relaxed) % 3 < self.stumbles.load(Ordering::Relaxed);
        if stumbles || self.refuses.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "no connection"));
        }
        let answer = work.await;
        match self.loses_answers.swap(false, Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::OutcomeUnknown, "no answer in time")),
            false => answer,
        }
    }
}

struct Site {
    sessions: Sessions,
    store: Arc<MemorySessionStore>,
    clock: ManualClock,
    switch: Switch,
}

impl Site {
    fn new(configure: impl FnOnce(SessionConfigBuilder) -> SessionConfigBuilder) -> Self {
        let (clock, switch) = (ManualClock::default(), Switch::default());
        let store = Arc::new(MemorySessionStore::with_config(MemoryConfig::default().with_clock(clock.clone())));
        let inner: Arc<dyn SessionStore> = Arc::<MemorySessionStore>::clone(&store);
        let config = configure(SessionConfig::builder()).build().unwrap();
        let watch = Watch::with_clock(Arc::new(clock.clone()));
        let sessions = Sessions::watched(LayeredSessionStore::new(inner, switch.clone()), config, watch);
        Self { sessions, store, clock, switch }
    }

    fn open(&self, token: &Token) -> Session {
        let cookie = format!("__Host-id={}", token.expose().expose());
        self.sessions.open(&HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]))
    }

    /// The token of a new session with one attribute.
    async fn begin(&self) -> Token {
        let session = self.sessions.open(&HeaderMap::new());
        put(&session, "a").await.unwrap();
        session.state().held().unwrap().token.clone()
    }
}

async fn put(session: &Session, name: &str) -> Result<()> {
    session.insert(name, &"0123456789")?;
    session.commit().await
}

fn counted(recorder: &Recorder) -> Vec<(String, u64)> {
    let name = |name: String| name.strip_prefix("statehouse.session.").unwrap().to_owned();
    recorder.counts().into_iter().map(|(full, count)| (name(full), count)).collect()
}

fn expected(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn tokens_are_counted_by_what_they_open() {
    let recorder = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let site = Site::new(|config| config);
    let (own, ended) = (site.begin().await, site.begin().await);
    let _ = site.store.delete(&ended.key(), Authority::Application).await.unwrap();
    for token in [&own, &ended, &Token::generate().unwrap(), &own.with_new_verifier().unwrap()] {
        site.open(token).created().await.unwrap();
    }
    site.switch.refuses.store(true, Ordering::Relaxed);
    site.open(&own).created().await.unwrap_err();
    let bytes = 1 + 11;
    let expected = expected(&[
        ("created", 2),
        ("io direction=read", bytes),
        ("io direction=write", 2 * bytes),
        ("lookups result=ended", 1),
        ("lookups result=failed", 1),
        ("lookups result=found", 1),
        ("lookups result=replaced", 1),
        ("lookups result=unknown", 1),
    ]);
    assert_eq!(counted(&recorder), expected);
}

#[tokio::test]
async fn saves_that_meet_others_are_counted_and_those_that_are_sent_again() {
    for (policy, retried) in [(ConflictPolicy::Merge, 1), (ConflictPolicy::Fail, 0)] {
        let recorder = Recorder::default();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let site = Site::new(|config| config.on_conflict(policy));
        let token = site.begin().await;
        let [one, other] = [site.open(&token), site.open(&token)];
        for session in [&one, &other] {
            session.created().await.unwrap();
        }
        put(&one, "b").await.unwrap();
        let equal = site.open(&token);
        put(&equal, "b").await.unwrap();
        assert_eq!(put(&other, "c").await.is_ok(), retried == 1);
        let bytes = 12 + 24 + 36 * retried;
        let expected = expected(&[
            ("conflicts", 1),
            ("created", 1),
            ("io direction=read", 12 + 12 + 24),
            ("io direction=write", bytes),
            ("lookups result=found", 3),
            ("retries reason=conflict", retried),
        ]);
        let there: Vec<_> = expected.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted(&recorder), there, "{policy:?}");
    }
}

#[tokio::test]
async fn a_commit_that_is_repeated_because_its_answer_was_lost_is_counted_and_wrote_once() {
    let recorder = Recorder::default();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let site = Site::new(|config| config);
    let session = site.sessions.open(&HeaderMap::new());
    site.switch.loses_answers.store(true, Ordering::Relaxed);
    assert_eq!(put(&session, "a").await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    session.commit().await.unwrap();
    let expected = expected(&[("created", 1), ("io direction=write", 12), ("retries reason=outcome_unknown", 1)]);
    assert_eq!(counted(&recorder), expected);
    assert_eq!(site.store.len(), 1);
}

#[tokio::test]
async fn an_outage_is_a_line_when_it_begins_and_one_with_the_number_of_failures_when_it_is_over() {
    for policy in [OutagePolicy::FailClosed, OutagePolicy::Anonymous] {
        let site = Site::new(|config| config.on_outage(policy));
        let token = site.begin().await;
        let log = Warnings::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        for round in 1..=2 {
            // While a part of the store is away, others succeed in between: that is one outage.
            for _ in 0..50 {
                site.switch.refuses.store(true, Ordering::Relaxed);
                assert_eq!(site.open(&token).created().await.is_ok(), policy == OutagePolicy::Anonymous);
                site.switch.refuses.store(false, Ordering::Relaxed);
                site.clock.advance(Duration::from_secs(1));
                site.open(&token).created().await.unwrap();
            }
            assert_eq!(log.lines().len(), 2 * round - 1, "{policy:?}: {:#?}", log.lines());
            site.clock.advance(Duration::from_secs(5));
            site.open(&token).created().await.unwrap();
            let lines = log.lines();
            assert_eq!(lines.len(), 2 * round, "{policy:?}: {lines:#?}");
            let [.., began, ended] = &lines[..] else { panic!("{lines:?}") };
            assert!(began.starts_with("session.away") && began.contains("unavailable"), "{began}");
            assert!(ended.starts_with("session.back") && ended.contains("failed=50"), "{ended}");
        }
    }
}

/// Its beginning is said once, and how many there were at its end.
#[tokio::test]
async fn an_answer_in_an_outage_is_no_line_of_its_own() {
    let log = Warnings::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::PermissionDenied, ErrorKind::OutcomeUnknown] {
        assert_eq!(error_response(&Error::new(kind, "no connection")).status(), 503);
    }
    assert!(log.lines().is_empty(), "{:#?}", log.lines());
    assert_eq!(error_response(&Error::new(ErrorKind::Corrupt, "damaged")).status(), 500);
    assert!(log.lines()[0].starts_with("session.answer_failed"), "{:#?}", log.lines());
}

#[tokio::test]
async fn whoever_waits_for_the_end_of_a_session_hears_of_a_store_that_stays_away() {
    let site = Site::new(|config| config);
    let session = site.open(&site.begin().await);
    session.created().await.unwrap();
    let every = Duration::from_millis(5);
    let waits = tokio::spawn({
        let session = session.clone();
        async move { session.ended(every).await }
    });
    // Two failures and then an answer, again and again: it is known that the session is there.
    let calls = || site.switch.calls.load(Ordering::Relaxed);
    let before = calls();
    site.switch.stumbles.store(2, Ordering::Relaxed);
    while calls() < before + 10 && !waits.is_finished() {
        tokio::time::sleep(every).await;
    }
    assert!(!waits.is_finished());
    site.switch.refuses.store(true, Ordering::Relaxed);
    assert_eq!(waits.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
}

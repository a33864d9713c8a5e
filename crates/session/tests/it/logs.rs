//! What reaches the logs.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use statehouse_core::HealthStatus;
use statehouse_core::conformance::Warnings;
use statehouse_session::capability::UNEVICTED;
use statehouse_session::{MemorySessionStore, SessionConfig, SessionStore, Sessions, Token};
use statehouse_testkit::RedisServer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down every span and event with all fields.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Default for Log {
    fn default() -> Self {
        // With it there is another subscriber for good: without one, a test beside this one to which nobody listens could silence what
        // it comes to first.
        drop(Warnings::default());
        Self(Arc::default())
    }
}

impl Log {
    /// All that was written down.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = self.0.lock().unwrap();
        write!(text, "\nspan {}", span.metadata().name()).unwrap();
        span.record(&mut Line(&mut text));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = self.0.lock().unwrap();
        text.push_str("\nevent");
        event.record(&mut Line(&mut text));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn the_logs_tell_what_happened_and_contain_no_token_key_value_or_principal() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    let session = sessions.open(&HeaderMap::new());
    session.login("dr.adams").await.unwrap();
    session.insert("diagnosis", "influenza").unwrap();
    session.commit().await.unwrap();
    let mut response = HeaderMap::new();
    session.write_cookie(&mut response);
    let cookie = response[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let token = Token::parse(cookie.split_once('=').unwrap().1).unwrap();

    let stale = token.with_new_verifier().unwrap();
    let unknown = Token::generate().unwrap();
    for opened in [&stale, &unknown, &token] {
        let cookie = format!("__Host-id={}", opened.expose().expose());
        let session = sessions.open(&HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]));
        session.principal().await.unwrap();
        session.rotate().await.unwrap();
        session.insert("diagnosis", "measles").unwrap();
        session.commit().await.unwrap();
        assert_eq!(session.logout().await.is_ok(), *opened != stale);
    }
    let text = log.0.lock().unwrap().clone();
    for expected in ["\"session.load\"", "\"session.commit\"", "\"session.logout\"", "unknown session token"] {
        assert!(text.contains(expected), "{expected} is missing: {text}");
    }
    for token in [&token, &stale, &unknown] {
        let exposed = token.expose();
        for secret in [&exposed.expose()[..16], &exposed.expose()[32..48], &token.key().to_string()[..16]] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    for secret in ["dr.adams", "diagnosis", "influenza", "measles"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn a_redis_that_evicts_is_told_by_log_health_and_capabilities() {
    let server = RedisServer::builder().max_memory(64 << 20, "allkeys-lru").start().await;
    for (policy, evicts) in [("allkeys-lru", true), ("volatile-ttl", true), ("noeviction", false)] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]).await.unwrap();
        let log = Log::default();
        let guard = tracing::subscriber::set_default(log.clone());
        let store = crate::open_redis(&server.url(), &crate::random_namespace()).await;
        drop(guard);
        assert_eq!(log.0.lock().unwrap().contains("evicts sessions"), evicts, "{policy}");
        assert_eq!(store.capabilities().has(UNEVICTED), !evicts, "{policy}");
        let health = store.health().await;
        assert_eq!(health.status, if evicts { HealthStatus::Degraded } else { HealthStatus::Up }, "{policy}");
    }
}

#[tokio::test]
async fn a_redis_that_does_not_tell_whether_it_evicts_promises_nothing() {
    let server = RedisServer::builder().acl_user("app", "pw", "~* +@all -info -config").start().await;
    let store = crate::open_redis(&server.url(), &crate::random_namespace()).await;
    assert!(!store.capabilities().has(UNEVICTED));
    assert!(store.health().await.is_up(), "what it does not tell is not held against it");
}

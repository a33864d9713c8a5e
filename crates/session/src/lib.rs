//! Web sessions with one contract in memory, on disk and in Redis.
//!
//! ```
//! use http::HeaderMap;
//! use statehouse_session::{MemorySessionStore, Sessions, SessionConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
//!
//! // A request without a cookie logs in …
//! let session = sessions.open(&HeaderMap::new());
//! session.login("u42").await?;
//! session.insert("theme", "dark")?;
//! session.commit().await?;
//! let mut response = HeaderMap::new();
//! session.write_cookie(&mut response);
//!
//! // … and the next one brings the cookie.
//! let cookie = response["set-cookie"].to_str()?.split(';').next().unwrap_or_default();
//! let request = HeaderMap::from_iter([(http::header::COOKIE, cookie.parse()?)]);
//! let session = sessions.open(&request);
//! assert_eq!(session.principal().await?.unwrap().as_str(), "u42");
//! assert_eq!(session.get::<String>("theme").await?.as_deref(), Some("dark"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    feature = "axum",
    doc = r#"
With axum, [`SessionLayer`] opens and commits, and [`Session`] is an extractor:

```
use axum::{Router, routing::post};
use statehouse_session::{MemorySessionStore, Session, SessionError, SessionLayer};

async fn login(session: Session) -> Result<&'static str, SessionError> {
    session.login("u42").await?; // once the password is right
    Ok("welcome")
}

let app: Router = Router::new().route("/login", post(login)).layer(SessionLayer::new(MemorySessionStore::new()));
```
"#
)]
//!
//! Browsers accept the default cookie over HTTPS only. For development on `http://localhost` configure
//! [`CookieConfig::insecure_localhost`]. What protects a login form, where there is no session yet, is shown at
//! [`Session::login`].
//!
//! # Concepts
//! - A **session** is a set of named attributes, who is logged in, and two timeouts: idle and absolute. It is loaded when
//!   first used and committed before the response head is sent.
//! - The **token** in the cookie has two halves. The *selector* finds the session, the *verifier* proves the right to it.
//!   The store sees only hashes of both. A **rotation** replaces the verifier and leaves the session where it is; a
//!   **login** always rotates.
//! - A **delta** is what one request changed. It is saved on the version that the request loaded; if another request was
//!   faster, it is applied to what that one left. So parallel requests keep each other's changes.
//! - A **principal** is whoever logs in. Their sessions are [listed](Session::list), [ended](Session::revoke_others) together, also
//!   against logins under way, and [limited](SessionConfigBuilder::limit) in number.
//! - Whoever wants to stay logged in is [remembered](Session::login_with): their session has timeouts of its own, and so may an
//!   [attribute](Session::insert_for) have.
//!
//! # What it is not
//! It does not check passwords and does not decide who may do what. It keeps no data in the cookie. An attribute is read
//! and written as a whole: two requests that insert the same attribute at the same time leave one of the two values.
//! [`Session::update`] is for an attribute whose next value depends on the one before.
//!
//! # Backends and capabilities
//! | | survives a restart | shared by replicas | expired sessions are freed | writes under a lock | principals |
//! | --- | --- | --- | --- | --- | --- |
//! | [`MemorySessionStore`] | no | no | as others are written | yes | yes |
//! | [`LocalSessionStore`] | yes | no: one process for a folder | as others are written | yes | yes |
//! | `RedisSessionStore` | as the server | yes | by the server | yes, but for a Cluster | yes |
//!
//! # Features
//! | feature | adds | cost |
//! | --- | --- | --- |
//! | `axum` | the extractors [`Session`], [`Principal`] and `Fresh`, and errors that are answers; the path before `Router::nest` for [`CsrfLayer`] and [`RequireLoginLayer`] | `axum` without its default features |
//! | `redis` | `RedisSessionStore`, for Redis 6.2 or newer and Valkey, single, Sentinel and Cluster | `statehouse-redis`: `redis`, `deadpool-redis` |
//! | `redis-tls` | `rediss:` URLs | `rustls` with `ring` |
//! | `sealed` | `SealedSessionStore`: attributes and principals that the store cannot read | `aes-gcm-siv`, `hmac` |
//! | `tower-sessions` | `TowerSessionStore`: the sessions of tower-sessions 0.14, and so of axum-login 0.18, in any of these stores | `tower-sessions-core` |
//! | `conformance` | the suite for testing a backend of your own | no further crates |
//!
//! None is on by default.
//!
//! # Errors
//! A store that cannot be reached is never taken for an absent session: by default the layer answers 503 with `Retry-After`
//! and touches no cookie ([`OutagePolicy`]). A stored session that cannot be read is discarded with a warning or fails, by
//! policy ([`UnreadablePolicy`]). An attribute that another build has stored and that cannot be read as the type that is
//! asked for is absent and reported once, an error, or migrated, as configured.
//!
//! # Consistency and durability
//! [`SessionStore`] states the contract that every backend keeps.
//!
//! # Logs and metrics
//! An outage of the store is one line of level `WARN` when it begins and one, with the number of failures, when nothing has
//! failed for five seconds: `session.away` and `session.back`. Tokens that open nothing are told once a minute at most, with
//! their number: `session.unknown_token`, `session.refused_token`, and so are requests without the token of their session's forms:
//! `session.csrf_refused`. A request that a handler or a layer answers with 500 because of its session is one of level `WARN`,
//! `session.answer_failed`, and one that asks for a session where no [`SessionLayer`] is around of level `ERROR`: `session.no_layer`. A login whose request brings more cookies of the session's name
//! than are looked at, 64, is one of level `WARN`: `session.cookies_left`. Tokens, keys, principals and values are in no line.
//!
//! With the feature `metrics` of statehouse-core there are, besides the duration of each operation of a store on disk or in Redis:
//!
//! | counter | by | counts |
//! | --- | --- | --- |
//! | `statehouse.session.lookups` | `result`: `found`, `unknown` (nothing is stored: the session is over, or the token is guessed), `ended` (it was deleted a moment ago), `replaced` (the session has another token), `unreadable` or `failed` (the store did not answer) | tokens that were looked up |
//! | `statehouse.session.created` | | sessions that were begun |
//! | `statehouse.session.csrf_refused` | | requests that [`CsrfLayer`] refused |
//! | `statehouse.session.conflicts` | | saves that found the session changed by another request |
//! | `statehouse.session.retries` | `reason`: `conflict`, or `outcome_unknown` (a commit of which it was not known whether it was made) | saves that were sent once more |
//! | `statehouse.session.io` | `direction`: `read` (of the sessions that tokens opened) or `write` (of those that were stored) | bytes of attributes |
//!
//! # Testing your own backend
//! Implement [`SessionStore`]. With the feature `conformance` the macro `session_conformance!` makes one test for each behavior
//! of the contract; a backend passes how to make an empty store, and how its time passes.

mod api;
mod bounds;
pub mod capability;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod connect;
mod cookie;
mod counters;
mod event;
mod lasting;
mod layer;
mod layered;
#[cfg(unix)]
mod local;
mod memory;
mod operation;
mod options;
mod outcome;
mod principals;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod schema;
#[cfg(feature = "sealed")]
mod sealed;
mod session;
mod token;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;

pub use self::api::{Answer, SessionStore, SessionStoreExt};
pub use self::config::{
    ConflictPolicy, LoginPolicy, OutagePolicy, ServerErrorPolicy, SessionConfig, SessionConfigBuilder, UnreadablePolicy,
};
pub use self::connect::{check, open};
pub use self::cookie::{CookieBuilder, CookieConfig, SameSite, Secure};
pub use self::event::{SessionEvent, SessionEventKind};
pub use self::layer::{
    CsrfBody, CsrfLayer, CsrfRefused, CsrfService, MissingSessionLayer, RequireLoginLayer, RequireLoginService,
    SessionBody, SessionLayer, SessionOf, SessionService, error_response,
};
#[cfg(feature = "axum")]
pub use self::layer::{Fresh, PrincipalRejection, SessionError};
pub use self::layered::LayeredSessionStore;
#[cfg(unix)]
pub use self::local::{LocalConfig, LocalSessionStore};
pub use self::memory::{MemoryConfig, MemorySessionStore};
pub use self::options::{
    CreateOptions, DeleteOptions, EpochOptions, ListOptions, LoadOptions, LoginOptions, RevokeOptions, SaveOptions,
    TouchOptions,
};
pub use self::outcome::{Deleted, Loaded, REMEMBERED, Saved, Touched};
pub use self::record::{
    Attribute, AttributeName, Attributes, AttributesIter, Authority, Beyond, Delta, Limit, NewSession, Persistence,
    Principal, Record, Revoke, Rotate, Rotation, SaveId, Snapshot, Timeouts,
};
#[cfg(feature = "redis")]
pub use self::redis::RedisSessionStore;
#[cfg(feature = "sealed")]
pub use self::sealed::SealedSessionStore;
pub use self::session::{Flash, ListedSession, Session, Sessions};
pub use self::token::{SessionKey, Token, VerifierHash};
#[cfg(feature = "tower-sessions")]
pub use self::tower_sessions::TowerSessionStore;

//! Handlers that stop waiting: what they began is done once, and its cookie reaches the browser.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use statehouse_core::conformance::rounds;
use statehouse_core::{Capabilities, Health, Result};
use statehouse_session::{
    Authority, Deleted, Delta, Loaded, MemorySessionStore, NewSession, Rotation, Saved, Session, SessionKey,
    SessionLayer, SessionStore, Snapshot, Touched,
};
use statehouse_session::{CreateOptions, DeleteOptions, LoadOptions, SaveOptions, TouchOptions};
use statehouse_testkit::{Direction, FaultProxy, RedisServer};

use crate::http::{Answer, App, routes, set_cookie, text};

/// A store whose answers come late.
#[derive(Debug)]
struct Slow(Arc<MemorySessionStore>);

impl Slow {
    /// A turn of the runtime before the operation and one after it, so that a caller may be dropped at either.
    async fn pause() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[async_trait]
impl SessionStore for Slow {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        Self::pause().await;
        let answer = self.0.create_with(key, new, options).await;
        Self::pause().await;
        answer
    }

    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
        self.0.load_with(key, options).await
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        Self::pause().await;
        let answer = self.0.save_with(base, authority, delta, options).await;
        Self::pause().await;
        answer
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        Self::pause().await;
        let answer = self.0.rotate_with(base, authority, rotation, delta, options).await;
        Self::pause().await;
        answer
    }

    async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched> {
        self.0.touch_with(key, options).await
    }

    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
        Self::pause().await;
        let answer = self.0.delete_with(key, authority, options).await;
        Self::pause().await;
        answer
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}

/// Commits, and stops waiting before or after the operation, or hardly at all.
async fn give_up(session: &Session, wait: Duration) {
    drop(tokio::time::timeout(wait, session.commit()).await);
}

fn impatient(wait: Duration) -> Router {
    let login = async move |session: Session| -> Answer<()> {
        session.login("u42").await?;
        session.insert("theme", "dark")?;
        give_up(&session, wait).await;
        Ok(())
    };
    let push = async move |session: Session| -> Answer<String> {
        for _ in 0..3 {
            session.update("list", |list: Option<Vec<u32>>| [list.unwrap_or_default(), vec![7]].concat()).await?;
            give_up(&session, wait).await;
        }
        // What is on its way is seen by this request.
        Ok(session.get::<Vec<u32>>("list").await?.unwrap_or_default().len().to_string())
    };
    let logout = async move |session: Session| -> Answer<()> {
        drop(tokio::time::timeout(wait, session.logout()).await);
        Ok(())
    };
    let list = async |session: Session| -> Answer<String> {
        Ok(session.get::<Vec<u32>>("list").await?.unwrap_or_default().len().to_string())
    };
    routes()
        .route("/impatient-login", post(login))
        .route("/push", post(push))
        .route("/impatient-logout", post(logout))
        .route("/list", post(list))
}

async fn check(app: &App, case: &str) {
    let planted = app.post("/put/cart/full", "").await.unwrap();
    for before in ["", planted.as_str()] {
        let login = app.send("POST", "/impatient-login", &[before]).await;
        assert_eq!(login.status(), StatusCode::OK, "{case}");
        let cookie = set_cookie(&login).unwrap_or_else(|| panic!("{case}: the login has no cookie"));
        assert_eq!(app.get("/who", &cookie).await.0, "u42", "{case}");
        assert_eq!(app.get("/read/theme", &cookie).await.0, "dark", "{case}");
        for round in 1..3 {
            let seen = text(app.send("POST", "/push", &[&cookie]).await).await;
            assert_eq!(seen, (3 * round).to_string(), "{case}");
            let list = text(app.send("POST", "/list", &[&cookie]).await).await;
            assert_eq!(list, (3 * round).to_string(), "{case}: each push once");
        }
        let logout = app.send("POST", "/impatient-logout", &[&cookie]).await;
        assert_eq!(set_cookie(&logout).as_deref(), Some("__Host-id="), "{case}");
        assert_eq!(app.get("/who", &cookie).await.0, "nobody", "{case}");
    }
}

#[tokio::test]
async fn what_a_handler_stops_waiting_for_is_done_once_and_its_cookie_is_sent() {
    for round in 0..rounds(5, 200) {
        for millis in [0, 1, 3, 5] {
            let store = Arc::new(MemorySessionStore::new());
            let layer = SessionLayer::new(Slow(Arc::clone(&store)));
            let app = App::around(impatient(Duration::from_millis(millis)).layer(layer), store);
            check(&app, &format!("round {round}, {millis} ms")).await;
        }
    }
}

#[tokio::test]
async fn a_timeout_around_a_commit_on_a_slow_redis_loses_no_login() {
    let server = RedisServer::shared().await;
    let proxy = FaultProxy::start(server.address());
    let store = crate::open_redis(&proxy.url(&server.url()), &crate::random_namespace()).await;
    let layer = SessionLayer::new(store);
    let app = App::around(impatient(Duration::from_millis(40)).layer(layer), Arc::default());
    for direction in [Direction::ToClient, Direction::ToServer] {
        proxy.delay(direction, Duration::from_millis(80));
        check(&app, &format!("{direction:?}")).await;
        proxy.heal();
    }
}

/// Nobody goes on with what was dropped, so the next commit repeats it.
#[test]
fn without_a_runtime_a_dropped_commit_is_repeated_by_the_next() {
    use std::task::{Context, Poll, Waker};

    /// Is not ready the first time.
    #[derive(Debug, Default)]
    struct Late(MemorySessionStore, std::sync::atomic::AtomicBool);

    #[async_trait]
    impl SessionStore for Late {
        async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
            if !self.1.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.0.create_with(key, new, options).await
        }
        async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
            self.0.load_with(key, options).await
        }
        async fn save_with(
            &self,
            base: &Snapshot,
            authority: Authority,
            delta: &Delta,
            options: SaveOptions,
        ) -> Result<Saved> {
            self.0.save_with(base, authority, delta, options).await
        }
        async fn rotate_with(
            &self,
            base: &Snapshot,
            authority: Authority,
            rotation: &Rotation,
            delta: &Delta,
            options: SaveOptions,
        ) -> Result<Saved> {
            self.0.rotate_with(base, authority, rotation, delta, options).await
        }
        async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched> {
            self.0.touch_with(key, options).await
        }
        async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
            self.0.delete_with(key, authority, options).await
        }
        async fn health(&self) -> Health {
            self.0.health().await
        }
        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }
    }

    let sessions = statehouse_session::Sessions::new(Late::default(), Default::default());
    let session = sessions.open(&Default::default());
    let mut context = Context::from_waker(Waker::noop());
    session.insert("theme", "dark").unwrap();
    let mut dropped = Box::pin(session.commit());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    session.insert("own", "1").unwrap();
    let mut commit = Box::pin(session.commit());
    assert!(matches!(commit.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
    for (name, value) in [("theme", "dark"), ("own", "1")] {
        let mut get = Box::pin(session.get::<String>(name));
        let Poll::Ready(Ok(Some(read))) = get.as_mut().poll(&mut context) else { panic!("{name} is lost") };
        assert_eq!(read, value);
    }
}

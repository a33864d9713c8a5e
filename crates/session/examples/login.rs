//! A visitor logs in, works in two tabs and logs out: `cargo run -p statehouse-session --features axum --example login`.
//!
//! The requests are made without a socket, so that what the cookies do can be printed.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::http::Request;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::routing::get;
use statehouse_session::{CookieConfig, MemorySessionStore, Session, SessionConfig, SessionError, SessionLayer};
use tower::ServiceExt;

/// A store that is away is 503 with `Retry-After`.
type Answer = Result<String, SessionError>;

async fn remember(session: Session, Path((name, value)): Path<(String, String)>) -> Answer {
    session.insert(&name, &value)?;
    Ok(format!("{name} is {value}"))
}

async fn show(session: Session) -> Answer {
    let user = session.principal().await?.map_or("nobody".to_owned(), |user| user.as_str().to_owned());
    let ward = session.get::<String>("ward").await?;
    let theme = session.get::<String>("theme").await?;
    Ok(format!("{user}, ward {ward:?}, theme {theme:?}"))
}

async fn login(session: Session) -> Answer {
    session.login("u42").await?;
    Ok("welcome".to_owned())
}

async fn logout(session: Session) -> Answer {
    session.logout().await?;
    Ok("goodbye".to_owned())
}

/// A browser: it sends the cookie that it was given last.
struct Browser {
    app: Router,
    cookie: String,
}

impl Browser {
    async fn visit(&mut self, path: &str) -> Result<(), Box<dyn std::error::Error>> {
        let request = Request::get(path).header(COOKIE, &self.cookie).body(Body::empty())?;
        let response = self.app.clone().oneshot(request).await?;
        if let Some(cookie) = response.headers().get(SET_COOKIE) {
            cookie.to_str()?.split(';').next().unwrap_or_default().clone_into(&mut self.cookie);
        }
        let body = to_bytes(response.into_body(), 4096).await?;
        println!("{path:18} {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `CookieConfig::default()` is for https; `RedisSessionStore` in place of the memory makes sessions shared.
    let config = SessionConfig::builder().cookie(CookieConfig::insecure_localhost()).build()?;
    let app = Router::new()
        .route("/", get(show))
        .route("/set/{name}/{value}", get(remember))
        .route("/login", get(login))
        .route("/logout", get(logout))
        .layer(SessionLayer::with_config(MemorySessionStore::new(), config));

    let mut browser = Browser { app: app.clone(), cookie: String::new() };
    browser.visit("/set/ward/7").await?;
    let stolen = browser.cookie.clone();
    browser.visit("/login").await?;
    browser.visit("/").await?;

    // The login has made a new token: the cookie from before it is worth nothing.
    Browser { app: app.clone(), cookie: stolen }.visit("/").await?;

    // Two tabs write at the same time, and neither loses what the other wrote.
    let mut other = Browser { app: app.clone(), cookie: browser.cookie.clone() };
    tokio::try_join!(browser.visit("/set/theme/dark"), other.visit("/set/ward/8"))?;
    browser.visit("/").await?;

    // A logout holds for every copy of the cookie.
    browser.visit("/logout").await?;
    other.visit("/").await
}

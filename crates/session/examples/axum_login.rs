//! axum-login on a store of ours: `cargo run -p statehouse-session --features axum,tower-sessions --example axum_login`.
//!
//! What an application of axum-login has stays as it is, but for the line that makes the store. Then its users have
//! sessions that can be listed and ended, which is shown with the last requests.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, UserId};
use statehouse_session::{MemorySessionStore, Principal, SessionConfig, Sessions, TowerSessionStore};
use tower::ServiceExt;
use tower_sessions::SessionManagerLayer;

#[derive(Clone, Debug)]
struct User {
    id: i64,
    password_hash: Vec<u8>,
}

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        &self.password_hash
    }
}

/// Everybody may log in who says a number. An application asks its database, and for a password.
#[derive(Clone, Debug)]
struct Everybody;

impl AuthnBackend for Everybody {
    type User = User;
    type Credentials = i64;
    type Error = Infallible;

    async fn authenticate(&self, id: i64) -> Result<Option<User>, Infallible> {
        self.get_user(&id).await
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(Some(User { id: *id, password_hash: b"hash".to_vec() }))
    }
}

async fn login(mut auth: AuthSession<Everybody>, Path(id): Path<i64>) -> Result<&'static str, StatusCode> {
    let failed = |_| StatusCode::SERVICE_UNAVAILABLE;
    let user = auth.authenticate(id).await.map_err(failed)?.ok_or(StatusCode::UNAUTHORIZED)?;
    auth.login(&user).await.map_err(failed)?;
    Ok("welcome")
}

async fn who(auth: AuthSession<Everybody>) -> String {
    auth.user.map_or("nobody".to_owned(), |user| user.id.to_string())
}

async fn visit(app: &Router, path: &str, cookie: &mut String) -> Result<String, Box<dyn std::error::Error>> {
    let request = Request::get(path).header(COOKIE, cookie.as_str()).body(Body::empty())?;
    let response = app.clone().oneshot(request).await?;
    if let Some(set) = response.headers().get(SET_COOKIE) {
        set.to_str()?.split(';').next().unwrap_or_default().clone_into(cookie);
    }
    let body = String::from_utf8(to_bytes(response.into_body(), 4096).await?.to_vec())?;
    println!("{path:10} {body}");
    Ok(body)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `RedisSessionStore` in place of the memory is for several replicas.
    let store = Arc::new(MemorySessionStore::new());
    let sessions = TowerSessionStore::new(Arc::clone(&store))
        .with_principals(|data| Some(data.get("axum-login.data")?.get("user_id")?.as_i64()?.to_string()));
    let auth = AuthManagerLayerBuilder::new(Everybody, SessionManagerLayer::new(sessions)).build();
    let app = Router::new().route("/login/{id}", get(login)).route("/", get(who)).layer(auth);

    let mut browsers = [String::new(), String::new()];
    for cookie in &mut browsers {
        visit(&app, "/login/42", cookie).await?;
        assert_eq!(visit(&app, "/", cookie).await?, "42");
    }

    // Log out everywhere, for example when the password was changed.
    let all = Sessions::new(store, SessionConfig::default());
    let user = Principal::new(42)?;
    println!("42 has {} sessions", all.list(&user).await?.len());
    all.revoke_all(&user).await?;
    for cookie in &mut browsers {
        assert_eq!(visit(&app, "/", cookie).await?, "nobody");
    }
    Ok(())
}

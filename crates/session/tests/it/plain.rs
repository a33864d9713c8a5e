//! A store of somebody else's that has only what every store must have.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::routing::get;
use statehouse_core::{Capabilities, ErrorKind, Health, Result};
use statehouse_session::{
    Authority, CreateOptions, DeleteOptions, Deleted, Delta, LoadOptions, Loaded, MemorySessionStore, NewSession,
    Rotation, SaveOptions, Saved, Session, SessionKey, SessionLayer, SessionStore, Snapshot, TouchOptions, Touched,
};

use crate::http::{Answer, App, routes};

#[derive(Debug, Default)]
struct Plain(MemorySessionStore);

#[async_trait]
impl SessionStore for Plain {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        self.0.create_with(key, new, options).await
    }

    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
        self.0.load_with(key, options).await
    }

    async fn save_with(&self, base: &Snapshot, by: Authority, delta: &Delta, options: SaveOptions) -> Result<Saved> {
        self.0.save_with(base, by, delta, options).await
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        by: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        self.0.rotate_with(base, by, rotation, delta, options).await
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
        Capabilities::from_iter([])
    }
}

#[tokio::test]
async fn what_a_store_cannot_do_is_no_outage() {
    let devices = async |session: Session| -> Answer<String> {
        match session.list().await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok("this store does not say".into()),
            listed => Ok(listed?.len().to_string()),
        }
    };
    let router = routes().route("/devices", get(devices)).layer(SessionLayer::new(Plain::default()));
    let app = App::around(router, Arc::default());
    let cookie = app.post("/login/u42", "").await.unwrap();
    let response = app.send("GET", "/devices", &[&cookie]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(crate::http::text(response).await, "this store does not say");
}

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::api::SessionStore;

/// A store under test and its time.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// The store. Nobody else uses its sessions. All clones are dropped before [`reopen`](Self::reopen).
    fn store(&self) -> Arc<dyn SessionStore>;

    /// Closes the store and opens it again. Only called for backends with the capability
    /// [`DURABLE`](crate::capability::DURABLE).
    async fn reopen(&mut self);

    /// Lets time pass for the store.
    async fn pass(&self, time: Duration);

    /// Another store, which keeps no more sessions than so many, or no more of those that nobody is logged in to.
    async fn bounded(&self, sessions: usize) -> Arc<dyn SessionStore>;

    /// The step in which the cases let time pass: as short as the backend can tell apart without being late.
    fn step(&self) -> Duration;
}

use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result};

use crate::operation::NAME;
use crate::{
    Authority, CreateOptions, DeleteOptions, Deleted, Delta, EpochOptions, ListOptions, LoadOptions, Loaded,
    NewSession, Principal, Revoke, RevokeOptions, Rotation, SaveOptions, Saved, SessionKey, SessionStore, Snapshot,
    TouchOptions, Touched,
};

/// A [`SessionStore`] with a [`Layer`] around each of its calls. Capabilities and health are those of the store in it.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_core::ErrorKind;
/// use statehouse_core::layer::Faults;
/// use statehouse_session::{LayeredSessionStore, MemorySessionStore, SessionKey, SessionStoreExt, Token};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let store = Arc::new(MemorySessionStore::new());
/// let faulty = LayeredSessionStore::new(store, Faults::seeded(1).with_refused_calls(1.0));
/// let refused = faulty.load(&Token::generate()?.key()).await.unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Unavailable);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LayeredSessionStore<L> {
    inner: Arc<dyn SessionStore>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredSessionStore<L> {
    /// Puts the layer around a store.
    #[must_use]
    pub fn new(inner: Arc<dyn SessionStore>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> SessionStore for LayeredSessionStore<L> {
    async fn create_with(&self, key: &SessionKey, new: &NewSession, options: CreateOptions) -> Result<Snapshot> {
        self.layer.around(NAME.create, self.inner.create_with(key, new, options)).await
    }

    async fn load_with(&self, key: &SessionKey, options: LoadOptions) -> Result<Loaded> {
        self.layer.around(NAME.load, self.inner.load_with(key, options)).await
    }

    async fn load_entering_with(
        &self,
        key: &SessionKey,
        who: &Principal,
        options: LoadOptions,
    ) -> Result<(Loaded, u64)> {
        self.layer.around(NAME.load, self.inner.load_entering_with(key, who, options)).await
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        self.layer.around(NAME.save, self.inner.save_with(base, authority, delta, options)).await
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: SaveOptions,
    ) -> Result<Saved> {
        self.layer.around(NAME.rotate, self.inner.rotate_with(base, authority, rotation, delta, options)).await
    }

    async fn touch_with(&self, key: &SessionKey, options: TouchOptions) -> Result<Touched> {
        self.layer.around(NAME.touch, self.inner.touch_with(key, options)).await
    }

    async fn delete_with(&self, key: &SessionKey, authority: Authority, options: DeleteOptions) -> Result<Deleted> {
        self.layer.around(NAME.delete, self.inner.delete_with(key, authority, options)).await
    }

    async fn epoch_with(&self, principal: &Principal, options: EpochOptions) -> Result<u64> {
        self.layer.around(NAME.epoch, self.inner.epoch_with(principal, options)).await
    }

    async fn list_with(&self, principal: &Principal, options: ListOptions) -> Result<Vec<Snapshot>> {
        self.layer.around(NAME.list, self.inner.list_with(principal, options)).await
    }

    async fn revoke_with(&self, which: Revoke<'_>, options: RevokeOptions) -> Result<()> {
        self.layer.around(NAME.revoke, self.inner.revoke_with(which, options)).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.layer.around(NAME.raise, self.inner.raise_with(fence, options)).await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

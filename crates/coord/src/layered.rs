use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result, Timestamp, Version};

use crate::operation::NAME;
use crate::{
    BeatOptions, Beaten, Beats, BeatsOptions, CoordKey, CoordStore, GetOptions, NowOptions, Page, PutOptions,
    PutOutcome, Record, RemoveOptions, RemoveOutcome, ScanOptions, WaitOptions,
};

/// A [`CoordStore`] with a [`Layer`] around each of its calls but `wait`, which cannot fail. Capabilities and health are those
/// of the store in it.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{CoordKey, CoordStoreExt, LayeredCoordStore, MemoryCoordStore};
/// use statehouse_core::ErrorKind;
/// use statehouse_core::layer::Faults;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let store = Arc::new(MemoryCoordStore::new());
/// let faulty = LayeredCoordStore::new(store, Faults::seeded(1).with_refused_calls(1.0));
/// let refused = faulty.get(&CoordKey::new("a")?).await.unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Unavailable);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LayeredCoordStore<L> {
    inner: Arc<dyn CoordStore>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredCoordStore<L> {
    /// Puts the layer around a store.
    #[must_use]
    pub fn new(inner: Arc<dyn CoordStore>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> CoordStore for LayeredCoordStore<L> {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        self.layer.around(NAME.get, self.inner.get_with(key, options)).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        self.layer.around(NAME.put, self.inner.put_with(key, value, options)).await
    }

    async fn remove_with(&self, key: &CoordKey, version: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.layer.around(NAME.remove, self.inner.remove_with(key, version, options)).await
    }

    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        self.layer.around(NAME.scan, self.inner.scan_with(options)).await
    }

    async fn now_with(&self, options: NowOptions) -> Result<Timestamp> {
        self.layer.around(NAME.now, self.inner.now_with(options)).await
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        self.inner.wait_with(key, seen, options).await;
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.layer.around(NAME.raise, self.inner.raise_with(fence, options)).await
    }

    async fn beat_with(&self, key: &CoordKey, version: Version, options: BeatOptions) -> Result<Beaten> {
        self.layer.around(NAME.beat, self.inner.beat_with(key, version, options)).await
    }

    async fn beats_with(&self, group: &CoordKey, options: BeatsOptions) -> Result<Beats> {
        self.layer.around(NAME.beats, self.inner.beats_with(group, options)).await
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

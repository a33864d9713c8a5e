use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result};

use crate::operation::NAME;
use crate::{
    Cache, CacheKey, ClearOptions, Entry, GetOptions, RemoveOptions, RemoveOutcome, Reservation, ReserveOptions,
    SetOptions, SetOutcome, TouchOptions, TouchOutcome,
};

/// A [`Cache`] with a [`Layer`] around each of its calls. Capabilities and health are those of the store in it.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use statehouse_cache::{Caches, LayeredCache, MemoryCache, MemoryConfig};
/// use statehouse_core::ErrorKind;
/// use statehouse_core::layer::Faults;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// // A cache that cannot be reached: a load still gives its value.
/// let caches = Caches::backend(|_, _| {
///     let memory = Arc::new(MemoryCache::new(MemoryConfig::default()));
///     Ok(Arc::new(LayeredCache::new(memory, Faults::seeded(1).with_refused_calls(1.0))))
/// });
/// let rates = caches.cache::<f64>("rates").time_to_live(Duration::from_secs(60)).open()?;
/// assert_eq!(rates.get("EUR/USD").await.unwrap_err().kind(), ErrorKind::Unavailable);
/// assert_eq!(*rates.get_or_load("EUR/USD", || async { Ok::<_, std::io::Error>(1.08) }).await?, 1.08);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LayeredCache<L> {
    inner: Arc<dyn Cache>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredCache<L> {
    /// Puts the layer around a store.
    #[must_use]
    pub fn new(inner: Arc<dyn Cache>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> Cache for LayeredCache<L> {
    async fn get_with(&self, key: &CacheKey, options: GetOptions) -> Result<Option<Entry>> {
        self.layer.around(NAME.get, self.inner.get_with(key, options)).await
    }

    async fn get_many_with(&self, keys: &[CacheKey], options: GetOptions) -> Result<Vec<Option<Entry>>> {
        self.layer.around(NAME.get_many, self.inner.get_many_with(keys, options)).await
    }

    async fn set_with(&self, key: &CacheKey, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.layer.around(NAME.set, self.inner.set_with(key, value, options)).await
    }

    async fn remove_with(&self, key: &CacheKey, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.layer.around(NAME.remove, self.inner.remove_with(key, options)).await
    }

    async fn touch_with(&self, key: &CacheKey, options: TouchOptions) -> Result<TouchOutcome> {
        self.layer.around(NAME.touch, self.inner.touch_with(key, options)).await
    }

    async fn reserve_with(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        self.layer.around(NAME.reserve, self.inner.reserve_with(key, options)).await
    }

    async fn clear_with(&self, options: ClearOptions) -> Result<()> {
        self.layer.around(NAME.clear, self.inner.clear_with(options)).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.layer.around(NAME.raise, self.inner.raise_with(fence, options)).await
    }

    fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        self.inner.server_of(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

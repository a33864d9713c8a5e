use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Health, Result};

use super::api::Signals;
use super::hub::Subscriber;
use super::operation::NAME;
use super::options::{
    AcquireOptions, AddOptions, CountOptions, PublishOptions, ReleaseOptions, RenewOptions, ResetOptions, TakeOptions,
};
use super::outcome::{Acquired, Count, PermitId, Renewed, Taken};
use super::rate::Rate;
use crate::key::CoordKey;

/// [`Signals`] with a [`Layer`] around each call that asks the backend. Capabilities, health and what a subscriber hears are
/// those of the signals in it.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_coord::{CoordKey, LayeredSignals, MemorySignals, SignalsExt};
/// use statehouse_core::ErrorKind;
/// use statehouse_core::layer::Faults;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let faulty = LayeredSignals::new(Arc::new(MemorySignals::new()), Faults::seeded(1).with_refused_calls(1.0));
/// let refused = faulty.add(&CoordKey::new("a")?, 1).await.unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Unavailable);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LayeredSignals<L> {
    inner: Arc<dyn Signals>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredSignals<L> {
    /// Puts the layer around signals.
    #[must_use]
    pub fn new(inner: Arc<dyn Signals>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> Signals for LayeredSignals<L> {
    async fn add_with(&self, key: &CoordKey, more: i64, options: AddOptions) -> Result<Count> {
        self.layer.around(NAME.add, self.inner.add_with(key, more, options)).await
    }

    async fn count_with(&self, key: &CoordKey, options: CountOptions) -> Result<Option<Count>> {
        self.layer.around(NAME.count, self.inner.count_with(key, options)).await
    }

    async fn reset_with(&self, key: &CoordKey, options: ResetOptions) -> Result<()> {
        self.layer.around(NAME.reset, self.inner.reset_with(key, options)).await
    }

    async fn take_with(&self, key: &CoordKey, rate: Rate, options: TakeOptions) -> Result<Taken> {
        self.layer.around(NAME.take, self.inner.take_with(key, rate, options)).await
    }

    async fn acquire_with(&self, key: &CoordKey, id: PermitId, options: AcquireOptions) -> Result<Acquired> {
        self.layer.around(NAME.acquire, self.inner.acquire_with(key, id, options)).await
    }

    async fn renew_with(&self, key: &CoordKey, id: PermitId, options: RenewOptions) -> Result<Renewed> {
        self.layer.around(NAME.renew, self.inner.renew_with(key, id, options)).await
    }

    async fn release_with(&self, key: &CoordKey, id: PermitId, options: ReleaseOptions) -> Result<()> {
        self.layer.around(NAME.release, self.inner.release_with(key, id, options)).await
    }

    async fn publish_with(&self, channel: &CoordKey, message: Bytes, options: PublishOptions) -> Result<()> {
        self.layer.around(NAME.publish, self.inner.publish_with(channel, message, options)).await
    }

    fn subscribe(&self, channels: &[CoordKey]) -> Result<Subscriber> {
        self.inner.subscribe(channels)
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

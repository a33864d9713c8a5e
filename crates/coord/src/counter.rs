use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Result;

use crate::key::CoordKey;
use crate::signals::{AddOptions, Count, Signals, SignalsExt as _};

/// A number that all replicas count together.
///
/// ```
/// use std::time::Duration;
/// # use statehouse_coord::{Coordination, MemoryCoordStore, MemorySignals};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()))
/// #     .with_signals(std::sync::Arc::new(MemorySignals::new()));
/// let failures = coord.counter("login-failures/anna").time_to_live(Duration::from_secs(900));
/// assert_eq!(failures.add(1).await?, 1);
/// let left = failures.count().await?.and_then(|count| count.expires_in).expect("it has a time to live");
/// assert!(left <= Duration::from_secs(900));
/// failures.reset().await?; // she is in
/// assert_eq!(failures.get().await?, 0);
/// # Ok(()) }
/// ```
///
/// # Errors
/// Of all methods: [`ErrorKind::OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown) of an add whose answer was lost,
/// which is never made twice, and what else [`Signals`] may fail with.
#[derive(Clone, Debug)]
#[must_use = "it counts nothing by itself"]
pub struct Counter {
    signals: Arc<dyn Signals>,
    key: Result<CoordKey>,
    options: AddOptions,
}

impl Counter {
    /// The counter of this name, as [`CoordKey`] takes it.
    pub fn new(signals: Arc<dyn Signals>, name: &str) -> Self {
        Self { signals, key: CoordKey::new(name), options: AddOptions::default() }
    }

    /// How long it lives from the add on that begins it; else it stays.
    pub const fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.options.time_to_live = Some(time_to_live);
        self
    }

    /// Adds so much, and says what it then is.
    pub async fn add(&self, more: i64) -> Result<i64> {
        Ok(self.signals.add_with(self.key()?, more, self.options.clone()).await?.value)
    }

    /// What it is; nothing was counted if there is none.
    pub async fn get(&self) -> Result<i64> {
        Ok(self.count().await?.map_or(0, |count| count.value))
    }

    /// What it is and after how long it is gone; none if nothing was counted.
    pub async fn count(&self) -> Result<Option<Count>> {
        self.signals.count(self.key()?).await
    }

    /// Begins anew.
    pub async fn reset(&self) -> Result<()> {
        self.signals.reset(self.key()?).await
    }

    fn key(&self) -> Result<&CoordKey> {
        self.key.as_ref().map_err(Clone::clone)
    }
}

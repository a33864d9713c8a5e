use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use statehouse_core::{Result, Version};

use super::format::Kept;
use super::revised::{Revised, read};
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::key::CoordKey;
use crate::options::WaitOptions;

/// The longest wait for a change, after which the value is looked at in any case.
const LIMIT: Duration = Duration::from_secs(60);

/// Hears of the changes of a shared value: made by [`SharedState::watch`](crate::SharedState::watch).
///
/// Where the store tells of changes it hears at once, else it looks again and again, with pauses as the store says.
pub struct StateWatch<T> {
    store: Arc<dyn CoordStore>,
    key: CoordKey,
    seen: Option<Version>,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> StateWatch<T> {
    pub(super) fn new(store: Arc<dyn CoordStore>, key: CoordKey) -> Self {
        Self { store, key, seen: None, of: PhantomData }
    }

    /// The value, as soon as it is another than the one that was given before. Dropping the future loses nothing.
    ///
    /// ```
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()));
    /// let flags = coord.state::<bool>("flags");
    /// let mut watch = flags.watch("read-only")?;
    /// flags.update("read-only", |_| true).await?;
    /// assert!(watch.next().await?.value);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`SharedState::get`](crate::SharedState::get); the next call looks again.
    pub async fn next(&mut self) -> Result<Revised<T>> {
        loop {
            let found = self.store.get(&self.key).await?;
            // Not for what was given before: if that is gone, as after a failover, there would be no wait.
            let now = found.as_ref().map(|record| record.version);
            match found.filter(|record| Some(record.version) != self.seen) {
                Some(record) => {
                    let revised = read(&Kept::decode(&record.value)?)?;
                    self.seen = Some(record.version);
                    return Ok(revised);
                }
                None => {
                    let options = WaitOptions::default().with_limit(LIMIT);
                    self.store.wait_with(&self.key, now, options).await;
                }
            }
        }
    }
}

impl<T> fmt::Debug for StateWatch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWatch").field("key", &self.key).field("seen", &self.seen).finish_non_exhaustive()
    }
}

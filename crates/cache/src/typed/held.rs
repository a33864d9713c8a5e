//! What a load holds while it runs.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{ErrorKind, Result};

use super::core::Core;
use super::flights::Outcome;
use super::tier::{CacheValue, Place};
use crate::options::Guard;
use crate::{CacheKey, Lease, RemoveOptions, RemoveOutcome, SetOutcome};

/// How long a lease in a cache of bytes lives without being renewed, and how often it is: a process that dies in the middle
/// of a load must not hold up the others for long.
pub(super) const LEASE: Duration = Duration::from_secs(10);
pub(super) const RENEWAL: Duration = Duration::from_secs(3);

/// A lease, which is given back if it is not used: its load failed or was cancelled.
pub(super) struct Held<'a, V: Send + Sync + 'static> {
    pub(super) core: &'a Core<V>,
    pub(super) key: &'a CacheKey,
    pub(super) lease: Option<Lease>,
    pub(super) unused: Unused,
}

/// What happens to a lease that is not used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unused {
    GiveBack,
    /// Somebody else holds it, too.
    Leave,
}

impl<V: CacheValue> Held<'_, V> {
    pub(super) fn guard(&self) -> Guard {
        self.lease.map_or(Guard::Absent, Guard::Lease)
    }

    /// How the load ended, by what became of its value in the store.
    pub(super) async fn end(mut self, stored: Result<SetOutcome>) -> Result<fn(Arc<V>) -> Outcome<V>> {
        match stored {
            Ok(SetOutcome::Stored(_)) => {
                self.lease = None;
                self.core.familiar.saw(self.key, true);
                self.core.stored();
                Ok(Outcome::Valid)
            }
            Ok(SetOutcome::Conflict(_)) => {
                self.lease = None;
                tracing::debug!(name: "cache.load.superseded", "invalidated or set during the load; not stored");
                Ok(Outcome::Loaded)
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
            // That the lease was still there says that nothing was invalidated.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.core.too_large(&error);
                let Some(lease) = self.lease.take() else { return Ok(Outcome::Loaded) };
                match self.core.tier.remove(self.key, RemoveOptions::default().with_lease(lease)).await {
                    Ok(RemoveOutcome::Removed) => Ok(Outcome::Valid),
                    _ => Ok(Outcome::Loaded),
                }
            }
            Err(error) => {
                self.core.not_stored(&error);
                Ok(Outcome::Loaded)
            }
        }
    }
}

impl<V: Send + Sync + 'static> Drop for Held<'_, V> {
    fn drop(&mut self) {
        if let (Some(lease), Unused::GiveBack) = (self.lease, self.unused) {
            self.core.tier.give_back(self.key, lease);
        }
    }
}

/// In memory a lease ends with its load whatever happens; it outlives it by a second, so that a load that ends in time can
/// be stored.
pub(super) fn lease_time(place: Place, load_timeout: Duration) -> Duration {
    let whole = load_timeout.saturating_add(Duration::from_secs(1)).min(crate::MAX_TIME_TO_LIVE);
    match place {
        Place::Here => whole,
        Place::Elsewhere => whole.min(LEASE),
    }
}

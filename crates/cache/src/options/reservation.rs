use std::time::Duration;

use statehouse_core::{Result, Version};

use crate::Lease;
use crate::limits::time_to_live_millis;

/// Options of a reservation.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_cache::*;
///
/// let cache = MemoryCache::new(MemoryConfig::default());
/// let (key, minute) = (CacheKey::new("EUR/USD")?, Duration::from_secs(60));
/// let version = cache.set(&key, "written by another build".into(), minute).await?;
/// assert!(matches!(cache.reserve_with(&key, ReserveOptions::new(minute)).await?, Reservation::Hit(_)));
/// let unreadable = ReserveOptions::new(minute).with_replacing(version).with_deadline(Duration::from_millis(200));
/// let reserved = cache.reserve_with(&key, unreadable).await?;
/// let Reservation::Leased(lease) = reserved else { panic!("{reserved:?}") };
///
/// // Others leave the load to whoever has the lease, and that one says when it takes longer.
/// let alone = ReserveOptions::new(minute).with_holding(Holding::Alone);
/// assert_eq!(cache.reserve_with(&key, alone).await?, Reservation::Held(lease));
/// let longer = ReserveOptions::new(2 * minute).with_holding(Holding::Renew(lease));
/// assert_eq!(cache.reserve_with(&key, longer).await?, Reservation::Leased(lease));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReserveOptions {
    /// How long the load may take: a lease that nobody used ends after this long.
    pub time_to_live: Duration,
    /// A live entry of this version counts as absent. For an entry that the caller cannot decode.
    pub replacing: Option<Version>,
    /// What to do about a lease that somebody holds. [`Holding::Share`] unless told.
    pub holding: Holding,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

/// What a reservation does about a lease that the key has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holding {
    /// Takes it as well, prolonged if need be: the first to store wins.
    #[default]
    Share,
    /// Leaves it to its holder: the answer is [`Held`](crate::Reservation::Held).
    Alone,
    /// Prolongs this lease, and gives out no other: if it has ended, the answer is [`Ended`](crate::Reservation::Ended).
    Renew(Lease),
}

impl ReserveOptions {
    /// A reservation for a load that takes no longer than this.
    #[must_use]
    pub const fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, replacing: None, holding: Holding::Share, deadline: None }
    }

    /// With a version that counts as absent.
    #[must_use]
    pub const fn with_replacing(mut self, version: Version) -> Self {
        self.replacing = Some(version);
        self
    }

    /// With what to do about a lease that somebody holds.
    #[must_use]
    pub const fn with_holding(mut self, holding: Holding) -> Self {
        self.holding = holding;
        self
    }

    /// Refuses what no backend does. For authors of backends; to be called before anything is sent.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a time to live out of range.
    pub fn check(&self) -> Result<()> {
        time_to_live_millis(self.time_to_live).map(drop)
    }

    statehouse_core::with_deadline!();
}

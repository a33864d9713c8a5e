mod reservation;

use std::time::{Duration, Instant};

use statehouse_core::{CodecId, Error, Fence, Result, Version};

pub use self::reservation::{Holding, ReserveOptions};
use crate::Lease;
use crate::limits::time_to_live_millis;

/// What must hold for a write to take place: [`Match`](statehouse_core::Condition::Match) compares versions.
pub type Condition = statehouse_core::Condition<Version>;

/// Options of a get.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl GetOptions {
    statehouse_core::with_deadline!();
}

/// Options of a set: for how long, and on which condition.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_cache::*;
/// use statehouse_core::{CodecId, ErrorKind, Fence, Key, RaiseOptions, Version};
///
/// let cache = MemoryCache::new(MemoryConfig::default());
/// let (key, minute) = (CacheKey::new("EUR/USD")?, Duration::from_secs(60));
/// let first = SetOptions::new(minute)
///     .with_condition(Condition::Absent)
///     .with_codec(CodecId::RAW)
///     .with_deadline(Duration::from_millis(200));
/// assert!(cache.set_with(&key, "1.08".into(), first.clone()).await?.stored().is_some());
/// assert!(cache.set_with(&key, "1.09".into(), first).await?.stored().is_none(), "there is one");
///
/// // What is stored under a lease is known to be no older than the last change of the key.
/// let other = CacheKey::new("EUR/CHF")?;
/// let reserved = cache.reserve_with(&other, ReserveOptions::new(minute)).await?;
/// let Reservation::Leased(lease) = reserved else { panic!("{reserved:?}") };
/// cache.remove(&other).await?; // meanwhile
/// let loaded = SetOptions::new(minute).with_lease(lease);
/// assert!(cache.set_with(&other, "0.93".into(), loaded).await?.stored().is_none(), "it was loaded before that");
///
/// // What is set under a lock is refused once somebody else has acquired that.
/// let lock = Key::new("lock/rates")?;
/// let (one, next) = (Fence::new(lock.clone(), Version::new(1)), Fence::new(lock, Version::new(2)));
/// cache.raise_with(&next, RaiseOptions::default()).await?;
/// let late = cache.set_with(&key, "1.10".into(), SetOptions::new(minute).with_fence(&one)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SetOptions {
    /// How long the entry lives.
    pub time_to_live: Duration,
    /// What must hold for it to be stored. [`Condition::Always`] unless told. A load that is under way is no entry: a set on
    /// [`Condition::Absent`] wins over it.
    pub condition: Condition,
    /// Stores only if this is still the key's lease: the key was neither set nor removed nor cleared since it was issued,
    /// and it did not expire. Not together with a condition.
    pub lease: Option<Lease>,
    /// How the value is encoded. [`CodecId::RAW`] unless told.
    pub codec: CodecId,
    /// Under which lock it is set; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl SetOptions {
    /// Stores unconditionally for this long. There is no default: every entry ends.
    #[must_use]
    pub const fn new(time_to_live: Duration) -> Self {
        Self {
            time_to_live,
            condition: Condition::Always,
            lease: None,
            codec: CodecId::RAW,
            fence: None,
            deadline: None,
        }
    }

    /// With a condition.
    #[must_use]
    pub const fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// With the lease that it is done under.
    #[must_use]
    pub const fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    pub(crate) fn with_guard(mut self, guard: Guard) -> Self {
        (self.condition, self.lease) = match guard {
            Guard::Always => (Condition::Always, None),
            Guard::Absent => (Condition::Absent, None),
            Guard::Match(version) => (Condition::Match(version), None),
            Guard::Lease(lease) => (Condition::Always, Some(lease)),
        };
        self
    }

    /// Refuses what no backend does. For authors of backends; to be called before anything is sent, with
    /// [`check_value_len`](crate::check_value_len) of the value.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a time to live out of range and for a lease together
    /// with a condition.
    pub fn check(&self) -> Result<()> {
        time_to_live_millis(self.time_to_live)?;
        self.guard().map(drop)
    }

    /// What is asked for.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a lease together with a condition.
    pub(crate) fn guard(&self) -> Result<Guard> {
        Guard::of(self.condition, self.lease)
    }

    /// With the codec that the value is encoded by.
    #[must_use]
    pub const fn with_codec(mut self, codec: CodecId) -> Self {
        self.codec = codec;
        self
    }

    statehouse_core::with_fence!();

    statehouse_core::with_deadline!();
}

/// What a write asks for, as one: a condition, or a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    Always,
    Absent,
    Match(Version),
    Lease(Lease),
}

impl Guard {
    fn of(condition: Condition, lease: Option<Lease>) -> Result<Self> {
        match (condition, lease) {
            (Condition::Always, Some(lease)) => Ok(Self::Lease(lease)),
            (_, Some(_)) => Err(Error::invalid_input("a write is under a lease or on a condition, not both")),
            (Condition::Always, None) => Ok(Self::Always),
            (Condition::Absent, None) => Ok(Self::Absent),
            (Condition::Match(version), None) => Ok(Self::Match(version)),
        }
    }
}

/// Options of a remove.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_cache::*;
/// use statehouse_core::Version;
///
/// let cache = MemoryCache::new(MemoryConfig::default());
/// let (key, minute) = (CacheKey::new("EUR/USD")?, Duration::from_secs(60));
/// let version = cache.set(&key, "1.08".into(), minute).await?;
/// let kept = RemoveOutcome::Conflict(version);
/// let late = RemoveOptions::default().with_min_age(minute).with_deadline(Duration::from_millis(200));
/// assert_eq!(cache.remove_with(&key, late).await?, kept, "it is not a minute old");
/// let other = RemoveOptions::default().with_condition(Condition::Match(Version::new(1)));
/// assert_eq!(cache.remove_with(&key, other).await?, kept);
/// let this = RemoveOptions::default().with_condition(Condition::Match(version));
/// assert_eq!(cache.remove_with(&key, this).await?, RemoveOutcome::Removed);
///
/// // Whoever cannot load after all gives the lease back.
/// let reserved = cache.reserve_with(&key, ReserveOptions::new(minute)).await?;
/// let Reservation::Leased(lease) = reserved else { panic!("{reserved:?}") };
/// let given_back = RemoveOptions::default().with_lease(lease);
/// assert_eq!(cache.remove_with(&key, given_back).await?, RemoveOutcome::Removed);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RemoveOptions {
    /// What must hold for the removal. [`Condition::Absent`] is refused: it removes nothing.
    pub condition: Condition,
    /// Removes only if this is still the key's lease, and then that. Not together with a condition.
    pub lease: Option<Lease>,
    /// Removes only what is at least this old by the store's clock: an entry that was set, or whose load began, and a
    /// lease that was given out, this long ago or longer. For a removal that comes late and must not take away what is
    /// newer than its cause.
    pub min_age: Option<Duration>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl RemoveOptions {
    /// With a condition.
    #[must_use]
    pub const fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// With the lease that it is done under.
    #[must_use]
    pub const fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Refuses what no backend does. For authors of backends; to be called before anything is sent.
    ///
    /// # Errors
    /// [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a lease together with a condition, and for
    /// [`Condition::Absent`], under which nothing is removed.
    pub fn check(&self) -> Result<()> {
        self.guard().map(drop)
    }

    /// What is asked for.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn guard(&self) -> Result<Guard> {
        match Guard::of(self.condition, self.lease)? {
            Guard::Absent => {
                Err(Error::invalid_input("a removal on the condition that the key is absent removes nothing"))
            }
            guard => Ok(guard),
        }
    }

    /// With how old what is removed must be at least.
    #[must_use]
    pub const fn with_min_age(mut self, age: Duration) -> Self {
        self.min_age = Some(age);
        self
    }

    statehouse_core::with_deadline!();
}

/// Options of a clear.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::{Duration, Instant};
/// use statehouse_cache::*;
///
/// let cache = MemoryCache::new(MemoryConfig::default());
/// let (asked, key) = (Instant::now(), CacheKey::new("EUR/USD")?);
/// cache.set(&key, "1.08".into(), Duration::from_secs(60)).await?;
/// let again = ClearOptions::default().with_since(asked).with_deadline(Duration::from_secs(1));
/// cache.clear_with(again).await?;
/// let hasty = GetOptions::default().with_deadline(Duration::from_millis(200));
/// assert_eq!(cache.get_with(&key, hasty).await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClearOptions {
    /// When this was asked for first: what this process has cleared since need not be cleared again. For one that is
    /// repeated because it did not reach all parts of the store; those that it reached keep what they were given meanwhile.
    pub since: Option<Instant>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl ClearOptions {
    /// With when it was begun, to be done once more where nothing was cleared since then.
    #[must_use]
    pub const fn with_since(mut self, since: Instant) -> Self {
        self.since = Some(since);
        self
    }

    statehouse_core::with_deadline!();
}

/// Options of a touch.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_cache::*;
///
/// let cache = MemoryCache::new(MemoryConfig::default());
/// let (key, minute) = (CacheKey::new("EUR/USD")?, Duration::from_secs(60));
/// let version = cache.set(&key, "1.08".into(), minute).await?;
/// let longer = TouchOptions::new(10 * minute).with_deadline(Duration::from_millis(200));
/// assert_eq!(cache.touch_with(&key, longer).await?, TouchOutcome::Touched(version));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TouchOptions {
    /// How long the entry lives from now on.
    pub time_to_live: Duration,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl TouchOptions {
    /// Lets the entry live for this long from now.
    #[must_use]
    pub const fn new(time_to_live: Duration) -> Self {
        Self { time_to_live, deadline: None }
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

#[cfg(test)]
mod tests {
    use statehouse_core::ErrorKind;

    use super::*;
    use crate::MAX_TIME_TO_LIVE;

    #[test]
    fn what_no_backend_does_is_refused_before_anything_is_sent() {
        const MINUTE: Duration = Duration::from_secs(60);
        let (lease, set) = (Lease::new(Version::new(1)), SetOptions::new);
        let refused = [
            set(Duration::ZERO).check(),
            set(MAX_TIME_TO_LIVE + MINUTE).check(),
            set(MINUTE).with_lease(lease).with_condition(Condition::Absent).check(),
            RemoveOptions::default().with_condition(Condition::Absent).check(),
            RemoveOptions::default().with_lease(lease).with_condition(Condition::Match(Version::new(1))).check(),
            TouchOptions::new(Duration::ZERO).check(),
            ReserveOptions::new(Duration::ZERO).check(),
        ];
        for (number, refused) in refused.into_iter().enumerate() {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput, "{number}");
        }
        let taken = [
            set(MINUTE).with_lease(lease).check(),
            set(MAX_TIME_TO_LIVE).with_condition(Condition::Absent).check(),
            RemoveOptions::default().with_lease(lease).check(),
            TouchOptions::new(MINUTE).check(),
            ReserveOptions::new(MINUTE).check(),
        ];
        assert!(taken.into_iter().all(|taken| taken.is_ok()));
    }
}

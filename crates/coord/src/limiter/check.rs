use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use statehouse_core::{Error, ErrorKind, Result, hex};

use super::decision::{DecidedBy, Decision};
use crate::key::CoordKey;
use crate::memory::MemoryConfig;
use crate::signals::{CountOptions, MemorySignals, Rate, Signals, TakeOptions, Taken};

/// What a limit does when its store cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutStore {
    /// Everything is allowed: where being served matters more than the limit.
    Open,
    /// Nothing is: where the limit protects something, such as passwords from being guessed.
    Closed,
    /// This replica allows its share by itself, of so many replicas: both the rate and the burst, which is one at least. Who
    /// wants more at once than that gets nothing. The limiter and its clones count together, and begin with a whole
    /// share: one is made once, and not for each request.
    LocalShare {
        /// Among how many the limit is shared.
        replicas: NonZeroU32,
    },
}

/// How often something may be done by each of many: by address, by user.
///
/// ```
/// use std::time::Duration;
/// use statehouse_coord::{Rate, WithoutStore};
/// # use statehouse_coord::{Coordination, MemoryCoordStore, MemorySignals};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()))
/// #     .with_signals(std::sync::Arc::new(MemorySignals::new()));
/// let logins = coord
///     .limiter("logins", Rate::new(5, Duration::from_secs(60))?, WithoutStore::Closed)
///     .patience(Duration::from_millis(200)); // no login waits longer for a store that is away
/// let decision = logins.check("203.0.113.7").await?;
/// assert!(decision.is_allowed());
/// let headers: Vec<_> = decision.headers().collect();
/// assert_eq!(headers[0], ("ratelimit-policy", "\"logins\";q=5;w=60".to_owned()));
/// assert_eq!(headers[1], ("ratelimit", "\"logins\";r=4;t=12".to_owned()));
/// # Ok(()) }
/// ```
///
/// # What is guaranteed
/// Of a store that answers: [exact](crate::Signals#behavior), by the store's clock. Over a failover that lost what was taken
/// in the last moments, up to twice the burst.
///
/// # Names
/// Whom it is for may be any text. Of it a hash is stored (half of SHA-256), so that no text of a client is a key, however
/// long or odd; who knows the text can tell that it was there.
#[derive(Clone, Debug)]
#[must_use = "nothing is limited by itself"]
pub struct RateLimiter {
    signals: Arc<dyn Signals>,
    name: Result<CoordKey>,
    rate: Rate,
    without: WithoutStore,
    patience: Duration,
    local: Arc<MemorySignals>,
}

/// The longest name, so that what is stored of whom it is for has room beside it.
const LONGEST_NAME: usize = 160;

impl RateLimiter {
    /// The limit of this name: up to 160 bytes of text as [`CoordKey`] takes it.
    pub fn new(signals: Arc<dyn Signals>, name: &str, rate: Rate, without: WithoutStore) -> Self {
        let name = CoordKey::new(name).and_then(|name| match name.len() {
            0..=LONGEST_NAME => Ok(name),
            _ => Err(Error::invalid_input("the name of a limit has at most 160 bytes")),
        });
        let local = Arc::new(MemorySignals::with_config(MemoryConfig::default()));
        Self { signals, name, rate, without, patience: Duration::from_millis(500), local }
    }

    /// How long the store has for its answer, before it counts as away; half a second at first.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same limit, if it can be kept: what each request would be told is told when the program starts.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use statehouse_coord::{Coordination, MemoryCoordStore, Rate, WithoutStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let rate = Rate::new(5, Duration::from_secs(60))?;
    /// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let unkept = coord.limiter("logins", rate, WithoutStore::Closed).checked().await;
    /// assert!(unkept.unwrap_err().to_string().contains("there are no signals"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for the name; [`ErrorKind::Unsupported`] if there are no signals. That the store is away is none.
    pub async fn checked(self) -> Result<Self> {
        let name = self.name.clone()?;
        let options = CountOptions::default().with_deadline(self.patience);
        match self.signals.count_with(&name, options).await {
            Err(error) if !is_stores_fault(&error) => Err(error),
            _ => Ok(self),
        }
    }

    /// Takes one for this one.
    ///
    /// # Errors
    /// As [`check_many`](Self::check_many).
    pub async fn check(&self, whom: &str) -> Result<Decision> {
        self.check_many(whom, 1).await
    }

    /// Takes so many at once for this one, or none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if there are none or more than the burst, or for the name; [`ErrorKind::Unsupported`] if
    /// there are no signals. That the store is away is no error: see [`WithoutStore`].
    pub async fn check_many(&self, whom: &str, count: u32) -> Result<Decision> {
        let name = self.name.as_ref().map_err(Clone::clone)?;
        let hash = Sha256::digest(whom.as_bytes());
        let key = CoordKey::new(format!("{name}/{}", hex::encode(&hash[..16])))?;
        let options = TakeOptions::default().with_count(count).with_deadline(self.patience);
        let (taken, by) = match self.signals.take_with(&key, self.rate, options).await {
            Ok(taken) => (taken, DecidedBy::Store),
            Err(error) if is_stores_fault(&error) => {
                tracing::debug!(name: "coord.limit_without_store", limit = name.as_str(), %error, "a limit is decided without its store");
                self.without_store(&key, count).await
            }
            Err(error) => return Err(error),
        };
        Ok(Decision { name: name.clone(), rate: self.rate, taken, by })
    }

    async fn without_store(&self, key: &CoordKey, count: u32) -> (Taken, DecidedBy) {
        let (burst, soon) = (self.rate.burst(), Duration::from_secs(1));
        let refused = Taken::new(burst, 0, Some(soon), soon);
        match self.without {
            WithoutStore::Open => (Taken::new(burst, burst, None, Duration::ZERO), DecidedBy::Nobody),
            WithoutStore::Closed => (refused, DecidedBy::Nobody),
            WithoutStore::LocalShare { replicas } => {
                let share = self.rate.share(replicas.get());
                match self.local.take_with(key, share, TakeOptions::default().with_count(count)).await {
                    Ok(taken) => (taken, DecidedBy::Replica),
                    // More at once than the share ever is, or its memory is full of others.
                    Err(_) => (refused, DecidedBy::Replica),
                }
            }
        }
    }
}

/// Whether it is the store that is at fault, and not who asks.
fn is_stores_fault(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidConfig | ErrorKind::Unsupported)
}

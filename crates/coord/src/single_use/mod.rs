//! What is accepted once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{Condition, ErrorKind, Result};
use tokio::time::Instant;

use crate::api::{CoordStore, CoordStoreExt as _};
use crate::hashed::{USED, can_expire, hashed_key};
use crate::operation::Operations;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::record::WriteId;
use crate::settled::put_settled;

/// Tokens that are accepted once, such as those of log-in links or the nonces of a protocol: made by
/// [`Coordination::single_use`](crate::Coordination::single_use).
///
/// # Behavior
/// - Of all who come with one token, on whichever replica, **one** is the first.
/// - It is remembered for its time to live at least, by the store's clock: in files for as long once more by a replica that has not seen it before, until it is
///   [swept](crate::FilesCoordStore#sweeps). After that it is accepted again: so the token itself, by what is
///   signed in it or kept elsewhere, must be valid no longer.
/// - Where an answer of the store was lost, it is found out who was first. If that is not possible, the answer is
///   [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), and the token counts as used; [`accept_as`](Self::accept_as) is for callers
///   that want to come back.
/// - Tokens are secrets: what is stored is their SHA-256.
/// - **Whoever may come with any text may fill the store**: each is remembered. So it is known that a token is one, by its signature or
///   because it is kept elsewhere, before it is asked here whether it was used. In memory all of them, with what is kept of requests that
///   are answered once, have half of the store; in Redis `maxmemory` is what ends it, for locks too.
///
/// Records must leave the store when their time is over ([`SERVER_TIME`](crate::capability::SERVER_TIME) or [`SWEEPS`](crate::capability::SWEEPS)):
/// those in memory do, in Redis a day later, some 550 bytes each, and in files a day later or more, a file of some 150 bytes each. A token is two
/// requests to the files, on S3 a read and a write; one that comes again is one.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use statehouse_coord::{Accepted, Coordination, MemoryCoordStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let links = coord.single_use("login-links", Duration::from_secs(900));
/// assert_eq!(links.accept("0yQ9xR").await?, Accepted::First);
/// assert_eq!(links.accept("0yQ9xR").await?, Accepted::Before);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SingleUse {
    store: Arc<dyn CoordStore>,
    name: String,
    time_to_live: Duration,
}

/// What became of a token that somebody came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only the first may go on"]
#[expect(clippy::exhaustive_enums, reason = "a caller must not overlook an outcome")]
pub enum Accepted {
    /// It is, and will not be again.
    First,
    /// Somebody came with it before.
    Before,
}

const OPERATION: Operations = Operations::of("coord");

impl SingleUse {
    pub(crate) fn new(store: Arc<dyn CoordStore>, name: &str, time_to_live: Duration) -> Self {
        Self { store, name: name.to_owned(), time_to_live }
    }

    /// Accepts this token if nobody has.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name or a time to live that no store takes; [`ErrorKind::Unsupported`] on a store where
    /// records stay for good, or that is shared and not durable; else as [`CoordStore`] says. An outage accepts nothing.
    pub async fn accept(&self, token: impl AsRef<[u8]> + Send) -> Result<Accepted> {
        self.accept_as(token, WriteId::generate()?).await
    }

    /// As [`accept`](Self::accept), for a caller that may come back with the same id because it does not know what became of its
    /// first try: it is the first then, too, and everybody else is not.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use statehouse_coord::{Accepted, Coordination, MemoryCoordStore, WriteId};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let (nonces, id) = (coord.single_use("nonces", Duration::from_secs(60)), WriteId::generate()?);
    /// assert_eq!(nonces.accept_as("n1", id).await?, Accepted::First);
    /// assert_eq!(nonces.accept_as("n1", id).await?, Accepted::First);
    /// assert_eq!(nonces.accept("n1").await?, Accepted::Before);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_as(&self, token: impl AsRef<[u8]> + Send, id: WriteId) -> Result<Accepted> {
        OPERATION.accept.during(self.try_accept(token.as_ref(), id)).await
    }

    async fn try_accept(&self, token: &[u8], id: WriteId) -> Result<Accepted> {
        can_expire(&*self.store).await?;
        let key = hashed_key(USED, &self.name, &[token])?;
        let options = PutOptions::default().with_condition(Condition::Absent).with_time_to_live(self.time_to_live);
        let begun = Instant::now();
        match put_settled(&*self.store, &key, &Bytes::new(), id, options).await {
            Ok(PutOutcome::Stored(_)) => Ok(Accepted::First),
            Ok(PutOutcome::Conflict(Some(record))) if record.id == id => Ok(Accepted::First),
            Ok(PutOutcome::Conflict(_)) => Ok(Accepted::Before),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                // Nobody overwrites such a record, so that it is whose it is, unless one has expired since.
                match self.store.get(&key).await {
                    Ok(Some(record)) if record.id == id => Ok(Accepted::First),
                    Ok(Some(_)) if begun.elapsed() < self.time_to_live => Ok(Accepted::Before),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

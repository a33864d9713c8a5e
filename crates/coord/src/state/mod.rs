//! State that replicas share and that must not vanish.

mod format;
mod revised;
mod usual;
mod watch;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_core::capability::FENCED;
use statehouse_core::fence::Raising;
use statehouse_core::policy::Backoff;
use statehouse_core::{AsFence, Codec, Condition, Error, ErrorKind, Fence, Guarded, RaiseOptions, Result};
use tokio::time::{Instant, sleep};

use self::format::{HEAD, Kept, REMEMBERED};
pub use self::revised::Revised;
use self::revised::read;
use self::usual::Usual;
pub use self::watch::StateWatch;
use crate::api::{CoordStore, CoordStoreExt as _};
use crate::away::is_away;
use crate::key::CoordKey;
use crate::lock::durable;
use crate::operation::Operations;
use crate::options::{PutOptions, WaitOptions};
use crate::outcome::PutOutcome;
use crate::record::{Record, WriteId};
use crate::settled::put_settled;

/// Where values lie.
pub(crate) const KIND: &str = "state";

/// How often an update begins anew because somebody else was faster.
const TRIES: u32 = 200;

/// How many times as long as its requests [usually](Usual) take whoever was too late pauses for at most, the first time. The more
/// often that was, the shorter: so whoever has just come lets those go first who have tried for long, and nobody is overtaken for
/// ever.
const PAUSE: u32 = 8;

/// The longest pause, and the shortest for which a timer is worth it.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_micros(500)];

/// The pauses before a store that is away is asked again.
const AWAY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// Values that replicas share, by their keys: made by [`Coordination::state`](crate::Coordination::state).
///
/// # Behavior
/// - A value stays until it is updated: it has no time to live and is not removed.
/// - An **update** is applied to the value as it is, once, and makes the next **revision**: the first is 1, and there are no
///   gaps, so that whoever knows a revision knows how many updates were made. Where another replica was faster, the function
///   is called again with what that one left: it must do nothing but compute.
/// - An update whose answer was lost is found out about by its id, up to sixteen updates of others later; after that it is
///   [`OutcomeUnknown`](ErrorKind::OutcomeUnknown).
/// - A read gives the value as the store has it now.
///
/// A value has up to 1,048,308 bytes, encoded as MessagePack, and is read and written as a whole.
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::Arc;
/// use statehouse_coord::{Coordination, MemoryCoordStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
/// let closure = coord.state::<BTreeSet<String>>("closure");
/// let now = closure.update("t1", |before| {
///     let mut codes = before.unwrap_or_default();
///     codes.insert("22298006".to_owned());
///     codes
/// });
/// assert_eq!(now.await?.revision, 1);
/// assert!(closure.get("t1").await?.expect("it was made").value.contains("22298006"));
/// # Ok(()) }
/// ```
pub struct SharedState<T> {
    store: Arc<dyn CoordStore>,
    name: String,
    fence: Option<Fence>,
    usual: Arc<Usual>,
    of: PhantomData<fn() -> T>,
}

const OPERATION: Operations = Operations::of("coord");

impl<T: Serialize + DeserializeOwned> SharedState<T> {
    pub(crate) fn new(store: Arc<dyn CoordStore>, name: &str) -> Self {
        Self { store, name: name.to_owned(), fence: None, usual: Arc::default(), of: PhantomData }
    }

    /// The same values, updated only as long as nobody else has acquired the lock since: else an update fails as
    /// [`ErrorKind::Fenced`], and is not made.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_coord::{Coordination, MemoryCoordStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let coord = Coordination::new(Arc::new(MemoryCoordStore::new()));
    /// let runs = coord.state::<u64>("runs");
    /// let guard = coord.lock("nightly-export").guards(&runs).await?;
    /// runs.fenced(&guard).update("export", |before| before.unwrap_or(0) + 1).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn fenced(&self, guard: &impl AsFence) -> Self {
        Self { fence: Some(guard.as_fence().clone()), ..self.clone() }
    }

    fn key(&self, key: &str) -> Result<CoordKey> {
        // Else two names had values in common: "users" with "ada/limit", and "users/ada" with "limit".
        if self.name.is_empty() || self.name.contains('/') {
            return Err(
                Error::invalid_input("the name of shared values is not empty and has no slash").with_key(&self.name)
            );
        }
        CoordKey::of(&format!("{KIND}/{}", self.name), key)
    }

    /// The value as it is now, if it was ever made.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is of another type; else as [`CoordStore`] says.
    pub async fn get(&self, key: &str) -> Result<Option<Revised<T>>> {
        let found = self.store.get(&self.key(key)?).await?;
        // What a store can do may be known only once it was asked.
        durable(&*self.store)?;
        found.map(|record| read(&Kept::decode(&record.value)?)).transpose()
    }

    /// Replaces the value by what the function makes of it, and gives that.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] for a value that is too large, [`ErrorKind::Unsupported`] on a store that is shared and not
    /// durable; else as [`CoordStore`] says.
    pub async fn update(&self, key: &str, f: impl FnMut(Option<T>) -> T) -> Result<Revised<T>> {
        OPERATION.update.during_on(key, self.try_update(&self.key(key)?, f)).await
    }

    async fn try_update(&self, key: &CoordKey, mut f: impl FnMut(Option<T>) -> T) -> Result<Revised<T>> {
        // What a store can do may be known only once it was asked; one of somebody else's that ignores fences raises no mark.
        if let Some(fence) = self.fence.as_ref().filter(|_| !self.store.capabilities().has(FENCED)) {
            self.store.raise_with(fence, RaiseOptions::default()).await?;
        }
        let id = WriteId::generate()?;
        let (mut current, mut in_doubt, mut again) = (self.store.get(key).await?, None, None);
        durable(&*self.store)?;
        for tried in 1..=TRIES {
            let (next, value) = match again.take() {
                Some(again) => again,
                None => following(current.as_ref(), id, &mut f)?,
            };
            let condition = current.as_ref().map_or(Condition::Absent, |record| Condition::Match(record.version));
            let mut options = PutOptions::default().with_condition(condition);
            options.fence.clone_from(&self.fence);
            let sent = Instant::now();
            let put = put_settled(&*self.store, key, &next.encode(), id, options).await;
            let usual = self.usual.note(sent.elapsed());
            match put {
                Ok(PutOutcome::Stored(_)) => return Ok(Revised { revision: next.revision, value }),
                Ok(PutOutcome::Conflict(found)) => current = found,
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                    let Ok(found) = self.store.get(key).await else { return Err(error) };
                    (current, in_doubt) = (found, Some(error));
                }
                Err(error) => return Err(in_doubt.unwrap_or(error)),
            }
            // A try before may be made as late as that: until something else is there than what it was to replace.
            if let Some(error) = in_doubt.take() {
                match made(current.as_ref(), id, &next)? {
                    Made::Yes(revision) => return Ok(Revised { revision, value }),
                    // The same once more: what the function makes now may differ, and only one of the two is stored.
                    Made::No if condition.holds(current.as_ref().map(|found| &found.version)) => {
                        (in_doubt, again) = (Some(error), Some((next, value)));
                    }
                    Made::No => {}
                    Made::Unknown => return Err(error),
                }
            }
            pause(usual, tried).await;
        }
        let message = "others have updated this value all the time; it is not updated";
        Err(in_doubt.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, message)))
    }

    /// Waits until the value is at this revision or a later one, for so long at most: for whoever was told of a revision and
    /// must not see what was before. A store that is away is waited for as long.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if it is not by then; else as [`get`](Self::get).
    pub async fn at_least(&self, key: &str, revision: u64, limit: Duration) -> Result<Revised<T>> {
        let until = Instant::now().checked_add(limit);
        let name = self.key(key)?;
        let mut backoff = Backoff::new(AWAY[0], AWAY[1]);
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            let found = match self.store.get(&name).await {
                Err(error) if is_away(&error) && !left.is_zero() => {
                    sleep(backoff.pause().min(left)).await;
                    continue;
                }
                found => found?,
            };
            let kept = found.as_ref().map(|record| Kept::decode(&record.value)).transpose()?;
            if let Some(kept) = kept.filter(|kept| kept.revision >= revision) {
                return read(&kept);
            }
            if left.is_zero() {
                let message = format!("the value is not at revision {revision} after {limit:?}");
                return Err(Error::new(ErrorKind::Timeout, message).with_key(key));
            }
            let options = WaitOptions::default().with_limit(left);
            self.store.wait_with(&name, found.map(|found| found.version), options).await;
        }
    }

    /// Hears of every change of a value from now on, the first being the value as it is. Changes that follow each other
    /// quickly may be seen as one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the key is none.
    pub fn watch(&self, key: &str) -> Result<StateWatch<T>> {
        Ok(StateWatch::new(Arc::clone(&self.store), self.key(key)?))
    }
}

/// What an update makes of the value as it is.
fn following<T: Serialize + DeserializeOwned>(
    current: Option<&Record>,
    id: WriteId,
    f: &mut impl FnMut(Option<T>) -> T,
) -> Result<(Kept, T)> {
    let before = current.map(|record| Kept::decode(&record.value)).transpose()?;
    let value = f(before.as_ref().map(read).transpose()?.map(|before| before.value));
    let bytes = Codec::MessagePack.encode_checked(&value, Record::MAX_VALUE - HEAD)?;
    Ok((Kept::next(before.as_ref(), id, bytes), value))
}

/// Waits after an update that was too late, for the `times`-th time, where a request usually takes so long.
async fn pause(usual: Duration, times: u32) {
    let most = (usual.saturating_mul(PAUSE) / times).min(PAUSES[0]);
    let pause = Backoff::new(most, most).pause();
    if pause >= PAUSES[1] {
        sleep(pause).await;
    }
}

/// Whether an update was made whose answer was lost.
enum Made {
    Yes(u64),
    No,
    /// So many others were made since that it may have been forgotten.
    Unknown,
}

fn made(current: Option<&Record>, id: WriteId, tried: &Kept) -> Result<Made> {
    let Some(current) = current.map(|record| Kept::decode(&record.value)).transpose()? else { return Ok(Made::No) };
    Ok(match current.made_by(id) {
        Some(revision) => Made::Yes(revision),
        None if current.revision < tried.revision + REMEMBERED as u64 => Made::No,
        None => Made::Unknown,
    })
}

impl<T: 'static> Guarded for SharedState<T> {
    fn raise<'a>(&'a self, fence: &'a Fence, limit: Duration) -> Raising<'a> {
        Box::pin(self.store.raise_with(fence, RaiseOptions::default().with_deadline(limit)))
    }
}

impl<T> Clone for SharedState<T> {
    fn clone(&self) -> Self {
        let (store, usual) = (Arc::clone(&self.store), Arc::clone(&self.usual));
        Self { store, name: self.name.clone(), fence: self.fence.clone(), usual, of: PhantomData }
    }
}

impl<T> fmt::Debug for SharedState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState").field("name", &self.name).field("store", &self.store).finish()
    }
}

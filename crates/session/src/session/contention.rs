//! How the writers of one session come to their turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use statehouse_core::time::whole_micros;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::OwnedMutexGuard;

use crate::api::SessionStore;
use crate::capability::SHARED;
use crate::record::Snapshot;
use crate::token::{SessionKey, random};

/// How long one commit is based on newer sessions. Each time, another request's commit succeeded.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The sessions that several requests of this process are writing at the moment.
///
/// Writers that have met take turns, in the order in which they came, and each goes on from what the one before it
/// left: so a session that 256 requests write at once costs 256 saves and not 256 squared. Writers of other
/// processes are met at the store, after pauses of random length.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    lanes: Mutex<HashMap<SessionKey, Weak<Lane>>>,
}

/// Whose turn it is, and the session as the last one left it.
type Lane = tokio::sync::Mutex<Option<Snapshot>>;

impl Contention {
    /// Nothing that runs under the lock leaves the map half changed.
    fn lanes(&self) -> MutexGuard<'_, HashMap<SessionKey, Weak<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_if_busy(&self, key: SessionKey) -> Option<Place<'_>> {
        let lane = self.lanes().get(&key)?.upgrade()?;
        Some(Place { contention: self, key, lane })
    }

    fn place(&self, key: SessionKey) -> Place<'_> {
        let mut lanes = self.lanes();
        let lane = lanes.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        lanes.insert(key, Arc::downgrade(&lane));
        drop(lanes);
        Place { contention: self, key, lane }
    }

    #[cfg(test)]
    fn is_quiet(&self) -> bool {
        self.lanes().is_empty()
    }
}

/// A place in a session's queue. The last to leave takes the queue away.
struct Place<'a> {
    contention: &'a Contention,
    key: SessionKey,
    lane: Arc<Lane>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lanes = self.contention.lanes();
        if Arc::strong_count(&self.lane) == 1 {
            lanes.remove(&self.key);
        }
    }
}

/// Dropped in this order: the lane is free before its place is given up.
struct Turn<'a> {
    lane: OwnedMutexGuard<Option<Snapshot>>,
    _place: Place<'a>,
}

/// One commit's way through the contention.
pub(crate) struct Race<'a> {
    contention: &'a Contention,
    key: SessionKey,
    /// Whether writers of other processes may be in the race, which only time keeps apart.
    shared: bool,
    until: Instant,
    /// When the last try was sent, and in how long a time the next pause ends.
    sent: Instant,
    window: Duration,
    /// Whether the last try came after a pause, on a session that was old by then.
    rested: bool,
    turn: Option<Turn<'a>>,
}

impl<'a> Race<'a> {
    pub(crate) fn new(contention: &'a Contention, store: &dyn SessionStore, key: SessionKey) -> Self {
        let shared = store.capabilities().has(SHARED);
        let sent = Instant::now();
        Self {
            contention,
            key,
            shared,
            until: sent + PATIENCE,
            sent,
            window: Duration::ZERO,
            rested: false,
            turn: None,
        }
    }

    /// Waits for its turn if others are at it already, and answers what they left.
    pub(crate) async fn join_if_busy(&mut self) -> Result<Option<Snapshot>> {
        match self.contention.place_if_busy(self.key) {
            Some(place) => self.take_turn(place).await,
            None => Ok(None),
        }
    }

    /// Another commit was faster. Answers what others have left in the meantime, if that is known.
    pub(crate) async fn lost(&mut self) -> Result<Option<Snapshot>> {
        if Instant::now() >= self.until {
            return Err(too_many());
        }
        if self.turn.is_none() {
            return self.take_turn(self.contention.place(self.key)).await;
        }
        // The answer to a try after a pause is the session as it is now: the next one is worth sending at once.
        if !std::mem::take(&mut self.rested) {
            self.pause().await?;
            self.rested = true;
        }
        Ok(None)
    }

    /// Leaves the session for the next in the queue.
    pub(crate) fn won(mut self, snapshot: &Snapshot) {
        if let Some(turn) = &mut self.turn {
            *turn.lane = Some(snapshot.clone());
        }
    }

    async fn take_turn(&mut self, place: Place<'a>) -> Result<Option<Snapshot>> {
        let lane = Arc::clone(&place.lane).lock_owned();
        // A store in this process answers at once, and its runtime need not have a timer.
        let lane = match self.shared {
            true => tokio::time::timeout_at(self.until.into(), lane).await.map_err(|_| too_many())?,
            false => lane.await,
        };
        let left = lane.clone();
        self.turn = Some(Turn { lane, _place: place });
        Ok(left)
    }

    async fn pause(&mut self) -> Result<()> {
        if !self.shared {
            tokio::task::yield_now().await;
            return Ok(());
        }
        // Where n writers meet, one of them wins in a window of n round trips. How many they are shows in the
        // number of tries.
        let round_trip = (self.sent.elapsed() / 2).max(Duration::from_millis(1));
        self.window = (2 * self.window).max(round_trip).min(LONGEST_PAUSE);
        let micros = u64::from_le_bytes(random()?) % whole_micros(self.window).max(1);
        tokio::time::sleep(Duration::from_micros(micros)).await;
        self.sent = Instant::now();
        Ok(())
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Conflict, "the session was changed by too many other requests at the same time")
        .with_retry(Retry::Now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySessionStore;
    use crate::token::Token;

    #[tokio::test]
    async fn writers_take_turns_in_order_and_the_last_takes_the_queue_away() {
        let (contention, store) = (Contention::default(), MemorySessionStore::new());
        let key = Token::generate().unwrap().key();
        let race = || Race::new(&contention, &store, key);
        let (mut first, mut second, mut cancelled) = (race(), race(), race());
        assert!(first.join_if_busy().await.unwrap().is_none());
        assert!(contention.is_quiet(), "nobody waits where nobody was met");
        first.lost().await.unwrap();
        let mut waiting = Box::pin(second.join_if_busy());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let mut also = Box::pin(cancelled.join_if_busy());
        assert!(futures_util::poll!(also.as_mut()).is_pending());
        drop(also);
        drop(first);
        waiting.as_mut().await.unwrap();
        drop(waiting);
        assert!(!contention.is_quiet());
        drop((second, cancelled));
        assert!(contention.is_quiet());
    }
}

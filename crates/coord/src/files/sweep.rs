//! Takes away what strangers have left behind, once its time is long over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use statehouse_core::{Clock, Error, Result, Timestamp, Version};
use statehouse_filestore::PageToken;
use tokio::task::AbortHandle;

use super::client::{Limit, Wire};
use super::config::Sweeps;
use super::seen::Seen;
use crate::away::is_away;
use crate::hashed::OF_STRANGERS;
use crate::key::CoordKey;
use crate::record::WriteId;
use crate::record::format::Stored;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many records are read at once.
const TOGETHER: usize = 16;

/// How many names are listed at once.
const PAGE: u16 = 1000;

/// Begins a sweep when it is due, beside whoever has reminded it.
#[derive(Debug)]
pub(super) struct Sweeper {
    sweep: Sweep,
    turn: Arc<Mutex<Turn>>,
}

#[derive(Debug, Default)]
struct Turn {
    /// Before that there is none, by the clock that nobody sets.
    next: Duration,
    running: Option<AbortHandle>,
}

#[derive(Clone, Debug)]
struct Sweep {
    wire: Wire,
    clock: Arc<dyn Clock>,
    seen: Arc<Seen>,
    sweeps: Sweeps,
}

impl Sweeper {
    pub(super) fn new(wire: Wire, clock: Arc<dyn Clock>, seen: Arc<Seen>, sweeps: Sweeps) -> Self {
        Self { sweep: Sweep { wire, clock, seen, sweeps }, turn: Arc::default() }
    }

    /// Such a record was written.
    pub(super) fn remind(&self) {
        let (mut turn, now) = (lock(&self.turn), self.sweep.clock.elapsed());
        if now < turn.next || turn.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        turn.next = now + self.sweep.sweeps.every;
        let (sweep, turns) = (self.sweep.clone(), Arc::clone(&self.turn));
        let running = tokio::spawn(async move {
            match sweep.begin().await {
                Ok(left) => lock(&turns).next = sweep.clock.elapsed() + left,
                Err(error) if is_away(&error) => {
                    tracing::debug!(name: "coord.sweep_failed", %error, "a sweep of tokens and requests has failed");
                }
                Err(error) => {
                    tracing::warn!(name: "coord.sweep_failed", %error, "used tokens and answered requests stay in the store");
                }
            }
        });
        turn.running = Some(running.abort_handle());
    }
}

impl Drop for Sweeper {
    /// A store that is closed holds nothing of its files any more.
    fn drop(&mut self) {
        if let Some(running) = lock(&self.turn).running.take() {
            running.abort();
        }
    }
}

fn lock(turn: &Mutex<Turn>) -> MutexGuard<'_, Turn> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn limit() -> Limit {
    Limit::new(Some(PATIENCE))
}

impl Sweep {
    /// Sweeps if nobody has for so long, and tells in how long it is due again.
    async fn begin(&self) -> Result<Duration> {
        let (every, now) = (self.sweeps.every, self.wire.files().now().await?);
        let name = self.wire.swept()?;
        let mark = self.wire.read_file(&name, limit()).await?;
        // One that is a little ahead is of another host's disk, or of a second that is not over.
        let apart = mark.as_ref().map(|mark| now.since(mark.modified).max(mark.modified.since(now)));
        let left = apart.map_or(Duration::ZERO, |apart| every.saturating_sub(apart));
        if !left.is_zero() {
            return Ok(left);
        }
        // Up to when all was looked at.
        let before = mark.as_ref().and_then(|mark| mark.stored.as_ref()).map(|stored| stored.stamp.version);
        let before = before.map(|micros| Timestamp::from_micros(micros.get())).filter(|before| *before <= now);
        let before = before.unwrap_or_default();
        // Of several who find it due, one goes on; another would do no harm.
        if self.wire.write_file(&name, mark.as_ref(), &marked(before, now)?, (None, limit())).await? {
            self.run(now, before).await?;
            let mark = self.wire.read_file(&name, limit()).await?;
            self.wire.write_file(&name, mark.as_ref(), &marked(now, now)?, (None, limit())).await?;
        }
        Ok(every)
    }

    /// One record that cannot be removed keeps none of the others.
    async fn run(&self, now: Timestamp, before: Timestamp) -> Result<()> {
        let (mut removed, mut failed) = (0, None);
        for kind in OF_STRANGERS {
            let (prefix, mut start) = (format!("{kind}/"), None::<PageToken>);
            loop {
                let (names, page) = self.wire.list(&prefix, start.as_ref(), PAGE, limit()).await?;
                let due = names.into_iter().filter(|(_, written)| self.is_to_be_read(*written, now, before));
                let due: Vec<_> = due.map(|(name, _)| name).collect();
                for some in due.chunks(TOGETHER) {
                    for done in join_all(some.iter().map(|key| self.remove_if_over(key, now))).await {
                        match done {
                            Ok(is_gone) => removed += u64::from(is_gone),
                            Err(error) if is_away(&error) => return Err(error),
                            Err(error) => failed = failed.or(Some(error)),
                        }
                    }
                }
                start = page.next;
                if start.is_none() {
                    break;
                }
            }
        }
        tracing::debug!(name: "coord.swept", removed, "used tokens and answered requests were swept");
        failed.map_or(Ok(()), Err::<_, Error>)
    }

    /// Whether its age has reached the leeway since the sweep before, or has doubled: so that one that is to stay for long is not
    /// read by each sweep.
    fn is_to_be_read(&self, written: Timestamp, now: Timestamp, before: Timestamp) -> bool {
        let doublings = |age: Duration| (age.as_micros() / self.sweeps.leeway.as_micros()).checked_ilog2();
        doublings(now.since(written)) > doublings(before.since(written))
    }

    /// Whether it is gone. What is no record stays, for somebody to look at.
    async fn remove_if_over(&self, key: &CoordKey, now: Timestamp) -> Result<bool> {
        let Some(found) = self.wire.read(key, limit()).await? else { return Ok(false) };
        let lives = match &found.stored {
            Some(stored) if stored.is_removed => Some(Duration::ZERO),
            Some(stored) => stored.time_to_live,
            None => None,
        };
        let Some((lives, stored)) = lives.zip(found.stored.as_ref()) else { return Ok(false) };
        let is_over = now.since(found.modified) > lives + self.sweeps.leeway;
        // Should the file store's clock have been set forward, whoever has seen it written knows better.
        if !is_over || self.seen.is_live(key, stored.id, lives, self.clock.elapsed()) {
            return Ok(false);
        }
        let is_gone = self.wire.delete(key, &found, limit()).await?;
        if is_gone {
            self.seen.forget(key);
        }
        Ok(is_gone)
    }
}

/// What says up to when all was looked at: its version; and that somebody is at it, by when it is written.
fn marked(up_to: Timestamp, now: Timestamp) -> Result<Stored> {
    let stored = Stored::new(WriteId::generate()?, None, bytes::Bytes::new());
    Ok(stored.stamped(Version::new(up_to.as_micros()), now))
}

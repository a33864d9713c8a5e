//! Keeping a lock: renewals, stepping down, and giving it back.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::policy::Backoff;
use statehouse_core::{Condition, ErrorKind, Guarded, Result, Retry, Version};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::format::{Owner, State};
use crate::api::CoordStore;
use crate::away::is_away;
use crate::capability::SERVER_TIME;
use crate::key::CoordKey;
use crate::lease::{Lease, free_when_over, lost, lost_before};
use crate::leases::Lessee;
use crate::operation::NAME;
use crate::options::{GetOptions, PutOptions, RemoveOptions};
use crate::outcome::PutOutcome;
use crate::record::Record;
use crate::term::{Moment, Term};

/// A lock that is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) store: Arc<dyn CoordStore>,
    pub(super) key: CoordKey,
    pub(super) owner: Owner,
    pub(super) holder: String,
    pub(super) lease: Duration,
    pub(super) leases: Lessee,
    pub(super) guarded: Vec<Arc<dyn Guarded>>,
}

/// How long giving a lock back may take. If it does not succeed, the lease ends it.
const RELEASE: Duration = Duration::from_secs(5);

/// The pauses between renewals that fail.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// How long a record says that its lock is free, where records expire by themselves: for no longer need a store know which version
/// was the last, and an application may lock a name for each of many things.
const FREE: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause before a lock that may have been acquired is given back once more.
const SELDOM: Duration = Duration::from_secs(10);

/// How often a lock is given back in vain.
const RELEASES: usize = 4;

impl Held {
    /// How long one request may take.
    pub(super) fn patience(&self) -> Duration {
        (self.lease / 3).min(RELEASE)
    }

    pub(super) fn value(&self) -> State {
        State::Held { owner: self.owner, holder: self.holder.clone() }
    }

    /// Whether the record is this holder's lock.
    pub(super) fn is_own(&self, record: &Record) -> bool {
        State::decode(&record.value).is_ok_and(|state| state.is_of(&self.owner))
    }

    /// Renews the lock until it is asked to give it back, or it is lost. Runs for itself, so that whatever the holder does keeps
    /// no renewal waiting.
    pub(super) async fn keep(
        self,
        lease: watch::Sender<Lease<Version>>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<()> {
        let mut leases = self.leases.clone();
        loop {
            let renewed = tokio::select! {
                biased;
                _ = &mut stop => {
                    let held = *lease.borrow();
                    if !held.is_held() {
                        // The holder has seen that its time is over before this task has.
                        break;
                    }
                    lease.send_modify(|lease| lease.is_over = true);
                    return self.free(Some(held.known)).await;
                }
                () = leases.closed() => return self.close(&lease, stop).await,
                // Before an answer is taken: what the holder has seen to be lost is not held again.
                () = lost(lease.subscribe()) => false,
                renewed = self.renew(&lease) => renewed,
            };
            if !renewed {
                break;
            }
        }
        lease.send_modify(|lease| lease.is_over = true);
        tracing::warn!(name: "coord.lock_lost", lock = self.key.as_str(), "a lock was lost before it was released");
        let (error, term) = (lost_before(NAME.lock, &self.key), lease.borrow().term);
        let leases = self.leases.clone();
        let free = async move {
            if let Err(error) = self.free(None).await {
                tracing::debug!(name: "coord.lock_not_freed", lock = self.key.as_str(), %error, "what is left of a lock that was lost ends with its lease");
            }
        };
        free_when_over(term, leases, free).await;
        Err(error)
    }

    /// The program ends. Whoever has the lock may be at work until they drop the guard: it is given back only then, and if that
    /// takes longer than the lease, not at all.
    async fn close(&self, lease: &watch::Sender<Lease<Version>>, stop: oneshot::Receiver<()>) -> Result<()> {
        let held = *lease.borrow();
        lease.send_modify(|lease| lease.is_over = true);
        match timeout_at(held.term.deadline(), stop).await {
            Ok(_) => self.free(Some(held.known)).await,
            Err(_) => Ok(()),
        }
    }

    /// One renewal, at a third of the lease. Whether the lock is still held.
    async fn renew(&self, lease: &watch::Sender<Lease<Version>>) -> bool {
        let Lease { term, known: mut version, .. } = *lease.borrow();
        let deadline = term.deadline();
        let mut backoff = Backoff::new(PAUSES[0].min(self.lease / 10), PAUSES[1].min(self.lease / 5));
        term.down_to(self.lease * 2 / 3).await;
        loop {
            let (sent, left) = (Moment::now(), term.left());
            if left.is_zero() {
                return false;
            }
            let options = PutOptions::default().with_condition(Condition::Match(version));
            let options = options.with_time_to_live(self.lease).with_deadline(left.min(self.patience()));
            let put = self.store.put_with(&self.key, self.value().encode(), options);
            match timeout_at(deadline, put).await {
                Err(_) => return false,
                Ok(Ok(PutOutcome::Stored(version))) => {
                    lease.send_modify(|lease| (lease.term, lease.known) = (Term::new(sent, self.lease), version));
                    return true;
                }
                // A renewal before, whose answer was lost.
                Ok(Ok(PutOutcome::Conflict(Some(record)))) if self.is_own(&record) => {
                    version = record.version;
                    continue;
                }
                Ok(Ok(PutOutcome::Conflict(_))) => return false,
                Ok(Err(error)) => {
                    tracing::debug!(name: "coord.lock_not_renewed", lock = self.key.as_str(), %error, "a lock was not renewed")
                }
            }
            sleep_until(deadline.min(Instant::now() + backoff.pause())).await;
        }
    }

    /// Marks the lock free if it still is this holder's.
    pub(super) async fn free(&self, known: Option<Version>) -> Result<()> {
        let until = Instant::now() + RELEASE;
        let mut version = match known {
            Some(version) => version,
            None => match self.own_version(until).await? {
                Some(version) => version,
                None => return Ok(()),
            },
        };
        let mut done = Ok(());
        for _ in 0..RELEASES {
            let left = until.saturating_duration_since(Instant::now());
            let mut options = PutOptions::default().with_condition(Condition::Match(version)).with_deadline(left);
            options.time_to_live = self.store.capabilities().has(SERVER_TIME).then_some(FREE);
            match self.store.put_with(&self.key, State::Free.encode(), options).await {
                Ok(PutOutcome::Conflict(Some(record))) if self.is_own(&record) => version = record.version,
                // Somebody else has it, or had it, unless it was a try before that gave it back.
                Ok(PutOutcome::Conflict(_)) if done.is_ok() => return Err(lost_before(NAME.lock, &self.key)),
                Ok(_) => return Ok(()),
                // If it was done, the next try finds it so.
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => done = Err(error),
                // What is removed takes no room.
                Err(error) if error.retry() == Retry::FULL => {
                    let options = RemoveOptions::default().with_deadline(left);
                    return self.store.remove_with(&self.key, version, options).await.map(drop);
                }
                Err(error) => return Err(error),
            }
        }
        done
    }

    /// Frees a lock that may have been acquired, and that nobody holds, however long the store is away: else it would be left
    /// to its lease, which may be long.
    pub(super) async fn free_in_doubt(&self) {
        let until = Instant::now().checked_add(self.lease);
        let (mut backoff, mut leases) = (Backoff::new(PAUSES[0], SELDOM), self.leases.clone());
        while let Err(error) = self.free(None).await {
            if !is_away(&error) || until.is_some_and(|until| Instant::now() >= until) {
                tracing::debug!(name: "coord.lock_in_doubt", lock = self.key.as_str(), %error, "a lock that may have been acquired ends with its lease");
                return;
            }
            tokio::select! {
                // The program ends, and waits for nobody's lock.
                () = leases.closed() => return,
                () = sleep(backoff.pause()) => {}
            }
        }
    }

    async fn own_version(&self, until: Instant) -> Result<Option<Version>> {
        let left = until.saturating_duration_since(Instant::now());
        let found = self.store.get_with(&self.key, GetOptions::default().with_deadline(left)).await?;
        Ok(found.filter(|record| self.is_own(record)).map(|record| record.version))
    }
}

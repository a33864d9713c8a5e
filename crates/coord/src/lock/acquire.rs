//! Acquiring a lock, and waiting for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use statehouse_core::policy::Backoff;
use statehouse_core::{Condition, Error, ErrorKind, Fence, Guarded, Result, Version};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::busy::{Busy, LockError};
use super::format::State;
use super::guard::Guard;
use super::keep::Held;
use crate::away::{answer_in, is_away, time_of_try};
use crate::capability::{DURABLE, SHARED};
use crate::options::{PutOptions, WaitOptions};
use crate::outcome::PutOutcome;
use crate::record::Record;
use crate::term::Moment;

pub(super) type Answer = Result<Guard, LockError>;

/// How often a try begins anew because what it found has changed, or because its answer was lost.
const TRIES: usize = 16;

/// The pauses before a store that is away is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// How long raising the marks may take.
const RAISING: Duration = Duration::from_secs(5);

/// How one try went.
enum Tried {
    /// Acquired, under this version, by a request sent at that time.
    Held(Version, Moment),
    /// Somebody else has it.
    Busy(Record, Busy),
}

impl Held {
    /// Acquires the lock within this time, for whoever waits for the answer. If nobody does any more, it is given back.
    pub(super) async fn acquire(self, wait: Duration, mut answer: oneshot::Sender<Answer>) {
        let mut in_doubt = false;
        let acquired = self.acquire_within(wait, &mut answer, &mut in_doubt).await;
        in_doubt &= !matches!(acquired, Some(Ok(_)));
        if let Some(acquired) = acquired {
            // A guard that cannot be handed out is dropped, which gives the lock back.
            drop(answer.send(acquired));
        }
        if in_doubt {
            self.free_in_doubt().await;
        }
    }

    /// None if nobody waits for it any more. In doubt is what may have been acquired by a try whose answer was lost.
    async fn acquire_within(
        &self,
        wait: Duration,
        answer: &mut oneshot::Sender<Answer>,
        in_doubt: &mut bool,
    ) -> Option<Answer> {
        let until = Instant::now().checked_add(wait);
        let left = || until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1]);
        let mut leases = self.leases.clone();
        loop {
            if let Err(error) = self.leases.check() {
                return Some(Err(error.into()));
            }
            let time = time_of_try(self.patience(), wait, left());
            let pause = match self.try_acquire(time).await {
                Ok(Tried::Held(token, sent)) => match self.guard(token, sent).await {
                    Err(LockError::Failed(error)) if !left().is_zero() && is_away(&error) => {
                        Pause::Sleep(backoff.pause())
                    }
                    answer => return Some(answer),
                },
                Ok(Tried::Busy(_, busy)) if left().is_zero() => return Some(Err(busy.into())),
                Ok(Tried::Busy(record, busy)) => Pause::Wait(record.version, busy.expires_in),
                Err(error) => {
                    *in_doubt |= error.kind() == ErrorKind::OutcomeUnknown;
                    if left().is_zero() || !is_away(&error) {
                        return Some(Err(error.into()));
                    }
                    Pause::Sleep(backoff.pause())
                }
            };
            tokio::select! {
                () = answer.closed() => return None,
                () = leases.closed() => {}
                () = self.pause(pause, left()) => {}
            }
        }
    }

    async fn pause(&self, pause: Pause, left: Duration) {
        match pause {
            Pause::Sleep(time) => tokio::time::sleep(time.min(left)).await,
            Pause::Wait(version, expires_in) => {
                let limit = expires_in.unwrap_or(left).min(left).max(Duration::from_millis(1));
                let options = WaitOptions::default().with_limit(limit);
                self.store.wait_with(&self.key, Some(version), options).await;
            }
        }
    }

    async fn try_acquire(&self, time: Duration) -> Result<Tried> {
        durable(&*self.store)?;
        let (begun, mut condition, mut lost) = (Instant::now(), Condition::Absent, None);
        for _ in 0..TRIES {
            let sent = Moment::now();
            let options = PutOptions::default().with_condition(condition).or_in_place_of(State::Free.encode());
            let options = options.with_time_to_live(self.lease).with_deadline(time);
            let put = self.store.put_with(&self.key, self.value().encode(), options);
            let record = match answer_in(time, put).await {
                Ok(PutOutcome::Stored(version)) => return Ok(Tried::Held(version, sent)),
                Ok(PutOutcome::Conflict(record)) => record,
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown && begun.elapsed() < time => {
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(lost.unwrap_or(error)),
            };
            let Some(record) = record else {
                condition = Condition::Absent;
                continue;
            };
            match State::decode(&record.value)? {
                // The store does not know that this is as good as no record.
                State::Free => condition = Condition::Match(record.version),
                // A try before, whose answer was lost, or a release: since when it is held nobody knows, so that its lease
                // begins anew.
                State::Held { owner, .. } if owner == self.owner => condition = Condition::Match(record.version),
                State::Held { holder, .. } => {
                    let busy = Busy::new(self.key.clone(), holder, record.expires_in);
                    return Ok(Tried::Busy(record, busy));
                }
            }
        }
        let message = "others have taken this lock again and again";
        Err(lost.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, message)))
    }

    async fn guard(&self, token: Version, sent: Moment) -> Answer {
        let guard = Guard::keep(self.clone(), token, sent);
        match self.check(&guard).await {
            Ok(()) => Ok(guard),
            Err(error) => {
                let is_lost = error.kind() == ErrorKind::Conflict && !guard.is_held();
                if let Err(error) = guard.release().await {
                    tracing::debug!(name: "coord.lock_not_given_back", lock = self.key.as_str(), %error, "a lock that was not handed out ends with its lease");
                }
                Err(if is_lost { lost_again(error) } else { error }.into())
            }
        }
    }

    /// What must be so before the lock is handed out.
    async fn check(&self, guard: &Guard) -> Result<()> {
        // What a store can do may be known only once it was asked.
        durable(&*self.store)?;
        // The lease is renewed meanwhile.
        guard.run(raise_all(&self.guarded, guard.fence())).await.map_err(regressed)
    }
}

/// Raises the mark in all of these stores.
pub(crate) async fn raise_all(stores: &[Arc<dyn Guarded>], fence: &Fence) -> Result<()> {
    let marks = stores.iter().map(|store| store.raise(fence, RAISING));
    match timeout(RAISING, try_join_all(marks)).await {
        Ok(raised) => raised.map(drop),
        Err(_) => {
            let message = format!("a store that is guarded has not raised its mark within {RAISING:?}");
            Err(Error::new(ErrorKind::Timeout, message))
        }
    }
}

/// What acquires it goes on, as where it was not acquired.
fn lost_again(error: Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the lock was lost before it could be handed out").with_source(error)
}

/// A mark that is higher than a token that was given out just now.
fn regressed(error: Error) -> Error {
    if error.kind() != ErrorKind::Fenced {
        return error;
    }
    let message = "a store that the lock guards has seen a greater token than this one: the coordination store was lost or \
                   replaced, and its clock is behind that of before";
    Error::new(ErrorKind::Fenced, message).with_source(error)
}

enum Pause {
    Sleep(Duration),
    /// Until the record is at another version, or expires.
    Wait(Version, Option<Duration>),
}

/// Refuses a store that replicas share and that may forget who has a lock.
pub(crate) fn durable(store: &dyn crate::api::CoordStore) -> Result<()> {
    let has = store.capabilities();
    if !has.has(SHARED) || has.has(DURABLE) {
        return Ok(());
    }
    let message = "this store is shared by replicas and does not keep what it has acknowledged, so that two of them could \
                   do what only one may: it must be durable (of Redis: appendonly yes, maxmemory-policy noeviction)";
    Err(Error::new(ErrorKind::Unsupported, message))
}

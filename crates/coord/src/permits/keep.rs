//! Acquiring a permit, keeping it, and giving it back.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::Result;
use statehouse_core::policy::Backoff;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::permit::Permit;
use crate::away::{answer_in, is_away, time_of_try};
use crate::key::CoordKey;
use crate::lease::{Lease, free_when_over, lost, lost_before};
use crate::leases::Lessee;
use crate::operation::NAME;
use crate::signals::{AcquireOptions, Acquired, PermitId, ReleaseOptions, RenewOptions, Renewed, Signals};
use crate::term::{Moment, Term};

/// A permit that is wanted, or held.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    signals: Arc<dyn Signals>,
    key: CoordKey,
    id: PermitId,
    options: AcquireOptions,
    leases: Lessee,
}

/// How long giving one back may take. If it does not succeed, the lease ends it.
const RELEASE: Duration = Duration::from_secs(5);

/// The pauses of who waits, and of renewals that fail.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

impl Wanted {
    pub(super) fn new(
        signals: Arc<dyn Signals>,
        key: CoordKey,
        options: AcquireOptions,
        leases: Lessee,
    ) -> Result<Self> {
        let id = PermitId::generate()?;
        Ok(Self { signals, key, id, options, leases })
    }

    /// How long a request may take.
    fn patience(&self) -> Duration {
        (self.lease() / 3).min(RELEASE)
    }

    const fn lease(&self) -> Duration {
        self.options.lease
    }

    pub(super) async fn acquire(self, wait: Duration, mut answer: oneshot::Sender<Result<Option<Permit>>>) {
        let until = Instant::now().checked_add(wait);
        let left = || until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let (mut backoff, mut in_doubt) = (Backoff::new(PAUSES[0], PAUSES[1]), false);
        let mut leases = self.leases.clone();
        let acquired = loop {
            if let Err(error) = self.leases.check() {
                break Some(Err(error));
            }
            let (sent, time) = (Moment::now(), time_of_try(self.patience(), wait, left()));
            let options = self.options.clone().with_deadline(time);
            let tried = self.signals.acquire_with(&self.key, self.id, options);
            let pause = match answer_in(time, tried).await {
                Ok(Acquired::Held(_)) => break Some(Ok(Some(self.clone().held(sent)))),
                Ok(Acquired::Full { .. }) if left().is_zero() => break Some(Ok(None)),
                Ok(Acquired::Full { retry_after, .. }) => backoff.pause().min(retry_after),
                Err(error) => {
                    in_doubt |= is_away(&error);
                    if left().is_zero() || !is_away(&error) {
                        break Some(Err(error));
                    }
                    backoff.pause()
                }
            };
            tokio::select! {
                () = answer.closed() => break None,
                () = leases.closed() => {}
                () = sleep(pause.min(left()).max(Duration::from_millis(1))) => {}
            }
        };
        let is_held = matches!(acquired, Some(Ok(Some(_))));
        if let Some(acquired) = acquired {
            // One that cannot be handed out is dropped, which gives it back.
            drop(answer.send(acquired));
        }
        if in_doubt
            && !is_held
            && let Err(error) = self.release().await
        {
            tracing::debug!(name: "coord.permit_in_doubt", permit = self.key.as_str(), %error, "a permit that may have been acquired ends with its lease");
        }
    }

    /// It was acquired by a request sent at that time.
    fn held(self, sent: Moment) -> Permit {
        let key = self.key.clone();
        let (sender, lease) = watch::channel(Lease::new(Term::new(sent, self.lease()), ()));
        let (stop, stopped) = oneshot::channel();
        Permit::new(key, lease, stop, tokio::spawn(self.keep(sender, stopped)))
    }

    /// Renews it until it is to be given back, or lost. Runs for itself, so that whatever the holder does keeps no renewal
    /// waiting.
    async fn keep(self, lease: watch::Sender<Lease>, mut stop: oneshot::Receiver<()>) -> Result<()> {
        let mut leases = self.leases.clone();
        loop {
            let is_held = tokio::select! {
                biased;
                _ = &mut stop => {
                    if !lease.borrow().is_held() {
                        // The holder has seen that its time is over before this task has.
                        break;
                    }
                    lease.send_modify(|lease| lease.is_over = true);
                    return self.release().await;
                }
                () = leases.closed() => return self.close(&lease, stop).await,
                // Before an answer is taken: what the holder has seen to be lost is not held again.
                () = lost(lease.subscribe()) => false,
                is_held = self.renew(&lease) => is_held,
            };
            if !is_held {
                break;
            }
        }
        lease.send_modify(|lease| lease.is_over = true);
        tracing::warn!(name: "coord.permit_lost", permit = self.key.as_str(), "a permit was lost before it was released");
        let (error, term) = (lost_before(NAME.permits, &self.key), lease.borrow().term);
        let leases = self.leases.clone();
        let free = async move {
            if let Err(error) = self.release().await {
                tracing::debug!(name: "coord.permit_not_freed", permit = self.key.as_str(), %error, "what is left of a permit that was lost ends with its lease");
            }
        };
        free_when_over(term, leases, free).await;
        Err(error)
    }

    /// The program ends. Whoever has the permit may be at work until they drop it: it is given back only then, and if that takes
    /// longer than the lease, not at all.
    async fn close(&self, lease: &watch::Sender<Lease>, stop: oneshot::Receiver<()>) -> Result<()> {
        let deadline = lease.borrow().term.deadline();
        lease.send_modify(|lease| lease.is_over = true);
        match timeout_at(deadline, stop).await {
            Ok(_) => self.release().await,
            Err(_) => Ok(()),
        }
    }

    async fn release(&self) -> Result<()> {
        let options = ReleaseOptions::default().with_deadline(RELEASE);
        answer_in(RELEASE, self.signals.release_with(&self.key, self.id, options)).await
    }

    /// One renewal, at a third of the lease. Whether it is still held.
    async fn renew(&self, lease: &watch::Sender<Lease>) -> bool {
        let (term, length) = (lease.borrow().term, self.lease());
        let deadline = term.deadline();
        let mut backoff = Backoff::new(PAUSES[0], PAUSES[1].min(length / 5));
        term.down_to(length * 2 / 3).await;
        loop {
            let (sent, left) = (Moment::now(), term.left());
            if left.is_zero() {
                return false;
            }
            let patience = left.min(self.patience());
            let options = RenewOptions::new(length).with_deadline(patience);
            match timeout_at(deadline, self.signals.renew_with(&self.key, self.id, options)).await {
                Ok(Ok(Renewed::Held)) => {
                    lease.send_modify(|lease| lease.term = Term::new(sent, length));
                    return true;
                }
                Err(_) | Ok(Ok(Renewed::Lost)) => return false,
                Ok(Err(error)) => {
                    tracing::debug!(name: "coord.permit_not_renewed", permit = self.key.as_str(), %error, "a permit was not renewed")
                }
            }
            sleep_until(deadline.min(Instant::now() + backoff.pause())).await;
        }
    }
}

//! Sessions of a principal that end together.

use std::time::Duration;

use futures_util::future::join_all;
use statehouse_core::{Error, ErrorKind, Result};

use super::RedisSessionStore;
use super::logins::{ANY, Seen};
use super::principals::{AT_ONCE, Deadline};
use crate::options::{DeleteOptions, SaveOptions};
use crate::outcome::{Deleted, Saved};
use crate::record::{Authority, Principal, Revoke};
use crate::token::SessionKey;

/// How often a session that is kept is saved anew because others were faster, while all the others end.
const TRIES: u32 = 16;

/// How much longer each time whoever keeps a session waits for another who does.
const YIELD: Duration = Duration::from_millis(10);

impl RedisSessionStore {
    pub(super) async fn end(&self, which: Revoke<'_>, deadline: Deadline) -> Result<()> {
        match which {
            Revoke::One(principal, key) => {
                self.end_all(principal, &[*key], ANY, deadline).await?;
                // It has ended. What has ended may stay in the index.
                let _ = self.principals.forget(principal, &[*key], deadline.left()).await;
                Ok(())
            }
            Revoke::All(principal) => {
                let epoch = self.principals.revoke(Some(principal), deadline).await?;
                self.sweep_later(principal, epoch);
                Ok(())
            }
            Revoke::Others(principal, kept) => {
                let epoch = self.end_others(principal, kept, deadline).await?;
                self.sweep_later(principal, epoch);
                Ok(())
            }
            Revoke::Everything => self.principals.revoke(None, deadline).await.map(drop),
        }
    }

    /// Ends all sessions of the principal but one: that is taken into the epoch that then begins. Answers the epoch.
    ///
    /// Between the two steps the session that stays is in a later epoch than its principal. If nobody makes the second, nothing has ended,
    /// and every other revocation ends it, since its epoch is later than what was given to this session.
    async fn end_others(&self, principal: &Principal, kept: &SessionKey, deadline: Deadline) -> Result<u64> {
        for tried in 1..=TRIES {
            // First: whoever is revoked once this number is given is over in spite of it.
            let next = self.principals.keep(principal, deadline).await?;
            let Seen { live, .. } = self.see(principal, &[*kept], deadline).await?;
            // None of theirs, or not any more: then all that they have are others.
            let Some(session) = live.first() else { return self.principals.revoke(Some(principal), deadline).await };
            let record = session.record().clone().with_epoch(next);
            let options = SaveOptions { deadline: deadline.left(), ends_others: true, ..SaveOptions::default() };
            match self.swap_live(session, Authority::Application, record, None, options).await? {
                Saved::Applied(_) => {}
                Saved::Gone | Saved::Superseded | Saved::Conflict(_) => continue,
            }
            if let Some(epoch) = self.principals.advance(principal, next, deadline.left()).await? {
                return Ok(epoch);
            }
            // Whoever keeps another one goes first, or both get in each other's way again.
            tokio::time::sleep(YIELD.saturating_mul(tried).min(deadline.left().unwrap_or(Duration::MAX))).await;
        }
        Err(Error::new(ErrorKind::Conflict, "the session that is kept was changed by too many other requests"))
    }

    /// Deletes what an epoch has ended already, in the background: no load finds it any more.
    fn sweep_later(&self, principal: &Principal, epoch: u64) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, principal) = (self.clone(), principal.clone());
        runtime.spawn(async move {
            let swept = async {
                let listed = store.principals.listed(&principal, None).await?;
                let ended = store.end_all(&principal, &listed.all(), epoch, Deadline::default()).await?;
                match store.wire.redis().is_cluster() {
                    true => store.principals.forget(&principal, &listed.without(ended), None).await,
                    false => Ok(()),
                }
            };
            if let Err(error) = swept.await {
                tracing::debug!(name: "session.revoked_not_deleted", kind = %error.kind(), "revoked sessions lie there until they expire");
            }
        });
    }

    /// Deletes those of these sessions that are the principal's, and whose login began before the epoch. Answers which are not there any more;
    /// where it lies on the same server, they have left the index.
    pub(super) async fn end_all(
        &self,
        principal: &Principal,
        keys: &[SessionKey],
        epoch: u64,
        deadline: Deadline,
    ) -> Result<Vec<SessionKey>> {
        let mut over = Vec::new();
        for keys in keys.chunks(AT_ONCE) {
            let options = DeleteOptions { deadline: deadline.left(), ..DeleteOptions::default() };
            let end = |key| {
                let before = self.principals.before(principal, epoch);
                self.wire.delete(key, None, Some(before), None, &options)
            };
            for (key, ended) in keys.iter().zip(join_all(keys.iter().map(end)).await) {
                over.extend((ended?.0 != Deleted::Refused).then_some(*key));
            }
        }
        Ok(over)
    }

    /// Takes out of the index what has ended, in the background: it does no harm there.
    pub(super) fn forget_later(&self, principal: &Principal, ended: Vec<SessionKey>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if ended.is_empty() {
            return;
        }
        let (store, principal) = (self.clone(), principal.clone());
        runtime.spawn(async move { store.principals.forget(&principal, &ended, None).await });
    }
}

//! Sessions of a principal that end together.

use std::time::Duration;

use futures_util::future::join_all;
use statehouse_core::{Error, ErrorKind, Result};

use super::RedisSessionStore;
use super::logins::ANY;
use super::principals::Deadline;
use crate::options::{DeleteOptions, SaveOptions};
use crate::outcome::Saved;
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
            let live = self.live(principal, &[*kept], deadline).await?;
            // None of theirs, or not any more: then all that they have are others.
            let Some(session) = live.first() else { return self.principals.revoke(Some(principal), deadline).await };
            let record = session.record().clone().with_epoch(next);
            let options = SaveOptions { deadline: deadline.left(), ..SaveOptions::default() };
            match self.swap_live(session, Authority::Application, record, None, options).await? {
                Saved::Applied(_) => {}
                Saved::Gone | Saved::Superseded | Saved::Conflict(_) => continue,
            }
            if let Some(epoch) = self.principals.advance(principal, next, deadline.left()).await? {
                return Ok(epoch);
            }
            // Whoever keeps another one goes first, or both get in each other's way again.
            tokio::time::sleep(YIELD.saturating_mul(tried)).await;
        }
        Err(Error::new(ErrorKind::Conflict, "the session that is kept was changed by too many other requests"))
    }

    /// Deletes what an epoch has ended already, in the background: no load finds it any more.
    fn sweep_later(&self, principal: &Principal, epoch: u64) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, principal) = (self.clone(), principal.clone());
        runtime.spawn(async move {
            let swept = async {
                let keys = store.principals.listed(&principal, None).await?;
                store.end_all(&principal, &keys, epoch, Deadline::default()).await
            };
            if let Err(error) = swept.await {
                tracing::debug!(name: "session.revoked_not_deleted", kind = %error.kind(), "revoked sessions lie there until they expire");
            }
        });
    }

    /// Deletes those of these sessions that are the principal's, and whose login began before the epoch.
    pub(super) async fn end_all(
        &self,
        principal: &Principal,
        keys: &[SessionKey],
        epoch: u64,
        deadline: Deadline,
    ) -> Result<()> {
        let before = Some((principal, epoch));
        let options = DeleteOptions { deadline: deadline.left(), ..DeleteOptions::default() };
        let ended = join_all(keys.iter().map(|key| self.wire.delete(key, None, before, None, &options))).await;
        ended.into_iter().try_for_each(|ended| ended.map(drop))
    }
}

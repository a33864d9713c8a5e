//! Who logs in to the sessions in memory, and which of them end together.

use statehouse_core::{Result, Timestamp};

use super::State;
use crate::outcome::REMEMBERED;
use crate::principals::Login;
use crate::record::{Principal, Revoke, Snapshot};
use crate::token::SessionKey;

impl State {
    /// The sessions that live, of a principal or of all.
    pub(super) fn of(&self, principal: Option<&Principal>, now: Timestamp) -> Vec<Snapshot> {
        self.principals.of(principal).iter().filter_map(|key| self.live(key, now)).collect()
    }

    /// The epoch of a login to the session of this key, for which others may end.
    pub(super) fn admit(&mut self, key: &SessionKey, login: &Login<'_>, now: Timestamp) -> Result<u64> {
        let epoch = self.principals.admit(login.principal, login.epoch, now)?;
        if login.limit.is_some() {
            for oldest in login.evicts(key, self.of(Some(login.principal), now))? {
                self.replace(oldest, None, now + REMEMBERED);
            }
        }
        Ok(epoch)
    }

    /// Ends sessions that live.
    pub(super) fn revoke(&mut self, which: Revoke<'_>, now: Timestamp) {
        let (principal, one, kept) = which.parts();
        if one.is_none() {
            self.principals.revoke(principal, now);
        }
        for session in self.of(principal, now) {
            let key = *session.record().key();
            if one.is_none_or(|one| *one == key) && kept != Some(&key) {
                self.replace(key, None, now + REMEMBERED);
            }
        }
    }
}

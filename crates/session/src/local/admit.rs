//! Who logs in to the sessions of a folder, and which of them end together.

use statehouse_core::Timestamp;

use super::{Failure, Inner};
use crate::outcome::{Loaded, not_evicted};
use crate::principals::Login;
use crate::record::{Principal, Record, Snapshot};
use crate::token::SessionKey;

impl Inner {
    /// Reads whose the sessions are that are stored. Which revocations there were is not: so no login stands that began before.
    pub(super) fn learn(&self) -> Result<(), Failure> {
        self.folder.visit_all(|key| {
            if let Err(failure) = self.learn_one(key) {
                tracing::warn!(name: "session.not_read", error = %failure.into_error(), "whose a session is cannot be read yet");
                self.logins.unread().insert(*key);
            }
        })?;
        self.logins.index().revoke(None, self.clock.now());
        Ok(())
    }

    /// What is no session is nobody's, and what the disk does not give may be anybody's.
    fn learn_one(&self, key: &SessionKey) -> Result<(), Failure> {
        match self.find(key) {
            Ok(Loaded::Found(session)) => self.logins.index().learn(session.record()),
            Ok(_) | Err(Failure::Other(_) | Failure::Full(_)) => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Reads what could not be read before: an error as long as it is not known of each session whose it is.
    fn learn_rest(&self) -> Result<(), Failure> {
        let (unread, mut learned) = (self.logins.unread().clone(), Ok(()));
        for key in unread {
            match self.learn_one(&key) {
                Ok(()) => drop(self.logins.unread().remove(&key)),
                failed => learned = failed,
            }
        }
        learned
    }

    /// The epoch of what begins now.
    pub(super) fn begin(&self) -> u64 {
        let mut index = self.logins.index();
        index.begin(self.clock.now())
    }

    /// The sessions that live, of a principal or of all.
    pub(super) fn of(&self, principal: Option<&Principal>) -> Result<Vec<Snapshot>, Failure> {
        self.learn_rest()?;
        let keys = self.logins.index().of(principal);
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            match self.find(&key) {
                Ok(Loaded::Found(session)) if principal.is_none_or(|who| session.record().principal() == Some(who)) => {
                    found.push(session);
                }
                Ok(_) | Err(Failure::Other(_) | Failure::Full(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    /// The record in the epoch of the login, if it is by one, and which sessions are to end for it once it is stored. The caller
    /// holds the order of logins and the lock of that session.
    pub(super) fn log_in(
        &self,
        record: Record,
        login: Option<&Login<'_>>,
        now: Timestamp,
    ) -> Result<(Record, Vec<SessionKey>), Failure> {
        let Some(login) = login else { return Ok((record, Vec::new())) };
        let epoch = self.logins.index().admit(login.principal, login.epoch, now)?;
        let ending = match login.limit {
            Some(_) => login.evicts(record.key(), self.of(Some(login.principal))?)?,
            None => Vec::new(),
        };
        Ok((record.with_epoch(epoch), ending))
    }

    /// What a login is answered whose first try has made it. That may have come no further: what is to end for it ends now. The caller
    /// holds the order of logins and the lock of that session.
    pub(super) fn made_before(&self, made: Snapshot, login: Option<&Login<'_>>) -> Result<Snapshot, Failure> {
        let is_theirs = |login: &&Login<'_>| made.record().principal() == Some(login.principal);
        if let Some(login) = login.filter(is_theirs).filter(|login| login.limit.is_some()) {
            let (key, theirs) = (made.record().key(), self.of(Some(login.principal)));
            let theirs = theirs.map_err(|failure| Failure::Other(not_evicted(failure.into_error())))?;
            self.evict(&login.still_evicts(key, theirs), key)?;
        }
        Ok(made)
    }

    /// Ends the sessions that make room for one that is stored, whose lock the caller holds.
    pub(super) fn evict(&self, ending: &[SessionKey], held: &SessionKey) -> Result<(), Failure> {
        for oldest in ending {
            // Nobody who holds the lock of a session waits for another's, but for this one, and of those there is one.
            let _lock = self.folder.lock_beside(oldest, held);
            self.bury(oldest).map_err(|failure| Failure::Other(not_evicted(failure.into_error())))?;
            let used = self.folder.used();
            // It is gone all the same. That it was is remembered only if there is room for it.
            if !self.bounds.hold(used.files, used.bytes) {
                let _ = self.free(oldest);
            }
        }
        Ok(())
    }

    /// Ends the sessions that live, of a principal or of all: that one, or all but this.
    ///
    /// With the first step no login stands that began before, and those that were let in are stored. Later ones need not wait for the
    /// second, which takes a write for each session: they are in a later epoch.
    pub(super) fn revoke(
        &self,
        principal: Option<&Principal>,
        one: Option<SessionKey>,
        kept: Option<SessionKey>,
    ) -> Result<(), Failure> {
        if let Some(one) = one {
            return self.end(&one, |record| record.principal().is_some() && record.principal() == principal);
        }
        let epoch = {
            let _order = self.logins.lock();
            self.logins.index().revoke(principal, self.clock.now())
        };
        let is_over = |record: &Record| {
            principal.is_none_or(|who| record.principal() == Some(who)) && record.is_revoked_in(epoch)
        };
        // What is known ends all the same.
        let learned = self.learn_rest();
        let keys = self.logins.index().of(principal);
        let others = keys.iter().filter(|key| kept != Some(**key));
        others.map(|key| self.end(key, is_over)).fold(Ok(()), Result::and).and(learned)
    }

    /// Ends a session that lives, if it is over. What cannot be read is nobody's.
    fn end(&self, key: &SessionKey, is_over: impl FnOnce(&Record) -> bool) -> Result<(), Failure> {
        let _lock = self.folder.lock(key);
        match self.find(key) {
            Ok(Loaded::Found(session)) if is_over(session.record()) => self.bury(key),
            Ok(_) | Err(Failure::Other(_) | Failure::Full(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

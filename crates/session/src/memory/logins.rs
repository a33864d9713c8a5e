//! Who logs in to the sessions in memory, and which of them end together.

use statehouse_core::{Result, Timestamp};

use super::State;
use crate::bounds::Bounds;
use crate::outcome::Loaded;
use crate::principals::Login;
use crate::record::{Principal, Record, Revoke, Snapshot};
use crate::token::SessionKey;

impl State {
    /// The sessions that live, of a principal or of all.
    pub(super) fn of(&self, principal: Option<&Principal>, now: Timestamp) -> Vec<Snapshot> {
        self.principals.of(principal).iter().filter_map(|key| self.live(key, now)).collect()
    }

    /// The record in the epoch of the login, if it is by one, and which sessions are to end for it once it is certain to be stored.
    pub(super) fn log_in(
        &mut self,
        record: Record,
        login: Option<Login<'_>>,
        now: Timestamp,
    ) -> Result<(Record, Vec<SessionKey>)> {
        let Some(login) = login else { return Ok((record, Vec::new())) };
        let epoch = self.principals.admit(login.principal, login.epoch, now)?;
        let ending = match login.limit {
            Some(_) => login.evicts(record.key(), self.of(Some(login.principal), now))?,
            None => Vec::new(),
        };
        Ok((record.with_epoch(epoch), ending))
    }

    /// Ends the sessions that make room for the record. What is remembered of them gives way if it needs even that.
    pub(super) fn evict(&mut self, ending: &[SessionKey], record: &Record, now: Timestamp, bounds: Bounds) {
        for key in ending {
            self.replace(*key, None, now);
        }
        while !ending.is_empty()
            && !self.has_room(record, &[], bounds)
            && (self.remove_ended() || self.remove_expendable(record.key()))
        {}
    }

    /// Forgets the oldest revocations of which there is no room for a memory.
    pub(super) fn bound_revocations(&mut self, bounds: Bounds) {
        while self.bytes + self.principals.weight() > bounds.bytes
            && (self.remove_ended() || self.principals.forget_oldest())
        {}
    }

    /// Ends sessions that live.
    pub(super) fn revoke(&mut self, which: Revoke<'_>, now: Timestamp) {
        let (principal, one, kept) = which.parts();
        if principal.is_none() {
            return self.revoke_everything(now);
        }
        if one.is_none() {
            self.principals.revoke(principal, now);
        }
        for session in self.of(principal, now) {
            let key = *session.record().key();
            if one.is_none_or(|one| *one == key) && kept != Some(&key) {
                self.replace(key, None, now);
            }
        }
    }

    /// Everybody waits meanwhile, so it looks at no session: they are found to have ended, and freed a few at a time.
    fn revoke_everything(&mut self, now: Timestamp) {
        let (epoch, taken) = self.principals.revoke_everything(now);
        (self.ended.epoch, self.ended.at) = (epoch, now);
        self.ended.left.push_back(taken);
    }

    /// Frees a few of the sessions that have ended with everybody's. That they have is remembered for as long as of others.
    pub(super) fn free_ended(&mut self, now: Timestamp) {
        for _ in 0..Self::FREED_AT_ONCE {
            match self.next_ended() {
                Some(key) => self.free(key, now),
                None => return,
            }
        }
    }

    /// Frees one to make room, with all memory of it. False if there is none.
    pub(super) fn remove_ended(&mut self) -> bool {
        self.next_ended().inspect(|key| self.remove(key)).is_some()
    }

    fn next_ended(&mut self) -> Option<SessionKey> {
        loop {
            let Some(key) = self.ended.left.front_mut()?.next() else {
                self.ended.left.pop_front();
                continue;
            };
            // It may have been freed since.
            if self.sessions.get(&key).is_some_and(|entry| entry.is_of(&self.ended)) {
                return Some(key);
            }
        }
    }

    /// Frees what has expired or ended, and remembers of what has ended that it has.
    pub(super) fn free(&mut self, key: SessionKey, now: Timestamp) {
        let ended = self.sessions.get(&key).filter(|entry| entry.is_of(&self.ended));
        match ended.map(|entry| self.ended.found(entry.expires, now)) {
            Some(Loaded::Deleted { .. }) => self.replace(key, None, self.ended.at),
            _ => self.remove(&key),
        }
    }
}

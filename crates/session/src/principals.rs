//! Which sessions are whose, in a store of this process.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::time::Duration;

use statehouse_core::time::whole_micros;
use statehouse_core::{Result, Timestamp};

use crate::lasting;
use crate::outcome::{revoked, too_many};
use crate::record::{Beyond, Limit, NewSession, Principal, Record, Rotation, Snapshot};
use crate::token::SessionKey;

/// What a login says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) epoch: u64,
    pub(crate) limit: Option<Limit>,
}

impl<'a> Login<'a> {
    /// That of a new session, if it has one.
    pub(crate) fn of(new: &'a NewSession) -> Option<Self> {
        new.principal.as_ref().map(|principal| Self { principal, epoch: new.epoch, limit: new.limit })
    }

    /// That of a rotation, if it is one.
    pub(crate) fn by(rotation: &'a Rotation) -> Option<Self> {
        rotation.login.as_ref().map(|principal| Self { principal, epoch: rotation.epoch, limit: rotation.limit })
    }

    /// Which of the principal's other sessions are to end for it, where there are too many: all that are over by its limit, and of the
    /// others the oldest.
    ///
    /// # Errors
    /// That there are as many as there may be.
    pub(crate) fn evicts(&self, own: &SessionKey, sessions: Vec<Snapshot>) -> Result<Vec<SessionKey>> {
        let Some(limit) = self.limit else { return Ok(Vec::new()) };
        limit.check()?;
        let (over, oldest) = limit.in_the_way(own, sessions);
        if !oldest.is_empty() && limit.beyond == Beyond::Reject {
            return Err(too_many(limit));
        }
        Ok([over, oldest].concat())
    }

    /// Those of a login that is made, so that it is not refused any more.
    pub(crate) fn still_evicts(&self, own: &SessionKey, sessions: Vec<Snapshot>) -> Vec<SessionKey> {
        let Some(limit) = self.limit else { return Vec::new() };
        let (over, oldest) = limit.in_the_way(own, sessions);
        if limit.beyond == Beyond::Reject { over } else { [over, oldest].concat() }
    }
}

impl Limit {
    /// Which of somebody's sessions are in the way of one more, if there are too many: those that are over, and the oldest of the others.
    fn in_the_way(self, own: &SessionKey, mut sessions: Vec<Snapshot>) -> (Vec<SessionKey>, Vec<SessionKey>) {
        let most = self.max as usize;
        sessions.retain(|session| session.record().key() != own);
        if sessions.len() < most {
            return (Vec::new(), Vec::new());
        }
        sessions.sort_by_key(|session| (session.record().absolute_expiry(), *session.record().key()));
        let (over, live): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| lasting::is_beyond(session, self));
        let key = |session: &&Snapshot| *session.record().key();
        let excess = (live.len() + 1).saturating_sub(most);
        (over.iter().map(key).collect(), live[..excess].iter().map(key).collect())
    }
}

/// For how long a revocation is remembered of its principal: longer than a login is mostly under way. Of what is forgotten, nobody's
/// login stands that began before.
const UNDER_WAY: Duration = Duration::from_secs(3_600);

/// How many revocations are remembered at most. Of what is forgotten before its time, nobody's login stands that began before.
const KEPT: usize = 16_384;

/// What remembering a revocation takes up in memory besides the principal, in bytes: about as much as it does.
const REVOKED_WEIGHT: u64 = 160;

/// The index of a store whose sessions nobody else changes. It holds what is stored, and may hold what has expired.
#[derive(Debug, Default)]
pub(crate) struct Principals {
    of: HashMap<SessionKey, Principal>,
    sessions: HashMap<Principal, BTreeSet<SessionKey>>,
    /// The epochs that began with the last revocation of somebody's sessions.
    revoked: HashMap<Principal, u64>,
    /// The same by the epoch, of which no two revocations have one, the first to be over first.
    by_epoch: BTreeMap<u64, Principal>,
    /// What both take up.
    weight: u64,
    /// No login stands that began before: all were revoked then, or it is not known any more whose were.
    everybody: u64,
    /// The last epoch that was given out. Each is later than all before, also where the clock stands still.
    last: u64,
}

impl Principals {
    /// The session is stored like this now.
    pub(crate) fn put(&mut self, record: &Record) {
        let (key, principal) = (*record.key(), record.principal());
        // What was stored before the clock was set back, and the store opened anew, is older all the same.
        self.last = self.last.max(record.epoch());
        if self.of.get(&key) == principal {
            return;
        }
        self.forget(&key);
        if let Some(principal) = principal {
            self.of.insert(key, principal.clone());
            self.sessions.entry(principal.clone()).or_default().insert(key);
        }
    }

    /// The session was stored like this, unless something later is known of it.
    #[cfg(unix)]
    pub(crate) fn learn(&mut self, record: &Record) {
        if !self.of.contains_key(record.key()) {
            self.put(record);
        }
    }

    /// The session is not stored any more, or nobody is logged in to it.
    pub(crate) fn forget(&mut self, key: &SessionKey) {
        let Some(principal) = self.of.remove(key) else { return };
        if let Some(sessions) = self.sessions.get_mut(&principal) {
            sessions.remove(key);
            if sessions.is_empty() {
                self.sessions.remove(&principal);
            }
        }
    }

    /// What is stored of a principal, or of all.
    pub(crate) fn of(&self, principal: Option<&Principal>) -> Vec<SessionKey> {
        match principal {
            Some(principal) => self.sessions.get(principal).into_iter().flatten().copied().collect(),
            None => self.of.keys().copied().collect(),
        }
    }

    /// The epoch of what begins now.
    pub(crate) fn begin(&mut self, now: Timestamp) -> u64 {
        self.last = now.as_micros().max(self.last + 1);
        self.last
    }

    /// No login of the principal, or of anybody, stands that began before now. Answers the epoch that begins.
    pub(crate) fn revoke(&mut self, principal: Option<&Principal>, now: Timestamp) -> u64 {
        let epoch = self.begin(now);
        match principal {
            Some(principal) => self.remember(principal, epoch, now),
            None => self.everybody = epoch,
        }
        epoch
    }

    /// The same of everybody, in one step however many there are. Answers what was stored, which is in the index no more, too.
    pub(crate) fn revoke_everything(&mut self, now: Timestamp) -> (u64, Taken) {
        let (of, sessions) = (std::mem::take(&mut self.of), std::mem::take(&mut self.sessions));
        (self.revoke(None, now), Taken { of: of.into_iter(), sessions: sessions.into_iter() })
    }

    /// Looks at nothing but what it forgets, so that it takes no longer where there are many.
    fn remember(&mut self, principal: &Principal, epoch: u64, now: Timestamp) {
        if let Some(before) = self.revoked.insert(principal.clone(), epoch) {
            self.by_epoch.remove(&before);
        } else {
            self.weight += weight_of(principal);
        }
        self.by_epoch.insert(epoch, principal.clone());
        while self.by_epoch.first_key_value().is_some_and(|(oldest, _)| is_over(*oldest, now))
            || self.revoked.len() > KEPT
        {
            self.forget_oldest();
        }
    }

    /// Forgets whose sessions were revoked longest ago, so that no login stands that began before. False if none is remembered.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        let Some((epoch, principal)) = self.by_epoch.pop_first() else { return false };
        self.revoked.remove(&principal);
        self.weight -= weight_of(&principal);
        self.everybody = self.everybody.max(epoch);
        true
    }

    /// What is remembered of revocations takes up in memory, in bytes.
    pub(crate) const fn weight(&self) -> u64 {
        self.weight
    }

    /// The epoch in which somebody logs in now who began in that one, or 0 if that was not said.
    pub(crate) fn admit(&mut self, principal: &Principal, begun: u64, now: Timestamp) -> Result<u64> {
        if begun == 0 {
            return Ok(self.begin(now));
        }
        let last = self.revoked.get(principal).copied().unwrap_or(0).max(self.everybody);
        // One that was never given out is nobody's: it would be after every revocation.
        if begun < last || begun > self.last {
            return Err(revoked());
        }
        Ok(begun)
    }
}

/// What was in the index when everybody was revoked. It is dropped a bit at a time.
#[derive(Debug)]
pub(crate) struct Taken {
    of: hash_map::IntoIter<SessionKey, Principal>,
    sessions: hash_map::IntoIter<Principal, BTreeSet<SessionKey>>,
}

impl Iterator for Taken {
    type Item = SessionKey;

    fn next(&mut self) -> Option<SessionKey> {
        drop(self.sessions.next());
        self.of.next().map(|(key, _)| key)
    }
}

fn weight_of(principal: &Principal) -> u64 {
    REVOKED_WEIGHT + principal.as_str().len() as u64
}

fn is_over(epoch: u64, now: Timestamp) -> bool {
    epoch.saturating_add(whole_micros(UNDER_WAY)) < now.as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(number: usize) -> Principal {
        Principal::new(format!("u{number}")).unwrap()
    }

    #[test]
    fn so_many_revocations_are_remembered_and_no_login_outlives_one_that_is_forgotten() {
        let (mut index, mut now) = (Principals::default(), Timestamp::from_micros(1_800_000_000_000_000));
        let begun: Vec<u64> = (0..KEPT + 9)
            .map(|number| {
                let begun = index.begin(now);
                index.revoke(Some(&who(number)), now);
                index.revoke(Some(&who(number)), now);
                begun
            })
            .collect();
        assert_eq!((index.revoked.len(), index.by_epoch.len()), (KEPT, KEPT));
        let weight: u64 = index.revoked.keys().map(weight_of).sum();
        assert_eq!(index.weight(), weight);
        for (number, begun) in begun.iter().enumerate() {
            assert!(index.admit(&who(number), *begun, now).is_err(), "{number}");
        }
        assert!(
            index.admit(&who(KEPT * 2), begun[9], now).is_ok(),
            "nobody revoked theirs, and nothing of then is forgotten"
        );
        let later = index.begin(now);
        assert!(index.admit(&who(0), later, now).is_ok());
        // Whoever takes longer than that over a second factor logs in, if nobody's sessions were revoked meanwhile.
        now = now + UNDER_WAY + Duration::from_secs(1);
        assert!(index.admit(&who(KEPT * 2), later, now).is_ok());
        index.revoke(Some(&who(0)), now);
        assert!(index.admit(&who(KEPT * 2), later, now).is_ok());
        assert!(index.admit(&who(KEPT * 2), begun[KEPT], now).is_err(), "theirs may be what is forgotten");
        assert_eq!((index.revoked.len(), index.by_epoch.len(), index.weight()), (1, 1, weight_of(&who(0))));
        while index.forget_oldest() {}
        assert_eq!(index.weight(), 0);
    }
}

//! Logins in two round trips, where a single server has the session and all that is known of its principal: a load together with the epoch,
//! and what the login writes together with its entry in the index.

use futures_util::future::join;
use statehouse_core::Result;

use super::RedisSessionStore;
use super::client::{Created, Swapped};
use super::judged::{judge, owner_of};
use super::principals::{Attempt, Deadline, Epochs};
use crate::options::{CreateOptions, SaveOptions};
use crate::outcome::{Loaded, Saved};
use crate::record::{Authority, NewSession, Principal, Record, Rotation, SaveId, Snapshot};
use crate::token::SessionKey;

/// How a login went that was tried in one step.
pub(super) enum AtOnce {
    Done(Saved),
    /// It has changed nothing and is to be made in steps, with these options.
    Not(SaveOptions),
}

impl RedisSessionStore {
    /// The session, and the epoch in which a login of `who` begins now, or 0 if that cannot be read.
    pub(super) async fn load_entering(
        &self,
        key: &SessionKey,
        who: &Principal,
        deadline: Deadline,
    ) -> Result<(Loaded, u64)> {
        if self.wire.redis().is_cluster() {
            let (loaded, epoch) = join(self.load_live(key, deadline), self.begin(who, deadline)).await;
            return Ok((loaded?, epoch.unwrap_or(0)));
        }
        let met = self.met.principal_of(key);
        let [own, everybody] = self.principals.epochs_of(who);
        let [of_met, _] = self.principals.epochs_of(met.as_ref().unwrap_or(who));
        let others = [own, everybody, of_met];
        let (loaded, [own, everybody, of_met]) = self.wire.load_beside(&[*key], others, deadline.left()).await?;
        let epochs = Epochs::read(&[own, everybody.clone()]);
        let epoch = epochs.last().max(1);
        let loaded = match loaded.into_iter().next() {
            Some(Ok(loaded @ (Loaded::Found(_) | Loaded::Deleted { .. }))) => loaded,
            // What is no string is told apart by who asks for it alone.
            _ => return Ok((self.load_live(key, deadline).await?, epoch)),
        };
        let loaded = match owner_of(&loaded) {
            None => loaded,
            Some(owner) if owner == *who => judge(loaded, epochs),
            Some(owner) if met.as_ref() == Some(&owner) => judge(loaded, Epochs::read(&[of_met, everybody])),
            Some(_) => self.judge_apart(key, loaded, None, deadline).await?,
        };
        Ok((loaded, epoch))
    }

    /// Creates the session of a login and puts it into the index, if that is one step.
    pub(super) async fn create_at_once(&self, login: Attempt<'_>, new: &NewSession, id: SaveId) -> Result<Created> {
        if self.wire.redis().is_cluster() {
            return Ok(Created::NotAtOnce);
        }
        let options = CreateOptions { id: Some(id), deadline: login.left() };
        let entry = self.principals.entry(login);
        let created = self.wire.create(login.key, new, Some(&entry), &options).await?;
        if let Created::Ok(created) = &created {
            self.note_entered(login, created);
        }
        Ok(created)
    }

    /// Rotates a session by a login and puts it into the index, if that is one step.
    pub(super) async fn rotate_at_once(
        &self,
        login: Attempt<'_>,
        base: &Snapshot,
        (authority, rotation): (Authority, &Rotation),
        next: &Record,
        options: SaveOptions,
    ) -> Result<AtOnce> {
        if self.wire.redis().is_cluster() || options.fence.is_some() {
            return Ok(AtOnce::Not(options));
        }
        let known = base.record().principal().map(|principal| self.principals.known(principal.clone()));
        let (entry, options) = (self.principals.entry(login), SaveOptions { deadline: login.left(), ..options });
        match self.wire.swap(base, next.clone(), known, Some(&entry), options).await? {
            Swapped::Ok(session) => {
                self.note_entered(login, &session);
                Ok(AtOnce::Done(Saved::Applied(session)))
            }
            Swapped::NotAtOnce(options) => Ok(AtOnce::Not(options)),
            Swapped::Gone => Ok(AtOnce::Done(Saved::Gone)),
            Swapped::Other(current, options) => {
                Ok(match current.contest(base, authority, Some(&rotation.next), &options)? {
                    // An earlier try has made it, and may have come no further, or lost its place since.
                    Saved::Applied(_) => AtOnce::Not(options),
                    other => AtOnce::Done(other),
                })
            }
        }
    }

    fn note_entered(&self, login: Attempt<'_>, session: &Snapshot) {
        self.met.note_listed(login.key, login.login.principal, session.record().absolute_expiry());
    }
}

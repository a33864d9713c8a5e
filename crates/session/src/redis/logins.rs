//! Who logs in, and what is theirs.

use futures_util::future::join_all;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::RedisSessionStore;
use super::at_once::AtOnce;
use super::client::Created;
use super::judged::{judge, owner_of};
use super::principals::{AT_ONCE, Attempt, Deadline, Entered, Epochs, Known, Owner};
use crate::lasting;
use crate::options::{CreateOptions, SaveOptions};
use crate::outcome::{Loaded, Saved, not_evicted, revoked, taken, too_many};
use crate::principals::Login;
use crate::record::{Authority, Beyond, Limit, NewSession, Principal, Record, Rotation, SaveId, Snapshot};
use crate::token::SessionKey;

/// Later than every epoch, and a number that Lua has.
pub(super) const ANY: u64 = 1 << 53;

/// What there is of the sessions that an index has.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) live: Vec<Snapshot>,
    /// Those that have ended, and that nothing brings back.
    gone: Vec<SessionKey>,
}

/// A login that may go on.
struct Admitted {
    /// Whether another session is to end for it.
    evicts: bool,
    /// What is over by its limit and in the way: it ends once the login is made.
    over: Vec<SessionKey>,
}

impl RedisSessionStore {
    /// The session, unless its principal was revoked since the login.
    ///
    /// Whose a session is stands in it. Where that is known already it is asked for together with the epoch.
    // What is seldom or takes two answers is boxed, so that the usual load has no room for it.
    pub(super) async fn load_live(&self, key: &SessionKey, deadline: Deadline) -> Result<Loaded> {
        let known = self.met.principal_of(key);
        if let Some(known) = known.as_ref().filter(|_| self.wire.redis().is_cluster()) {
            return Box::pin(self.load_apart(key, known, deadline)).await;
        }
        if let Some(known) = known {
            let epochs = self.principals.epochs_of(&known);
            let (loaded, epochs) = self.wire.load_beside(&[*key], epochs, deadline.left()).await?;
            // What is no string is told apart by who asks for it alone.
            if let Some(Ok(loaded @ (Loaded::Found(_) | Loaded::Deleted { .. }))) = loaded.into_iter().next() {
                return match owner_of(&loaded) {
                    Some(other) if other != known => Box::pin(self.judge_apart(key, loaded, None, deadline)).await,
                    _ => Ok(judge(loaded, Epochs::read(&epochs))),
                };
            }
        }
        let loaded = self.wire.load(key, deadline.left()).await?;
        match owner_of(&loaded) {
            None => Ok(loaded),
            Some(_) => Box::pin(self.judge_apart(key, loaded, None, deadline)).await,
        }
    }

    /// In a cluster the epochs lie elsewhere, and are asked for at the same time.
    async fn load_apart(&self, key: &SessionKey, known: &Principal, deadline: Deadline) -> Result<Loaded> {
        let epochs = self.principals.epochs(known, deadline.left());
        let (loaded, epochs) = tokio::join!(self.wire.load(key, deadline.left()), epochs);
        self.judge_apart(key, loaded?, Some((known.clone(), epochs?)), deadline).await
    }

    /// What was loaded, in the epochs of its principal, which are read apart from it, unless they are known. Whoever ends all other
    /// sessions takes the one that stays into a later epoch than it may have been met in: so what seems to be over is looked at again.
    pub(super) async fn judge_apart(
        &self,
        key: &SessionKey,
        loaded: Loaded,
        known: Option<(Principal, Epochs)>,
        deadline: Deadline,
    ) -> Result<Loaded> {
        let Some(owner) = owner_of(&loaded) else { return Ok(loaded) };
        let epochs = match known {
            Some((known, epochs)) if known == owner => epochs,
            _ => {
                self.met.note(key, &owner);
                self.principals.epochs(&owner, deadline.left()).await?
            }
        };
        match judge(loaded, epochs) {
            found @ Loaded::Found(_) => Ok(found),
            _ => self.load_after(key, owner, epochs, deadline).await,
        }
    }

    /// The session, in the epochs of this principal that were read before it, or in those of whoever it is then.
    async fn load_after(
        &self,
        key: &SessionKey,
        mut principal: Principal,
        mut epochs: Epochs,
        deadline: Deadline,
    ) -> Result<Loaded> {
        loop {
            let loaded = self.wire.load(key, deadline.left()).await?;
            match owner_of(&loaded) {
                Some(other) if other != principal => {
                    epochs = self.principals.epochs(&other, deadline.left()).await?;
                    principal = other;
                }
                _ => return Ok(judge(loaded, epochs)),
            }
        }
    }

    /// What a script has done, and whose the session is that it met; or `gone`, if that was revoked before, so that no load finds it.
    /// Mostly it is known whose it is: then the script looks at their epochs, or in a cluster they are asked for at the same time.
    pub(super) async fn of_live<T, S: Future<Output = Result<(T, Option<Owner>)>>>(
        &self,
        key: &SessionKey,
        deadline: Deadline,
        script: impl FnOnce(Option<Known>) -> S,
        gone: T,
    ) -> Result<(T, Option<Owner>)> {
        let (met, apart) = (self.met.principal_of(key), self.wire.redis().is_cluster());
        let known = met.clone().filter(|_| !apart);
        let script = script(known.map(|principal| self.principals.known(principal)));
        let beside = async {
            Ok(match met.as_ref().filter(|_| apart) {
                Some(met) => Some(Box::pin(self.principals.epochs(met, deadline.left())).await),
                None => None,
            })
        };
        let ((done, owner), beside) = tokio::try_join!(script, beside)?;
        let Some(owner) = owner else { return Ok((done, None)) };
        let epochs = match (met.as_ref() == Some(&owner.principal), beside) {
            (true, Some(epochs)) => epochs,
            (true, None) => return Ok((done, Some(owner))),
            (false, _) => Box::pin(self.principals.epochs(&owner.principal, deadline.left())).await,
        };
        match Box::pin(self.is_over(key, owner.epoch, epochs, deadline)).await {
            true => Ok((gone, None)),
            false => Ok((done, Some(owner))),
        }
    }

    /// Whether a session was revoked whose login began in that epoch. A write that was made is answered so even if that cannot be
    /// found out: it does no harm.
    pub(super) async fn is_over(
        &self,
        key: &SessionKey,
        epoch: u64,
        epochs: Result<Epochs>,
        deadline: Deadline,
    ) -> bool {
        // Whoever ends all but one takes that one into a later epoch than it may have been met in.
        epochs.is_ok_and(|epochs| epoch < epochs.last())
            && !matches!(self.load_live(key, deadline).await, Ok(Loaded::Found(_)) | Err(_))
    }

    /// The epoch that a login begins in now.
    pub(super) async fn begin(&self, principal: &Principal, deadline: Deadline) -> Result<u64> {
        Ok(self.principals.epochs(principal, deadline.left()).await?.last().max(1))
    }

    pub(super) async fn create(&self, key: &SessionKey, new: &NewSession, options: &CreateOptions) -> Result<Snapshot> {
        let Some(login) = Login::of(new) else {
            return match self.wire.create(key, new, None, options).await? {
                Created::Ok(created) => Ok(created),
                Created::Taken | Created::NotAtOnce => Err(taken()),
            };
        };
        let login = self.begun(Attempt::new(login, key, options.deadline)).await?;
        let new = new.clone().with_epoch(login.login.epoch);
        // The same create, however often: by its id a second try knows the first one's session.
        let id = options.id()?;
        match self.create_at_once(login, &new, id).await? {
            Created::Ok(created) => Ok(created),
            Created::Taken => Err(taken()),
            Created::NotAtOnce => Box::pin(self.create_in_steps(login, &new, id)).await,
        }
    }

    async fn create_in_steps(&self, login: Attempt<'_>, new: &NewSession, id: SaveId) -> Result<Snapshot> {
        let admitted = match self.admit(login).await {
            Err(refused) => return self.created_before(login, id, refused).await,
            Ok(admitted) => admitted,
        };
        let options = CreateOptions { id: Some(id), deadline: login.left() };
        match self.wire.create(login.key, new, None, &options).await {
            Ok(Created::Ok(created)) => {
                self.logged_in(login, admitted, &created).await?;
                Ok(created)
            }
            Ok(Created::Taken | Created::NotAtOnce) => {
                self.leave(login).await;
                Err(taken())
            }
            Err(error) => Err(self.failed(login, error).await),
        }
    }

    /// The error of a login that was let in. Unless its session may be there all the same its place is free at once, for whoever tries
    /// again; else in ten seconds.
    async fn failed(&self, login: Attempt<'_>, error: Error) -> Error {
        if !matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Timeout) {
            self.leave(login).await;
        }
        error
    }

    /// What a create is told that was not let in: above all, whether its key is taken.
    async fn created_before(&self, login: Attempt<'_>, id: SaveId, refused: Error) -> Result<Snapshot> {
        if refused.kind() != ErrorKind::Conflict {
            return Err(refused);
        }
        match self.load_live(login.key, login.deadline).await {
            Ok(Loaded::Found(own)) if own.record().is_as_created_by(id) => self.undo(login, refused).await,
            Ok(Loaded::Found(_) | Loaded::Deleted { .. }) => Err(taken()),
            Ok(Loaded::Absent) | Err(_) => Err(refused),
        }
    }

    /// What a login comes to that is repeated and not let in any more, while its first try, whose answer was lost, has left a session: that
    /// ends, for nobody has got its token, and others have its place.
    async fn undo<T>(&self, login: Attempt<'_>, refused: Error) -> Result<T> {
        self.end_all(login.login.principal, &[*login.key], ANY, login.deadline).await?;
        Err(refused)
    }

    /// A rotation by which somebody logs in.
    pub(super) async fn rotate_in(
        &self,
        login: Attempt<'_>,
        base: &Snapshot,
        by: (Authority, &Rotation),
        next: Record,
        options: SaveOptions,
    ) -> Result<Saved> {
        // A script on a single server looks at that itself.
        let is_theirs = self.wire.redis().is_cluster() && base.record().principal().is_some();
        if is_theirs && self.load_live(login.key, login.deadline).await?.found().is_none() {
            return Ok(Saved::Gone);
        }
        let login = self.begun(login).await?;
        let next = next.with_epoch(login.login.epoch);
        match self.rotate_at_once(login, base, by, &next, options).await? {
            AtOnce::Done(saved) => Ok(saved),
            AtOnce::Not(options) => Box::pin(self.rotate_in_steps(login, base, by, next, options)).await,
        }
    }

    async fn rotate_in_steps(
        &self,
        login: Attempt<'_>,
        base: &Snapshot,
        (authority, rotation): (Authority, &Rotation),
        next: Record,
        options: SaveOptions,
    ) -> Result<Saved> {
        let verifier = Some(&rotation.next);
        let admitted = match self.admit(login).await {
            Err(refused) if refused.kind() == ErrorKind::Conflict => {
                return match self.load_live(login.key, login.deadline).await? {
                    Loaded::Absent | Loaded::Deleted { .. } => Ok(Saved::Gone),
                    Loaded::Found(current) if current.admits(base, authority) => Err(refused),
                    Loaded::Found(current) => match current.contest(base, authority, verifier, &options)? {
                        Saved::Applied(_) => self.undo(login, refused).await,
                        other => Ok(other),
                    },
                };
            }
            admitted => admitted?,
        };
        let options = SaveOptions { deadline: login.left(), ..options };
        let saved = match self.wire.redis().is_cluster() {
            true => {
                let swapped = self.wire.swap(base, next, None, None, options).await;
                swapped.and_then(|done| done.settled(base, authority, verifier))
            }
            false => self.swap_live(base, authority, next, verifier, options).await,
        };
        match saved {
            Ok(saved) => {
                match &saved {
                    Saved::Applied(session) => self.logged_in(login, admitted, session).await?,
                    Saved::Conflict(_) | Saved::Gone | Saved::Superseded => self.leave(login).await,
                }
                Ok(saved)
            }
            Err(error) => Err(self.failed(login, error).await),
        }
    }

    /// The login in the epoch that it begins in, unless it began before.
    async fn begun<'a>(&self, mut login: Attempt<'a>) -> Result<Attempt<'a>> {
        if login.login.epoch == 0 {
            login.login.epoch = self.begin(login.login.principal, login.deadline).await?;
        }
        login.login.limit.map_or(Ok(()), Limit::check)?;
        Ok(login)
    }

    /// How a login may go on. Where there is a limit, the principal then has a place for it, if others end once it is made.
    async fn admit(&self, login: Attempt<'_>) -> Result<Admitted> {
        let (key, Login { principal, epoch, limit }) = (login.key, login.login);
        let Some(limit) = limit else { return Ok(Admitted { evicts: false, over: Vec::new() }) };
        let mut over = Vec::new();
        // What is in the way may have ended, which the index is not told; so it is looked at before anything else gives way.
        for evicts in [false, true] {
            match self.principals.enter((principal, key), epoch, (limit, evicts), &over, login.left()).await? {
                Entered::Revoked => return Err(revoked()),
                Entered::In { beside } => {
                    // Nothing ends that was not in the way after all.
                    over.retain(|_| !beside);
                    return Ok(Admitted { evicts, over });
                }
                Entered::Full(..) if evicts => break,
                Entered::Full(mut others) => {
                    others.retain(|other| other != key);
                    let Seen { live, .. } = self.see(principal, &others, login.deadline).await?;
                    let gone = |key: &&SessionKey| !live.iter().any(|session| session.record().key() == *key);
                    let gone: Vec<_> = others.iter().filter(gone).copied().collect();
                    self.principals.forget(principal, &gone, login.left()).await?;
                    let is_over = |session: &&Snapshot| lasting::is_beyond(session, limit);
                    over.extend(live.iter().filter(is_over).map(|session| *session.record().key()));
                }
            }
        }
        Err(too_many(limit))
    }

    /// Puts the session into the index, and ends those that make room for it. If the first fails, its next touch does it, and whoever
    /// logged in is logged in.
    async fn logged_in(&self, login: Attempt<'_>, admitted: Admitted, session: &Snapshot) -> Result<()> {
        let (key, principal) = (login.key, login.login.principal);
        self.met.note(key, principal);
        // First, so that they are not those that are too many.
        self.evict(login, &admitted.over).await?;
        let most = login.login.limit.filter(|limit| limit.beyond == Beyond::EvictOldest).map(|limit| limit.max);
        let ends = session.record().absolute_expiry();
        match self.principals.list_in((principal, key), ends, most, login.left()).await {
            Ok((epoch, _)) if session.record().is_revoked_in(epoch) => {
                // No load finds it any more, so that it makes no difference whether it is there.
                let _ = self.end_all(principal, &[*key], epoch, login.deadline).await;
                Err(revoked())
            }
            Ok((_, oldest)) => {
                self.met.note_listed(key, principal, ends);
                self.evict(login, &oldest).await
            }
            Err(error) if admitted.evicts => Err(not_evicted(error)),
            Err(error) => {
                note_unlisted(&error);
                Ok(())
            }
        }
    }

    /// Ends the sessions that make room for one that is there. Until they have, they stay in the index, so that the same login again
    /// ends them.
    async fn evict(&self, login: Attempt<'_>, ending: &[SessionKey]) -> Result<()> {
        let principal = login.login.principal;
        if ending.is_empty() {
            return Ok(());
        }
        self.end_all(principal, ending, ANY, login.deadline).await.map_err(not_evicted)?;
        // What has ended is taken out by the next login, too, that it is in the way of.
        let _ = self.principals.forget(principal, ending, login.left()).await;
        Ok(())
    }

    /// Gives the place back. If that fails, it is free in ten seconds.
    async fn leave(&self, login: Attempt<'_>) {
        if login.login.limit.is_some() {
            let _ = self.principals.leave((login.login.principal, login.key), login.left()).await;
        }
    }

    /// Puts a session back into the index of its principal, unless this store has put it there a moment ago.
    pub(super) async fn mend(&self, key: &SessionKey, (principal, ends): (&Principal, Timestamp), deadline: Deadline) {
        if self.met.is_listed(key, principal, ends) {
            return;
        }
        match self.principals.list_in((principal, key), ends, None, deadline.left()).await {
            Ok(_) => self.met.note_listed(key, principal, ends),
            Err(error) => note_unlisted(&error),
        }
    }

    /// Which of these sessions the principal is logged in to.
    pub(super) async fn see(&self, principal: &Principal, keys: &[SessionKey], deadline: Deadline) -> Result<Seen> {
        let mut seen = Seen::default();
        for keys in keys.chunks(AT_ONCE) {
            let (loaded, epoch) = self.look(principal, keys, deadline).await?;
            for (key, loaded) in keys.iter().zip(loaded) {
                match loaded {
                    Ok(Loaded::Found(session)) if session.record().principal() == Some(principal) => {
                        seen.live.extend((!session.record().is_revoked_in(epoch)).then_some(session));
                    }
                    Ok(Loaded::Found(_)) => {}
                    Ok(Loaded::Deleted { .. } | Loaded::Absent) => seen.gone.push(*key),
                    // What nobody can read is nobody's.
                    Err(error) if error.kind() == ErrorKind::Corrupt => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(seen)
    }

    /// These sessions, and the epoch of the principal.
    async fn look(
        &self,
        principal: &Principal,
        keys: &[SessionKey],
        deadline: Deadline,
    ) -> Result<(Vec<Result<Loaded>>, u64)> {
        if self.wire.redis().is_cluster() {
            return self.look_apart(principal, keys, deadline).await;
        }
        let epochs = self.principals.epochs_of(principal);
        let (loaded, epochs) = self.wire.load_beside(keys, epochs, deadline.left()).await?;
        Ok((loaded, Epochs::read(&epochs).last()))
    }

    /// These sessions, and the epoch of the principal, which was read before those that are over in it.
    async fn look_apart(
        &self,
        principal: &Principal,
        keys: &[SessionKey],
        deadline: Deadline,
    ) -> Result<(Vec<Result<Loaded>>, u64)> {
        let look = || join_all(keys.iter().map(|key| self.wire.load(key, deadline.left())));
        let (mut loaded, epochs) = tokio::join!(look(), self.principals.epochs(principal, deadline.left()));
        let epoch = epochs?.last();
        let is_over = |loaded: &Result<Loaded>| match loaded {
            Ok(Loaded::Found(session)) => {
                session.record().principal() == Some(principal) && session.record().is_revoked_in(epoch)
            }
            _ => false,
        };
        // As where one session is loaded: it may have stayed while all others ended.
        if loaded.iter().any(is_over) {
            loaded = look().await;
        }
        Ok((loaded, epoch))
    }

    pub(super) async fn list_live(&self, principal: &Principal, deadline: Deadline) -> Result<Vec<Snapshot>> {
        let listed = self.principals.listed(principal, deadline.left()).await?;
        let Seen { live, gone } = self.see(principal, &listed.all(), deadline).await?;
        self.forget_later(principal, listed.without(gone));
        Ok(live)
    }
}

fn note_unlisted(error: &Error) {
    tracing::debug!(name: "session.not_listed", kind = %error.kind(), "a session is not in its principal's list until it is used again");
}

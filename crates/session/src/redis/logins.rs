//! Who logs in, what is theirs, and what ends together.

use std::time::Duration;

use futures_util::future::join_all;
use statehouse_core::time::whole_micros;
use statehouse_core::{Error, ErrorKind, Result};

use super::RedisSessionStore;
use super::principals::{Attempt, Entered, last_of};
use crate::options::{CreateOptions, DeleteOptions, SaveOptions};
use crate::outcome::{Deleted, Loaded, REMEMBERED, Saved, revoked, taken, too_many};
use crate::principals::Login;
use crate::record::{Authority, NewSession, Principal, Record, Revoke, SaveId, Snapshot};
use crate::token::SessionKey;

/// How often a session that is kept is saved anew because others were faster, while all the others end.
const TRIES: usize = 16;

/// Later than every epoch, and a number that Lua has.
const ANY: u64 = 1 << 53;

impl RedisSessionStore {
    /// The session, unless its principal was revoked since the login.
    ///
    /// Whose a session is stands in it. Where that is known already it is asked for together with the epoch.
    pub(super) async fn load_live(&self, key: &SessionKey, deadline: Option<Duration>) -> Result<Loaded> {
        let Some(known) = self.met.principal_of(key) else { return self.load_unmet(key, deadline).await };
        if self.wire.redis().is_cluster() {
            let both = (self.wire.load(key, deadline), self.principals.epoch(&known, deadline));
            let (loaded, epoch) = tokio::join!(both.0, both.1);
            return self.judge_as(&known, loaded?, epoch?, deadline).await;
        }
        let epochs = self.principals.epochs_of(&known);
        let (loaded, epochs) = self.wire.load_beside(&[*key], epochs, deadline).await?;
        match loaded.into_iter().next() {
            // What is no string is told apart by who asks for it alone.
            Some(Ok(loaded @ (Loaded::Found(_) | Loaded::Deleted { .. }))) => {
                self.judge_as(&known, loaded, last_of(&epochs), deadline).await
            }
            _ => self.load_unmet(key, deadline).await,
        }
    }

    async fn load_unmet(&self, key: &SessionKey, deadline: Option<Duration>) -> Result<Loaded> {
        let loaded = self.wire.load(key, deadline).await?;
        let Loaded::Found(session) = &loaded else { return Ok(loaded) };
        let Some(principal) = session.record().principal().cloned() else { return Ok(loaded) };
        self.met.note(key, &principal);
        Ok(judge(loaded, self.principals.epoch(&principal, deadline).await?))
    }

    /// What was loaded together with the epoch of this principal, who may not be the session's any more.
    async fn judge_as(
        &self,
        known: &Principal,
        loaded: Loaded,
        epoch: u64,
        deadline: Option<Duration>,
    ) -> Result<Loaded> {
        let other = match &loaded {
            Loaded::Found(session) => session.record().principal().filter(|principal| *principal != known).cloned(),
            _ => None,
        };
        let Some(other) = other else { return Ok(judge(loaded, epoch)) };
        let epoch = self.principals.epoch(&other, deadline).await?;
        if let Loaded::Found(session) = &loaded {
            self.met.note(session.record().key(), &other);
        }
        Ok(judge(loaded, epoch))
    }

    /// The epoch that a login begins in now.
    pub(super) async fn begin(&self, principal: &Principal, deadline: Option<Duration>) -> Result<u64> {
        Ok(self.principals.epoch(principal, deadline).await?.max(1))
    }

    pub(super) async fn create(&self, key: &SessionKey, new: &NewSession, options: &CreateOptions) -> Result<Snapshot> {
        let Some(login) = Login::of(new) else {
            return self.wire.create(key, new, options).await?.ok_or_else(taken);
        };
        let login = Attempt::new(login, key, options.deadline);
        // The same create, however often: by its id a second try knows the first one's session.
        let options = CreateOptions { id: Some(options.id.map_or_else(SaveId::generate, Ok)?), ..options.clone() };
        let epoch = self.admit(login).await?;
        let new = new.clone().with_epoch(epoch);
        let options = CreateOptions { deadline: login.left(), ..options };
        // Of an error nobody knows whether the session is there: then its place is free in ten seconds.
        let Some(created) = self.wire.create(key, &new, &options).await? else {
            self.leave(login).await;
            return Err(taken());
        };
        self.logged_in(login, &created).await?;
        Ok(created)
    }

    /// A rotation by which somebody logs in.
    pub(super) async fn rotate_in(
        &self,
        login: Attempt<'_>,
        base: &Snapshot,
        next: impl FnOnce(u64) -> Record,
        swap: impl AsyncFnOnce(&Snapshot, Record, Option<Duration>) -> Result<Saved>,
    ) -> Result<Saved> {
        let epoch = self.admit(login).await?;
        let saved = swap(base, next(epoch), login.left()).await;
        match &saved {
            Ok(Saved::Applied(session)) => self.logged_in(login, session).await?,
            Ok(Saved::Conflict(_) | Saved::Gone | Saved::Superseded) => self.leave(login).await,
            Err(_) => {}
        }
        saved
    }

    /// The epoch of a login that may go on. Where there is a limit, the principal then has a place for it.
    async fn admit(&self, login: Attempt<'_>) -> Result<u64> {
        let (key, Login { principal, epoch, limit }) = (login.key, login.login);
        let begun = match epoch {
            0 => self.begin(principal, login.left()).await?,
            begun => begun,
        };
        let Some(limit) = limit else { return Ok(begun) };
        limit.check()?;
        // What is in the way may have ended, which the index is not told; so it is looked at before anything else gives way.
        for evicts in [false, true] {
            match self.principals.enter((principal, key), begun, limit, evicts, login.left()).await? {
                Entered::Revoked => return Err(revoked()),
                Entered::In(evicted) => {
                    self.end_all(principal, &evicted, ANY).await?;
                    return Ok(begun);
                }
                Entered::Full(others) => {
                    let live = self.live(principal, &others, login.left()).await?;
                    let gone = |key: &&SessionKey| !live.iter().any(|session| session.record().key() == *key);
                    let gone: Vec<_> = others.iter().filter(gone).copied().collect();
                    self.principals.forget(principal, &gone, login.left()).await?;
                }
            }
        }
        Err(too_many(limit))
    }

    /// Puts the session into the index. If that fails, its next touch does it, and whoever logged in is logged in.
    async fn logged_in(&self, login: Attempt<'_>, session: &Snapshot) -> Result<()> {
        let (key, principal) = (login.key, login.login.principal);
        self.met.note(key, principal);
        match self.principals.list_in((principal, key), session.record().absolute_expiry(), login.left()).await {
            Ok(epoch) if session.record().is_revoked_in(epoch) => {
                self.end_all(principal, &[*key], epoch).await?;
                Err(revoked())
            }
            Ok(_) => {
                self.met.note_listed(key, principal);
                Ok(())
            }
            Err(error) => {
                tracing::debug!(name: "session.not_listed", kind = %error.kind(), "a session is not in its principal's list until it is used again");
                Ok(())
            }
        }
    }

    /// Gives the place back. If that fails, it is free in ten seconds.
    async fn leave(&self, login: Attempt<'_>) {
        if login.login.limit.is_some() {
            let _ = self.principals.leave((login.login.principal, login.key)).await;
        }
    }

    /// Puts a session back into the index of its principal, unless this store knows that it is there.
    pub(super) async fn mend(&self, key: &SessionKey, principal: &Principal, ends: statehouse_core::Timestamp) {
        if self.met.is_listed(key, principal) {
            return;
        }
        match self.principals.list_in((principal, key), ends, None).await {
            Ok(_) => self.met.note_listed(key, principal),
            Err(error) => {
                tracing::debug!(name: "session.not_listed", kind = %error.kind(), "a session is not in its principal's list until it is used again");
            }
        }
    }

    /// Those of these sessions that the principal is logged in to.
    async fn live(
        &self,
        principal: &Principal,
        keys: &[SessionKey],
        deadline: Option<Duration>,
    ) -> Result<Vec<Snapshot>> {
        let (loaded, epoch) = if keys.is_empty() {
            return Ok(Vec::new());
        } else if self.wire.redis().is_cluster() {
            let all = join_all(keys.iter().map(|key| self.wire.load(key, deadline)));
            let (loaded, epoch) = tokio::join!(all, self.principals.epoch(principal, deadline));
            (loaded, epoch?)
        } else {
            let epochs = self.principals.epochs_of(principal);
            let (loaded, epochs) = self.wire.load_beside(keys, epochs, deadline).await?;
            (loaded, last_of(&epochs))
        };
        let mut live = Vec::with_capacity(loaded.len());
        for loaded in loaded {
            match loaded {
                Ok(Loaded::Found(session)) if session.record().principal() == Some(principal) => {
                    live.extend((!session.record().is_revoked_in(epoch)).then_some(session));
                }
                Ok(_) => {}
                // What nobody can read is nobody's.
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        Ok(live)
    }

    pub(super) async fn list_live(&self, principal: &Principal, deadline: Option<Duration>) -> Result<Vec<Snapshot>> {
        let keys = self.principals.listed(principal, deadline).await?;
        self.live(principal, &keys, deadline).await
    }

    pub(super) async fn end(&self, which: Revoke<'_>, deadline: Option<Duration>) -> Result<()> {
        match which {
            Revoke::One(principal, key) => {
                if self.live(principal, &[*key], deadline).await?.is_empty() {
                    return Ok(());
                }
                self.end_all(principal, &[*key], ANY).await?;
                self.principals.forget(principal, &[*key], deadline).await
            }
            Revoke::All(principal) => {
                let epoch = self.principals.revoke(Some(principal), deadline).await?;
                self.sweep_later(principal, epoch);
                Ok(())
            }
            Revoke::Others(principal, kept) => {
                let epoch = self.keep(principal, kept, deadline).await?;
                let epoch = self.principals.advance(principal, epoch, deadline).await?;
                self.sweep_later(principal, epoch);
                Ok(())
            }
            Revoke::Everything => self.principals.revoke(None, deadline).await.map(drop),
        }
    }

    /// Takes the session that is kept into an epoch that its principal is not in yet. Answers it.
    async fn keep(&self, principal: &Principal, kept: &SessionKey, deadline: Option<Duration>) -> Result<u64> {
        for _ in 0..TRIES {
            let next = self.principals.epoch(principal, deadline).await? + 1;
            let live = self.live(principal, &[*kept], deadline).await?;
            let Some(session) = live.first() else { return Ok(next) };
            let next = next.max(session.now().as_micros());
            let record = session.record().clone().with_epoch(next);
            let options = SaveOptions { deadline, ..SaveOptions::default() };
            match self.swap(session, Authority::Application, record, None, options).await? {
                Saved::Applied(_) => return Ok(next),
                Saved::Gone | Saved::Superseded | Saved::Conflict(_) => {}
            }
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
                store.end_all(&principal, &keys, epoch).await
            };
            if let Err(error) = swept.await {
                tracing::debug!(name: "session.revoked_not_deleted", kind = %error.kind(), "revoked sessions lie there until they expire");
            }
        });
    }

    /// Deletes those of these sessions that are the principal's, and whose login began before the epoch.
    async fn end_all(&self, principal: &Principal, keys: &[SessionKey], epoch: u64) -> Result<()> {
        let (before, options) = (Some((principal, epoch)), DeleteOptions::default());
        let ended = join_all(keys.iter().map(|key| self.wire.delete(key, None, before, &options))).await;
        ended.into_iter().try_for_each(|ended| ended.map(|_: Deleted| ()))
    }
}

/// What was loaded, in this epoch of its principal.
fn judge(loaded: Loaded, epoch: u64) -> Loaded {
    let Loaded::Found(session) = &loaded else { return loaded };
    if !session.record().is_revoked_in(epoch) {
        return loaded;
    }
    // The epoch of a principal is the time at which it began, but for one that was set ahead of the clock.
    let now = whole_micros(Duration::from_micros(session.now().as_micros()));
    match now.checked_sub(epoch).map(Duration::from_micros) {
        Some(ago) if ago < REMEMBERED => Loaded::Deleted { ago },
        _ => Loaded::Absent,
    }
}

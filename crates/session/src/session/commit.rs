use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, span};
use tracing::Instrument;

use super::contention::Race;
use super::finish::Finish;
use super::handle::{Session, Shared};
use super::state::{Base, CookieChange, Held, Outage};
use super::stay::{self, Stay};
use super::work::{Committing, Limits, Pending, Stored, fit};
use crate::api::{SessionStore, SessionStoreExt as _};
use crate::config::{ConflictPolicy, OutagePolicy, SessionConfig};
use crate::cookie::Place;
use crate::counters::Again;
use crate::event::SessionEventKind as Event;
use crate::operation::NAME;
use crate::options::{CreateOptions, SaveOptions};
use crate::outcome::{Loaded, Saved};
use crate::record::{AttributeName, Authority, Delta, NewSession, Rotate, Rotation, SaveId, Snapshot};
use crate::token::Token;

/// How many tokens are drawn for a new session. Two equal draws of 128 bits do not happen, but a backend that repeats a
/// create whose answer was lost finds its own first try.
const DRAWS: usize = 3;

/// What became of a commit's work.
#[derive(Default)]
struct Done {
    /// Whether the stored session is another now.
    wrote: bool,
    /// What would have made it too large.
    dropped: Option<AttributeName>,
}

impl Done {
    fn then(self, later: Self) -> Self {
        Self { wrote: self.wrote || later.wrote, dropped: self.dropped.or(later.dropped) }
    }
}

/// How a change of a stored session went.
pub(super) enum Changed {
    Ok(Change),
    /// There was nothing to change any more.
    Without(Base),
}

/// A change of a stored session that was made.
pub(super) struct Change {
    /// The session that it was made to.
    pub(super) base: Snapshot,
    pub(super) held: Held,
    rotated: bool,
    dropped: Option<AttributeName>,
}

impl Change {
    /// For a change that is nothing without what was left out of it.
    pub(super) fn refuse_dropped(&self, config: &SessionConfig) -> Result<()> {
        self.dropped.as_ref().map_or(Ok(()), |name| Err(too_large(name, config)))
    }
}

/// One attempt to change a stored session, and what the next one needs.
struct Attempt<'a> {
    committing: &'a Committing,
    /// Whether the changes may have been made already.
    repeats: bool,
    config: &'a SessionConfig,
    first: Snapshot,
    base: Snapshot,
    token: Token,
    place: Place,
    delta: Delta,
    dropped: Option<AttributeName>,
    rotation: Option<(Token, Rotation)>,
}

impl Session {
    /// Saves what was changed. The layer does this before the response head is sent; without the layer call it, and
    /// then [`write_cookie`](Self::write_cookie).
    ///
    /// Changes of a session that somebody deleted while this request was under way, or of one whose token a login replaced,
    /// are dropped without a cookie, because the browser may have a newer one; a login among them begins a new session. For
    /// a request that came later they begin a session in the [fallback cookie](crate::CookieConfig#the-fallback-cookie).
    ///
    /// Once begun, a commit is done even if its future is dropped, as by a timeout around it: another commit waits for
    /// it. Without a tokio runtime the other commit repeats it.
    ///
    /// It saves what was changed whether or not there still is a client, so that a handler which may [outlive
    /// it](Self#who-outlives-the-client) calls it before it answers. The cookie of a login, a rotation or a session that begins so reaches nobody
    /// then: whoever logs in does so again.
    ///
    /// # Errors
    /// The store's; [`ErrorKind::Conflict`] by policy, or when other requests were faster for twenty seconds. What was not
    /// saved stays, and another commit tries again. [`ErrorKind::TooLarge`] if attributes were left out, the largest
    /// first, because the session would be larger than configured; all else is saved, a login too.
    pub async fn commit(&self) -> Result<()> {
        let session = self.clone();
        Finish::new(async move {
            let _gate = session.inner.gate.lock().await;
            session.commit_gated().await
        })
        .await
    }

    /// For a caller that holds the gate.
    pub(super) async fn commit_gated(&self) -> Result<()> {
        self.state().put_back_taken();
        if self.state().has_work() {
            self.load_gated().await?;
        }
        let mut done = Done::default();
        // What an earlier commit left comes first and by itself: it may have been made already.
        let left = self.state().committing.is_some();
        if left {
            self.inner.shared.counters.again(Again::Unknown);
        }
        for _ in 0..=usize::from(left) {
            let Some(committing) = self.begin_work()? else { break };
            match pin!(self.apply(&committing)).instrument(span::of_service(NAME.commit)).await {
                Ok(applied) => done = done.then(applied),
                // What an earlier part has come to is told all the same.
                Err(error) if self.drops_renewal(&error) => break,
                Err(error) => return self.not_applied(error.with_operation(NAME.commit)),
            }
            self.state().committing = None;
        }
        self.slide(done.wrote).await;
        done.dropped.map_or(Ok(()), |name| Err(too_large(&name, self.config()).with_operation(NAME.commit)))
    }

    /// The work stays in the session until it is known to be done.
    fn begin_work(&self) -> Result<Option<Arc<Committing>>> {
        let mut state = self.state();
        if state.committing.is_none() && state.has_work() {
            let id = SaveId::generate()?;
            state.committing = Some(Arc::new(Committing::new(std::mem::take(&mut state.work), id)));
        }
        Ok(state.committing.clone())
    }

    fn not_applied(&self, error: Error) -> Result<()> {
        self.note_outage(&error);
        let mut state = self.state();
        let Some(committing) = state.committing.take() else { return Err(error) };
        let go_on = self.config().on_outage == OutagePolicy::Anonymous && Outage::of(&error).is_some();
        if go_on && !matches!(committing.work.pending, Some(Pending::Login { .. } | Pending::Rotate)) {
            tracing::debug!(name: "session.changes_dropped_in_outage", kind = %error.kind(), "session changes dropped: the store cannot be reached");
            return Ok(());
        }
        // Once that is unknown, no outage makes it known.
        if committing.may_be_done(&error) && Outage::of(&error).is_some() {
            state.committing = Some(committing);
        } else {
            let newer = std::mem::take(&mut state.work);
            state.work = committing.work.clone().then(newer);
        }
        Err(error)
    }

    async fn apply(&self, committing: &Committing) -> Result<Done> {
        if let Some(Pending::Login { .. }) = committing.work.pending {
            // First: a login that fails may be tried again, and one that is done leaves nobody else logged in here.
            self.end_others().await?;
        }
        let base = self.state().base.clone();
        match base {
            Base::Held(held) => match self.change(held, committing).await? {
                Changed::Ok(change) => Ok(self.applied(change, committing.work.pending.as_ref())),
                Changed::Without(base) => self.go_on_without(committing, base).await,
            },
            Base::Absent | Base::Replaced | Base::Deleted => self.create(committing).await,
            base => self.go_on_without(committing, base).await,
        }
    }

    /// For a request that may not begin a session merely because it has changes.
    async fn go_on_without(&self, committing: &Committing, base: Base) -> Result<Done> {
        self.state().set_base(base);
        if let Some(Pending::Login { .. }) = committing.work.pending {
            return self.create(committing).await;
        }
        tracing::debug!(name: "session.changes_dropped", "session changes dropped: the session is gone or its token was replaced");
        Ok(Done::default())
    }

    async fn create(&self, committing: &Committing) -> Result<Done> {
        let work = &committing.work;
        let Shared { store, config, counters, watch, .. } = &*self.inner.shared;
        let none = Default::default();
        let mut delta = work.on(Stored { attributes: &none, principal: None }, None, config.on_login)?;
        let dropped = fit(&mut delta, &none, Limits::of(config)).into_iter().next();
        let (principal, epoch, stay) = match &work.pending {
            Some(Pending::Login { principal, epoch, stay, .. }) => (Some(principal.clone()), *epoch, *stay),
            _ => (None, 0, Stay::default()),
        };
        if delta.set.is_empty() && principal.is_none() {
            return Ok(Done { wrote: false, dropped });
        }
        let place = if principal.is_some() { Place::Cookie } else { self.state().base.place_of_new() };
        let (limit, template) = (config.limit(), stay.begins(config, principal.is_some()));
        let template = NewSession { attributes: delta.set, principal, epoch, limit, ..template };
        for draw in 0..DRAWS {
            let generate = || Ok(Token::generate()?.in_realm(self.inner.realm.clone()));
            let token = if draw == 0 { committing.token(generate)? } else { generate()? };
            let new = NewSession { verifier: token.verifier_hash(), ..template.clone() };
            match store.create_with(&token.key(), &new, CreateOptions::default().with_id(committing.id)).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => {
                    let snapshot = created?;
                    counters.created(&snapshot);
                    let (key, principal) = (Some(token.key()), snapshot.record().principal());
                    self.inner.shared.tell(Event::Created, key, principal);
                    if principal.is_some() {
                        self.inner.shared.tell(Event::LoggedIn, key, principal);
                    }
                    self.hold(Held { snapshot, token, place }, CookieIs::New);
                    watch.reached();
                    return Ok(Done { wrote: true, dropped });
                }
            }
        }
        Err(Error::new(ErrorKind::Unexpected, "every new session token was taken"))
    }

    fn hold(&self, held: Held, cookie: CookieIs) {
        let mut state = self.state();
        if let CookieIs::New = cookie {
            let max_age = stay::max_age(&held.snapshot, self.config());
            state.cookie = Some(CookieChange::Set(held.token.clone(), held.place, max_age));
        }
        state.set_base(Base::Held(held));
    }

    /// Makes the changes to the stored session, on a newer one as often as others are faster.
    pub(super) async fn change(&self, held: Held, committing: &Committing) -> Result<Changed> {
        let Shared { store, config, contention, counters, .. } = &*self.inner.shared;
        let mut race = Race::new(contention, &**store, *held.snapshot.record().key());
        let mut attempt = Attempt::new(held, committing, config)?;
        if !attempt.fails_on_conflict() {
            let left = race.join_if_busy().await?;
            attempt.rebase_if_newer(left)?;
        }
        loop {
            match attempt.send(&**store).await? {
                Saved::Applied(snapshot) => {
                    if snapshot.record().version() != attempt.base.record().version() {
                        counters.wrote(&snapshot);
                    }
                    race.won(&snapshot);
                    return Ok(Changed::Ok(attempt.done(snapshot)));
                }
                Saved::Conflict(current) => {
                    counters.conflict();
                    attempt.rebase(current)?;
                    let left = race.lost().await?;
                    counters.again(Again::Conflict);
                    attempt.rebase_if_newer(left)?;
                }
                Saved::Gone => return Ok(Changed::Without(Base::Gone)),
                Saved::Superseded => return Ok(Changed::Without(Base::Superseded)),
            }
        }
    }

    fn applied(&self, change: Change, pending: Option<&Pending>) -> Done {
        if change.rotated {
            let logs_in = matches!(pending, Some(Pending::Login { .. }));
            let record = change.held.snapshot.record();
            let kind = if logs_in { Event::LoggedIn } else { Event::Rotated };
            self.inner.shared.tell(kind, Some(*record.key()), record.principal());
        }
        let wrote = change.base.record().version() != change.held.snapshot.record().version();
        self.hold(change.held, if change.rotated { CookieIs::New } else { CookieIs::Kept });
        Done { wrote, dropped: change.dropped }
    }

    /// Slides the idle timeout of a session that was used and not written, in the background, if it is worth it; and
    /// with it how long the browser keeps the cookie, if it does so for longer than it is open.
    pub(super) async fn slide(&self, wrote: bool) {
        let config = self.config();
        let (token, cookie, due, resend, confirms) = {
            let state = self.state();
            let Some(Held { token, snapshot, place }) = state.held() else { return };
            let (idle, lasts) = (stay::idle_timeout(snapshot.record(), config), stay::lasts(snapshot.record(), config));
            // A cookie that is gone before a tenth of the timeout is to be gained would end the session.
            let shortest = idle.min(snapshot.record().idle_timeout()).min(lasts.unwrap_or(Duration::MAX));
            let due = snapshot.gain_of_touch() > shortest / 10;
            let resend = due || lasts.is_some_and(|lasts| ends_later(snapshot, lasts));
            let newest = || snapshot.record().is_newest(&token.verifier_hash());
            let confirms = snapshot.record().is_confirmed_by(Authority::Holder(token.verifier_hash()));
            let confirms = (confirms && !wrote && state.cookie.is_none()).then(|| snapshot.clone());
            let resend = (wrote || resend) && lasts.is_some() && state.cookie.is_none() && newest();
            if confirms.is_none() && !due && !resend {
                return;
            }
            let cookie = CookieChange::Set(token.clone(), *place, stay::max_age(snapshot, config));
            (token.clone(), cookie, due, resend, confirms)
        };
        if let Some(snapshot) = confirms {
            self.confirm(&token, snapshot);
        } else if due {
            self.touch(&token);
        }
        if resend && (wrote || self.is_current(&token).await) {
            self.state().cookie = Some(cookie);
        }
    }

    fn touch(&self, token: &Token) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, key) = (Arc::clone(&self.inner.shared), token.key());
        runtime.spawn(async move {
            if let Err(error) = shared.store.touch(&key).await {
                tracing::debug!(name: "session.not_slid", kind = %error.kind(), "a session's idle timeout could not be slid");
                shared.watch.failed(&error);
            }
        });
    }

    /// Tells the store, in the background, that the browser has the token that a renewal set.
    fn confirm(&self, token: &Token, snapshot: Snapshot) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, holder) = (Arc::clone(&self.inner.shared), Authority::Holder(token.verifier_hash()));
        runtime.spawn(async move {
            // If another request was faster, this one or the next has told it.
            if let Err(error) = shared.store.save(&snapshot, holder, &Delta::new()).await {
                tracing::debug!(name: "session.token_not_confirmed", kind = %error.kind(), "that a session's new token is in use could not be saved");
                shared.watch.failed(&error);
            }
        });
    }

    /// Whether the token still is the one that the browser should have. A cookie that is sent again after a login or a
    /// logout in another request would undo it.
    async fn is_current(&self, token: &Token) -> bool {
        let found = self.inner.shared.store.load(&token.key()).await;
        matches!(found, Ok(Loaded::Found(snapshot)) if snapshot.record().is_newest(&token.verifier_hash()))
    }
}

/// Whether the session does not slide any more and the browser may throw the cookie away before its end: when it got that is
/// known only as long as the session slides.
fn ends_later(snapshot: &Snapshot, lasts: Duration) -> bool {
    snapshot.expires() >= snapshot.record().absolute_expiry() && lasts < snapshot.record().idle_timeout()
}

/// Whether the browser has the token already.
#[derive(Clone, Copy)]
enum CookieIs {
    New,
    Kept,
}

impl<'a> Attempt<'a> {
    fn new(held: Held, committing: &'a Committing, config: &'a SessionConfig) -> Result<Self> {
        let Held { token, snapshot, place } = held;
        let pending = committing.work.pending.as_ref();
        let rotation = pending.map(|pending| rotation(&token, &snapshot, pending, committing, config)).transpose()?;
        let first = snapshot.clone();
        let mut attempt = Self {
            committing,
            repeats: committing.begin(),
            config,
            first,
            base: snapshot,
            token,
            place,
            delta: Delta::new(),
            dropped: None,
            rotation,
        };
        attempt.plan(false)?;
        Ok(attempt)
    }

    /// What the changes come to on the base.
    fn plan(&mut self, again: bool) -> Result<()> {
        // As whoever reads it now finds it: of what has ended since nothing is made.
        let (record, live) = (self.base.record(), self.base.record().without_ended(self.base.now()));
        let (attributes, principal) = (live.as_ref().unwrap_or(record).attributes(), record.principal());
        let overwrites =
            again && self.config.on_conflict == ConflictPolicy::LastWriteWins && self.committing.work.overwrites();
        let seen = overwrites.then(|| self.first.record().attributes());
        self.delta = self.committing.work.on(Stored { attributes, principal }, seen, self.config.on_login)?;
        self.dropped = fit(&mut self.delta, attributes, Limits::of(self.config)).into_iter().next();
        Ok(())
    }

    async fn send(&mut self, store: &dyn SessionStore) -> Result<Saved> {
        let holder = Authority::Holder(self.token.verifier_hash());
        let options = SaveOptions::default();
        // Only of the first answer is it unknown what came before.
        let options = match std::mem::take(&mut self.repeats) {
            true => options.repeating(self.committing.id),
            false => options.with_id(self.committing.id),
        };
        match &self.rotation {
            Some((_, rotation)) => store.rotate_with(&self.base, holder, rotation, &self.delta, options).await,
            None => store.save_with(&self.base, holder, &self.delta, options).await,
        }
    }

    fn fails_on_conflict(&self) -> bool {
        self.config.on_conflict == ConflictPolicy::Fail && self.committing.work.overwrites()
    }

    fn rebase(&mut self, current: Snapshot) -> Result<()> {
        // Another verifier alone is nobody's change of anything, and neither is that an attribute has ended.
        let (before, after, now) = (self.base.record(), current.record(), current.now());
        let (of_before, of_after) = (before.without_ended(now), after.without_ended(now));
        let changed =
            of_after.as_ref().unwrap_or(after).attributes() != of_before.as_ref().unwrap_or(before).attributes();
        if changed && self.fails_on_conflict() {
            let message = "another request changed the session at the same time";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let (record, verifier) = (current.record(), self.token.verifier_hash());
        let renewed = record.rotated() > self.base.record().rotated();
        // Of a renewal whose token the browser has not got: by now it has it, and it would be refused at once.
        let confirmed = !record.is_newest(&verifier) && !record.is_unconfirmed(&verifier);
        let renewing = |(_, rotation): &(Token, Rotation)| matches!(rotation.why, Rotate::Renewal { .. });
        if (renewed || confirmed) && self.rotation.as_ref().is_some_and(renewing) {
            self.rotation = None;
        }
        self.base = current;
        self.plan(true)
    }

    fn rebase_if_newer(&mut self, left: Option<Snapshot>) -> Result<()> {
        match left.filter(|left| left.record().version() > self.base.record().version()) {
            Some(newer) => self.rebase(newer),
            None => Ok(()),
        }
    }

    fn done(self, snapshot: Snapshot) -> Change {
        let rotated = self.rotation.is_some();
        // Whoever logs in wants the cookie to be this one, whatever the browser has got in the meantime.
        let logs_in = self.rotation.as_ref().is_some_and(|(_, rotation)| rotation.login.is_some());
        let place = if logs_in { Place::Cookie } else { self.place };
        let token = self.rotation.map_or(self.token, |(next, _)| next);
        Change { base: self.base, held: Held { token, snapshot, place }, rotated, dropped: self.dropped }
    }
}

fn rotation(
    token: &Token,
    held: &Snapshot,
    why: &Pending,
    committing: &Committing,
    config: &SessionConfig,
) -> Result<(Token, Rotation)> {
    let next = committing.token(|| token.with_new_verifier())?;
    let next = if next.key() == token.key() { next } else { token.with_new_verifier()? };
    let (hash, idle) = (next.verifier_hash(), stay::idle_timeout(held.record(), config));
    let rotation = match why {
        Pending::Login { principal, epoch, stay, .. } => {
            let login = Rotation::login(hash, principal.clone()).with_epoch(*epoch);
            stay.rotates(Rotation { limit: config.limit(), ..login }, held, config)
        }
        Pending::Rotate => Rotation::new(hash, Rotate::PrivilegeChange).with_idle_timeout(idle),
        Pending::Renew { grace } => Rotation::new(hash, Rotate::Renewal { grace: *grace }).with_idle_timeout(idle),
    };
    Ok((next, rotation))
}

fn too_large(name: &AttributeName, config: &SessionConfig) -> Error {
    let (bytes, count) = (config.max_session, config.max_attributes);
    let message = format!("left out: the session would be larger than {bytes} bytes or {count} attributes");
    Error::new(ErrorKind::TooLarge, message).with_key(name.as_str())
}

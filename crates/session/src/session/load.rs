use std::pin::pin;
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Result, span};
use tracing::Instrument;

use super::handle::{Session, Shared};
use super::state::{Base, Held, Outage, State};
use super::stay;
use super::work::Pending;
use crate::api::SessionStoreExt as _;
use crate::config::{OutagePolicy, UnreadablePolicy};
use crate::cookie::Brought;
use crate::event::SessionEventKind;
use crate::operation::NAME;
use crate::outcome::{Loaded, REMEMBERED};
use crate::record::{Principal, Snapshot};
use crate::token::SessionKey;

impl Session {
    /// Loads the session unless that was done.
    pub(super) async fn load(&self) -> Result<()> {
        if !self.state().is_unloaded() {
            return Ok(());
        }
        let _gate = self.inner.gate.lock().await;
        self.load_gated().await
    }

    /// Loads the session unless that was done, and answers the epoch of whoever is about to log in if that came with it, or 0.
    pub(super) async fn load_entering(&self, who: &Principal) -> Result<u64> {
        if !self.state().is_unloaded() {
            return Ok(0);
        }
        let mut entering = Entering { who, epoch: 0 };
        let _gate = self.inner.gate.lock().await;
        self.load_gated_for(Some(&mut entering)).await?;
        Ok(entering.epoch)
    }

    /// Loads it for a caller that holds the gate.
    pub(super) async fn load_gated(&self) -> Result<()> {
        self.load_gated_for(None).await
    }

    async fn load_gated_for(&self, entering: Option<&mut Entering<'_>>) -> Result<()> {
        {
            let mut state = self.state();
            state.used = true;
            if !state.is_unloaded() {
                return Ok(());
            }
            if let Some(error) = state.recent_failure() {
                return Err(error);
            }
        }
        // Instrumenting moves the future, and so it is given a pointer to it.
        let found = pin!(self.find(entering)).instrument(span::of_service(NAME.load)).await;
        if found.is_ok() && !self.inner.tokens.is_empty() {
            self.inner.shared.watch.reached();
        }
        let base = found.or_else(|error| self.not_loaded(error))?;
        let mut state = self.state();
        self.plan_renewal(&mut state, &base);
        state.set_base(base);
        Ok(())
    }

    fn not_loaded(&self, error: Error) -> Result<Base> {
        if Outage::of(&error).is_none() {
            return Err(error);
        }
        self.note_outage(&error);
        if self.config().on_outage == OutagePolicy::Anonymous {
            tracing::debug!(name: "session.without", kind = %error.kind(), "going on without a session: its store cannot be reached");
            return Ok(Base::Degraded(error));
        }
        self.state().failed_load = Some((Instant::now(), error.clone()));
        Err(error)
    }

    /// The first session that one of the request's tokens opens.
    ///
    /// A request that arrived before a rotation or a deletion and has the old token was under way: it begins no other
    /// session. One that arrives later does, since the answer with the newer cookie may have been lost; but it may as well
    /// have been sent before that came, so that the newer cookie must stay. After a minute nobody is on the way.
    pub(super) async fn find(&self, mut entering: Option<&mut Entering<'_>>) -> Result<Base> {
        let (mut base, Shared { counters, watch, .. }) = (Base::Absent, &*self.inner.shared);
        for Brought { token, place } in &self.inner.tokens {
            let loaded = self.look_up(&token.key(), entering.as_deref_mut()).await;
            counters.looked_up(token, &loaded);
            match loaded {
                Ok(Loaded::Absent) => watch.unknown_token(),
                Ok(Loaded::Deleted { ago }) if matches!(base, Base::Absent) => {
                    let under_way = ago <= self.inner.opened.elapsed();
                    base = if under_way { Base::Gone } else { Base::Deleted };
                }
                Ok(Loaded::Deleted { .. }) => {}
                Ok(Loaded::Found(snapshot)) if snapshot.is_opened_by(token) => {
                    if !stay::is_over(&snapshot, self.config()) {
                        return Ok(Base::Held(Held { token: token.clone(), snapshot, place: *place }));
                    }
                    tracing::debug!(name: "session.idle", "session refused that is idle, or remembered, for longer than configured");
                }
                Ok(Loaded::Found(snapshot)) if rotated_ago(&snapshot) <= self.inner.opened.elapsed() => {
                    base = Base::Superseded;
                }
                Ok(Loaded::Found(snapshot)) if rotated_ago(&snapshot) < REMEMBERED => {
                    if matches!(base, Base::Absent) {
                        base = Base::Replaced;
                    }
                }
                Ok(Loaded::Found(snapshot)) => {
                    watch.refused_token();
                    let principal = snapshot.record().principal();
                    self.inner.shared.tell(SessionEventKind::OldTokenUsed, Some(token.key()), principal);
                }
                Err(error) if self.discards(&error) => {
                    tracing::warn!(name: "session.unreadable", error = %error, "unreadable session discarded");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(base)
    }

    async fn look_up(&self, key: &SessionKey, entering: Option<&mut Entering<'_>>) -> Result<Loaded> {
        let store = &self.inner.shared.store;
        match entering.filter(|entering| entering.epoch == 0) {
            None => store.load(key).await,
            Some(entering) => {
                let (loaded, epoch) = store.load_entering(key, entering.who).await?;
                entering.epoch = epoch;
                Ok(loaded)
            }
        }
    }

    fn discards(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Corrupt && self.config().on_unreadable == UnreadablePolicy::Discard
    }

    /// A request whose token is in its grace does not renew: another has just done so. If that is longer ago than the grace
    /// and nobody has used the new token, the browser has not got it.
    fn plan_renewal(&self, state: &mut State, base: &Base) {
        let (Some(renewal), Base::Held(Held { token, snapshot, .. })) = (self.config().renewal, base) else { return };
        let record = snapshot.record();
        let (verifier, now) = (token.verifier_hash(), snapshot.now());
        let age = now.since(record.rotated());
        let due = age >= renewal.every && record.is_newest(&verifier) && !record.has_grace(now);
        let lost = age >= renewal.grace && record.is_unconfirmed(&verifier);
        if (due || lost) && state.work.pending.is_none() {
            state.work.pending = Some(Pending::Renew { grace: renewal.grace });
        }
    }

    /// Whether all that failed is the renewal of a token that was due, which no handler has asked for. It may have been made all the
    /// same: the token that the browser has is accepted until another is used, and a later request renews it.
    pub(super) fn drops_renewal(&self, error: &Error) -> bool {
        let mut state = self.state();
        let renews = state.committing.as_ref().is_some_and(|committing| committing.work.only_renews());
        let is_away = Outage::of(error).is_some();
        if !renews || !(is_away || error.kind() == ErrorKind::Conflict) {
            return false;
        }
        tracing::debug!(name: "session.token_not_renewed", kind = %error.kind(), "a session's token could not be renewed");
        if is_away {
            self.inner.shared.watch.failed(error);
        }
        state.committing = None;
        true
    }

    /// Remembers that the store could not be reached, for the layer.
    pub(super) fn note_outage(&self, error: &Error) {
        if let Some(outage) = Outage::of(error) {
            self.inner.shared.watch.failed(error);
            self.state().outage = Some(outage);
        }
    }
}

/// Who is about to log in, and in which epoch that begins, once it is known.
pub(super) struct Entering<'a> {
    who: &'a Principal,
    epoch: u64,
}

fn rotated_ago(snapshot: &Snapshot) -> Duration {
    snapshot.now().since(snapshot.record().rotated())
}

use statehouse_core::{Error, ErrorKind, Result};
use tracing::Instrument;

use super::state::{Base, Held, Outage, Pending};
use super::{Session, State};
use crate::api::{Loaded, REMEMBERED};
use crate::config::{OutagePolicy, UnreadablePolicy};
use crate::record::{Authority, Snapshot};
use crate::token::Token;

impl Session {
    /// Loads the session unless that was done.
    pub(super) async fn load(&self) -> Result<()> {
        if !self.state().is_unloaded() {
            return Ok(());
        }
        let _gate = self.inner.gate.lock().await;
        self.load_gated().await
    }

    /// The same for a caller that holds the gate.
    pub(super) async fn load_gated(&self) -> Result<()> {
        if !self.state().is_unloaded() {
            return Ok(());
        }
        let found = self.find().instrument(tracing::debug_span!("session.load")).await;
        let base = match found {
            Ok(base) => base,
            Err(error) => {
                self.note_outage(&error);
                let go_on = self.inner.shared.config.on_outage == OutagePolicy::Anonymous;
                if !go_on || Outage::of(&error).is_none() {
                    return Err(error);
                }
                tracing::warn!(error.kind = %error.kind(), "going on without a session: its store cannot be reached");
                Base::Degraded
            }
        };
        let mut state = self.state();
        self.plan_renewal(&mut state, &base);
        state.base = base;
        Ok(())
    }

    /// The first session that one of the request's tokens opens.
    ///
    /// For a while after a rotation a request with the old token is taken for one that was under way: it may not begin
    /// a new session, whose cookie would replace the newer one. Later the browser must have lost the new cookie.
    async fn find(&self) -> Result<Base> {
        let mut base = Base::Absent;
        for token in &self.inner.tokens {
            match self.inner.shared.store.load(&token.key()).await {
                Ok(Loaded::Absent) => tracing::debug!("unknown session token"),
                Ok(Loaded::Deleted) if matches!(base, Base::Absent) => base = Base::Deleted,
                Ok(Loaded::Deleted) => {}
                Ok(Loaded::Ok(snapshot)) if accepts(&snapshot, token) => {
                    return Ok(Base::Held(Held { token: token.clone(), snapshot }));
                }
                Ok(Loaded::Ok(snapshot)) if snapshot.now().since(snapshot.record().rotated()) < REMEMBERED => {
                    base = Base::Superseded;
                }
                Ok(Loaded::Ok(_)) => tracing::warn!("session token with an old or a wrong verifier refused"),
                Err(error) if self.discards(&error) => {
                    tracing::warn!(error.kind = %error.kind(), "unreadable session discarded");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(base)
    }

    fn discards(&self, error: &Error) -> bool {
        let config = &self.inner.shared.config;
        error.kind() == ErrorKind::Corrupt && config.on_unreadable == UnreadablePolicy::Discard
    }

    /// A request whose token is in its grace does not renew: another has just done so.
    fn plan_renewal(&self, state: &mut State, base: &Base) {
        let (Some(renewal), Base::Held(Held { token, snapshot })) = (self.inner.shared.config.renewal, base) else {
            return;
        };
        let record = snapshot.record();
        let due = snapshot.now().since(record.rotated()) >= renewal.every && record.is_newest(&token.verifier_hash());
        if due && state.pending.is_none() {
            state.pending = Some(Pending::Renew { grace: renewal.grace });
        }
    }

    /// Remembers that the store could not be reached, for the layer.
    pub(super) fn note_outage(&self, error: &Error) {
        if let Some(outage) = Outage::of(error) {
            self.state().outage = Some(outage);
        }
    }
}

fn accepts(snapshot: &Snapshot, token: &Token) -> bool {
    snapshot.record().accepts(Authority::Holder(token.verifier_hash()), snapshot.now())
}

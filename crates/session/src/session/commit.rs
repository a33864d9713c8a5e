use statehouse_core::{Error, ErrorKind, Result, Retry};
use tracing::Instrument;

use super::state::{Base, CookieChange, Held, Outage, Pending};
use super::{Session, Shared};
use crate::api::{Saved, SessionStore};
use crate::config::{ConflictPolicy, OutagePolicy};
use crate::record::{Authority, Delta, NewSession, Rotate, Rotation, Snapshot, size};
use crate::token::{Token, VerifierHash};

/// How often one commit is based on a newer session. Each time, another request's commit succeeded.
const ATTEMPTS: usize = 64;

/// How many tokens are drawn for a new session. Two equal draws of 128 bits do not happen, but a backend that repeats a
/// create whose answer was lost finds its own first try.
const DRAWS: usize = 3;

/// What one commit does.
#[derive(Clone)]
struct Work {
    delta: Delta,
    pending: Option<Pending>,
}

/// One attempt to change a stored session, and what the next one needs.
struct Attempt {
    first: Snapshot,
    base: Snapshot,
    token: Token,
    delta: Delta,
    rotation: Option<(Token, Rotation)>,
}

impl Session {
    /// Saves what was changed. The layer does this before the response head is sent; without the layer call it, and
    /// then [`write_cookie`](Self::write_cookie).
    ///
    /// Changes of a session that somebody deleted in the meantime, or of one whose token a login replaced, are dropped;
    /// a login among them begins a new session. Of a deleted session the cookie is removed, so that the browser's next
    /// request may begin another.
    ///
    /// # Errors
    /// The store's; [`ErrorKind::Conflict`] by policy or after too many conflicts; [`ErrorKind::TooLarge`]. What was
    /// not saved stays, and another commit tries again.
    pub async fn commit(&self) -> Result<()> {
        let _gate = self.inner.gate.lock().await;
        if self.state().has_work() {
            self.load_gated().await?;
        }
        if let Some(work) = self.take_work() {
            let done = self.apply(&work).instrument(tracing::debug_span!("session.commit")).await;
            if let Err(error) = done {
                return self.not_applied(work, error);
            }
        }
        self.slide();
        Ok(())
    }

    /// The outage that this request met, if it met one.
    pub(crate) fn outage(&self) -> Option<Outage> {
        self.state().outage
    }

    /// Drops the changed attributes of a failed request.
    pub(crate) fn discard_attributes(&self) {
        self.state().delta = Delta::new();
    }

    /// Refuses changes from now on: nobody would save them.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    fn take_work(&self) -> Option<Work> {
        let mut state = self.state();
        let work = state.has_work();
        work.then(|| Work { delta: std::mem::take(&mut state.delta), pending: state.pending.take() })
    }

    fn not_applied(&self, work: Work, error: Error) -> Result<()> {
        self.note_outage(&error);
        let go_on = self.inner.shared.config.on_outage == OutagePolicy::Anonymous && Outage::of(&error).is_some();
        if go_on && !matches!(work.pending, Some(Pending::Login(_) | Pending::Rotate)) {
            tracing::warn!(error.kind = %error.kind(), "session changes dropped: the store cannot be reached");
            return Ok(());
        }
        let mut state = self.state();
        let newer = std::mem::take(&mut state.delta);
        state.delta = work.delta.then(newer);
        state.pending = state.pending.take().or(work.pending);
        Err(error)
    }

    async fn apply(&self, work: &Work) -> Result<()> {
        let base = self.state().base.clone();
        match base {
            Base::Held(held) => self.update(held, work).await,
            Base::Absent => self.create(work).await,
            Base::Superseded | Base::Deleted | Base::Degraded | Base::Unloaded => self.go_on_without(work, base).await,
        }
    }

    /// For a request that may not begin a session merely because it has changes.
    async fn go_on_without(&self, work: &Work, base: Base) -> Result<()> {
        let deleted = matches!(base, Base::Deleted);
        self.state().base = base;
        if let Some(Pending::Login(_)) = work.pending {
            return self.create(work).await;
        }
        if deleted {
            self.state().cookie = Some(CookieChange::Remove);
        }
        tracing::debug!("session changes dropped: the session is gone or its token was replaced");
        Ok(())
    }

    async fn create(&self, work: &Work) -> Result<()> {
        let Shared { store, config, .. } = &*self.inner.shared;
        let attributes = work.delta.apply(&Default::default()).unwrap_or_default();
        let principal = match &work.pending {
            Some(Pending::Login(principal)) => Some(principal.clone()),
            _ => None,
        };
        if attributes.is_empty() && principal.is_none() {
            return Ok(());
        }
        check_size(size(&attributes), 0, config.max_session)?;
        let template = NewSession::new(VerifierHash::from_bytes([0; 32]), config.idle_timeout, config.absolute_timeout);
        let template = NewSession { attributes, principal, ..template };
        for _ in 0..DRAWS {
            let token = Token::generate()?;
            let new = NewSession { verifier: token.verifier_hash(), ..template.clone() };
            match store.create(&token.key(), &new).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => {
                    self.begin(token, created?);
                    return Ok(());
                }
            }
        }
        Err(Error::new(ErrorKind::Unexpected, "every new session token was taken").with_operation("session.commit"))
    }

    fn begin(&self, token: Token, snapshot: Snapshot) {
        let mut state = self.state();
        state.cookie = Some(CookieChange::Set(token.clone()));
        state.base = Base::Held(Held { token, snapshot });
    }

    async fn update(&self, held: Held, work: &Work) -> Result<()> {
        let Shared { store, config, .. } = &*self.inner.shared;
        let mut attempt = Attempt::new(held, work)?;
        for _ in 0..ATTEMPTS {
            attempt.check_size(config.max_session)?;
            match attempt.send(&**store).await? {
                Saved::Ok(snapshot) => {
                    self.applied(attempt, snapshot);
                    return Ok(());
                }
                Saved::Conflict(current) => attempt.rebase(current, config.on_conflict)?,
                Saved::Gone => return self.go_on_without(work, Base::Deleted).await,
                Saved::Superseded => return self.go_on_without(work, Base::Superseded).await,
            }
        }
        Err(conflict("the session was changed by too many other requests at the same time").with_retry(Retry::Now))
    }

    fn applied(&self, attempt: Attempt, snapshot: Snapshot) {
        let mut state = self.state();
        let token = match attempt.rotation {
            Some((next, _)) => {
                state.cookie = Some(CookieChange::Set(next.clone()));
                next
            }
            None => attempt.token,
        };
        state.base = Base::Held(Held { token, snapshot });
    }

    /// Slides the idle timeout of a session that was used and not written, in the background, if it is worth it.
    fn slide(&self) {
        let (key, due) = match self.state().held() {
            Some(Held { snapshot, .. }) => (*snapshot.record().key(), snapshot.is_worth_a_touch()),
            None => return,
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if due {
            let shared = std::sync::Arc::clone(&self.inner.shared);
            runtime.spawn(async move {
                if let Err(error) = shared.store.touch(&key).await {
                    tracing::warn!(error.kind = %error.kind(), "a session's idle timeout could not be slid");
                }
            });
        }
    }
}

impl Attempt {
    fn new(held: Held, work: &Work) -> Result<Self> {
        let Held { token, snapshot } = held;
        let rotation = match &work.pending {
            None => None,
            Some(pending) => {
                let next = token.with_new_verifier()?;
                let hash = next.verifier_hash();
                let rotation = match pending {
                    Pending::Login(principal) => Rotation::login(hash, principal.clone()),
                    Pending::Rotate => Rotation::new(hash, Rotate::PrivilegeChange),
                    Pending::Renew { grace } => Rotation::new(hash, Rotate::Renewal { grace: *grace }),
                };
                Some((next, rotation))
            }
        };
        Ok(Self { first: snapshot.clone(), base: snapshot, token, delta: work.delta.clone(), rotation })
    }

    async fn send(&self, store: &dyn SessionStore) -> Result<Saved> {
        let holder = Authority::Holder(self.token.verifier_hash());
        match &self.rotation {
            Some((_, rotation)) => store.rotate(&self.base, holder, rotation, &self.delta).await,
            None => store.save(&self.base, holder, &self.delta).await,
        }
    }

    fn rebase(&mut self, current: Snapshot, policy: ConflictPolicy) -> Result<()> {
        match policy {
            _ if self.delta.is_empty() => {}
            ConflictPolicy::Merge => {}
            ConflictPolicy::Fail => return Err(conflict("another request changed the session at the same time")),
            ConflictPolicy::LastWriteWins => {
                let seen = self.first.record().attributes();
                self.delta = Delta::replace(self.delta.apply(seen).unwrap_or_else(|| seen.clone()));
            }
        }
        let renewed = current.record().rotated() > self.base.record().rotated();
        let renewing = |(_, rotation): &(Token, Rotation)| matches!(rotation.why, Rotate::Renewal { .. });
        if renewed && self.rotation.as_ref().is_some_and(renewing) {
            self.rotation = None;
        }
        self.base = current;
        Ok(())
    }

    fn check_size(&self, limit: u64) -> Result<()> {
        let attributes = self.base.record().attributes();
        check_size(self.delta.size_on(attributes), size(attributes), limit)
    }
}

/// A session that is too large already, because the limit was lowered, may still shrink.
fn check_size(next: u64, current: u64, limit: u64) -> Result<()> {
    if next > limit && next > current {
        let message = format!("the session would be larger than {limit} bytes");
        return Err(Error::new(ErrorKind::TooLarge, message).with_operation("session.commit"));
    }
    Ok(())
}

fn conflict(message: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, message).with_operation("session.commit")
}

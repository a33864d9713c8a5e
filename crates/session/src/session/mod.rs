//! The session of one request.

mod commit;
mod flash;
mod load;
mod state;

use std::fmt::{self, Debug, Display};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use statehouse_core::{Error, ErrorKind, Result, Timestamp};
use tracing::Instrument;

pub use self::flash::Flash;
use self::state::{Base, CookieChange, Pending, State};
use crate::api::{Deleted, SessionStore};
use crate::config::SessionConfig;
use crate::record::{Attribute, AttributeName, Authority, Delta, Principal, entry_size};
use crate::token::{SessionKey, Token, push_hex};

/// A store and a configuration: opens the [`Session`] of each request.
///
/// [`SessionLayer`](crate::SessionLayer) does so for tower services. Without it: [`open`](Self::open), then the handler,
/// then [`Session::commit`] and [`Session::write_cookie`] before the response head is sent.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Box<dyn SessionStore>,
    config: SessionConfig,
    log_salt: [u8; 32],
}

impl Sessions {
    /// Sessions in `store` with these settings.
    #[must_use]
    pub fn new(store: impl SessionStore, config: SessionConfig) -> Self {
        let log_salt = match &config.log_salt {
            Some(salt) => Sha256::digest(salt.expose()).into(),
            // Names in logs need no key of cryptographic strength, only one that differs between processes.
            None => Sha256::digest(RandomState::new().hash_one(0).to_le_bytes()).into(),
        };
        Self { shared: Arc::new(Shared { store: Box::new(store), config, log_salt }) }
    }

    /// The session of the request with these headers. Nothing is sent to the store before the session is used.
    #[must_use]
    pub fn open(&self, headers: &HeaderMap) -> Session {
        Session {
            inner: Arc::new(Inner {
                shared: Arc::clone(&self.shared),
                tokens: self.shared.config.cookie.tokens(headers),
                gate: tokio::sync::Mutex::new(()),
                state: Mutex::new(State::default()),
            }),
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &dyn SessionStore {
        &*self.shared.store
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.shared.config
    }
}

/// The session of one request.
///
/// It is loaded when first read, once for all clones. Changes are kept until the commit and then saved together, as a
/// delta on what was loaded, so that parallel requests do not undo each other's changes. A request that does not use
/// its session costs nothing and sets no cookie.
///
/// # Errors
/// All methods: the store's own; and [`ErrorKind::InvalidInput`] once the response has been sent, when a change could no
/// longer be saved.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    tokens: Vec<Token>,
    /// Held while the store is asked, so that a request loads once and its changes are committed one at a time.
    gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

impl Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id_for_logs", &self.id_for_logs()).finish_non_exhaustive()
    }
}

impl Session {
    /// The value of an attribute.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the stored value is not a `T`.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let key = AttributeName::new(name)?;
        self.load().await?;
        let value = self.state().attribute(&key).cloned();
        value
            .map(|value| value.decode().map_err(|error| error.with_operation("session.get").with_key(name)))
            .transpose()
    }

    /// Sets an attribute. Setting the value that it has already costs no write.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if the attribute or the session would be larger than configured, as far as the session
    /// has been read; [`commit`](Self::commit) checks again. [`ErrorKind::InvalidInput`] for a name that breaks the rule
    /// of [`AttributeName`] and for a value that cannot be encoded.
    pub fn insert<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let value = Attribute::encode(value).map_err(|error| error.with_operation("session.insert").with_key(name))?;
        self.set(&AttributeName::new(name)?, value)
    }

    fn set(&self, name: &AttributeName, value: Attribute) -> Result<()> {
        let config = &self.inner.shared.config;
        let mut state = self.open_state()?;
        let too_large = |what: String| {
            Err(Error::new(ErrorKind::TooLarge, what).with_operation("session.insert").with_key(name.as_str()))
        };
        if entry_size(name, &value) > config.max_attribute {
            return too_large(format!("the attribute is larger than {} bytes", config.max_attribute));
        }
        let before = state.attribute(name);
        let replaced = before.map_or(0, |before| entry_size(name, before));
        let next = state.delta.size_on(state.loaded_attributes()) - replaced + entry_size(name, &value);
        if before != Some(&value) && next > config.max_session {
            return too_large(format!("the session would be larger than {} bytes", config.max_session));
        }
        state.delta = std::mem::take(&mut state.delta).with_set(name.clone(), value);
        Ok(())
    }

    /// Removes an attribute, if it is there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that breaks the rule of [`AttributeName`].
    pub fn remove(&self, name: &str) -> Result<()> {
        let name = AttributeName::new(name)?;
        self.change(|delta| delta.with_removed(name))
    }

    /// Removes all attributes. The session itself stays, and so does who is logged in.
    ///
    /// # Errors
    /// Only those of all methods.
    pub fn clear(&self) -> Result<()> {
        self.change(|_| Delta::replace(Default::default()))
    }

    fn change(&self, change: impl FnOnce(Delta) -> Delta) -> Result<()> {
        let mut state = self.open_state()?;
        let delta = std::mem::take(&mut state.delta);
        state.delta = change(delta);
        Ok(())
    }

    /// Makes this the session of `principal`, for example a user id, and gives it a new token. One cannot be had
    /// without the other: whoever knew the old token is anonymous from the commit on, and requests in flight with it
    /// can no longer change the session. Attributes stay, unless somebody else was logged in: theirs are removed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the text is not a [`Principal`].
    pub async fn login(&self, principal: impl Display) -> Result<()> {
        let principal = Principal::new(principal)?;
        self.load().await?;
        let mut state = self.open_state()?;
        state.refuse_degraded("session.login")?;
        if state.principal().is_some_and(|before| *before != principal) {
            state.delta = Delta::replace(Default::default());
        }
        state.pending = Some(Pending::Login(principal));
        Ok(())
    }

    /// Gives the session a new token and refuses the old one, for example after a second factor. Without a session it
    /// does nothing.
    ///
    /// # Errors
    /// Only those of all methods.
    pub async fn rotate(&self) -> Result<()> {
        self.load().await?;
        let mut state = self.open_state()?;
        state.refuse_degraded("session.rotate")?;
        if !matches!(state.pending, Some(Pending::Login(_))) {
            state.pending = Some(Pending::Rotate);
        }
        Ok(())
    }

    /// Deletes the session at once and removes the cookie. No request in flight can bring it back. What is inserted
    /// afterwards goes into a new session.
    ///
    /// # Errors
    /// The store's: then nobody was logged out.
    pub async fn logout(&self) -> Result<()> {
        let _gate = self.inner.gate.lock().await;
        let ended = self.delete().instrument(tracing::debug_span!("session.logout")).await;
        let ended = ended.inspect_err(|error| self.note_outage(error))?;
        let mut state = self.open_state()?;
        let (base, cookie) = match ended {
            Deleted::Refused => (Base::Superseded, None),
            _ => (Base::Absent, (!self.inner.tokens.is_empty()).then_some(CookieChange::Remove)),
        };
        *state = State { base, cookie, outage: state.outage, ..State::default() };
        Ok(())
    }

    /// Deletes the session that a load would find; needs no load. `Refused` if there are only tokens that another
    /// login replaced, whose removal would take the new cookie with it.
    async fn delete(&self) -> Result<Deleted> {
        let (held, unread) = {
            let state = self.open_state()?;
            state.refuse_degraded("session.logout")?;
            (state.held().map(|held| held.token.clone()), state.is_unloaded())
        };
        let tokens = match &held {
            Some(token) => std::slice::from_ref(token),
            None if unread => &self.inner.tokens[..],
            None => return Ok(if self.state().is_superseded() { Deleted::Refused } else { Deleted::Gone }),
        };
        let mut answer = Deleted::Gone;
        for token in tokens {
            let holder = Authority::Holder(token.verifier_hash());
            match self.inner.shared.store.delete(&token.key(), holder).await? {
                Deleted::Ok => return Ok(Deleted::Ok),
                Deleted::Refused => answer = Deleted::Refused,
                Deleted::Gone => {}
            }
        }
        Ok(answer)
    }

    /// Who is logged in.
    ///
    /// # Errors
    /// Only those of all methods.
    pub async fn principal(&self) -> Result<Option<Principal>> {
        self.load().await?;
        Ok(self.state().principal().cloned())
    }

    /// Succeeds if somebody logged in within `age`, by the store's clock: for actions that need a recent password.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] if nobody is logged in or the login is older.
    pub async fn require_fresh(&self, age: Duration) -> Result<()> {
        self.load().await?;
        if self.state().login_age().is_some_and(|passed| passed <= age) {
            return Ok(());
        }
        let message = "the login is not recent enough for this: log in again";
        Err(Error::new(ErrorKind::Unauthenticated, message).with_operation("session.require_fresh"))
    }

    /// The key under which the session is stored, if there is one: for an application that keeps a list of somebody's
    /// sessions. It stays the same through logins and rotations. With it and [`Authority::Application`] a session can
    /// be [read](SessionStore::load) and [ended](SessionStore::delete), so it is for the server alone.
    ///
    /// # Errors
    /// Only those of all methods.
    pub async fn key(&self) -> Result<Option<SessionKey>> {
        self.load().await?;
        Ok(self.state().held().map(|held| held.token.key()))
    }

    /// A name for this session in logs, once it has been loaded or created: a salted hash, which finds nothing and
    /// opens nothing.
    #[must_use]
    pub fn id_for_logs(&self) -> Option<String> {
        let key = self.state().held().map(|held| held.token.key())?;
        let hash = Sha256::new().chain_update(self.inner.shared.log_salt).chain_update(key.as_bytes()).finalize();
        let mut text = String::with_capacity(16);
        push_hex(&mut text, &hash[..8]);
        Some(text)
    }

    /// When the session was created, if there is one in the store.
    ///
    /// # Errors
    /// Only those of all methods.
    pub async fn created(&self) -> Result<Option<Timestamp>> {
        self.load().await?;
        Ok(self.state().held().map(|held| held.snapshot.record().created()))
    }

    /// Adds the cookie that the last commit or logout asks for, if any. The layer does this.
    pub fn write_cookie(&self, headers: &mut HeaderMap) {
        let cookie = &self.inner.shared.config.cookie;
        match self.state().cookie.take() {
            Some(CookieChange::Set(token)) => cookie.set(headers, &token),
            Some(CookieChange::Remove) => cookie.remove(headers),
            None => {}
        }
    }

    /// Nothing that runs under the lock leaves the state half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.closed {
            return Err(Error::invalid_input("the response has been sent: the session can no longer be changed"));
        }
        Ok(state)
    }
}

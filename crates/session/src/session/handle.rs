use std::fmt::{self, Debug, Display};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use statehouse_core::fence::Raising;
use statehouse_core::{Error, ErrorKind, Fence, Guarded, RaiseOptions, Result, Timestamp, hex};

use super::contention::Contention;
use super::state::{CookieChange, State, Weight};
use super::watch::Watch;
use super::work::Step;
use crate::api::SessionStore;
use crate::config::SessionConfig;
use crate::cookie::{Brought, CookieConfig, Place};
use crate::counters::Counters;
use crate::event::SessionEventKind;
use crate::operation::NAME;
use crate::record::{Attribute, AttributeName, Principal, entry_size};
use crate::schema::{self, Reported};
use crate::token::SessionKey;

/// A store and a configuration: opens the [`Session`] of each request.
///
/// [`SessionLayer`](crate::SessionLayer) does so for tower services. Without it: [`open`](Self::open), then the handler,
/// then [`Session::commit`] and [`Session::write_cookie`] before the response head is sent.
#[derive(Clone, Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
    /// The cookie outside of which its tokens open nothing, where there are several layers.
    realm: Option<Arc<String>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) config: SessionConfig,
    pub(super) log_salt: [u8; 32],
    pub(super) contention: Contention,
    pub(super) reported: Reported,
    pub(super) counters: Counters,
    pub(super) watch: Watch,
}

impl Shared {
    /// Tells whoever is to be told.
    pub(super) fn tell(&self, kind: SessionEventKind, key: Option<SessionKey>, principal: Option<&Principal>) {
        if let Some(listener) = &self.config.listener {
            listener.tell(kind, key, principal.cloned());
        }
    }
}

/// Guards the store: what is written by its own methods is [fenced](crate::SaveOptions::fence), and no request is.
impl Guarded for Sessions {
    fn raise<'a>(&'a self, fence: &'a Fence, limit: Duration) -> Raising<'a> {
        Box::pin(self.shared.store.raise_with(fence, RaiseOptions::default().with_deadline(limit)))
    }
}

impl Sessions {
    /// Sessions in `store` with these settings.
    #[must_use]
    pub fn new(store: impl SessionStore, config: SessionConfig) -> Self {
        Self::watched(store, config, Watch::default())
    }

    pub(super) fn watched(store: impl SessionStore, config: SessionConfig, watch: Watch) -> Self {
        let log_salt = match &config.log_salt {
            Some(salt) => Sha256::digest(salt.expose()).into(),
            // Names in logs need no key of cryptographic strength, only one that differs between processes.
            None => Sha256::digest(RandomState::new().hash_one(0).to_le_bytes()).into(),
        };
        let (contention, reported, counters) = Default::default();
        let shared = Shared { store: Arc::new(store), config, log_salt, contention, reported, counters, watch };
        Self { shared: Arc::new(shared), realm: None }
    }

    /// The same, whose tokens open no session in any other cookie than its own.
    pub(crate) fn in_its_cookie_only(self) -> Self {
        let realm = Some(Arc::new(self.shared.config.cookie.name().to_owned()));
        Self { realm, ..self }
    }

    /// The session of the request with these headers. Nothing is sent to the store before the session is used.
    #[must_use]
    pub fn open(&self, headers: &HeaderMap) -> Session {
        let (mut tokens, more) = self.shared.config.cookie.tokens(headers);
        if self.realm.is_some() {
            for brought in &mut tokens {
                brought.token = brought.token.in_realm(self.realm.clone());
            }
        }
        let has_fallback = tokens.iter().any(|brought| brought.place == Place::Fallback);
        Session {
            inner: Arc::new(Inner {
                shared: Arc::clone(&self.shared),
                realm: self.realm.clone(),
                tokens,
                more,
                opened: Instant::now(),
                gate: tokio::sync::Mutex::new(()),
                state: Mutex::new(State { has_fallback, ..State::default() }),
            }),
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> Arc<dyn SessionStore> {
        Arc::clone(&self.shared.store)
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.shared.config
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// The session of one request.
///
/// It is loaded when first read, once for all clones. Changes are kept until the commit and then saved together, as a
/// delta on what was loaded, so that parallel requests do not undo each other's changes. A request that does not use
/// its session costs nothing and sets no cookie.
///
/// # Errors
/// All methods: the store's own. Those that change it: [`ErrorKind::InvalidInput`] too, once the response has been sent, or the
/// client has gone before there was one, when nobody would save the change; [`error_response`](crate::error_response) answers 503.
///
/// # Who outlives the client
/// When a client goes, the layer's work is dropped with it, and usually the handler is. One that goes on, because it is a task of its
/// own or behind a layer that sees to that, still reads the session, and can change it no more. What it has changed before is not
/// lost, and not saved by itself either: nobody else knows whether it has come to its end. So such a handler
/// [commits](Self::commit) itself before it answers, which saves that whether or not there is a client.
///
/// ```
/// # use statehouse_session::{MemorySessionStore, Session, SessionConfig, Sessions};
/// async fn pay(session: Session) -> statehouse_core::Result<&'static str> {
///     session.insert("paid", &true)?;
///     // ... what takes its time, and is done whether or not somebody waits for it
///     session.commit().await?;
///     Ok("thank you")
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let session = Sessions::new(MemorySessionStore::new(), SessionConfig::default()).open(&http::HeaderMap::new());
/// # assert_eq!(pay(session.clone()).await?, "thank you");
/// # assert_eq!(session.get::<bool>("paid").await?, Some(true));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) realm: Option<Arc<String>>,
    pub(super) tokens: Vec<Brought>,
    /// Whether the request brought more tokens than these.
    pub(super) more: bool,
    /// When the request arrived, as far as this process knows.
    pub(super) opened: Instant,
    /// Held while the store is asked, so that a request loads once and its changes are committed one at a time.
    pub(super) gate: tokio::sync::Mutex<()>,
    pub(super) state: Mutex<State>,
}

impl Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id_for_logs", &self.id_for_logs()).finish_non_exhaustive()
    }
}

impl Session {
    /// The value of an attribute. One that another build of the application has stored and that is not a `T` is absent and
    /// reported once, unless the configuration [says otherwise](crate::SessionConfigBuilder::on_unreadable_attribute) or
    /// [migrates](crate::SessionConfigBuilder::attribute_schema) it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] by policy if the stored value is not a `T`, naming the attribute and both types.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let key = AttributeName::new(name)?;
        self.load().await?;
        let Some(value) = self.state().attribute(&key, self.config().on_login).cloned() else { return Ok(None) };
        let Shared { config, reported, .. } = &*self.inner.shared;
        schema::read(config, reported, name, &value).map_err(|error| error.with_operation(NAME.get))
    }

    /// The attribute of a value, under the number that the configuration has for its layout.
    fn encode<T: Serialize + ?Sized>(config: &SessionConfig, name: &str, value: &T) -> Result<Attribute> {
        let number = config.attributes.get(name).map_or(0, |schema| schema.number);
        Ok(Attribute::encode(value)?.with_schema(number))
    }

    /// Sets an attribute. Setting the value that it has already costs no write; maps are compared without regard to
    /// the order of their entries, so that an equal `HashMap` costs none.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if the attribute or the session would be larger than configured, or of too many
    /// attributes, as far as the session has been read; [`commit`](Self::commit) checks again.
    /// [`ErrorKind::InvalidInput`] for a name that breaks the rule of [`AttributeName`] and for a value that cannot be
    /// encoded.
    pub fn insert<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let value = Self::encode(self.config(), name, value);
        let value = value.map_err(|error| error.with_operation(NAME.insert).with_key(name))?;
        self.put(AttributeName::new(name)?, value)
    }

    /// As [`insert`](Self::insert), for so long from the commit on, by the store's clock: then the attribute is absent, and the next save
    /// removes it. For what is not to be there for as long as its session: a code that was sent, a form that was begun.
    ///
    /// Each time it is inserted so is a change, and the time begins anew. [`insert`](Self::insert) ends that it has one;
    /// [`update`](Self::update) keeps when it ends. No message of [`flash`](Self::flash) has a time: it waits for the next page.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use statehouse_session::{MemorySessionStore, Sessions, SessionConfig};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// # let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    /// # let session = sessions.open(&http::HeaderMap::new());
    /// session.insert_for("code", &(438_102, 0), Duration::from_secs(300))?;
    /// session.commit().await?;
    /// // The wrong one was entered: of three times there are two left, and no more than the five minutes.
    /// session.update("code", |code: Option<(u32, u8)>| code.map_or((0, 3), |(code, tries)| (code, tries + 1))).await?;
    /// assert_eq!(session.get::<(u32, u8)>("code").await?, Some((438_102, 1)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`insert`](Self::insert); [`ErrorKind::InvalidInput`] for no time at all.
    pub fn insert_for<T: Serialize + ?Sized>(&self, name: &str, value: &T, time_to_live: Duration) -> Result<()> {
        if time_to_live.is_zero() {
            let message = "an attribute lives for longer than no time at all";
            return Err(Error::invalid_input(message).with_operation(NAME.insert).with_key(name));
        }
        let value = Self::encode(self.config(), name, value);
        let value = value.map_err(|error| error.with_operation(NAME.insert).with_key(name))?;
        self.put(AttributeName::new(name)?, value.with_time_to_live(time_to_live))
    }

    pub(super) fn put(&self, name: AttributeName, value: Attribute) -> Result<()> {
        let mut state = self.open_state()?;
        let weight = self.check(&mut state, &name, &value)?;
        state.work.set(name, value);
        state.reweigh(weight);
        Ok(())
    }

    /// Changes an attribute depending on what it is: `change` gets the value, or `None` if there is none, and returns
    /// the next. If another request changes the session before this one is saved, `change` is run again on what that
    /// one left, so that no change is lost; so it should do nothing else. An attribute with [an end](Self::insert_for) keeps that.
    ///
    /// ```
    /// # use statehouse_session::{MemorySessionStore, Sessions, SessionConfig};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    /// # let session = sessions.open(&http::HeaderMap::new());
    /// session.update("cart", |cart: Option<Vec<u32>>| {
    ///     let mut cart = cart.unwrap_or_default();
    ///     cart.push(7);
    ///     cart
    /// }).await?;
    /// assert_eq!(session.get::<Vec<u32>>("cart").await?, Some(vec![7]));
    /// # Ok::<(), statehouse_core::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`insert`](Self::insert), and as [`get`](Self::get).
    pub async fn update<T, F>(&self, name: &str, change: F) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let key = AttributeName::new(name)?;
        self.load().await?;
        let (shared, attribute) = (Arc::clone(&self.inner.shared), name.to_owned());
        let step: Step = Arc::new(move |before: Option<&Attribute>| {
            let Shared { config, reported, .. } = &*shared;
            let read = before.map(|before| schema::read(config, reported, &attribute, before)).transpose()?.flatten();
            // What cannot be read is absent, and what follows on it is new.
            let ends = before.filter(|_| read.is_some()).map(|before| before.ends).unwrap_or_default();
            Ok(Attribute { ends, ..Self::encode(config, &attribute, &change(read))? })
        });
        let policy = self.config().on_login;
        loop {
            // `change` is the application's: it may use the session, and so runs without the lock.
            let before = self.state().attribute(&key, policy).cloned();
            let value = step(before.as_ref()).map_err(|error| error.with_operation(NAME.update).with_key(name))?;
            let mut state = self.open_state()?;
            if state.attribute(&key, policy) == before.as_ref() {
                let weight = self.check(&mut state, &key, &value)?;
                let over = state.attribute_below(&key, policy).cloned();
                state.work.update(key, over, step, value);
                state.reweigh(weight);
                return Ok(());
            }
        }
    }

    /// Whether the attribute may have this value; and then what all attributes take up.
    fn check(&self, state: &mut State, name: &AttributeName, value: &Attribute) -> Result<Weight> {
        let config = self.config();
        if entry_size(name, value) > config.max_attribute {
            return Err(attribute_too_large(name.as_str(), config.max_attribute));
        }
        let before = state.weight(config.on_login);
        let next = state.weight_with(name, value, config.on_login);
        let limit = match next {
            _ if next.bytes > config.max_session.max(before.bytes) => format!("{} bytes", config.max_session),
            _ if next.count > config.max_attributes.max(before.count) => {
                format!("{} attributes", config.max_attributes)
            }
            _ => return Ok(next),
        };
        Err(too_large(name.as_str(), format!("the session would be larger than {limit}")))
    }

    /// Removes an attribute, if it is there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a name that breaks the rule of [`AttributeName`].
    pub fn remove(&self, name: &str) -> Result<()> {
        let name = AttributeName::new(name)?;
        self.open_state()?.remove(name, self.config().on_login);
        Ok(())
    }

    /// Removes all attributes, with them the name of the [device](Self::name_device) and the token of the
    /// [forms](Self::csrf_token). The session itself stays, and so does who is logged in.
    ///
    /// # Errors
    /// Only those of all methods.
    pub fn clear(&self) -> Result<()> {
        self.open_state()?.clear();
        Ok(())
    }

    /// The key under which the session is stored, if there is one: for an application that keeps a list of somebody's
    /// sessions. A session that this request begins has none before its [`commit`](Self::commit), which a handler may
    /// call itself. It stays the same through logins and rotations. With it and
    /// [`Authority::Application`](crate::Authority::Application) a session can be [read](crate::SessionStore::load_with) and
    /// [ended](crate::SessionStore::delete_with), so it is for the server alone.
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
        hex::push(&mut text, &hash[..8]);
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

    /// Adds the cookie that the last commit or logout asks for, if any; and tells caches that a response for which the
    /// session was read or written is for this browser alone (`Vary: Cookie`, `Cache-Control: private`). The layer does
    /// this.
    pub fn write_cookie(&self, headers: &mut HeaderMap) {
        let cookie = &self.config().cookie;
        let (change, drops_fallback, used) = {
            let mut state = self.state();
            let drops_fallback = state.drops_fallback();
            (state.cookie.take(), drops_fallback, state.used)
        };
        match change {
            Some(CookieChange::Set(token, place, max_age)) => cookie.set(headers, place, &token, max_age),
            Some(CookieChange::Remove) => cookie.remove(headers, Place::Cookie),
            Some(CookieChange::RemoveFallback) | None => {}
        }
        if drops_fallback {
            cookie.remove(headers, Place::Fallback);
        }
        if used {
            CookieConfig::mark_private(headers);
        }
    }

    pub(super) fn config(&self) -> &SessionConfig {
        &self.inner.shared.config
    }

    /// Nothing that runs under the lock leaves the state half changed.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_state(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.closed {
            let message = "the response has been sent, or its client has gone: the session can no longer be changed";
            return Err(Error::invalid_input(message).with_source(Closed));
        }
        state.used = true;
        Ok(state)
    }
}

/// That nobody would save a change any more: no fault of what the client has sent.
#[derive(Debug)]
pub(crate) struct Closed;

impl Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody commits the session of this request any more")
    }
}

impl std::error::Error for Closed {}

impl Closed {
    pub(crate) fn is_source_of(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Self>)
    }
}

pub(super) fn attribute_too_large(name: &str, limit: u64) -> Error {
    too_large(name, format!("the attribute is larger than {limit} bytes"))
}

fn too_large(name: &str, message: String) -> Error {
    Error::new(ErrorKind::TooLarge, message).with_operation(NAME.insert).with_key(name)
}

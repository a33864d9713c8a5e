//! Who is logged in, and since when.

use std::fmt::Display;
use std::time::Duration;

use statehouse_core::{Error, ErrorKind, Result, span};
use tracing::Instrument;

use super::finish::Finish;
use super::handle::Session;
use super::state::{Base, CookieChange, Held, Outage, State};
use super::stay::Stay;
use super::work::Pending;
use crate::api::{SessionStore as _, SessionStoreExt as _};
use crate::capability::PRINCIPALS;
use crate::cookie::{Brought, CANDIDATES, Place};
use crate::event::SessionEventKind;
use crate::operation::NAME;
use crate::options::LoginOptions;
use crate::outcome::Deleted;
use crate::record::{Authority, Principal};
use crate::token::Token;

/// How a logout went.
enum Ended {
    /// None of the request's tokens opens a session any more, and this is what a new one would begin on.
    Over { base: Base, cookie: Option<CookieChange> },
    /// A login has replaced the token: the session goes on under another.
    Superseded,
}

impl Session {
    /// Makes this the session of `principal`, for example a user id, and gives it a new token. One cannot be had
    /// without the other: whoever knew the old token is anonymous from the commit on, and requests in flight with it
    /// can no longer change the session.
    ///
    /// If somebody else was logged in, their attributes are removed as part of the login, whatever the status of the
    /// response. Those of an anonymous session stay or go by [`LoginPolicy`](crate::LoginPolicy). What this request
    /// itself [inserts](Self::insert) stays, before the login or after it, unless this request has logged in somebody
    /// else in between; an [update](Self::update) of the removed attributes is dropped.
    ///
    /// If the browser has sent several cookies of the session's name, the sessions of the others end with the commit: else one of
    /// them would be the browser's whenever its cookie came first.
    ///
    /// # The form before it
    /// A login form needs a token as every other form does, or another site's page logs its visitors in as somebody else, and
    /// sees what they then enter. Asking for the form must not create a session to keep that token in: whoever asks, a crawler or
    /// an attacker, would leave a record in the store each time, and a store that is away would take the form with it. So
    /// a cookie of its own holds the same token as the form's hidden field. Another site can neither read that cookie nor, since
    /// its name begins with `__Host-`, set it from another host of the domain. (Without such a name a host beside this one
    /// could plant a pair of its own, signed or not.) Over plain HTTP, for development, browsers take neither the name nor
    /// `Secure`.
    ///
    /// ```
    /// use http::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
    /// use statehouse_session::{MemorySessionStore, SessionConfig, Sessions, Token};
    /// use subtle::ConstantTimeEq;
    ///
    /// const NAME: &str = "__Host-login";
    /// const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";
    ///
    /// /// The form's token that the browser brings. It has digits only, so it is safe in the page.
    /// fn brought(request: &HeaderMap) -> Option<&str> {
    ///     let headers = request.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    ///     let mut pairs = headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    ///     pairs.find(|(name, value)| *name == NAME && Token::parse(value).is_some()).map(|(_, value)| value)
    /// }
    ///
    /// /// What the hidden field shows. A browser that has a token keeps it, for the form may be open in two tabs.
    /// fn show(request: &HeaderMap, response: &mut HeaderMap) -> Result<String, Box<dyn std::error::Error>> {
    ///     // No cache may give one browser's token to another.
    ///     response.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ///     if let Some(token) = brought(request) {
    ///         return Ok(token.to_owned());
    ///     }
    ///     let token = Token::generate()?.expose().expose().to_owned();
    ///     response.append(SET_COOKIE, format!("{NAME}={token}; {ATTRIBUTES}").parse()?);
    ///     Ok(token)
    /// }
    ///
    /// /// Whether this browser was shown the form.
    /// fn is_from_form(request: &HeaderMap, field: &str) -> bool {
    ///     brought(request).is_some_and(|token| token.as_bytes().ct_eq(field.as_bytes()).into())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    ///
    /// // The form is asked for, and no session begins.
    /// let mut page = HeaderMap::new();
    /// let field = show(&HeaderMap::new(), &mut page)?;
    ///
    /// // It is sent.
    /// let cookie = page[SET_COOKIE].to_str()?.split(';').next().unwrap_or_default();
    /// let request = HeaderMap::from_iter([(COOKIE, cookie.parse()?)]);
    /// assert!(is_from_form(&request, &field));
    /// assert!(!is_from_form(&HeaderMap::new(), &field), "another site's page, whose requests bring no cookie");
    /// assert!(!is_from_form(&request, Token::generate()?.expose().expose()), "nor does it know the token");
    ///
    /// // Once the password is right; the session has a token of its own for the forms from here on.
    /// let session = sessions.open(&request);
    /// session.login("u42").await?;
    /// let next_form = session.csrf_token().await?;
    /// # assert!(session.is_csrf_token(next_form.expose()).await?);
    /// session.commit().await?;
    /// let mut response = HeaderMap::new();
    /// session.write_cookie(&mut response);
    /// response.append(SET_COOKIE, format!("{NAME}=; Max-Age=0; {ATTRIBUTES}").parse()?);
    /// # assert_eq!(show(&request, &mut HeaderMap::new())?, field);
    /// # assert_eq!(response.get_all(SET_COOKIE).iter().count(), 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the text is not a [`Principal`].
    pub async fn login(&self, principal: impl Display) -> Result<()> {
        self.log_in(Principal::new(principal)?, LoginOptions::default()).await
    }

    /// As [`login`](Self::login), and for how long: of somebody who has ticked a box to stay logged in, the session then has timeouts of its
    /// own, and its cookie a `Max-Age`, which is sent anew as the session is used.
    ///
    /// That is kept with the session. It stays through saves, rotations and renewals, and ends with a logout and with the next
    /// login there, of whomever, which says it anew.
    ///
    /// ```
    /// use std::time::Duration;
    /// use statehouse_session::{LoginOptions, MemorySessionStore, Persistence, SessionConfig, Sessions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let day = Duration::from_secs(86_400);
    /// let config = SessionConfig::builder().max_remembered(365 * day).build()?;
    /// let sessions = Sessions::new(MemorySessionStore::new(), config);
    /// let session = sessions.open(&http::HeaderMap::new());
    ///
    /// let ticked = true; // of the form
    /// let persistence = if ticked { Persistence::Remember(30 * day) } else { Persistence::Browser };
    /// let options = LoginOptions::default().with_persistence(persistence).with_absolute_timeout(180 * day);
    /// session.login_with("u42", options).await?;
    /// session.commit().await?;
    ///
    /// let mut response = http::HeaderMap::new();
    /// session.write_cookie(&mut response);
    /// assert!(response["set-cookie"].to_str().is_ok_and(|cookie| cookie.contains("; Max-Age=2592000;")));
    /// assert_eq!(session.list().await?[0].persistence, Persistence::Remember(30 * day));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`login`](Self::login); [`ErrorKind::InvalidInput`] for a time to be remembered that is under a second, longer than the
    /// absolute timeout, or than the configuration [allows](crate::SessionConfigBuilder::max_remembered).
    pub async fn login_with(&self, principal: impl Display, options: LoginOptions) -> Result<()> {
        self.log_in(Principal::new(principal)?, options).await
    }

    /// As [`login`](Self::login), of a login that [began](Self::begin_login) before its password was checked. With
    /// [`LoginOptions::with_epoch`] it is one of the options.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub async fn login_as_of(&self, principal: impl Display, epoch: u64) -> Result<()> {
        self.log_in(Principal::new(principal)?, LoginOptions::default().with_epoch(epoch)).await
    }

    /// The epoch in which a login of `principal` begins now, for [`login_as_of`](Self::login_as_of): if all sessions of the
    /// principal are revoked while the password is checked, as after it was changed, the login does not stand. 0 where
    /// the store has no [`PRINCIPALS`].
    ///
    /// # Errors
    /// The store's.
    pub async fn begin_login(&self, principal: &Principal) -> Result<u64> {
        let store = &self.inner.shared.store;
        if !store.capabilities().has(PRINCIPALS) {
            return Ok(0);
        }
        match store.epoch(principal).await {
            Err(error) => {
                self.note_outage(&error);
                Err(error.with_operation(NAME.login))
            }
            epoch => epoch,
        }
    }

    async fn log_in(&self, principal: Principal, options: LoginOptions) -> Result<()> {
        let stay = Stay::of(&options, self.config()).map_err(|error| error.with_operation(NAME.login))?;
        let epoch = match options.epoch {
            Some(begun) => {
                self.load().await?;
                begun
            }
            None => self.load_and_begin(&principal).await?,
        };
        let mut state = self.open_state()?;
        state.refuse_degraded(NAME.login)?;
        state.log_in(principal, epoch, stay, self.config().on_login);
        Ok(())
    }

    /// Loads the session and asks in which epoch the login begins, in one round trip where the store can do that.
    async fn load_and_begin(&self, principal: &Principal) -> Result<u64> {
        let begun = match self.inner.shared.store.capabilities().has(PRINCIPALS) {
            true => self.load_entering(principal).await?,
            false => self.load().await.map(|()| 0)?,
        };
        if begun != 0 {
            return Ok(begun);
        }
        match self.begin_login(principal).await {
            // The commit finds out whether the store is back; then the login begins with it.
            Err(error) if Outage::of(&error).is_some() => Ok(0),
            epoch => epoch,
        }
    }

    /// Gives the session a new token and refuses the old one, for example after a second factor. Without a session it
    /// does nothing.
    ///
    /// # Errors
    /// Only those of all methods.
    pub async fn rotate(&self) -> Result<()> {
        self.load().await?;
        let mut state = self.open_state()?;
        state.refuse_degraded(NAME.rotate)?;
        if !matches!(state.work.pending, Some(Pending::Login { .. })) {
            state.work.forget_csrf();
            state.work.pending = Some(Pending::Rotate);
        }
        Ok(())
    }

    /// Deletes the session at once and removes its cookie, unless another request deleted it a moment ago: then the browser may
    /// have a newer one. No request in flight can bring it back. What is inserted afterwards goes into a new session. If the browser has sent several cookies of the session's name, the sessions
    /// of all of them are deleted.
    ///
    /// # Errors
    /// The store's: then it is not certain that everybody was logged out. [`ErrorKind::Conflict`] if nobody was,
    /// because another request has replaced the token: the session goes on under the browser's newer cookie.
    /// [`ErrorKind::InvalidInput`] if the browser has sent more than 64 cookies of the session's name: the sessions of the first
    /// 64 have ended.
    pub async fn logout(&self) -> Result<()> {
        let session = self.clone();
        Finish::new(async move { session.logout_gated().await }).await
    }

    async fn logout_gated(&self) -> Result<()> {
        let _gate = self.inner.gate.lock().await;
        let ended = self.end().instrument(span::of_service(NAME.logout)).await;
        let ended = ended.inspect_err(|error| self.note_outage(error))?;
        // What has ended is told, even if the client has gone in the meantime.
        let mut state = self.state();
        let message = "nobody was logged out: another request has replaced the token of the session";
        let superseded = || Error::new(ErrorKind::Conflict, message).with_operation(NAME.logout);
        let (base, cookie, answer) = match ended {
            Ended::Over { base, cookie } => (base, cookie, Ok(())),
            Ended::Superseded => (Base::Superseded, None, Err(superseded())),
        };
        let State { outage, has_fallback, closed, .. } = *state;
        *state = State { base, cookie, outage, has_fallback, closed, used: true, ..State::default() };
        answer.and_then(|()| self.refuse_more())
    }

    fn refuse_more(&self) -> Result<()> {
        if !self.inner.more {
            return Ok(());
        }
        let message = format!("only the sessions of the first {CANDIDATES} cookies have ended: the browser sent more");
        Err(Error::invalid_input(message).with_operation(NAME.logout))
    }

    /// Deletes the sessions that the request's tokens open beside the one that is held: those behind its own, for the ones before
    /// it opened none.
    pub(super) async fn end_others(&self) -> Result<()> {
        let Some(held) = self.state().held().map(|held| held.token.key()) else { return Ok(()) };
        for brought in self.inner.tokens.iter().skip_while(|brought| brought.token.key() != held) {
            if brought.token.key() != held {
                let _ended = self.delete(&brought.token).await?;
            }
        }
        if self.inner.more {
            let message = "a login leaves sessions: the browser sent more cookies than are looked at";
            tracing::warn!(name: "session.cookies_left", looked_at = CANDIDATES, "{message}");
        }
        Ok(())
    }

    /// Deletes what a load would find; needs no load, save to find out why nothing could be deleted.
    async fn end(&self) -> Result<Ended> {
        let (held, read) = {
            let state = self.open_state()?;
            state.refuse_degraded(NAME.logout)?;
            let brought = |held: &Held| Brought { token: held.token.clone(), place: held.place };
            (state.held().map(brought), (!state.is_unloaded()).then(|| state.base.clone()))
        };
        // What is no session here may be one elsewhere: it does not open with these keys, or is over by this configuration alone.
        if let Some(base) = read.as_ref().filter(|base| !matches!(base, Base::Held(_) | Base::Absent)) {
            return Ok(self.over(base));
        }
        let is_other = |brought: &&Brought| held.as_ref().is_none_or(|held| held.token.key() != brought.token.key());
        let (mut removed, mut refused) = (Vec::new(), false);
        for brought in held.iter().chain(self.inner.tokens.iter().filter(is_other)) {
            match self.delete(&brought.token).await? {
                Deleted::Removed => removed.push(brought.place),
                Deleted::Refused => refused = true,
                Deleted::Gone => {}
            }
        }
        match &held {
            Some(_) if refused => Ok(Ended::Superseded),
            // It was there when it was read: whoever ended it may have given the browser another cookie.
            Some(_) if removed.is_empty() => Ok(self.over(&Base::Deleted)),
            _ if removed.contains(&Place::Cookie) && !refused => Ok(self.over(&Base::Absent)),
            _ if !removed.is_empty() && !refused => {
                Ok(Ended::Over { base: Base::Deleted, cookie: Some(CookieChange::RemoveFallback) })
            }
            _ => Ok(self.over(&match read {
                Some(base) => base,
                None => self.find(None).await?,
            })),
        }
    }

    async fn delete(&self, token: &Token) -> Result<Deleted> {
        let key = token.key();
        let deleted = self.inner.shared.store.delete(&key, Authority::Holder(token.verifier_hash())).await?;
        if deleted == Deleted::Removed {
            let held = self.state().held().filter(|held| held.token.key() == key).cloned();
            let principal = held.as_ref().and_then(|held| held.snapshot.record().principal());
            self.inner.shared.tell(SessionEventKind::Ended, Some(key), principal);
        }
        Ok(deleted)
    }

    /// What a logout comes to that finds this and deletes nothing.
    fn over(&self, base: &Base) -> Ended {
        let removal = (!self.inner.tokens.is_empty()).then_some(CookieChange::Remove);
        match base {
            Base::Superseded | Base::Replaced | Base::Held(_) => Ended::Superseded,
            Base::Gone | Base::Deleted => Ended::Over { base: Base::Deleted, cookie: None },
            Base::Unloaded | Base::Absent | Base::Degraded(_) => Ended::Over { base: Base::Absent, cookie: removal },
        }
    }

    /// Who is logged in.
    ///
    /// # Errors
    /// Only those of all methods.
    pub async fn principal(&self) -> Result<Option<Principal>> {
        self.load().await?;
        Ok(self.state().principal().cloned())
    }

    /// Who is logged in, for whoever refuses nobody: that the store is away is no answer to that.
    pub(crate) async fn known_principal(&self) -> Result<Option<Principal>> {
        let principal = self.principal().await?;
        if principal.is_none() {
            self.state().refuse_degraded(NAME.load)?;
        }
        Ok(principal)
    }

    /// Succeeds if somebody logged in within `age`, by the store's clock: for actions that need a recent password.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] if nobody is logged in or the login is older. The same kind from a store says that its
    /// server refused this program's password: so answer it where this is called, and not wherever the kind is met.
    pub async fn require_fresh(&self, age: Duration) -> Result<()> {
        self.load().await?;
        if self.state().login_age().is_some_and(|passed| passed <= age) {
            return Ok(());
        }
        self.state().refuse_degraded(NAME.require_fresh)?;
        let message = "the login is not recent enough for this: log in again";
        Err(Error::new(ErrorKind::Unauthenticated, message).with_operation(NAME.require_fresh))
    }
}

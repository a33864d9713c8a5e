//! On which devices somebody is logged in, and how they end.

use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::handle::{Session, Sessions, Shared};
use super::stay;
use crate::api::SessionStoreExt as _;
use crate::config::SessionConfig;
use crate::event::SessionEventKind;
use crate::operation::NAME;
use crate::record::{Attribute, AttributeName, Persistence, Principal, Revoke, Snapshot};
use crate::token::SessionKey;

/// The attribute that the name of the device is kept in.
const DEVICE: &str = "statehouse.device";

/// One of the sessions of somebody, as a page shows it that lists where they are logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedSession {
    /// Which one it is: for [`Session::revoke`]. It is no token, and opens nothing.
    pub key: SessionKey,
    /// Whether it is the session that asks.
    pub is_current: bool,
    /// On what it was begun, if [that was said](Session::name_device).
    pub device: Option<String>,
    /// When the session was created, by the clock of its store as all of these.
    pub created: Timestamp,
    /// When somebody last logged in to it.
    pub authenticated: Timestamp,
    /// When it was last used, to the precision of a tenth of its idle timeout.
    pub last_seen: Timestamp,
    /// When it ends unless it is used.
    pub expires: Timestamp,
    /// For how long whoever logged in stays so.
    pub persistence: Persistence,
}

impl ListedSession {
    fn new(session: &Snapshot, current: Option<&SessionKey>) -> Self {
        let record = session.record();
        let device = record.attributes().get(&AttributeName::reserved(DEVICE));
        Self {
            key: *record.key(),
            is_current: current == Some(record.key()),
            device: device.and_then(|device| device.decode().ok()),
            created: record.created(),
            authenticated: record.authenticated().unwrap_or(record.created()),
            last_seen: session.last_seen(),
            expires: session.expires(),
            persistence: record.persistence(),
        }
    }
}

/// Those that are not over by the configuration of now, whatever the store keeps.
fn listed(sessions: &[Snapshot], config: &SessionConfig, current: Option<&SessionKey>) -> Vec<ListedSession> {
    let live = sessions.iter().filter(|session| !stay::is_over(session, config));
    let mut listed: Vec<_> = live.map(|session| ListedSession::new(session, current)).collect();
    listed.sort_by_key(|session| (std::cmp::Reverse(session.last_seen), session.key));
    listed
}

impl Shared {
    async fn end(&self, which: Revoke<'_>) -> Result<()> {
        let ends = self.ends(which).await;
        self.store.revoke(which).await?;
        if ends {
            let (principal, one, _) = which.parts();
            self.tell(SessionEventKind::Revoked, one.copied(), principal);
        }
        Ok(())
    }

    /// Whether somebody is to be told: not where one session is to end, and it is none of the principal's.
    async fn ends(&self, which: Revoke<'_>) -> bool {
        let (Revoke::One(principal, key), Some(_)) = (which, &self.config.listener) else { return true };
        match self.store.load(key).await {
            Ok(found) => found.found().is_some_and(|found| found.record().principal() == Some(principal)),
            // Whose it is may still be known to the store that ends it. Whatever else it is, the revocation says.
            Err(_) => true,
        }
    }
}

impl Sessions {
    /// The sessions that somebody is logged in to, the one that was used last first. Those are left out that are over by the timeouts of this
    /// configuration, also while a replica with longer ones still has them: [`revoke_all`](Self::revoke_all) ends these, too.
    ///
    /// # Errors
    /// The store's; [`ErrorKind::Unsupported`] without [`PRINCIPALS`](crate::capability::PRINCIPALS).
    pub async fn list(&self, principal: &Principal) -> Result<Vec<ListedSession>> {
        Ok(listed(&self.store().list(principal).await?, self.config(), None))
    }

    /// Ends a session, if it is the principal's: for a form that says which.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn revoke(&self, principal: &Principal, key: &SessionKey) -> Result<()> {
        self.shared().end(Revoke::One(principal, key)).await
    }

    /// Ends all sessions of somebody, and whatever logins are under way: after the password was changed or the account closed.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn revoke_all(&self, principal: &Principal) -> Result<()> {
        self.shared().end(Revoke::All(principal)).await
    }

    /// Logs everybody out.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn revoke_everything(&self) -> Result<()> {
        self.shared().end(Revoke::Everything).await
    }
}

impl Session {
    /// Says on what the session is, for [the list](Self::list): such as `Firefox on Linux`. It is part of the session as an
    /// attribute is, so it is said after the login, or goes with what a login removes, and with [`clear`](Self::clear).
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn name_device(&self, device: &str) -> Result<()> {
        self.put(AttributeName::reserved(DEVICE), Attribute::encode(device)?)
    }

    /// The sessions of whoever is logged in, the one that was used last first; this one is among them once it is saved.
    /// Left out are those that are over [by this configuration](Sessions::list).
    ///
    /// ```
    /// # use statehouse_session::{MemorySessionStore, Principal, SessionConfig, Sessions};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse_core::Result<()> {
    /// let sessions = Sessions::new(MemorySessionStore::new(), SessionConfig::default());
    /// let [phone, laptop] = [sessions.open(&http::HeaderMap::new()), sessions.open(&http::HeaderMap::new())];
    /// for (session, device) in [(&phone, "Safari on iPhone"), (&laptop, "Firefox on Linux")] {
    ///     session.login("u42").await?;
    ///     session.name_device(device)?;
    ///     session.commit().await?;
    /// }
    /// let listed = laptop.list().await?;
    /// let other = listed.iter().find(|session| !session.is_current).expect("the phone");
    /// assert_eq!(other.device.as_deref(), Some("Safari on iPhone"));
    /// laptop.revoke(&other.key).await?;
    /// assert_eq!(laptop.list().await?.len(), 1);
    ///
    /// laptop.revoke_others().await?; // and whatever is about to be logged in
    /// sessions.revoke_all(&Principal::new("u42")?).await?; // the password was changed
    /// assert!(sessions.list(&Principal::new("u42")?).await?.is_empty());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The store's; [`ErrorKind::Unauthenticated`] if nobody is logged in; [`ErrorKind::Unsupported`] without
    /// [`PRINCIPALS`](crate::capability::PRINCIPALS).
    pub async fn list(&self) -> Result<Vec<ListedSession>> {
        let (principal, current) = self.logged_in(NAME.list).await?;
        let found = self.noted(self.inner.shared.store.list(&principal).await)?;
        Ok(listed(&found, self.config(), current.as_ref()))
    }

    /// Ends another session of whoever is logged in, or this one: that is a logout without the removal of the cookie.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn revoke(&self, key: &SessionKey) -> Result<()> {
        let (principal, _) = self.logged_in(NAME.revoke).await?;
        self.noted(self.inner.shared.end(Revoke::One(&principal, key)).await)
    }

    /// Ends all other sessions of whoever is logged in, and whatever logins are under way. A login of this request is
    /// [committed](Self::commit) first, with what else it has changed: only a session that is stored as theirs can stay.
    ///
    /// # Errors
    /// As [`list`](Self::list); and those of the commit, after which nothing was ended.
    pub async fn revoke_others(&self) -> Result<()> {
        self.logged_in(NAME.revoke).await?;
        if self.state().logs_in() {
            self.commit().await?;
        }
        let (principal, current) = self.logged_in(NAME.revoke).await?;
        let which = current.as_ref().map_or(Revoke::All(&principal), |key| Revoke::Others(&principal, key));
        self.noted(self.inner.shared.end(which).await)
    }

    async fn logged_in(&self, operation: &'static str) -> Result<(Principal, Option<SessionKey>)> {
        let principal = self.principal().await?;
        if let Some(principal) = principal {
            return Ok((principal, self.key().await?));
        }
        self.state().refuse_degraded(operation)?;
        Err(Error::new(ErrorKind::Unauthenticated, "nobody is logged in").with_operation(operation))
    }

    /// So that the layer knows of an outage.
    fn noted<T>(&self, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| self.note_outage(error))
    }
}

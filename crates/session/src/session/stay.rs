//! For how long somebody stays logged in.

use std::time::Duration;

use statehouse_core::{Error, Result};

use crate::config::SessionConfig;
use crate::lasting;
use crate::options::LoginOptions;
use crate::record::{NewSession, Persistence, Record, Rotation, Snapshot};
use crate::token::VerifierHash;

/// What a login has said of it, of which it is known that the configuration allows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stay {
    persistence: Persistence,
    /// Of whoever is remembered.
    absolute: Duration,
}

impl Stay {
    /// # Errors
    /// `InvalidInput` for what is longer than may be, or no time at all.
    pub(super) fn of(options: &LoginOptions, config: &SessionConfig) -> Result<Self> {
        let LoginOptions { persistence, absolute_timeout, .. } = options;
        let Persistence::Remember(idle) = *persistence else { return Ok(Self::default()) };
        let absolute = absolute_timeout.unwrap_or(config.max_remembered);
        if idle < Duration::from_secs(1) || idle > absolute || absolute > config.max_remembered {
            let most = config.max_remembered;
            let message = "somebody is remembered for at least a second, and no longer than their session may live:";
            return Err(Error::invalid_input(format!("{message} at most {most:?} (setting max_remembered)")));
        }
        Ok(Self { persistence: *persistence, absolute })
    }

    /// A session that begins so, without a verifier.
    pub(super) fn begins(self, config: &SessionConfig, logged_in: bool) -> NewSession {
        let absolute = match self.persistence {
            Persistence::Browser => config.absolute_timeout,
            Persistence::Remember(_) => self.absolute,
        };
        let idle = config.idle_timeout_of(logged_in);
        NewSession::new(VerifierHash::from_bytes([0; 32]), idle, absolute).with_persistence(self.persistence)
    }

    /// A login to this session. Whoever logs in anew to one of somebody who was remembered has all of the time of a new one, and
    /// no more.
    pub(super) fn rotates(self, login: Rotation, held: &Snapshot, config: &SessionConfig) -> Rotation {
        let (record, absolute) = (held.record(), config.absolute_timeout);
        let login = login.with_idle_timeout(config.idle_timeout_of(true)).with_persistence(self.persistence);
        let is_otherwise =
            record.persistence() != Persistence::Browser || record.absolute_expiry() > held.now() + absolute;
        match self.persistence {
            Persistence::Remember(_) => login.with_absolute_timeout(self.absolute),
            Persistence::Browser if is_otherwise => login.with_absolute_timeout(absolute),
            Persistence::Browser => login,
        }
    }
}

/// How long the session lives without being used, as far as the configuration allows.
pub(super) fn idle_timeout(record: &Record, config: &SessionConfig) -> Duration {
    lasting::idle_timeout(record, &config.timeouts(record.principal().is_some()))
}

/// Whether a session that the store keeps for longer, because it was stored under another configuration, has been idle, or there, or
/// its user remembered, for as long as this one allows.
pub(super) fn is_over(session: &Snapshot, config: &SessionConfig) -> bool {
    lasting::is_over(session, &config.timeouts(session.record().principal().is_some()))
}

/// How long the browser keeps the cookie when it is closed, if it does so: then it has to be sent again as the session is used.
pub(super) fn lasts(record: &Record, config: &SessionConfig) -> Option<Duration> {
    match record.persistence() {
        Persistence::Browser => config.cookie.lasts(),
        Persistence::Remember(_) => Some(idle_timeout(record, config)),
    }
}

/// What the cookie says of it: of somebody who is remembered, no longer than the session lives.
pub(super) fn max_age(session: &Snapshot, config: &SessionConfig) -> Option<Duration> {
    let (record, lasts) = (session.record(), lasts(session.record(), config)?);
    match record.persistence() {
        Persistence::Browser => Some(lasts),
        // Zero would remove it.
        Persistence::Remember(_) => {
            Some(lasts.min(record.absolute_expiry().since(session.now())).max(Duration::from_secs(1)))
        }
    }
}

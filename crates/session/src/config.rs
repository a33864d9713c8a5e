use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::{Error, Result, Secret};

use crate::cookie::CookieConfig;
use crate::event::{Listener, SessionEvent};
use crate::record::{Attribute, AttributeName, Limit, Timeouts};

/// How sessions behave: timeouts, limits, the cookie, and what to do when something goes wrong.
///
/// ```
/// use std::time::Duration;
/// use statehouse_session::{OutagePolicy, SessionConfig};
///
/// let config = SessionConfig::builder()
///     .idle_timeout(Duration::from_secs(15 * 60))
///     .absolute_timeout(Duration::from_secs(8 * 3600))
///     .on_outage(OutagePolicy::Anonymous)
///     .build()?;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SessionConfig {
    pub(crate) cookie: CookieConfig,
    pub(crate) idle_timeout: Duration,
    pub(crate) anonymous_timeout: Duration,
    pub(crate) absolute_timeout: Duration,
    pub(crate) max_remembered: Duration,
    pub(crate) renewal: Option<Renewal>,
    pub(crate) on_conflict: ConflictPolicy,
    pub(crate) on_outage: OutagePolicy,
    pub(crate) on_unreadable: UnreadablePolicy,
    pub(crate) on_unreadable_attribute: UnreadablePolicy,
    pub(crate) attributes: BTreeMap<String, AttributeSchema>,
    pub(crate) on_server_error: ServerErrorPolicy,
    pub(crate) on_login: LoginPolicy,
    pub(crate) max_attribute: u64,
    pub(crate) max_session: u64,
    pub(crate) max_attributes: usize,
    pub(crate) limit: Option<Limit>,
    pub(crate) log_salt: Option<Secret>,
    pub(crate) listener: Option<Listener>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    pub(crate) every: Duration,
    pub(crate) grace: Duration,
}

/// Makes the present form of an attribute of another one.
type Migrate = Arc<dyn Fn(&Attribute) -> Option<Attribute> + Send + Sync>;

/// What this build has to say of the attributes of one name.
#[derive(Clone)]
pub(crate) struct AttributeSchema {
    pub(crate) number: u32,
    pub(crate) migrate: Migrate,
}

impl fmt::Debug for AttributeSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttributeSchema").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What to do when another request changed the session between this one's load and its save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConflictPolicy {
    /// Apply this request's changes to the newer session. Of two changes of one attribute the later save stays;
    /// changes of different attributes all stay.
    #[default]
    Merge,
    /// Fail with [`ErrorKind::Conflict`](statehouse_core::ErrorKind::Conflict); the layer answers 409.
    Fail,
    /// Make the attributes what this request saw and changed: the other request's changes are lost.
    LastWriteWins,
}

/// What to do when the store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutagePolicy {
    /// Answer 503 to every request that used its session, whatever the handler made of the error; with `Retry-After`, unless
    /// the store refuses its work until somebody sets it up otherwise.
    #[default]
    FailClosed,
    /// Go on without a session: reads find nothing, changes are dropped, no cookie is set. Login, rotation and
    /// logout fail, and no token of a form is given out; and what needs a login or such a token is 503, and not refused as if there were
    /// none.
    Anonymous,
}

/// What to do with a stored session that cannot be read: damaged, or written by a later version. And with an attribute that
/// cannot be read as the type that is asked for: written by another build of the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreadablePolicy {
    /// Go on as if there were none, and log a warning: one user has to log in again, or one attribute is absent until it is
    /// set anew. Of attributes the warning comes once for each name and pair of types, and what is stored stays there, so
    /// that the other build still reads it.
    #[default]
    Discard,
    /// Fail with [`ErrorKind::Corrupt`](statehouse_core::ErrorKind::Corrupt).
    Fail,
}

/// What becomes of the attributes of an anonymous session when somebody logs in. Those of a session that somebody else
/// was logged in to are removed in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginPolicy {
    /// They stay: a cart that was filled before the login. Whoever could plant the session's cookie before the login
    /// could plant them too.
    #[default]
    Keep,
    /// They are removed, save for what the request of the login itself inserts.
    Clear,
}

/// What becomes of changed attributes when the response is a server error (5xx). Logins, rotations and logouts are
/// kept in any case, and so is the removal of attributes that belongs to a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerErrorPolicy {
    /// They are saved.
    #[default]
    Keep,
    /// They are dropped.
    Discard,
}

impl Default for SessionConfig {
    /// 30 minutes idle, 10 minutes while nobody is logged in, 12 hours absolute, 90 days for whoever is remembered, no renewal, 64 KiB
    /// for an attribute, 256 KiB and 4,096 attributes for a session, and the default of each policy.
    fn default() -> Self {
        Self {
            cookie: CookieConfig::default(),
            idle_timeout: Duration::from_secs(30 * 60),
            anonymous_timeout: Duration::from_secs(10 * 60),
            absolute_timeout: Duration::from_secs(12 * 3600),
            max_remembered: Duration::from_secs(90 * 86_400),
            renewal: None,
            on_conflict: ConflictPolicy::default(),
            on_outage: OutagePolicy::default(),
            on_unreadable: UnreadablePolicy::default(),
            on_unreadable_attribute: UnreadablePolicy::default(),
            attributes: BTreeMap::new(),
            on_server_error: ServerErrorPolicy::default(),
            on_login: LoginPolicy::default(),
            max_attribute: 64 << 10,
            max_session: 256 << 10,
            max_attributes: 4_096,
            limit: None,
            log_salt: None,
            listener: None,
        }
    }
}

impl SessionConfig {
    /// Begins with the defaults.
    pub fn builder() -> SessionConfigBuilder {
        SessionConfigBuilder(Self::default())
    }

    /// How long a session of nobody who is remembered lives without being used.
    pub(crate) fn idle_timeout_of(&self, logged_in: bool) -> Duration {
        if logged_in { self.idle_timeout } else { self.idle_timeout.min(self.anonymous_timeout) }
    }

    /// How long sessions last, whenever they were stored.
    pub(crate) fn timeouts(&self, logged_in: bool) -> Timeouts {
        Timeouts::new(self.idle_timeout_of(logged_in), self.absolute_timeout, self.max_remembered)
    }

    /// The limit of a login: what is over by these timeouts does not count.
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit.map(|limit| limit.with_timeouts(self.timeouts(true)))
    }
}

/// Builds a [`SessionConfig`].
///
/// ```
/// use std::time::Duration;
/// use statehouse_core::Secret;
/// use statehouse_session::{ConflictPolicy, CookieConfig, Limit, LoginPolicy, ServerErrorPolicy, SessionConfig, UnreadablePolicy};
///
/// let config = SessionConfig::builder()
///     .cookie(CookieConfig::insecure_localhost()) // while developing over plain HTTP
///     .idle_timeout(Duration::from_secs(1800))
///     .anonymous_timeout(Duration::from_secs(300))
///     .absolute_timeout(Duration::from_secs(8 * 3600))
///     .max_remembered(Duration::from_secs(30 * 86_400))
///     .renew_every(Duration::from_secs(900), Duration::from_secs(10))
///     .on_conflict(ConflictPolicy::Fail)
///     .on_login(LoginPolicy::Clear)
///     .on_server_error(ServerErrorPolicy::Discard)
///     .on_unreadable(UnreadablePolicy::Fail)
///     .on_unreadable_attribute(UnreadablePolicy::Discard)
///     .max_attributes(64)
///     .max_attribute_size(16 << 10)
///     .max_session_size(64 << 10)
///     .limit(Limit::evict_oldest(5))
///     .log_salt(Secret::new("the same on every replica"))
///     .on_event(|event| println!("{:?} {:?}", event.kind, event.key)) // of an application: a channel to its audit log
///     .build()?;
/// # let _ = config;
/// # Ok::<(), statehouse_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionConfigBuilder(SessionConfig);

impl SessionConfigBuilder {
    /// The cookie.
    pub fn cookie(mut self, cookie: CookieConfig) -> Self {
        self.0.cookie = cookie;
        self
    }

    /// How long a session lives without being used. Every request that uses it counts, also one that only reads.
    ///
    /// A timeout that is lowered holds for the sessions that are stored already; one that is raised, from their next
    /// login or rotation on.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.0.idle_timeout = timeout;
        self
    }

    /// The same for sessions that nobody is logged in to, if it is shorter. Everybody can make the store keep such
    /// sessions, with requests that bring no cookie, and this is how long each of them takes up room. A login gives
    /// the session its [`idle_timeout`](Self::idle_timeout).
    pub fn anonymous_timeout(mut self, timeout: Duration) -> Self {
        self.0.anonymous_timeout = timeout;
        self
    }

    /// How long a session lives at most, from its creation. Those of whoever is remembered have [another
    /// end](Self::max_remembered), and who logs in anew there, and is not remembered any more, has this time from then on.
    ///
    /// One that is lowered holds for the sessions that are stored already, from their last login on if there was one.
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.0.absolute_timeout = timeout;
        self
    }

    /// How long somebody may be [remembered](crate::Persistence::Remember) at most, from their login on: no login may ask for more,
    /// and one that has asked for it before this was lowered is over all the same.
    pub fn max_remembered(mut self, timeout: Duration) -> Self {
        self.0.max_remembered = timeout;
        self
    }

    /// Replaces the token of a session in use this often, and accepts the old one for `grace`, so that requests in
    /// flight are not logged out. While the one before is in its grace there is no other renewal.
    pub fn renew_every(mut self, every: Duration, grace: Duration) -> Self {
        self.0.renewal = Some(Renewal { every, grace });
        self
    }

    /// What to do when two requests change one session at a time.
    pub fn on_conflict(mut self, policy: ConflictPolicy) -> Self {
        self.0.on_conflict = policy;
        self
    }

    /// What to do when the store cannot be reached.
    pub fn on_outage(mut self, policy: OutagePolicy) -> Self {
        self.0.on_outage = policy;
        self
    }

    /// What to do with a stored session that cannot be read.
    pub fn on_unreadable(mut self, policy: UnreadablePolicy) -> Self {
        self.0.on_unreadable = policy;
        self
    }

    /// What to do with an attribute that cannot be read as the type that is asked for, and is not
    /// [migrated](Self::attribute_schema).
    pub fn on_unreadable_attribute(mut self, policy: UnreadablePolicy) -> Self {
        self.0.on_unreadable_attribute = policy;
        self
    }

    /// Gives the attributes of a name a number for the layout of their type, and a way to read those of other layouts.
    ///
    /// Types may grow without it: see [`Codec`](statehouse_core::Codec). It is for changes that cannot be read across, such as
    /// a field that got another name or meaning. `migrate` is given what was stored under another number, or what cannot be
    /// read as the type that is asked for, and returns the attribute as it is now, or `None` if it cannot. It is asked with
    /// each read until the attribute is set again.
    ///
    /// ```
    /// use statehouse_session::{Attribute, SessionConfig};
    ///
    /// // Once the cart was a list of numbers.
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Cart {
    ///     articles: Vec<u32>,
    /// }
    ///
    /// let config = SessionConfig::builder()
    ///     .attribute_schema("cart", 1, |stored| {
    ///         let articles = stored.decode().ok()?;
    ///         Attribute::encode(&Cart { articles }).ok()
    ///     })
    ///     .build()?;
    /// # Ok::<(), statehouse_core::Error>(())
    /// ```
    pub fn attribute_schema(
        mut self,
        name: &str,
        number: u32,
        migrate: impl Fn(&Attribute) -> Option<Attribute> + Send + Sync + 'static,
    ) -> Self {
        self.0.attributes.insert(name.to_owned(), AttributeSchema { number, migrate: Arc::new(migrate) });
        self
    }

    /// What becomes of changed attributes when the response is a server error.
    pub fn on_server_error(mut self, policy: ServerErrorPolicy) -> Self {
        self.0.on_server_error = policy;
        self
    }

    /// What becomes of the attributes of an anonymous session when somebody logs in.
    pub fn on_login(mut self, policy: LoginPolicy) -> Self {
        self.0.on_login = policy;
        self
    }

    /// The largest attribute, in bytes of its name and its encoded value.
    pub fn max_attribute_size(mut self, bytes: u64) -> Self {
        self.0.max_attribute = bytes;
        self
    }

    /// The largest session, in bytes of all its attributes.
    pub fn max_session_size(mut self, bytes: u64) -> Self {
        self.0.max_session = bytes;
        self
    }

    /// The most attributes of a session.
    pub fn max_attributes(mut self, count: usize) -> Self {
        self.0.max_attributes = count;
        self
    }

    /// How many sessions somebody may have at a time, counted in the step in which they log in. It needs a store with
    /// [`PRINCIPALS`](crate::capability::PRINCIPALS). Without one there is no limit.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// The salt of [`Session::id_for_logs`](crate::Session::id_for_logs). Replicas with the same salt give a session
    /// the same name in their logs; without one each process draws its own.
    pub fn log_salt(mut self, salt: Secret) -> Self {
        self.0.log_salt = Some(salt);
        self
    }

    /// Who is told of what happens to sessions, such as an audit log: on the one replica where it happens, once the store has done it and
    /// before the response is sent. A process that dies in between has told nobody; and of a session that expires by itself, or
    /// that makes room for another, nobody is told.
    ///
    /// It is called where requests are handled, so it must not wait: it may count, log, or send to a channel.
    pub fn on_event(mut self, listen: impl Fn(&SessionEvent) + Send + Sync + 'static) -> Self {
        self.0.listener = Some(Listener::new(listen));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig), naming the setting.
    pub fn build(self) -> Result<SessionConfig> {
        let config = self.0;
        let renewal = config.renewal.unwrap_or(Renewal { every: config.idle_timeout, grace: config.idle_timeout });
        let second = Duration::from_secs(1);
        let decade = Duration::from_secs(3650 * 86_400);
        for (setting, value) in [
            ("idle_timeout", config.idle_timeout),
            ("anonymous_timeout", config.anonymous_timeout),
            ("absolute_timeout", config.absolute_timeout),
            ("max_remembered", config.max_remembered),
            ("renew_every", renewal.every),
            ("renewal grace", renewal.grace),
        ] {
            if !(second..=decade).contains(&value) {
                return Err(Error::invalid_config(setting, "must be at least a second and at most 10 years"));
            }
        }
        for (setting, value) in [("max_attribute_size", config.max_attribute), ("max_session_size", config.max_session)]
        {
            if !(1..=8 << 20).contains(&value) {
                return Err(Error::invalid_config(setting, "must be from 1 byte to 8 MiB"));
            }
        }
        for name in config.attributes.keys() {
            AttributeName::new(name).map_err(|error| Error::invalid_config("attribute_schema", error.to_string()))?;
        }
        if config.limit.is_some_and(|limit| limit.check().is_err()) {
            return Err(Error::invalid_config("limit", "must be at least one session"));
        }
        if !(1..=65_536).contains(&config.max_attributes) {
            return Err(Error::invalid_config("max_attributes", "must be from 1 to 65,536"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let build = SessionConfig::builder;
        let second = Duration::from_secs(1);
        for (setting, builder) in [
            ("idle_timeout", build().idle_timeout(Duration::ZERO)),
            ("anonymous_timeout", build().anonymous_timeout(Duration::ZERO)),
            ("absolute_timeout", build().absolute_timeout(Duration::MAX)),
            ("max_remembered", build().max_remembered(Duration::ZERO)),
            ("renew_every", build().renew_every(Duration::ZERO, second)),
            ("renewal grace", build().renew_every(second, Duration::ZERO)),
            ("max_attribute_size", build().max_attribute_size(0)),
            ("max_session_size", build().max_session_size(u64::MAX)),
            ("max_attributes", build().max_attributes(0)),
            ("limit", build().limit(Limit::reject(0))),
            ("attribute_schema", build().attribute_schema("statehouse.x", 1, |_| None)),
        ] {
            assert_eq!(builder.build().unwrap_err().setting(), Some(setting));
        }
        assert!(build().renew_every(second, second).build().is_ok());
    }
}

//! The handle, and what can be done with it.

mod diagnose;
pub(crate) mod exclusive;
pub(crate) mod health;
mod lost;
mod many;
pub(crate) mod report;
mod run;
pub(crate) mod subscribe;
mod tries;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value, from_redis_value};
use statehouse_core::policy::{BreakerState, RetryBudget};
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::client::diagnose::wrong_side_of_tls;
use crate::config::{LONGEST, RedisConfig, Timing};
use crate::error::{NOT_REDIS, map_error, may_pass, unexpected_reply};
use crate::failure::Failure;
use crate::idempotence::Idempotence;
use crate::request::Request;
use crate::topology::Topology;
use crate::topology::slot::slot_of_command;

/// What is around a value in an answer, at the most.
const AROUND: u64 = 1 << 10;

/// A handle to one Redis deployment. Clones share everything.
///
/// # Behavior
/// - Every operation ends within the configured deadline, with an answer or a typed error.
/// - A request that was certainly not executed is sent again; one whose answer was lost only if it is
///   [`Idempotent`](Idempotence::Idempotent).
/// - Dropping an operation's future abandons its answer and nothing else: other operations on the same connection go
///   on. The command may have been sent already.
/// - Where many callers wait for one server, their commands and scripts go out together, up to 64 at a time. Each caller
///   has an answer or error of its own, once the whole batch is answered.
/// - Requests on one connection are executed in the order in which they were sent, but two operations that run
///   concurrently have no order, and neither have those of a client with several connections.
/// - In a cluster all keys of a command, pipeline or script must be in one slot; see [`KeySpace`](crate::KeySpace).
#[derive(Clone)]
pub struct RedisClient {
    pub(crate) inner: Arc<Inner>,
    /// When all that goes through this handle is to be over, if that was said.
    until: Option<Instant>,
}

pub(crate) struct Inner {
    pub(crate) topology: Topology,
    pub(crate) timing: Timing,
    pub(crate) place: String,
    setting: Option<String>,
    /// The most bytes of an answer.
    max_answer: u64,
    budget: RetryBudget,
}

impl RedisClient {
    /// Connects and checks that the server is there, accepts the credentials, has the database and is new enough: Redis
    /// 6.2 or Valkey. What the server may evict and that its memory is full is said in the log.
    ///
    /// Of a group it is enough that one of the configured servers says who the others are, and that one which takes writes
    /// answers: a shard that is down is said in the log, and requests to it fail until it is back.
    ///
    /// # Errors
    /// [`InvalidConfig`](statehouse_core::ErrorKind::InvalidConfig),
    /// [`Unauthenticated`](statehouse_core::ErrorKind::Unauthenticated),
    /// [`PermissionDenied`](statehouse_core::ErrorKind::PermissionDenied) or, where nobody answers,
    /// [`Unavailable`](statehouse_core::ErrorKind::Unavailable) or
    /// [`Timeout`](statehouse_core::ErrorKind::Timeout), each naming the setting.
    pub async fn open(config: RedisConfig) -> Result<Self> {
        config.check()?;
        let inner = Inner {
            topology: Topology::new(&config)?,
            timing: config.timing,
            place: config.describe(),
            setting: config.setting.clone(),
            max_answer: config.max_answer,
            budget: RetryBudget::new(),
        };
        let client = Self { inner: Arc::new(inner), until: None };
        match client.start().await {
            Ok(()) => Ok(client),
            Err(error) => Err(client.explain(error, &config).await),
        }
    }

    async fn start(&self) -> Result<()> {
        let until = Instant::now() + self.inner.timing.total;
        let started = self.inner.topology.start(until).await;
        started.map_err(|failure| self.error(&failure, Idempotence::Idempotent, false))?;
        match self.check_servers(until).await {
            // Who is only starting is waited for.
            Err(error) if may_pass(&error) => {
                self.query::<()>(&redis::cmd("PING"), Idempotence::Idempotent).await?;
                // What time there was may be over, and it answers now.
                self.check_servers(Instant::now() + self.inner.timing.total).await
            }
            checked => checked,
        }
    }

    /// The error of opening, with the setting to look at, and with the cause where another look finds one.
    async fn explain(&self, error: Error, config: &RedisConfig) -> Error {
        let open = [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Unexpected].contains(&error.kind());
        let found = match open {
            true if error.message().ends_with(NOT_REDIS) => {
                Some(format!("{}: something else listens there", error.message()))
            }
            true => wrong_side_of_tls(config).await,
            false => None,
        };
        let error = match found {
            Some(message) => Error::new(ErrorKind::InvalidConfig, message).with_backend("redis").with_source(error),
            None => error,
        };
        match &self.inner.setting {
            Some(setting) => error.with_setting(setting),
            None => error,
        }
    }

    /// Uses the caller's pool, with the default timeouts; see [`RedisConfig::pool`] for others.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn from_pool(pool: deadpool_redis::Pool) -> Result<Self> {
        Self::open(RedisConfig::pool(pool)).await
    }

    /// A handle of which every operation ends by `limit` from now: for one call of a service, however many operations it
    /// takes. It replaces the deadline of the configuration and may be longer; one try takes no longer than it says there.
    #[must_use]
    pub fn with_deadline(&self, limit: Duration) -> Self {
        Self { inner: Arc::clone(&self.inner), until: Some(Instant::now() + limit.min(LONGEST)) }
    }

    /// A handle for a call of a service that was told a limit, as [`with_deadline`](Self::with_deadline) makes one, else
    /// this handle, with the deadline of the configuration.
    #[must_use]
    pub fn within(&self, limit: Option<Duration>) -> Cow<'_, Self> {
        limit.map_or(Cow::Borrowed(self), |limit| Cow::Owned(self.with_deadline(limit)))
    }

    /// Sends one command.
    ///
    /// # Errors
    /// Whatever the server or the way to it may answer; see the crate documentation.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd, idempotence: Idempotence) -> Result<T> {
        self.convert(self.execute(&Request::Command(command), idempotence).await?)
    }

    /// Sends several commands at once: with [`Pipeline::atomic`] as a transaction, else one may fail and others not,
    /// which is an error of the whole.
    ///
    /// # Errors
    /// As [`query`](Self::query); of a cluster, [`InvalidInput`](statehouse_core::ErrorKind::InvalidInput) if its keys
    /// are in several slots. A pipeline that is neither atomic nor idempotent is never sent twice.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline, idempotence: Idempotence) -> Result<T> {
        if self.inner.topology.is_cluster() && !is_of_one_slot(pipeline) {
            let message = "the keys of a pipeline must be in one slot of the cluster";
            return Err(Error::invalid_input(message).with_backend("redis"));
        }
        self.convert(self.execute(&Request::Pipeline(pipeline), idempotence).await?)
    }

    /// What the breaker of the server does; of several servers that take writes, that of the one which is worst off.
    ///
    /// A server counts as away once nothing has come from it for a second, not even the answer to a `PING` of this
    /// crate's own, and as long as it cannot be connected to. One that is slow and answers does not. Requests to a server
    /// that is away fail at once with [`Unavailable`](statehouse_core::ErrorKind::Unavailable) and
    /// [`Retry::After`](statehouse_core::Retry::After).
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let states = self.inner.topology.masters().into_iter().map(|node| node.breaker());
        states.max_by_key(|state| *state != BreakerState::Closed).unwrap_or(BreakerState::Closed)
    }

    /// How often a server counted as away since this client was opened, of those that take writes now.
    #[must_use]
    pub fn breaker_openings(&self) -> u64 {
        self.inner.topology.masters().iter().map(|node| node.breaker_openings()).sum()
    }

    /// Whether keys without a common hash tag may be in different slots, so that no script reaches them together.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.inner.topology.is_cluster()
    }

    /// The server of a cluster that has this key, as far as is known: its name, for what a service knows of each of them. None
    /// outside of a cluster, where one has all, and of a key that no server has.
    #[must_use]
    pub fn server_of(&self, key: &[u8]) -> Option<Arc<str>> {
        if !self.is_cluster() {
            return None;
        }
        let node = self.inner.topology.node_of_key(Some(key)).ok()?;
        Some(Arc::clone(node.name()))
    }

    /// Refuses what a server could store, and not give back as a part of an answer: of so many bytes. For backends, before they
    /// send a value. See `max_answer` of [`RedisConfig`].
    ///
    /// # Errors
    /// [`TooLarge`](ErrorKind::TooLarge) for what is above the limit, less 1 KiB for what is around a value.
    pub fn check_len(&self, bytes: usize) -> Result<()> {
        if bytes as u64 <= self.max_len() {
            return Ok(());
        }
        let message =
            format!("{bytes} bytes could not be read back: an answer may have {} (max_answer)", self.inner.max_answer);
        Err(Error::new(ErrorKind::TooLarge, message).with_backend("redis"))
    }

    /// The most bytes that [`check_len`](Self::check_len) lets through, and so of all parts of an answer together.
    #[must_use]
    pub fn max_len(&self) -> u64 {
        self.inner.max_answer.saturating_sub(AROUND)
    }

    pub(crate) fn convert<T: FromRedisValue>(&self, value: Value) -> Result<T> {
        from_redis_value(value).map_err(|_| unexpected_reply(&self.inner.place))
    }

    pub(crate) fn error(&self, failure: &Failure, idempotence: Idempotence, exhausted: bool) -> Error {
        let error = map_error(failure, idempotence, &self.inner.place, exhausted);
        match (&self.inner.setting, error.kind()) {
            (Some(setting), ErrorKind::Unauthenticated | ErrorKind::InvalidConfig) => error.with_setting(setting),
            _ => error,
        }
    }
}

fn is_of_one_slot(pipeline: &Pipeline) -> bool {
    let mut slots = pipeline.cmd_iter().filter_map(slot_of_command);
    slots.next().is_none_or(|first| slots.all(|slot| slot == first))
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient")
            .field("place", &self.inner.place)
            .field("topology", &self.inner.topology)
            .finish_non_exhaustive()
    }
}

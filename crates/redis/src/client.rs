use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value, from_redis_value};
use statehouse_core::policy::{Backoff, BreakerState, RetryBudget};
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{Instrument as _, Level, Span};

use crate::config::{RedisConfig, Timing};
use crate::diagnose::wrong_side_of_tls;
use crate::error::{is_busy, map_error, may_retry, unexpected_reply};
use crate::exclusive::Exclusive;
use crate::node::Node;
use crate::pending::{Failure, Sent, timed_out};
use crate::request::Request;
use crate::slot::slot_of_command;
use crate::topology::{Target, Topology};

/// Whether sending the same request twice has the effect of sending it once.
///
/// `SET`, `DEL` and reads are idempotent; `INCR`, `XADD`, `SET … NX` and a script that compares versions are not: the
/// second time they answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idempotence {
    /// It is sent again if its answer was lost.
    Idempotent,
    /// If its answer was lost, the error is [`OutcomeUnknown`](statehouse_core::ErrorKind::OutcomeUnknown).
    NotIdempotent,
}

/// How often one try may be redirected by a cluster.
const REDIRECTIONS: u32 = 5;

/// The pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

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
    budget: RetryBudget,
}

impl RedisClient {
    /// Connects and checks that the server is there, accepts the credentials, has the database and is new enough: Redis
    /// 6.2 or Valkey. What the server may evict and that its memory is full is said in the log.
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
        self.query::<()>(&redis::cmd("PING"), Idempotence::Idempotent).await?;
        self.check_servers(until).await
    }

    /// The error of opening, with the setting to look at, and with the cause where another look finds one.
    async fn explain(&self, error: Error, config: &RedisConfig) -> Error {
        let open = [ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::Unexpected].contains(&error.kind());
        let found = if open { wrong_side_of_tls(config).await } else { None };
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
        Self { inner: Arc::clone(&self.inner), until: Some(Instant::now() + limit) }
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

    /// A connection for one user alone, to the server that has `key`, or to any. There are at most 16 per server, or as
    /// many as a brought pool has; who wants one more waits for the operation's timeout.
    ///
    /// # Errors
    /// As [`query`](Self::query); nothing is sent yet.
    pub async fn exclusive(&self, key: Option<&[u8]>) -> Result<Exclusive> {
        Exclusive::check_out(self, key).await
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

    pub(crate) fn convert<T: FromRedisValue>(&self, value: Value) -> Result<T> {
        from_redis_value(value).map_err(|_| unexpected_reply(&self.inner.place))
    }

    /// When an operation that begins now is to be over.
    pub(crate) fn deadline(&self) -> Instant {
        self.until.unwrap_or_else(|| Instant::now() + self.inner.timing.total)
    }

    /// Whether there is no time to send anything.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    /// When a try that begins now is to be over.
    pub(crate) fn end_of_try(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.inner.timing.operation)
    }

    /// Sends a request with redirections and retries, within the deadline.
    pub(crate) async fn execute(&self, request: &Request<'_>, idempotence: Idempotence) -> Result<Value> {
        self.execute_on(request, idempotence, Tries { deadline: self.deadline(), lost: None }).await
    }

    /// As [`execute`](Self::execute), where something was tried already.
    pub(crate) async fn execute_on(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        tries: Tries,
    ) -> Result<Value> {
        if !tracing::enabled!(Level::DEBUG) {
            return self.with_retries(request, idempotence, tries).await;
        }
        // Boxed only where somebody listens: instrumenting moves the whole future.
        Box::pin(self.with_retries(request, idempotence, tries)).instrument(span_of(request)).await
    }

    async fn with_retries(&self, request: &Request<'_>, idempotence: Idempotence, tries: Tries) -> Result<Value> {
        let until = self.end_of_try(tries.deadline);
        let node = self.inner.topology.node(request);
        let answer = match &node {
            // Who has a deadline of its own does not wait for the answers to others.
            Ok(_) if self.is_over() => Err(Failure::not_sent(timed_out())),
            Ok(node) if self.until.is_none() => request.send_first(node, until).await,
            Ok(node) => Box::pin(request.send(&Target::of(node), until)).await,
            Err(failure) => Err(failure.clone()),
        };
        match answer {
            Ok(value) if tries.lost.is_none() => {
                self.inner.budget.earn();
                Ok(value)
            }
            // Boxed, so that the usual case does not carry the room for it.
            answer => Box::pin(self.go_on(request, idempotence, tries, node.ok(), until, answer)).await,
        }
    }

    /// After the first try: follows redirections, and tries again while that makes sense. Of a request that says until when
    /// it may run, it returns when no try can be executed any more.
    async fn go_on(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        mut tries: Tries,
        node: Option<Cow<'_, Arc<Node>>>,
        until: Instant,
        mut answer: Result<Value, Failure>,
    ) -> Result<Value> {
        if let (Err(failure), Some(node)) = (&answer, node) {
            answer = self.follow(request, idempotence, until, node, failure.clone()).await;
        }
        let answer = self.try_on(request, idempotence, &mut tries, until, answer).await;
        if let Some(over) = tries.lost {
            sleep_until(over).await;
        }
        answer.map_err(|(failure, exhausted)| self.given_up(failure, idempotence, tries, exhausted))
    }

    /// The answer, or the last failure and whether there was no time or budget to try again.
    async fn try_on(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        tries: &mut Tries,
        mut until: Instant,
        mut answer: Result<Value, Failure>,
    ) -> Result<Value, (Failure, bool)> {
        let Inner { timing, budget, .. } = &*self.inner;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut count = 0;
        loop {
            let failure = match answer {
                Ok(value) => {
                    budget.earn();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            *tries = tries.after(request, &failure, until);
            if !may_retry(&failure, idempotence) || !request.may_repeat(&failure, idempotence) {
                return Err((failure, false));
            }
            count += 1;
            let pause = backoff.pause();
            let gives_up = count >= timing.tries && !is_busy(&failure.error);
            if gives_up || Instant::now() + pause >= tries.deadline || !budget.spend() {
                return Err((failure, true));
            }
            tracing::debug!(count, kind = ?failure.error.kind(), sent = ?failure.sent, "trying a Redis request again");
            sleep(pause).await;
            until = self.end_of_try(tries.deadline);
            answer = self.try_again(request, idempotence, until).await;
        }
    }

    /// The error of a request that is not tried again.
    pub(crate) fn given_up(&self, failure: Failure, idempotence: Idempotence, tries: Tries, exhausted: bool) -> Error {
        match tries.lost {
            None => self.error(&failure, idempotence, exhausted),
            // Whatever the last of them was answered.
            Some(_) => self.error(&Failure::unanswered(failure.error), Idempotence::NotIdempotent, exhausted),
        }
    }

    async fn try_again(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        until: Instant,
    ) -> Result<Value, Failure> {
        let target = Target { node: self.inner.topology.node(request)?, asking: false };
        match request.send(&target, until).await {
            Err(failure) => self.follow(request, idempotence, until, target.node, failure).await,
            answer => answer,
        }
    }

    /// Sends to where a cluster redirects to, if that is what the failure says.
    async fn follow(
        &self,
        request: &Request<'_>,
        idempotence: Idempotence,
        until: Instant,
        mut node: Cow<'_, Arc<Node>>,
        mut failure: Failure,
    ) -> Result<Value, Failure> {
        for _ in 0..REDIRECTIONS {
            let redirection = self.inner.topology.learn(&node, &failure);
            let next = redirection.filter(|next| request.may_follow(next, idempotence) && Instant::now() < until);
            let Some(next) = next else { return Err(failure) };
            match request.send(&next, until).await {
                Err(again) => (failure, node) = (again, next.node),
                answer => return answer,
            }
        }
        Err(failure)
    }

    pub(crate) fn error(&self, failure: &Failure, idempotence: Idempotence, exhausted: bool) -> Error {
        let error = map_error(failure, idempotence, &self.inner.place, exhausted);
        match (&self.inner.setting, error.kind()) {
            (Some(setting), ErrorKind::Unauthenticated | ErrorKind::InvalidConfig) => error.with_setting(setting),
            _ => error,
        }
    }
}

/// What is known of the tries of one request.
#[derive(Clone, Copy)]
pub(crate) struct Tries {
    /// When the operation is over.
    pub(crate) deadline: Instant,
    /// Of a request that says until when it may run: when the last of its tries is over that may be executed, or may have
    /// been, though nobody said so.
    pub(crate) lost: Option<Instant>,
}

impl Tries {
    /// After a try that failed and was to be over at `until`.
    pub(crate) fn after(self, request: &Request<'_>, failure: &Failure, until: Instant) -> Self {
        if failure.sent == Sent::Unanswered && request.is_stamped() {
            Self { lost: Some(self.lost.map_or(until, |earlier| earlier.max(until))), ..self }
        } else {
            self
        }
    }
}

fn span_of(request: &Request<'_>) -> Span {
    tracing::debug_span!(
        "redis.request",
        otel.kind = "client",
        db.system.name = "redis",
        db.operation.name = %request.name(),
    )
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

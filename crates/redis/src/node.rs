use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::Connection;
use redis::{Cmd, Pipeline, Value, cmd};
use statehouse_core::policy::{Breaker, BreakerSettings, BreakerState};
use tokio::time::Instant;

use crate::clock::Latest;
use crate::config::Address;
use crate::connect::Source;
use crate::dated::ServerClock;
use crate::error::LATE;
use crate::gather::Gathering;
use crate::link::{AWAY_AFTER, Lease, Link};
use crate::pending::{Failure, Sent, timed_out, wait};

/// One server: its shared connections and its pool of exclusive ones.
pub(crate) struct Node {
    address: Option<Address>,
    source: Arc<Source>,
    links: Box<[Arc<Link>]>,
    breaker: Arc<Breaker>,
    turn: AtomicUsize,
    clock: ServerClock,
    pub(crate) gathering: Gathering,
}

impl Node {
    /// The server that the source connects to. Only a caller's pool has no address.
    pub(crate) fn over(source: Source, connections: usize, address: Option<Address>) -> Arc<Self> {
        let source = Arc::new(source);
        let name: Arc<str> = address.as_ref().map_or_else(|| "pool".to_owned(), Address::to_string).into();
        let breaker = Arc::new(Breaker::new(breaker_settings()));
        Arc::new(Self {
            address,
            links: Link::several(connections, &source, &breaker, &name),
            breaker,
            source,
            turn: AtomicUsize::new(0),
            clock: ServerClock::default(),
            gathering: Gathering::default(),
        })
    }

    pub(crate) const fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    pub(crate) const fn clock(&self) -> &ServerClock {
        &self.clock
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links.iter().any(|link| link.is_connected())
    }

    /// Sends a command and waits for its answer, connecting first if need be.
    pub(crate) async fn send(&self, command: &Cmd, until: Instant) -> Result<Value, Failure> {
        self.lease(self.turn(), until).await?.send(command, until).await
    }

    /// Sends a command with, as one more argument, the latest time at which it may run: see [`Clock`](crate::clock::Clock).
    pub(crate) async fn send_stamped(&self, mut command: Cmd, asking: bool, until: Instant) -> Result<Value, Failure> {
        let mut leased = self.lease(self.turn(), until).await?;
        let latest = leased.latest(until).await?;
        command.arg(latest.micros);
        if !asking && !latest.stale {
            return leased.send(&command, until).await;
        }
        let mut pipeline = Pipeline::with_capacity(3);
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(command);
        let mut answers = leased.send_each_and_time(pipeline, latest.stale, until).await?;
        answers.pop().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered)
    }

    /// Sends a pipeline or transaction; the answer is that of redis-rs' `query_async`.
    pub(crate) async fn send_pipeline(&self, pipeline: &Pipeline, until: Instant) -> Result<Value, Failure> {
        let Leased { link, mut lease } = self.lease(self.turn(), until).await?;
        let answer = {
            let reply = pin!(pipeline.query_async::<Value>(&mut lease.connection.connection));
            wait(link, lease.generation, reply, until).await
        };
        finish(link, lease, answer.as_ref().err().and_then(Failure::code));
        answer
    }

    /// Sends several commands at once and answers with what each answered, which may be a `Value::ServerError`.
    pub(crate) async fn send_each(&self, pipeline: &Pipeline, until: Instant) -> Result<Vec<Value>, Failure> {
        self.lease(self.turn(), until).await?.send_each(pipeline, until).await
    }

    /// As [`send_each`](Self::send_each), of commands that may have to say until when they may run.
    pub(crate) async fn send_all(&self, commands: Vec<(Cmd, bool)>, until: Instant) -> Result<Vec<Value>, Failure> {
        self.lease(self.turn(), until).await?.send_all(commands, until).await
    }

    /// Which of the shared connections is the next.
    pub(crate) fn turn(&self) -> usize {
        if self.links.len() == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) }
    }

    /// The shared connection whose turn this is, or one of the others if only they are there.
    pub(crate) async fn lease(&self, turn: usize, until: Instant) -> Result<Leased<'_>, Failure> {
        let link = &self.links[turn % self.links.len()];
        if let Some(lease) = link.current() {
            return Ok(Leased { link, lease });
        }
        // Nobody waits for one connection while another is there.
        let other = self.links.iter().find_map(|link| Some(Leased { link, lease: link.current()? }));
        if let Some(other) = other {
            link.repair();
            return Ok(other);
        }
        link.lease(until).await.map(|lease| Leased { link, lease })
    }

    /// Whether requests reach it: closed as long as any connection stands.
    pub(crate) fn breaker(&self) -> BreakerState {
        if self.is_connected() { BreakerState::Closed } else { self.breaker.state() }
    }

    pub(crate) fn breaker_openings(&self) -> u64 {
        self.breaker.openings()
    }

    pub(crate) async fn check_out(&self) -> Result<Connection, Failure> {
        if self.breaker() != BreakerState::Closed {
            // For the reason, and so that somebody tries to connect.
            self.lease(0, Instant::now()).await.map(Leased::give_back)?;
        }
        self.source.check_out().await.map_err(Failure::not_sent)
    }
}

/// Opens when the server was silent for a second and did not answer a `PING` either, or could not be connected to for a
/// second. That it is slow opens nothing as long as it says something. The probes are the attempts to connect.
fn breaker_settings() -> BreakerSettings {
    BreakerSettings::default().with_failures(1).with_silence(AWAY_AFTER)
}

/// A connection to send over, and the link to return it to.
pub(crate) struct Leased<'a> {
    link: &'a Link,
    lease: Lease,
}

impl Leased<'_> {
    /// Until when what is sent now may run, if its caller is told at `until`. The server's clock is read first if it is
    /// not known.
    pub(crate) async fn latest(&mut self, until: Instant) -> Result<Latest, Failure> {
        if let Some(latest) = self.lease.connection.clock().latest(until) {
            return Ok(latest);
        }
        // Boxed: it is rare.
        Box::pin(self.read_clock(until)).await?;
        self.lease.connection.clock().latest(until).ok_or_else(|| Failure::not_sent(timed_out()))
    }

    /// Fails as one who has sent nothing, since what the caller wants was not.
    async fn read_clock(&mut self, until: Instant) -> Result<(), Failure> {
        let question = cmd("TIME");
        let answer = {
            let reply = pin!(self.lease.connection.connection.send_packed_command(&question));
            wait(self.link, self.lease.generation, reply, until).await
        };
        let answer = answer.and_then(|value| value.extract_error().map_err(Failure::answered));
        let answer = answer.map_err(|failure| match failure.sent {
            Sent::Unanswered => Failure::not_sent(failure.error),
            _ => failure,
        })?;
        self.lease.connection.clock().note(answer).map_err(|error| Failure::not_sent(error.into()))
    }

    async fn send(self, command: &Cmd, until: Instant) -> Result<Value, Failure> {
        let Self { link, mut lease } = self;
        let answer = {
            let reply = pin!(lease.connection.connection.send_packed_command(command));
            wait(link, lease.generation, reply, until).await
        };
        let answer = answer.and_then(|value| value.extract_error().map_err(Failure::answered));
        finish(link, lease, answer.as_ref().err().and_then(Failure::code));
        answer
    }

    /// Sends several commands at once, some of them with the latest time at which they may run.
    pub(crate) async fn send_all(mut self, commands: Vec<(Cmd, bool)>, until: Instant) -> Result<Vec<Value>, Failure> {
        let latest = match commands.iter().any(|(_, stamped)| *stamped) {
            true => Some(self.latest(until).await?),
            false => None,
        };
        let mut pipeline = Pipeline::with_capacity(commands.len() + 1);
        for (mut command, stamped) in commands {
            if let Some(latest) = latest.filter(|_| stamped) {
                command.arg(latest.micros);
            }
            pipeline.add_command(command);
        }
        self.send_each_and_time(pipeline, latest.is_some_and(|latest| latest.stale), until).await
    }

    /// As [`send_each`](Self::send_each); with `and_time` it reads the server's clock in the same round trip.
    pub(crate) async fn send_each_and_time(
        self,
        mut pipeline: Pipeline,
        and_time: bool,
        until: Instant,
    ) -> Result<Vec<Value>, Failure> {
        if !and_time {
            return self.send_each(&pipeline, until).await;
        }
        pipeline.cmd("TIME");
        let connection = self.lease.connection.clone();
        let mut answers = self.send_each(&pipeline, until).await?;
        // What it is instead is found by who needs it.
        let time = answers.pop().and_then(|time| time.extract_error().ok());
        let noted = time.is_some_and(|time| connection.clock().note(time).is_ok());
        if !noted {
            connection.clock().forget();
        }
        Ok(answers)
    }

    /// As [`Node::send_each`].
    pub(crate) async fn send_each(self, pipeline: &Pipeline, until: Instant) -> Result<Vec<Value>, Failure> {
        let Self { link, mut lease } = self;
        let answers = {
            let replies = pin!(lease.connection.connection.send_packed_commands(pipeline, 0, pipeline.len()));
            wait(link, lease.generation, replies, until).await?
        };
        let codes = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(error.code()),
            _ => None,
        });
        finish(link, lease, codes.into_iter().find(|code| [READONLY, LATE].contains(code)));
        Ok(answers)
    }

    /// Nothing is to be sent after all.
    pub(crate) fn give_back(self) {
        self.link.give_back(self.lease);
    }
}

const READONLY: &str = "READONLY";

/// Gives the connection back, unless its server refused a write because it became a replica: behind the same name or
/// virtual address a new connection finds its successor. A server that found a request late has its clock read again.
fn finish(link: &Link, lease: Lease, code: Option<&str>) {
    if code == Some(READONLY) {
        return link.broke(lease.generation, "the server is a replica");
    }
    if code == Some(LATE) {
        lease.connection.clock().forget();
    }
    link.give_back(lease);
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("address", &self.address).field("links", &self.links).finish_non_exhaustive()
    }
}

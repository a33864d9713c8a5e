//! One server: what it is sent over and what is known of it.

pub(crate) mod clock;
mod gather;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod large;
mod lease;
mod queue;
mod replicated;
mod turns;
pub(crate) mod value;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::Connection;
use redis::{Cmd, Pipeline, PushInfo, RedisResult, Value};
use statehouse_core::policy::{BreakerSettings, BreakerState};
use tokio::time::Instant;

use crate::config::{Address, Replicas};
use crate::connection::flow::{LARGE, length};
use crate::connection::link::{AWAY_AFTER, Link};
use crate::connection::server::Server;
use crate::connection::source::{Connector, Role, Source};
use crate::connection::stream::Bounded;
use crate::failure::Failure;
use crate::node::clock::ServerClock;
use crate::node::large::LargeKeys;
use crate::node::lease::Leased;
use crate::node::queue::{Counted, Gathering};
use crate::node::replicated::{Replicated, and_wait};

pub use self::info::{EvictionPolicy, Persistence};

/// How many connections to a server are shared by what is large.
const BULK: usize = 2;

/// One server: its shared connections and its pool of exclusive ones.
pub(crate) struct Node {
    address: Option<Address>,
    source: Arc<Source>,
    links: Box<[Arc<Link>]>,
    /// For what is large. They are connected when they are first needed.
    bulk: Box<[Arc<Link>]>,
    server: Arc<Server>,
    turn: AtomicUsize,
    clock: ServerClock,
    pub(crate) gathering: Gathering,
    /// How many calls that say until when they may run are under way.
    stamping: AtomicUsize,
    /// Where writes wait for replicas. Boxed, since mostly they do not.
    replicated: Option<Box<Replicated>>,
    pub(crate) large: LargeKeys,
}

impl Node {
    /// The server at an address.
    pub(crate) fn at(connector: &Connector, address: &Address, role: Role) -> RedisResult<Arc<Self>> {
        let shared = (connector.connections(), connector.replicas());
        Ok(Self::over(connector.source(address, role)?, shared, Some(address.clone())))
    }

    /// The server that the source connects to, with so many shared connections, and one more if writes wait for replicas. Only
    /// a caller's pool has no address.
    pub(crate) fn over(
        source: Source,
        (connections, replicas): (usize, Option<Replicas>),
        address: Option<Address>,
    ) -> Arc<Self> {
        let source = Arc::new(source);
        let name = address.as_ref().map_or_else(|| "pool".to_owned(), Address::to_string);
        let server = Server::new(&name, breaker_settings());
        let counts = [connections, BULK, usize::from(replicas.is_some())];
        let [links, bulk, waiting] = Link::several(counts, &source, &server);
        let replicated =
            replicas.zip(waiting.first()).map(|(replicas, link)| Replicated::new(replicas, Arc::clone(link)));
        Arc::new(Self {
            address,
            links,
            bulk,
            server,
            source,
            turn: AtomicUsize::new(0),
            clock: ServerClock::default(),
            gathering: Gathering::default(),
            stamping: AtomicUsize::default(),
            replicated: replicated.map(Box::new),
            large: LargeKeys::default(),
        })
    }

    pub(crate) const fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// What it is called in logs and in failures.
    pub(crate) fn name(&self) -> &Arc<str> {
        self.server.name()
    }

    pub(crate) const fn clock(&self) -> &ServerClock {
        &self.clock
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links.iter().chain(&self.bulk).any(|link| link.is_connected())
    }

    /// Counts up while anything comes from it, where that is seen. Of what is large it is not told what goes and what comes.
    pub(crate) fn received(&self) -> u64 {
        self.links.iter().map(|link| link.received()).sum()
    }

    /// Sends a command and waits for its answer, connecting first if need be.
    pub(crate) async fn send(&self, command: &Cmd, until: Instant) -> Result<Value, Failure> {
        self.lease_for(length(command), until).await?.send(command, until).await
    }

    /// Sends a command with, as one more argument, the latest time at which it may run: see [`clock`](crate::clock).
    pub(crate) async fn send_stamped(&self, mut command: Cmd, asking: bool, until: Instant) -> Result<Value, Failure> {
        let (size, stamping) = (length(&command), Counted::new(&self.stamping));
        let mut leased = match stamping.before == 0 && self.is_quiet() && size < LARGE {
            _ if self.replicated.is_some() => self.lease_to_wait(size, until).await?,
            true => self.lease(0, until).await?,
            false => self.lease_for(size, until).await?,
        };
        let latest = leased.latest(until).await?;
        command.arg(latest.micros);
        if !asking && !latest.stale && self.replicated.is_none() {
            return leased.send(&command, until).await;
        }
        let mut pipeline = Pipeline::with_capacity(4);
        if asking {
            pipeline.cmd("ASKING");
        }
        pipeline.add_command(command);
        if let Some(replicated) = self.replicated() {
            and_wait(&mut pipeline, replicated.replicas);
        }
        let mut answers = leased.send_each_and_time(pipeline, latest.stale, until).await?;
        if let Some(replicated) = self.replicated() {
            replicated.judge(&mut answers, |_| true);
        }
        answers.pop().unwrap_or(Value::Nil).extract_error().map_err(Failure::answered)
    }

    /// Sends a pipeline or transaction; the answer is that of redis-rs' `query_async`.
    pub(crate) async fn send_pipeline(&self, pipeline: &Pipeline, until: Instant) -> Result<Value, Failure> {
        self.lease_for(pipeline.cmd_iter().map(length).sum(), until).await?.send_pipeline(pipeline, until).await
    }

    /// Sends several commands at once and answers with what each answered, which may be a `Value::ServerError`.
    pub(crate) async fn send_each(&self, pipeline: &Pipeline, until: Instant) -> Result<Vec<Value>, Failure> {
        self.lease_for(pipeline.cmd_iter().map(length).sum(), until).await?.send_each(pipeline, until).await
    }

    /// As [`send_each`](Self::send_each), of commands that may have to say until when they may run.
    pub(crate) async fn send_all(&self, commands: Vec<(Cmd, bool)>, until: Instant) -> Result<Vec<Value>, Failure> {
        let size = commands.iter().map(|(command, _)| length(command)).sum();
        let Some(replicated) = self.replicated().filter(|_| commands.iter().any(|(_, stamped)| *stamped)) else {
            return self.lease_for(size, until).await?.send_all(commands, None, until).await;
        };
        let stamped: Vec<_> = commands.iter().map(|(_, stamped)| *stamped).collect();
        let leased = self.lease_to_wait(size, until).await?;
        let mut answers = leased.send_all(commands, Some(replicated.replicas), until).await?;
        replicated.judge(&mut answers, |at| stamped[at]);
        Ok(answers)
    }

    /// Sends a command whose answer is large.
    pub(crate) async fn send_for_much(&self, command: &Cmd, until: Instant) -> Result<Value, Failure> {
        self.lease_for(LARGE, until).await?.send(command, until).await
    }

    /// A connection for a request of so many bytes.
    async fn lease_for(&self, size: usize, until: Instant) -> Result<Leased<'_>, Failure> {
        if size < LARGE {
            return self.lease(self.turn(), until).await;
        }
        let link = &self.bulk[self.turn.fetch_add(1, Ordering::Relaxed) % self.bulk.len()];
        Box::pin(link.lease(until)).await.map(|lease| Leased { link, lease })
    }

    /// The connection for writes that wait, or where they are large, one for those.
    async fn lease_to_wait(&self, size: usize, until: Instant) -> Result<Leased<'_>, Failure> {
        match self.replicated() {
            Some(Replicated { link, .. }) if size < LARGE => {
                Box::pin(link.lease(until)).await.map(|lease| Leased { link, lease })
            }
            _ => self.lease_for(size, until).await,
        }
    }

    /// Where writes wait for replicas, if they do.
    fn replicated(&self) -> Option<&Replicated> {
        self.replicated.as_deref()
    }

    /// How many replicas a write waits for.
    pub(crate) fn waits_for(&self) -> u32 {
        self.replicated().map_or(0, |replicated| replicated.replicas.count)
    }

    /// Whether nobody else waits for the server, and its first connection answers. Then what says until when it may run goes
    /// over that one: each connection has its own reading of the server's clock, and who does little would read them all.
    fn is_quiet(&self) -> bool {
        self.gathering.callers.load(Ordering::Relaxed) <= 1 && self.links[0].is_sound()
    }

    /// Which of the shared connections is the next.
    pub(crate) fn turn(&self) -> usize {
        if self.links.len() == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) }
    }

    /// The shared connection whose turn this is, or one of the others if only they are there.
    pub(crate) async fn lease(&self, turn: usize, until: Instant) -> Result<Leased<'_>, Failure> {
        let link = &self.links[turn % self.links.len()];
        if let Some(lease) = link.current() {
            let leased = Leased { link, lease };
            return Ok(if leased.is_waiting_for_much() { self.less_busy_than(leased) } else { leased });
        }
        // Nobody waits for one connection while another is there.
        let other = self.links.iter().find_map(|link| Some(Leased { link, lease: link.current()? }));
        if let Some(other) = other {
            link.repair();
            return Ok(other);
        }
        link.lease(until).await.map(|lease| Leased { link, lease })
    }

    /// What is asked behind a large value waits until that has come: over another connection it does not.
    fn less_busy_than<'a>(&'a self, busy: Leased<'a>) -> Leased<'a> {
        let mut others = self.links.iter().filter_map(|link| Some(Leased { link, lease: link.current()? }));
        match others.find(|other| !other.is_waiting_for_much()) {
            Some(other) => {
                busy.give_back();
                other
            }
            None => busy,
        }
    }

    /// Whether requests reach it: closed as long as any connection stands.
    pub(crate) fn breaker(&self) -> BreakerState {
        if self.is_connected() { BreakerState::Closed } else { self.server.state() }
    }

    pub(crate) fn breaker_openings(&self) -> u64 {
        self.server.openings()
    }

    /// A connection of its own, over which what arrives unasked is passed on.
    pub(crate) async fn listen(&self, news: impl Fn(PushInfo) + Send + Sync + 'static) -> RedisResult<Bounded> {
        self.source.listen(news).await
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

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("address", &self.address).field("links", &self.links).finish_non_exhaustive()
    }
}

//! One shared connection to one server, replaced when it breaks or falls silent.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use redis::{RedisError, cmd};
use statehouse_core::policy::Backoff;
use tokio::time::Instant;

use crate::connection::doubt::{Answered, Doubted, within_waking};
use crate::connection::flow::Flow;
use crate::connection::server::Server;
use crate::connection::source::Source;
use crate::connection::spares::Spares;
use crate::connection::state::State;
use crate::connection::stream::Bounded;
use crate::connection::waited::leaves_time;
use crate::failure::{Failure, connection_lost, timed_out};
use crate::sync::{AtomicBool, AtomicU64, Handle, Ordering, sleep, timeout_at, watch};

/// How long a server may be silent towards an operation before the connection is doubted.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

/// How long a doubted connection has to answer a `PING`, or anything else, before it is replaced. Something was asked over
/// it [`SILENCE`] ago; one that is doubted because of another has that time too, if the other answers after all.
const PROBE: Duration = Duration::from_millis(500);

/// As [`PROBE`], for a connection with large values of which only their end is seen.
const PROBE_UNSEEN: Duration = Duration::from_secs(5);

/// For how long nothing may have come from a server, in spite of a probe, before it counts as away.
pub(crate) const AWAY_AFTER: Duration = SILENCE.saturating_add(PROBE);

/// How long the first attempt to connect again is waited for.
const GRACE: Duration = Duration::from_millis(300);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A slot for one shared connection. It is filled by a task that starts when something first asks for the connection
/// or finds it broken, and that tries until it succeeds or the link is dropped: never two at a time.
pub(crate) struct Link {
    me: Weak<Self>,
    /// All links to the server.
    peers: OnceLock<Box<[Weak<Self>]>>,
    source: Arc<Source>,
    server: Arc<Server>,
    state: watch::Sender<State>,
    spares: Spares,
    generations: AtomicU64,
    replies: AtomicU64,
    probing: AtomicBool,
    /// When the oldest operation began that was abandoned with no answer since, in milliseconds from `created`, or zero.
    silent_since: AtomicU64,
    created: Instant,
    /// Whether it is for what is large.
    bulk: bool,
}

/// A clone of a link's connection, and which of its connections that is.
pub(crate) struct Lease {
    pub(crate) connection: Bounded,
    pub(crate) generation: u64,
}

impl Link {
    /// So many links to one server, so many for what is large, and so many for writes that wait for replicas.
    pub(crate) fn several(
        [count, bulk, waiting]: [usize; 3],
        source: &Arc<Source>,
        server: &Arc<Server>,
    ) -> [Box<[Arc<Self>]>; 3] {
        let new = |bulk| Self::new(Arc::clone(source), Arc::clone(server), bulk);
        let links: Box<[_]> = (0..count).map(|_| new(false)).collect();
        let bulk: Box<[_]> = (0..bulk).map(|_| new(true)).collect();
        let waiting: Box<[_]> = (0..waiting).map(|_| new(false)).collect();
        let all = || links.iter().chain(&bulk).chain(&waiting);
        for link in all() {
            link.peers.get_or_init(|| all().map(Arc::downgrade).collect());
        }
        [links, bulk, waiting]
    }

    fn new(source: Arc<Source>, server: Arc<Server>, bulk: bool) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            peers: OnceLock::new(),
            source,
            server,
            state: watch::Sender::new(State::default()),
            spares: Spares::default(),
            generations: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            probing: AtomicBool::new(false),
            silent_since: AtomicU64::new(0),
            created: Instant::now(),
            bulk,
        })
    }

    /// The connection, once there is one. Fails with the outcome of the next attempt to connect, at `until`, or at once
    /// if the server is known to be away.
    pub(crate) async fn lease(&self, until: Instant) -> Result<Lease, Failure> {
        if let Some(lease) = self.current() {
            return Ok(lease);
        }
        let mut state = self.state.subscribe();
        let failures = state.borrow_and_update().failures;
        self.repair();
        let worth = until.min(self.worth_waiting(until));
        if worth <= Instant::now() {
            return Err(self.nobody());
        }
        let news = state.wait_for(|state| state.connection.is_some() || state.failures > failures);
        // What it waited for is not held while it looks.
        let _ = timeout_at(worth, news).await.map(|news| news.map(drop));
        let lease = self.current().ok_or_else(|| self.nobody())?;
        let took = self.state.borrow().took;
        leaves_time(took, until).map(|()| lease)
    }

    /// Until when the attempt to connect that is under way may be waited for: of a server that counts as away, only the
    /// first, and not for long. It may be that only the old connections lead nowhere.
    fn worth_waiting(&self, until: Instant) -> Instant {
        match self.server.is_away() {
            false => until,
            true => self.state.borrow().broken_at.map_or_else(Instant::now, |at| at + GRACE),
        }
    }

    /// Why there is no connection.
    fn nobody(&self) -> Failure {
        let seen = self.state.borrow().failure.clone();
        if !self.server.is_away() {
            return Failure::not_sent(seen.unwrap_or_else(timed_out));
        }
        self.server.refused();
        Failure::away(seen.unwrap_or_else(connection_lost))
    }

    /// The connection, if there is one now.
    pub(crate) fn current(&self) -> Option<Lease> {
        if let Some((connection, generation)) = self.spares.take() {
            return Some(Lease { connection, generation });
        }
        let state = self.state.borrow();
        let connection = state.connection.clone()?;
        Some(Lease { connection, generation: state.generation })
    }

    /// Takes a clone back. One that is just dropped is only a little more work for the next operation.
    pub(crate) fn give_back(&self, lease: Lease) {
        self.spares.give_back(lease.connection, lease.generation);
    }

    /// Notes that the server said something, in case that is doubted. Usually this writes nothing that threads share.
    pub(crate) fn heard(&self) {
        if self.probing.load(Ordering::Relaxed) {
            self.replies.fetch_add(1, Ordering::Relaxed);
        }
        if self.silent_since.load(Ordering::Relaxed) != 0 {
            self.silent_since.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that an operation was dropped by its caller before its answer came. If callers give up sooner than
    /// [`SILENCE`], again and again, this is all that is seen of a connection that is half-open.
    pub(crate) fn abandoned(&self, generation: u64, begun: Instant) {
        let millis = |at: Instant| u64::try_from(at.saturating_duration_since(self.created).as_millis()).unwrap_or(0);
        let begun = millis(begun).max(1);
        let first = self.silent_since.compare_exchange(0, begun, Ordering::Relaxed, Ordering::Relaxed);
        let since = first.unwrap_or_else(|earlier| earlier);
        if since != 0 && u128::from(millis(Instant::now()).saturating_sub(since.min(begun))) >= SILENCE.as_millis() {
            self.doubt(generation);
        }
    }

    /// Drops the connection of this generation and begins to replace it.
    pub(crate) fn broke(&self, generation: u64, why: &str) {
        let _was_current = self.gave_up(generation, why);
    }

    /// The same; whether that was the current one.
    fn gave_up(&self, generation: u64, why: &str) -> bool {
        let dropped = self.state.send_if_modified(|state| {
            let current = state.generation == generation && state.connection.is_some();
            if current {
                state.connection = None;
                self.spares.change(0);
                state.broken_at = Some(Instant::now());
            }
            current
        });
        if dropped {
            if self.peers().any(|peer| peer.is_connected()) {
                tracing::info!(name: "redis.connection_lost", server = %self.name(), why, "lost a connection to Redis");
            } else {
                tracing::warn!(name: "redis.last_connection_lost", server = %self.name(), why, "lost the last connection to Redis");
            }
            self.source.forget_idle();
            self.repair();
        }
        dropped
    }

    /// Waits until the connection of this generation is no longer this link's.
    pub(crate) async fn lost(&self, generation: u64) {
        let mut state = self.state.subscribe();
        let gone = state.wait_for(|state| state.generation != generation || state.connection.is_none());
        let _ = gone.await.map(drop);
    }

    /// Asks a connection that has been silent whether it is still there, and the others to the same server: what
    /// silences one usually silences all, and a try that goes over the next would wait as long again. Returns at once.
    pub(crate) fn doubt(&self, generation: u64) {
        let Some(answered) = self.probe(generation, None) else { return };
        for peer in self.peers().filter(|peer| !Weak::ptr_eq(&peer.me, &self.me)) {
            let generation = peer.state.borrow().generation;
            peer.probe(generation, Some(Arc::clone(&answered)));
        }
    }

    /// At most one asks at a time. `because_of` says whether that connection answered which was silent, if this one was
    /// not. If it asks, the same is answered of this one.
    fn probe(&self, generation: u64, because_of: Option<Answered>) -> Option<Answered> {
        let mut lease = self.current().filter(|lease| lease.generation == generation)?;
        let (link, runtime) = (self.me.upgrade()?, Handle::try_current().ok()?);
        if self.probing.swap(true, Ordering::AcqRel) {
            return None;
        }
        let before = self.replies.load(Ordering::Relaxed);
        let (asked, pong) = (Arc::clone(&link), Arc::<AtomicBool>::default());
        let has_pong = Arc::clone(&pong);
        runtime.spawn(async move {
            let reset = ResetOnDrop(Arc::clone(&link));
            let state = link.state_of(&mut lease.connection, because_of.as_ref()).await;
            drop(reset);
            match state {
                Doubted::Answers => pong.store(true, Ordering::Relaxed),
                // Somebody else has closed it: that is not being silent.
                Doubted::Broken => link.broke(generation, "failed while in use"),
                Doubted::Silent => {
                    if link.gave_up(generation, "no answer to a PING") {
                        link.missed(AWAY_AFTER);
                    }
                }
            }
        });
        let answered = move || has_pong.load(Ordering::Relaxed) || asked.replies.load(Ordering::Relaxed) != before;
        Some(Arc::new(answered))
    }

    /// How much of a large value is still to come over the connection of this generation.
    pub(crate) fn coming(&self, generation: u64) -> usize {
        let state = self.state.borrow();
        let current = state.connection.as_ref().filter(|_| state.generation == generation);
        current.map_or(0, Bounded::coming)
    }

    /// What has come over the connection that there is, where that is seen; of one for what is large, what has gone as well.
    pub(crate) fn received(&self) -> u64 {
        self.state.borrow().connection.as_ref().and_then(Bounded::flow).map_or(0, Flow::moved)
    }

    /// Counts up while bytes pass over the connection of this generation, where that is seen.
    pub(crate) fn moved(&self, generation: u64) -> u64 {
        let state = self.state.borrow();
        let current = state.connection.as_ref().filter(|_| state.generation == generation);
        current.and_then(Bounded::flow).map_or(0, Flow::moved)
    }

    /// Whether the connection answers a `PING`, or anything else, within [`PROBE`], or at least goes on with what it was
    /// at. Of one for what is large that cannot be looked into, the `PING` may have to wait.
    async fn state_of(&self, connection: &mut Bounded, because_of: Option<&Answered>) -> Doubted {
        let before = self.replies.load(Ordering::Relaxed);
        let moved = connection.flow().map(Flow::moved);
        let limit = if self.bulk && moved.is_none() { PROBE_UNSEEN } else { PROBE };
        let ping = cmd("PING");
        let flow = connection.clone();
        let mut answer = pin!(connection.connection.send_packed_command(&ping));
        let mut pong = within_waking(limit, answer.as_mut()).await;
        // Over this one nothing was asked before the PING, and the server has just shown that it takes its time.
        if pong.is_none() && because_of.is_some_and(|answered| answered()) {
            pong = within_waking(SILENCE, answer).await;
        }
        match pong {
            Some(Ok(_)) => Doubted::Answers,
            Some(Err(_)) => Doubted::Broken,
            None if self.replies.load(Ordering::Relaxed) != before => Doubted::Answers,
            None if flow.flow().map(Flow::moved) != moved => Doubted::Answers,
            None => Doubted::Silent,
        }
    }

    /// Notes that the server said nothing for so long, or could not be connected to. Not while another connection to it
    /// stands: the server is then there.
    fn missed(&self, long: Duration) {
        if !self.peers().any(|peer| peer.is_connected()) {
            self.server.missed(long);
        }
    }

    /// All links to the server, this one too.
    fn peers(&self) -> impl Iterator<Item = Arc<Self>> {
        self.peers.get().into_iter().flatten().filter_map(Weak::upgrade)
    }

    /// The server's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        self.server.name()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state.borrow().connection.is_some()
    }

    /// Whether nothing that was sent over it was given up, or is waited for in doubt.
    pub(crate) fn is_sound(&self) -> bool {
        !self.probing.load(Ordering::Relaxed) && self.silent_since.load(Ordering::Relaxed) == 0
    }

    /// Begins to connect, unless that is under way.
    pub(crate) fn repair(&self) {
        // Without a runtime, as when one is being shut down, the next operation begins it.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut started = false;
        self.state.send_if_modified(|state| {
            started = !state.repairing && state.connection.is_none();
            state.repairing |= started;
            false
        });
        if started {
            runtime.spawn(repair(Repairing(Weak::clone(&self.me))));
        }
    }

    async fn attempt(&self) -> bool {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let me = Weak::clone(&self.me);
        let on_close = move || {
            if let Some(link) = me.upgrade() {
                link.broke(generation, "closed by the server");
            }
        };
        let begun = Instant::now();
        let outcome = self.source.connect(self.bulk, Arc::new(on_close)).await;
        // Before it is published: who is told of it must find the breaker as it then is.
        let took = begun.elapsed();
        match &outcome {
            Ok(_) => self.server.answered(),
            Err(_) => self.missed(took),
        }
        self.publish(generation, outcome, took)
    }

    fn publish(&self, generation: u64, outcome: Result<Bounded, RedisError>, took: Duration) -> bool {
        let connected = outcome.is_ok();
        self.state.send_modify(|state| match outcome {
            Ok(connection) => {
                let after = state.broken_at.take().map(|at| at.elapsed());
                tracing::info!(name: "redis.connected", server = %self.name(), ?after, "connected to Redis");
                (state.generation, state.took) = (generation, took);
                state.connection = Some(connection);
                self.spares.change(generation);
                state.repairing = false;
                state.failure = None;
                self.silent_since.store(0, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::debug!(name: "redis.not_connected", server = %self.name(), kind = ?error.kind(), "cannot connect to Redis");
                state.failures += 1;
                state.failure = Some(error);
            }
        });
        connected
    }
}

/// Holds the link only while it tries, so that dropping the last client ends it.
async fn repair(mut repairing: Repairing) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let Some(link) = repairing.0.upgrade() else { return };
        if link.attempt().await {
            // Another may have begun since, which this one must not end.
            repairing.0 = Weak::new();
            return;
        }
        drop(link);
        sleep(backoff.pause()).await;
    }
}

/// Lets another repair begin if this one ends early, for example because its runtime was shut down.
struct Repairing(Weak<Link>);

impl Drop for Repairing {
    fn drop(&mut self) {
        if let Some(link) = self.0.upgrade() {
            link.state.send_if_modified(|state| {
                if state.connection.is_none() {
                    state.repairing = false;
                }
                false
            });
        }
    }
}

struct ResetOnDrop(Arc<Link>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Link")
            .field("server", self.name())
            .field("connected", &state.connection.is_some())
            .field("generation", &state.generation)
            .finish_non_exhaustive()
    }
}

//! Serving an application, telling how it is, and ending it well.

mod body;
mod connection;
mod dependency;
#[cfg(feature = "coord")]
mod fleet;
mod limits;
mod lingering;
mod probes;
mod readiness;
mod server;
mod signals;
mod stall;
mod startup;
mod stop;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tower_service::Service;

use crate::retries::bounded;
use crate::services::Services;

pub use self::body::ProbeBody;
use self::connection::Front;
pub use self::connection::{PeerAddress, RequestBody};
pub use self::dependency::Dependency;
use self::limits::Limits;
pub use self::probes::Probes;
use self::readiness::Need;
use self::server::Server;
use self::signals::{Signals, Told};
pub use self::startup::Startup;
use self::stop::{AtStop, Stop};

/// How an application of [`Services`] is served: made by [`Services::operations`].
///
/// # Behavior
/// - **Time limits.** A client has 20 seconds to send the head of a request, and as long to begin its next one on the
///   same connection. It may be 64 KiB long; a longer one is answered with 431. While a body comes in or a response goes out, each may stand still for at most 60 seconds; how long
///   it takes in all is not limited, for a slow client is not a broken one. What takes longer ends that connection and
///   nothing else. A load balancer must close the connections that it keeps idle sooner than the server does.
/// - **An answer before the end of the request** arrives, too: what the client still sends is read and dropped, 64 MiB of it and for
///   5 seconds at most, because a connection that is closed with bytes unread takes the answer with it.
/// - **Connections** are limited to three quarters of the files that the process may have open, and to 10,000. One more
///   waits in the listener's queue until another has ended; one that is upgraded, to a WebSocket, counts until it ends. A connection that cannot be accepted is no reason to stop:
///   it is logged once, and tried again.
/// - **Small answers leave at once**: `TCP_NODELAY` is set.
/// - **The services** that the program uses are opened before the first connection is accepted
///   ([`Services::connect`]): what cannot be had ends it. Then a line of the log says of each where it is, and what it lacks
///   for several replicas ([`Services::describe`]).
/// - **Probes**: `/live`, `/started` and `/ready` are answered before the application, as [`Probes`] says;
///   [`without_probes`](Self::without_probes) leaves them to it.
/// - **Replicas** know of each other (feature `coord`) where they can: the process joins the [members](crate::coord::Membership)
///   once it serves, tells them what it reaches, and leaves when it stops. `/ready` then names what should be the same for
///   all and is not, and a replica that has lost something [hard](Self::hard) asks the others, as [`Probes`] says.
///   [`without_membership`](Self::without_membership) leaves that out.
/// - **A stop** begins with SIGTERM or Ctrl-C (or with [`serve_until`](Self::serve_until)), and has one budget of 25 seconds
///   ([`drain_within`](Self::drain_within)), which should be less than what the platform waits before it kills:
///   1. `/ready` says no, and every answer that it is the last on its connection.
///   2. For 2 seconds ([`delay`](Self::delay)) new requests are still answered: load balancers learn of it only now. At a
///      Ctrl-C there is no delay.
///   3. Nothing new is accepted. Requests that are under way are answered, and what was asked for
///      [at a stop](Self::at_stop) is done. What is not over when a fifth of the budget is left (5 seconds at most) is cut off.
///   4. [`Services::shutdown`] stores what is to be stored and gives back locks, whatever happened before.
///
///   A second signal forces: nobody is waited for any more, and only the last step remains.
///
/// HTTP/1.1, with upgrades: of one that is upgraded the application says when it ends, and a stop does not wait for it. TLS and HTTP/2 are the business of what stands in front.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use statehouse::{Config, Services};
///
/// let services = Services::open(Config::from_env()?).await?;
/// let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// services.operations().serve(listener, app).await?;
/// # Ok(()) }
/// ```
///
/// With limits of its own, and a stop that is not a signal:
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use statehouse::{Config, Services};
/// use std::time::Duration;
///
/// let services = Services::open(Config::in_memory()).await?;
/// let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let operations = services
///     .operations()
///     .max_connections(500)
///     .head_within(Duration::from_secs(5))
///     .stalled_within(Duration::from_secs(30))
///     .delay(Duration::from_millis(1))
///     .drain_within(Duration::from_secs(10));
/// operations.serve_until(listener, app, async { /* a test has seen enough */ }).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Operations {
    services: Services,
    limits: Limits,
    dependencies: Vec<(Need, Dependency)>,
    probes: Mounted,
    stop: Stop,
    #[cfg(feature = "coord")]
    member: Option<statehouse_coord::MemberInfo>,
    /// Listened for before they are waited for.
    signals: Arc<Mutex<Option<Signals>>>,
}

/// Whether probes come before the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mounted {
    Before,
    Not,
}

impl Services {
    /// Serves the application, with probes, time limits for its clients and an end that loses nothing.
    #[must_use]
    pub fn operations(&self) -> Operations {
        Operations::new(self.clone())
    }
}

impl Operations {
    fn new(services: Services) -> Self {
        let limits = Limits {
            head: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            connections: server::connections_of_this_process(),
        };
        let stop = Stop {
            delay: Duration::from_secs(2),
            within: Duration::from_secs(25),
            work: AtStop::default(),
            services: services.clone(),
        };
        let (dependencies, signals) = (Vec::new(), Arc::default());
        Self {
            services,
            limits,
            dependencies,
            probes: Mounted::Before,
            stop,
            #[cfg(feature = "coord")]
            member: Some(statehouse_coord::MemberInfo::default()),
            signals,
        }
    }

    /// How long a client may take for the head of a request, and may keep a connection idle (20 seconds).
    #[must_use]
    pub fn head_within(mut self, time: Duration) -> Self {
        self.limits.head = bounded(time);
        self
    }

    /// How long a body or a response may stand still (60 seconds).
    #[must_use]
    pub fn stalled_within(mut self, time: Duration) -> Self {
        self.limits.stall = bounded(time);
        self
    }

    /// How many connections there may be at once; at least one.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.limits.connections = count.max(1);
        self
    }

    /// How long new requests are still answered after the signal, so that load balancers can learn of it (2 seconds). It is
    /// right when it is longer than they take, between two probes or to be told; where nobody stands in front it can be zero. Of what
    /// a stop may take in all it is half at most: see [`drain_within`](Self::drain_within).
    #[must_use]
    pub fn delay(mut self, time: Duration) -> Self {
        self.stop.delay = bounded(time);
        self
    }

    /// How long a stop may take in all, from the signal on: the delay, what is under way, and what is to be stored
    /// (25 seconds: Kubernetes kills after 30 unless told otherwise). The delay takes half of it at most, and a fifth, up to five
    /// seconds, is kept for what is to be stored: with two seconds, new requests are answered for one, and have 0.6 seconds after that.
    #[must_use]
    pub fn drain_within(mut self, time: Duration) -> Self {
        self.stop.within = bounded(time);
        self
    }

    /// Without this no request can be answered: while it is lost, `/ready` says no. See [`Probes`] for what speaks against it.
    ///
    /// ```
    /// use statehouse::{Config, Service, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let operations = services.operations().hard(Service::Sessions).soft(Service::Files);
    /// let ready = operations.probes().answer("/ready").await.expect("one of the probes");
    /// assert!(ready.body().contains(r#""sessions":{"need":"hard","#));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn hard(self, dependency: impl Into<Dependency>) -> Self {
        self.depend(Need::Hard, dependency.into())
    }

    /// Without this some requests can be answered: `/ready` tells how it is, and goes on to say yes. So does every service that
    /// is used and not named.
    #[must_use]
    pub fn soft(self, dependency: impl Into<Dependency>) -> Self {
        self.depend(Need::Soft, dependency.into())
    }

    fn depend(mut self, need: Need, dependency: Dependency) -> Self {
        dependency.want(&self.services);
        self.dependencies.retain(|(_, known)| known.name() != dependency.name());
        self.dependencies.push((need, dependency));
        self
    }

    /// Something that is to be finished before `/started` and `/ready` say yes. One of the same name is replaced.
    #[must_use = "dropped, it is never finished"]
    pub fn startup(&self, name: &str) -> Startup {
        Startup::of(&self.services.inner().lifecycle, name)
    }

    /// The answers to probes, for another server.
    #[must_use]
    pub fn probes(&self) -> Probes {
        Probes::new(self.services.clone(), self.dependencies.clone())
    }

    /// Leaves `/live`, `/started` and `/ready` to the application, which can answer them elsewhere:
    ///
    /// ```
    /// use axum::Router;
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let operations = services.operations().without_probes();
    /// let app = Router::new().nest_service("/internal", operations.probes()); // at /internal/ready
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let operations = operations.delay(std::time::Duration::ZERO);
    /// # operations.serve_until(listener, app, async {}).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn without_probes(mut self) -> Self {
        self.probes = Mounted::Not;
        self
    }

    /// What the other replicas are told of this one, besides what is found out: its build, the formats that it knows, what
    /// should be the same for all, where it is. Nothing, unless told.
    ///
    /// ```
    /// use statehouse::coord::MemberInfo;
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// # let services = Services::open(Config::in_memory()).await?;
    /// let info = MemberInfo::new("clinic 1.4.0").with_fingerprint("feed", "2026-04").with_address("10.0.0.7:8080");
    /// let operations = services.operations().member(info);
    /// # let _ = operations;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "coord")]
    #[must_use]
    pub fn member(mut self, info: statehouse_coord::MemberInfo) -> Self {
        self.member = Some(info);
        self
    }

    /// Is no member among replicas, and is told of none.
    ///
    /// ```
    /// # use statehouse::{Config, Services};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// # let services = Services::open(Config::in_memory()).await?;
    /// let operations = services.operations().without_membership(); // a tool that serves nobody
    /// # let _ = operations;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "coord")]
    #[must_use]
    pub fn without_membership(mut self) -> Self {
        self.member = None;
        self
    }

    /// What is to be done at a stop, beside the requests that are under way and before anything is closed: to give up a lease,
    /// to hand over work. It begins with the signal, is cut off as they are, and is done once; a panic in it is a line of the log.
    ///
    /// ```
    /// use std::time::Duration;
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let notes = services.files("notes")?;
    /// let last = notes.clone();
    /// let operations = services.operations().delay(Duration::ZERO).at_stop(async move {
    ///     let _noted = last.put("last", "stopped in order").await;
    /// });
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// operations.serve_until(listener, axum::Router::new(), async {}).await?;
    /// assert!(notes.exists("last").await?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn at_stop(self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop.work.add(work);
        self
    }

    /// From now on SIGTERM and Ctrl-C do not end the process, but are what [`serve`](Self::serve) ends with: for a program
    /// that tells somebody that it listens before it serves.
    ///
    /// # Errors
    /// If the signals cannot be listened for.
    pub fn catch_signals(self) -> io::Result<Self> {
        *self.signals.lock().unwrap_or_else(PoisonError::into_inner) = Some(Signals::listen()?);
        Ok(self)
    }

    /// From now on `/ready` says no. [`serve`](Self::serve) does so itself; this is for other servers, as [`Probes`] shows.
    pub fn begin_drain(&self) {
        self.services.inner().lifecycle.drain();
    }

    /// Serves `app`, for example an `axum::Router`, until a signal, and returns when everything has ended. Requests have
    /// a [`PeerAddress`] among their extensions. A signal that comes while services are opened ends it, too.
    ///
    /// # Errors
    /// If a service that is used cannot be opened, the signals cannot be listened for, or a service cannot finish what it has
    /// to store, or not in time.
    pub async fn serve<S, B>(self, listener: TcpListener, app: S) -> io::Result<()>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut signals = self.signals()?;
        let server = tokio::select! {
            begun = self.begin(listener, app) => begun?,
            _told = signals.next() => return self.stop.end_before_it_serves(signals).await,
        };
        let delay = match server.accept_until(signals.next()).await {
            Told::Terminate => self.stop.delay,
            Told::Interrupt => Duration::ZERO,
        };
        self.stop.end(server, delay, signals).await
    }

    /// As [`serve`](Self::serve), with a stop of the caller's own in place of the first signal: for an application that
    /// has something to do before, and for tests.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_until<S, B>(
        self,
        listener: TcpListener,
        app: S,
        stop: impl Future<Output = ()> + Send,
    ) -> io::Result<()>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let server = self.begin(listener, app).await?;
        server.accept_until(stop).await;
        // Listened for only now: the first signal may be what ended `stop`.
        let signals = self.signals()?;
        let delay = self.stop.delay;
        self.stop.end(server, delay, signals).await
    }

    /// Those that are listened for already, or from now on.
    fn signals(&self) -> io::Result<Signals> {
        let caught = self.signals.lock().unwrap_or_else(PoisonError::into_inner).take();
        caught.map_or_else(Signals::listen, Ok)
    }

    async fn begin<S, B>(&self, listener: TcpListener, app: S) -> io::Result<Server<S>>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.services.connect().await.map_err(io::Error::other)?;
        self.services.log_description();
        let probes = self.probes();
        #[cfg(feature = "coord")]
        if let Some(info) = &self.member {
            fleet::begin(&self.services, probes.readiness(), info.clone());
        }
        let front = Front {
            app,
            probes: (self.probes == Mounted::Before).then_some(probes),
            limits: self.limits,
            lifecycle: Arc::clone(&self.services.inner().lifecycle),
        };
        Ok(Server::new(listener, front, self.limits.connections))
    }
}

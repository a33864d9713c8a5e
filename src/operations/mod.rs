//! Serving an application and ending it well.

mod connection;
mod limits;
mod server;
mod stall;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tower_service::Service;

use crate::services::Services;

pub use self::connection::{PeerAddress, RequestBody};
use self::limits::Limits;

/// How an application of [`Services`] is served: made by [`Services::operations`].
///
/// # Behavior
/// - **Time limits.** A client has 20 seconds to send the head of a request, and as long to begin its next one on the
///   same connection. While a body comes in or a response goes out, each may stand still for at most 60 seconds; how long
///   it takes in all is not limited, for a slow client is not a broken one. What takes longer ends that connection and
///   nothing else. A load balancer must close the connections that it keeps idle sooner than the server does.
/// - **Connections** are limited to three quarters of the files that the process may have open, and to 10,000. One more
///   waits in the listener's queue until another has ended. A connection that cannot be accepted is no reason to stop:
///   it is logged once, and tried again.
/// - **Small answers leave at once**: `TCP_NODELAY` is set.
/// - **The services** that the program uses are opened before the first connection is accepted
///   ([`Services::connect`]): what cannot be had ends it.
/// - **A stop** begins with SIGTERM or Ctrl-C (or with [`serve_until`](Self::serve_until)). New connections are refused, requests
///   that are under way are answered and their connections closed; after 25 seconds, or at a second signal, what is left
///   is cut off. Then [`Services::shutdown`] finishes what is to be stored, whatever happened before.
///
/// HTTP/1.1, with upgrades. TLS and HTTP/2 are the business of what stands in front.
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
    delay: Duration,
    drain: Duration,
}

impl Services {
    /// Serves the application, with time limits for its clients and an end that loses nothing.
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
        Self { services, limits, delay: Duration::ZERO, drain: Duration::from_secs(25) }
    }

    /// How long a client may take for the head of a request, and may keep a connection idle (20 seconds).
    #[must_use]
    pub fn head_within(mut self, time: Duration) -> Self {
        self.limits.head = time;
        self
    }

    /// How long a body or a response may stand still (60 seconds).
    #[must_use]
    pub fn stalled_within(mut self, time: Duration) -> Self {
        self.limits.stall = time;
        self
    }

    /// How many connections there may be at once; at least one.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.limits.connections = count.max(1);
        self
    }

    /// How long connections are still accepted after the signal, so that load balancers can learn of it (not at all). A
    /// second signal ends the delay.
    #[must_use]
    pub fn delay(mut self, time: Duration) -> Self {
        self.delay = time;
        self
    }

    /// How long requests that are under way may go on after that (25 seconds).
    #[must_use]
    pub fn drain_within(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Serves `app`, for example an `axum::Router`, until a signal, and returns when everything has ended. Requests have
    /// a [`PeerAddress`] among their extensions.
    ///
    /// # Errors
    /// If a service that is used cannot be opened, the signals cannot be listened for, or a service cannot finish what it has
    /// to store.
    pub async fn serve<S, B>(self, listener: TcpListener, app: S) -> io::Result<()>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut signals = server::Signals::listen()?;
        self.serve_until(listener, app, async move { signals.next().await }).await
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
        self.services.connect().await.map_err(io::Error::other)?;
        let server = server::Server::new(listener, app, self.limits);
        server.accept_until(stop).await;
        // Listened for only now: the first signal may be what ended `stop`.
        let mut again = server::Signals::listen()?;
        if !self.delay.is_zero() {
            server.accept_until(again.next_or_after(self.delay)).await;
        }
        server.close().drain(again.next_or_after(self.drain)).await;
        self.services.shutdown().await.map_err(io::Error::other)
    }
}

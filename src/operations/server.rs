//! Accepting connections, and ending them.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use statehouse_core::SystemClock;
use statehouse_core::policy::Trouble;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tower_service::Service;

use super::connection::{self, Front, RequestBody};
use super::signals::Cut;

/// The pause after a connection could not be accepted, most likely because no file descriptor was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections must have been accepted for that trouble to be over: where few descriptors are left, one that is free
/// now and then lets single ones in.
const QUIET: Duration = Duration::from_secs(2);

const MOST_CONNECTIONS: usize = 10_000;

/// Three quarters of the files that the process may have open: the rest is for the services, and for answering at all.
pub(super) fn connections_of_this_process() -> usize {
    #[cfg(unix)]
    if let Some(files) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        return usize::try_from(files / 4 * 3).unwrap_or(MOST_CONNECTIONS).clamp(1, MOST_CONNECTIONS);
    }
    MOST_CONNECTIONS
}

pub(super) struct Server<S> {
    listener: TcpListener,
    hall: Hall<S>,
}

/// Where connections go that were accepted.
struct Hall<S> {
    front: Front<S>,
    free: Arc<Semaphore>,
    /// Each connection listens; it is closed when the last has ended.
    stopping: watch::Sender<()>,
}

/// Connections that are still there when nothing is accepted any more.
pub(super) struct Connections(watch::Sender<()>);

impl<S, B> Server<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    pub(super) fn new(listener: TcpListener, front: Front<S>, connections: usize) -> Self {
        let hall = Hall { front, free: Arc::new(Semaphore::new(connections)), stopping: watch::Sender::new(()) };
        Self { listener, hall }
    }

    /// Accepts until `stop` has ended.
    pub(super) async fn accept_until<T>(&self, stop: impl Future<Output = T>) -> T {
        tokio::select! {
            stopped = stop => stopped,
            () = self.accept_all() => std::future::pending().await,
        }
    }

    /// Accepts those who wait already, for whom the connection is there and who may have sent their request, and no more.
    pub(super) fn close(self) -> Connections {
        let Self { listener, hall } = self;
        // The system is asked itself: the runtime may not have heard of them yet.
        let waiting =
            listener.into_std().into_iter().flat_map(|listener| std::iter::from_fn(move || listener.accept().ok()));
        for (stream, peer) in waiting {
            let Ok(free) = Arc::clone(&hall.free).try_acquire_owned() else { break };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            // One that cannot be used is gone already.
            if let Ok(stream) = stream {
                hall.serve(stream, peer, free);
            }
        }
        Connections(hall.stopping)
    }

    async fn accept_all(&self) {
        let (trouble, clock) = (Trouble::new(QUIET), SystemClock::default());
        // The semaphore is never closed.
        while let Ok(free) = Arc::clone(&self.hall.free).acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(failures) = trouble.is_over(&clock) {
                        tracing::warn!(name: "serve.accepting_again", failures, "connections are accepted again");
                    }
                    self.hall.serve(stream, peer, free);
                }
                // The client went before it was accepted.
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    if trouble.failed(&clock) {
                        tracing::error!(name: "serve.accept_failed", %error, "no connection can be accepted");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl<S, B> Hall<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    fn serve(&self, stream: TcpStream, peer: SocketAddr, free: OwnedSemaphorePermit) {
        // Without it, a small answer waits for the acknowledgement of the last. It fails only where the connection is gone
        // already, which serving it finds out.
        let _gone = stream.set_nodelay(true);
        let (front, stopping) = (self.front.clone(), self.stopping.subscribe());
        tokio::spawn(connection::serve((stream, free), peer, front, stopping));
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

impl Connections {
    /// Lets requests that are under way end; what is left at the `cut` is cut off.
    pub(super) async fn drain(self, cut: Cut) {
        // Nobody listens if there are no connections.
        let _nobody = self.0.send(());
        tokio::select! {
            () = self.0.closed() => return,
            () = cut => {}
        }
        let connections = self.0.receiver_count();
        tracing::warn!(name: "serve.cut_off", connections, "requests that were still under way are cut off");
    }
}

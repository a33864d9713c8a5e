//! Accepting connections, and ending them.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tower_service::Service;

use super::connection::{self, RequestBody};
use super::limits::Limits;

/// The pause after a connection could not be accepted, most likely because no file descriptor was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const MOST_CONNECTIONS: usize = 10_000;

/// Three quarters of the files that the process may have open: the rest is for the services, and for answering at all.
pub(super) fn connections_of_this_process() -> usize {
    #[cfg(unix)]
    if let Some(files) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        return usize::try_from(files / 4 * 3).unwrap_or(MOST_CONNECTIONS).clamp(1, MOST_CONNECTIONS);
    }
    MOST_CONNECTIONS
}

/// Ctrl-C and, on Unix, SIGTERM. From the moment that they are listened for they do not end the process by themselves.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// After `time`, or at the next signal.
    pub(super) async fn next_or_after(&mut self, time: Duration) {
        tokio::select! {
            () = self.next() => {}
            () = sleep(time) => {}
        }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

pub(super) struct Server<S> {
    listener: TcpListener,
    app: S,
    limits: Limits,
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
    pub(super) fn new(listener: TcpListener, app: S, limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.connections));
        Self { listener, app, limits, free, stopping: watch::Sender::new(()) }
    }

    /// Accepts until `stop` has ended.
    pub(super) async fn accept_until(&self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = self.accept_all() => {}
            () = stop => {}
        }
    }

    /// Accepts no more.
    pub(super) fn close(self) -> Connections {
        Connections(self.stopping)
    }

    async fn accept_all(&self) {
        let mut failing = false;
        // The semaphore is never closed.
        while let Ok(free) = Arc::clone(&self.free).acquire_owned().await {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    failing = false;
                    // Without it, a small answer waits for the acknowledgement of the last. It fails only where the
                    // connection is gone already, which serving it finds out.
                    let _gone = stream.set_nodelay(true);
                    let (app, limits, stopping) = (self.app.clone(), self.limits, self.stopping.subscribe());
                    tokio::spawn(async move {
                        connection::serve(stream, peer, app, limits, stopping).await;
                        drop(free);
                    });
                }
                // The client went before it was accepted.
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(name: "serve.accept_failed", %error, "no connection can be accepted");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

impl Connections {
    /// Lets requests that are under way end; what is left when `cut` ends is cut off.
    pub(super) async fn drain(self, cut: impl Future<Output = ()>) {
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

//! Taking an address, serving at it, and ending well.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::app::App;

/// How long requests may go on after the clinic was told to stop.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// The address, before anybody can connect to it.
pub(crate) async fn take(listen: &str) -> std::io::Result<TcpSocket> {
    let address = lookup_host(listen).await?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The connections of a clinic that has just ended keep nobody from the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves until `stop` ends and the requests that are then under way have ended, too: within a time, or until Ctrl-C
/// is pressed again.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stopped, stopping) = oneshot::channel();
    let stop = async move {
        stop.await;
        // Nobody waits for it if the server has failed.
        let _unheard = stopped.send(());
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(stop).into_future() => served,
        () = cut_off(stopping) => {
            tracing::warn!("requests that were still under way are cut off");
            Ok(())
        }
    }
}

async fn cut_off(stopping: oneshot::Receiver<()>) {
    if stopping.await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = tokio::time::sleep(CLOSE_WITHIN) => {}
    }
}

/// Ctrl-C and SIGTERM. From the moment that they are listened for they do not end the process by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Ends at Ctrl-C at once, and at SIGTERM after load balancers have had the time to look at `/ready`.
    pub(crate) async fn stop(mut self, app: Arc<App>, drain: Duration) {
        tokio::select! {
            _ = self.interrupt.recv() => app.drain(),
            _ = self.terminate.recv() => {
                app.drain();
                tokio::time::sleep(drain).await;
            }
        }
        tracing::info!("closing after the requests that are under way");
    }
}

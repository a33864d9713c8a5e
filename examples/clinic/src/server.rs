//! Taking an address, and being told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, lookup_host};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::terminology::Loading;

/// The address, before anybody can connect to it.
pub(crate) async fn take(listen: &str) -> std::io::Result<TcpSocket> {
    let address = lookup_host(listen).await?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The connections of a clinic that has just ended keep nobody from the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
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

    /// Ends at Ctrl-C at once, and at SIGTERM after load balancers have had the time to look at `/ready`. What is being
    /// loaded is let go in the meantime.
    pub(crate) async fn stop(mut self, app: Arc<App>, drain: Duration, loading: Loading) {
        let drain = tokio::select! {
            _ = self.interrupt.recv() => Duration::ZERO,
            _ = self.terminate.recv() => drain,
        };
        app.drain();
        tokio::join!(tokio::time::sleep(drain), loading.stop());
        tracing::info!("closing after the requests that are under way");
    }
}

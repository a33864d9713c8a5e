use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::http::RequestFilter;
use super::lane::{Lane, Tap};
use super::settings::{Direction, Settings};
use super::shared::Shared;

/// Serves one client until both directions have ended or the connection is reset. `resets` is how many there were when it
/// was accepted: one may have been ordered since, before this ran for the first time.
pub(super) async fn run(client: TcpStream, shared: Arc<Shared>, mut settings: watch::Receiver<Settings>, resets: u64) {
    let target = settings.borrow_and_update().target.clone();
    let lanes = settings.clone();
    let work = async {
        let server = TcpStream::connect(target).await?;
        let ended = pump(&client, &server, &shared, lanes).await;
        if ended.is_err() {
            reset_on_drop(&server);
        }
        ended
    };
    let reset = settings.wait_for(|now| now.resets != resets);
    let ended = tokio::select! {
        ended = work => ended,
        _ = reset => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if ended.is_err() {
        reset_on_drop(&client);
    }
}

async fn pump(
    client: &TcpStream,
    server: &TcpStream,
    shared: &Shared,
    settings: watch::Receiver<Settings>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let requests = Tap::Requests(RequestFilter::default());
    let up = Lane::new(client, server, Direction::ToServer, requests, settings.clone());
    let down = Lane::new(server, client, Direction::ToClient, Tap::Answers, settings);
    tokio::try_join!(up.run(shared), down.run(shared))?;
    Ok(())
}

/// Dropping a socket without linger time sends RST instead of FIN. On a socket that is gone already it doesn't matter.
fn reset_on_drop(socket: &TcpStream) {
    let _gone = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

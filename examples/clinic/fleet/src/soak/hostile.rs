//! Visitors that no server wishes for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::people::World;
use crate::Failure;
use crate::visitor::Visitor;

/// How long a connection is held that does nothing.
const HOLD: Duration = Duration::from_secs(8);
const FLOOD: usize = 60;

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Opens the log-in page and goes; every other time logs in first.
    AbandonsLogins,
    /// Guesses passwords, each time from another address.
    Guesses,
    /// Promises more of a file than it sends.
    BreaksUploads,
    /// Sends a little of a file, and no more.
    StallsUploads,
    /// Asks for a page and takes a few bytes of it at a time.
    ReadsSlowly,
    /// Sends half a head, or what is none.
    HalfRequests,
    /// Many at once, without cookies.
    Floods,
}

const ALL: [(Kind, usize); 7] = [
    (Kind::AbandonsLogins, 1),
    (Kind::Guesses, 1),
    (Kind::BreaksUploads, 2),
    (Kind::StallsUploads, 6),
    (Kind::ReadsSlowly, 6),
    (Kind::HalfRequests, 6),
    (Kind::Floods, 1),
];

/// They do what they do until then.
pub(crate) fn arrive(world: &Arc<World>, until: Instant) -> Vec<JoinHandle<()>> {
    let kinds = ALL.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    let visitors = kinds.enumerate().map(|(number, kind)| {
        let world = Arc::clone(world);
        tokio::spawn(async move {
            let mut turn = number;
            let mut insider = None;
            while Instant::now() < until {
                turn += 1;
                // A replica that is being killed fails them, as it should.
                let _whatever = timeout(HOLD * 2, visit(&world, kind, turn, number, &mut insider)).await;
                sleep(Duration::from_millis(60)).await;
            }
        })
    });
    visitors.collect()
}

async fn visit(
    world: &World,
    kind: Kind,
    turn: usize,
    number: usize,
    insider: &mut Option<Visitor>,
) -> Result<(), Failure> {
    let address = world.replicas[turn % world.replicas.len()];
    world.request();
    match kind {
        Kind::AbandonsLogins => abandon(world, address, turn).await,
        Kind::Guesses => guess(world, address, turn).await,
        Kind::BreaksUploads | Kind::StallsUploads => {
            let head = upload(world, address, number, insider).await?;
            let mut stream = send(address, head.as_bytes()).await?;
            stream.write_all(&[7; 9_000]).await?;
            if matches!(kind, Kind::StallsUploads) {
                sleep(HOLD).await;
            }
            Ok(())
        }
        Kind::ReadsSlowly => {
            let mut stream = send(address, b"GET /assets/clinic.css HTTP/1.1\r\nhost: c\r\n\r\n").await?;
            let until = Instant::now() + HOLD;
            let mut few = [0; 64];
            while Instant::now() < until && stream.read(&mut few).await? > 0 {
                sleep(Duration::from_millis(250)).await;
            }
            Ok(())
        }
        Kind::HalfRequests => {
            let half: &[u8] =
                if turn.is_multiple_of(3) { &[0xff; 900] } else { b"GET /patients HTTP/1.1\r\nhost: c\r\nx-" };
            let mut stream = send(address, half).await?;
            // What is none is answered and closed; half of one is held.
            let mut answer = [0; 64];
            let _read = timeout(HOLD, stream.read(&mut answer)).await;
            Ok(())
        }
        Kind::Floods => {
            futures_util::future::join_all((0..FLOOD).map(|one| flood(world, address, one))).await;
            sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
}

async fn send(address: SocketAddr, bytes: &[u8]) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

async fn ask(address: SocketAddr, request: &str) -> Result<String, Failure> {
    let mut stream = send(address, request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(HOLD, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The log-in page: its cookie and its token.
async fn login_page(address: SocketAddr, from: usize) -> Result<(String, String), Failure> {
    let request = format!("GET /login HTTP/1.1\r\nhost: c\r\n{}connection: close\r\n\r\n", forwarded(from));
    let page = ask(address, &request).await?;
    let after = |before: &str, end: char| page.split_once(before)?.1.split(end).next().map(str::to_owned);
    let found = after("set-cookie: ", ';').zip(after("name=\"csrf\" value=\"", '"'));
    found.ok_or_else(|| "the log-in page has another form".into())
}

fn forwarded(from: usize) -> String {
    format!("x-forwarded-for: 10.{}.{}.{}\r\n", from / 65_536 % 256, from / 256 % 256, from % 256)
}

async fn abandon(world: &World, address: SocketAddr, turn: usize) -> Result<(), Failure> {
    let (cookie, csrf) = login_page(address, turn).await?;
    if turn.is_multiple_of(4) {
        world.request();
        if log_in(address, turn, &cookie, &csrf, "statehouse").await?.starts_with("HTTP/1.1 303") {
            world.count(&world.logins);
        }
    }
    Ok(())
}

async fn guess(world: &World, address: SocketAddr, turn: usize) -> Result<(), Failure> {
    let (cookie, csrf) = login_page(address, turn).await?;
    world.request();
    log_in(address, turn, &cookie, &csrf, "123456").await?;
    sleep(Duration::from_millis(500)).await;
    Ok(())
}

async fn log_in(address: SocketAddr, turn: usize, cookie: &str, csrf: &str, password: &str) -> Result<String, Failure> {
    let form = format!("login=staff{:03}&password={password}&csrf={csrf}", 40 + turn % 20);
    let (from, length) = (forwarded(turn), form.len());
    let head = format!("POST /login HTTP/1.1\r\nhost: c\r\n{from}cookie: {cookie}\r\nconnection: close\r\n");
    let kind = "content-type: application/x-www-form-urlencoded\r\n";
    ask(address, &format!("{head}{kind}content-length: {length}\r\n\r\n{form}")).await
}

/// The head of an upload by somebody who may.
async fn upload(
    world: &World,
    address: SocketAddr,
    number: usize,
    insider: &mut Option<Visitor>,
) -> Result<String, Failure> {
    let insider = match insider {
        Some(insider) => insider,
        None => {
            let visitor = Visitor::log_in(&world.replicas, 20 + number).await?;
            world.count(&world.logins);
            world.count(&world.attached);
            insider.insert(visitor)
        }
    };
    let (cookie, csrf) = insider.credentials();
    Ok(format!(
        "POST /patients/9/documents?name=half.bin HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\nx-csrf-token: {csrf}\r\n\
         content-type: application/octet-stream\r\ncontent-length: 400000\r\n\r\n"
    ))
}

async fn flood(world: &World, address: SocketAddr, one: usize) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    world.request();
    let _refused_or_not = match one % 3 {
        0 => login_page(address, NEXT.fetch_add(1, Ordering::Relaxed)).await.map(drop),
        1 => {
            ask(address, "GET / HTTP/1.1\r\nhost: c\r\naccept: text/html\r\nconnection: close\r\n\r\n").await.map(drop)
        }
        _ => ask(address, "GET /api/concepts?q=flu HTTP/1.1\r\nhost: c\r\nconnection: close\r\n\r\n").await.map(drop),
    };
}

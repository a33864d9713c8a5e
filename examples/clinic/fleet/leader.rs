//! A program that does, over and over, what only one may do: whichever of its processes has the lock writes, under that lock,
//! until it sees that it has lost it. Scenario S5 stops it in the middle of that and lets it go on.

use std::time::{Duration, Instant};

use axum::Router;
use statehouse::cache::TypedCache;
use statehouse::coord::{Coordination, Guard, SharedState};
use statehouse::files::Files;
use statehouse::{Config, Result, Services};
use tokio::net::TcpListener;

/// How long its lock lasts without a renewal.
const LEASE: Duration = Duration::from_secs(1);
/// How long it works before each write, without looking up.
const WORK: Duration = Duration::from_millis(200);
/// How often it says how much it has written.
const SAY_EVERY: Duration = Duration::from_millis(200);
/// How many terms of leaders the history has.
const TERMS: usize = 200;

/// What the lock guards: the last token in a cache and in a file, and a history of all tokens.
#[derive(Clone)]
struct Guarded {
    cache: TypedCache<u64>,
    files: Files,
    history: SharedState<Vec<u64>>,
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let services = Services::open(Config::from_env()?).await?;
    let coord = services.coordination();
    let guarded = Guarded {
        cache: services.cache("leader").time_to_live(Duration::from_secs(3_600)).open()?,
        files: services.files("leader")?,
        history: coord.state("leader"),
    };
    let listener = TcpListener::bind(std::env::args().next_back().unwrap_or_default()).await?;
    drop(tokio::spawn(lead(coord, guarded)));
    Ok(services.operations().delay(Duration::ZERO).serve(listener, Router::new()).await?)
}

async fn lead(coord: Coordination, guarded: Guarded) {
    loop {
        let lock = coord.lock("leader").guards(&guarded.cache).guards(&guarded.files).guards(&guarded.history);
        let guard = match lock.lease(LEASE).wait(Duration::from_secs(60)).await {
            Ok(guard) => guard,
            Err(error) => {
                tracing::info!(%error, "does not lead");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let token = guard.token().get();
        tracing::info!(token, "leads");
        write(&guard, &guarded).await;
        tracing::info!(token, "leads no more");
    }
}

/// Until it sees that it has lost the lock.
async fn write(guard: &Guard, guarded: &Guarded) {
    let token = guard.token().get();
    let (mut written, mut said) = ([0; 3], Instant::now());
    while guard.is_held() {
        // Who is stopped in here finds out after the writes that follow.
        std::thread::sleep(WORK);
        let is_late = !guard.is_held();
        let (cached, stored, kept) =
            tokio::join!(guarded.cache(guard, written[0]), guarded.file(guard, written[1]), guarded.history(guard));
        for (at, (store, outcome)) in [("cache", cached), ("files", stored), ("state", kept)].into_iter().enumerate() {
            written[at] += u64::from(outcome.is_ok());
            match outcome {
                Ok(()) if is_late => tracing::info!(token, store, "a late write was made"),
                Err(error) if is_late => tracing::info!(token, store, kind = %error.kind(), "a late write was refused"),
                Err(error) => tracing::info!(token, store, %error, "a write has failed"),
                Ok(()) => {}
            }
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            tracing::info!(token, least = written.iter().min(), "has written");
        }
    }
}

/// Whoever has written finds nothing of a leader before it.
fn look(guard: &Guard, store: &str, written: u64, found: Option<u64>) {
    let own = guard.token().get();
    if let Some(found) = found.filter(|found| written > 0 && *found < own) {
        tracing::error!(store, own, found, "a stale write was found");
    }
}

impl Guarded {
    async fn cache(&self, guard: &Guard, written: u64) -> Result<()> {
        let found = self.cache.get("latest").await?;
        look(guard, "cache", written, found.map(|found| *found));
        self.cache.set("latest", guard.token().get()).fenced(guard).await.map(drop)
    }

    async fn file(&self, guard: &Guard, written: u64) -> Result<()> {
        if written > 0 {
            let found = self.files.get("latest").bytes().await?;
            look(guard, "files", written, std::str::from_utf8(&found).ok().and_then(|text| text.parse().ok()));
        }
        self.files.put("latest", guard.token().get().to_string()).fenced(guard).await.map(drop)
    }

    async fn history(&self, guard: &Guard) -> Result<()> {
        let own = guard.token().get();
        let add = |before: Option<Vec<u64>>| {
            let mut tokens = before.unwrap_or_default();
            if !tokens.is_sorted() {
                tracing::error!("the history is out of order");
            }
            // One entry for each term of a leader that follows another's.
            if tokens.last() != Some(&own) {
                tokens.push(own);
            }
            tokens.drain(..tokens.len().saturating_sub(TERMS));
            tokens
        };
        self.history.fenced(guard).update("tokens", add).await.map(drop)
    }
}

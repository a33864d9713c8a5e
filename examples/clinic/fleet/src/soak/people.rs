//! Honest people, and a record of what was promised to them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::Failure;
use crate::visitor::{Deed, Visitor};

/// So many at a time.
pub(crate) const PEOPLE: usize = 8;
const PAUSE: Duration = Duration::from_millis(40);
/// A document is attached in every so manieth round.
const ATTACH_EVERY: u64 = 3;

const ROUND: [Deed; 7] =
    [Deed::Dashboard, Deed::Chart, Deed::Search, Deed::Search, Deed::Draft, Deed::Download, Deed::Search];

/// What all of them share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) replicas: Vec<SocketAddr>,
    pub(crate) requests: AtomicUsize,
    pub(crate) attached: AtomicUsize,
    pub(crate) logins: AtomicUsize,
    pub(crate) failed: AtomicUsize,
    /// How the first ones failed.
    failures: Mutex<Vec<String>>,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let (requests, attached, logins, failed) =
            (of(&self.requests), of(&self.attached), of(&self.logins), of(&self.failed));
        write!(
            f,
            "{requests} requests, {attached} documents stored, {logins} log-ins; honest requests that failed: {failed}"
        )
    }
}

impl World {
    pub(crate) fn new(replicas: &[SocketAddr]) -> Self {
        Self {
            replicas: replicas.to_vec(),
            requests: AtomicUsize::new(0),
            attached: AtomicUsize::new(0),
            logins: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            failures: Mutex::default(),
        }
    }

    pub(crate) fn count(&self, counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) {
        self.count(&self.requests);
    }

    fn failure(&self, how: String) {
        self.count(&self.failed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < 20 {
            failures.push(how);
        }
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The sessions that may be alive: one for each log-in, which lives for longer than this runs. A visit begins none.
    pub(crate) fn sessions(&self) -> usize {
        self.logins.load(Ordering::Relaxed)
    }
}

/// One of the staff, and what was acknowledged to them.
pub(crate) struct Ledger {
    visitor: Visitor,
    world: Arc<World>,
    /// Each document with the byte that it consists of.
    documents: Vec<(String, u8)>,
    broken: Vec<String>,
}

/// They log in, and are at work until then.
pub(crate) async fn arrive(
    world: &Arc<World>,
    count: usize,
    until: Instant,
) -> Result<Vec<JoinHandle<Ledger>>, Failure> {
    let mut people = Vec::new();
    for number in 0..count {
        let visitor = Visitor::log_in(&world.replicas, number).await?;
        world.count(&world.logins);
        world.count(&world.attached);
        let documents = vec![visitor.attached()];
        let mut ledger = Ledger { visitor, world: Arc::clone(world), documents, broken: Vec::new() };
        people.push(tokio::spawn(async move {
            let mut rounds = 0;
            while Instant::now() < until {
                ledger.round(rounds, until).await;
                rounds += 1;
            }
            ledger
        }));
    }
    Ok(people)
}

impl Ledger {
    async fn round(&mut self, rounds: u64, until: Instant) {
        let attach = rounds.is_multiple_of(ATTACH_EVERY).then_some(Deed::Attach);
        for deed in ROUND.into_iter().chain(attach) {
            if Instant::now() >= until {
                return;
            }
            let outcome = self.act(deed).await;
            if outcome.is_ok() && matches!(deed, Deed::Attach) {
                self.world.count(&self.world.attached);
                self.documents.push(self.visitor.attached());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whatever fails is counted. Being logged out is a promise broken.
    async fn act(&mut self, deed: Deed) -> Result<(), Failure> {
        self.world.request();
        let outcome = tokio::time::timeout(Duration::from_secs(45), self.visitor.act(deed)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no answer in 45 seconds".into()));
        if let Err(error) = &outcome {
            let text = error.to_string();
            self.world.failure(format!("{deed:?}: {text}"));
            if text.contains("answered 401") {
                self.broken.push(format!("somebody was logged out: {text}"));
            } else if text.contains("no answer in") {
                self.broken.push(format!("{deed:?}: {text}"));
            }
            tokio::time::sleep(PAUSE * 4).await;
        }
        outcome
    }

    /// What is missing of what was acknowledged.
    pub(crate) async fn check(&mut self) -> Vec<String> {
        for (id, byte) in std::mem::take(&mut self.documents) {
            match self.visitor.document(&id).await {
                Ok(content) if content.len() == 20_000 && content.iter().all(|found| *found == byte) => {}
                Ok(content) => self.broken.push(format!("document {id} came back changed: {} bytes", content.len())),
                Err(error) => self.broken.push(format!("document {id}: {error}")),
            }
        }
        std::mem::take(&mut self.broken)
    }
}

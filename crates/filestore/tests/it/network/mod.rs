//! Every fault of the network and of the server × every verb: what is told, how soon, and what is true of it.
//!
//! The cells of a fault are under way side by side, as are three faults. A cell holds if its outcome is the fault's, if it comes
//! in time, if nothing was done that was told as not done and everything that was told as done, and if the verb works again once
//! the network does. Preconditions that a middlebox takes off are in `s3_preconditions`, pauses of 40 seconds in `s3_pauses`.

#![expect(clippy::print_stdout, reason = "the table is what the test is read for")]

mod links;
mod served;
mod verbs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use statehouse_core::conformance::rounds;
use statehouse_core::{Error, ErrorKind, Namespace};
use statehouse_filestore::{FileStore, Files};
use statehouse_testkit::{AzureServer, Direction, FaultProxy, S3Server, timed_fairly};

use served::{Served, verbs_of};
use verbs::{Effect, Given, Sizes, Verb, call, is_done, prepare};

/// How long the server may be silent where nothing comes of it.
const SILENCE: Duration = Duration::from_secs(2);

/// And where what is slow gets there in the end.
const PATIENCE: Duration = Duration::from_secs(150);

/// The longest that anything may take that fails: a request, its repetition, and the look at what became of it, some ten
/// seconds; on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(30);

/// What health takes at most is a second; on a machine that has other things to do.
const HEALTH: Duration = Duration::from_secs(3);

/// 1 kB/s.
const SLOW: u64 = 1000;

/// A way to fail, whether it is worked through, or how it is told, and what it is tried with.
struct Fault {
    name: &'static str,
    inflict: fn(&FaultProxy),
    outcome: Outcome,
    silence: Duration,
    slow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Works,
    Fails(ErrorKind),
}

const fn fails(name: &'static str, inflict: fn(&FaultProxy), kind: ErrorKind) -> Fault {
    Fault { name, inflict, outcome: Outcome::Fails(kind), silence: SILENCE, slow: false }
}

const FAULTS: [Fault; 9] = [
    // The longest ones first.
    Fault {
        name: "requests at 1 kB/s",
        inflict: |proxy| proxy.limit(Direction::ToServer, SLOW),
        outcome: Outcome::Works,
        // What is on its way in the buffers of both hosts cannot be told from what nobody reads.
        silence: PATIENCE,
        slow: true,
    },
    Fault {
        name: "answers at 1 kB/s",
        inflict: |proxy| proxy.limit(Direction::ToClient, SLOW),
        outcome: Outcome::Works,
        // A third of what the longest answer takes.
        silence: Duration::from_secs(6),
        slow: true,
    },
    Fault {
        name: "answers late",
        inflict: |proxy| proxy.delay(Direction::ToClient, Duration::from_millis(300)),
        outcome: Outcome::Works,
        silence: PATIENCE,
        slow: false,
    },
    fails("cut", FaultProxy::cut, ErrorKind::Unavailable),
    fails("silent", FaultProxy::black_hole, ErrorKind::Timeout),
    fails("requests lost", |proxy| proxy.black_hole_way(Direction::ToServer), ErrorKind::Timeout),
    fails("answers lost", |proxy| proxy.black_hole_way(Direction::ToClient), ErrorKind::Timeout),
    fails("answers cut short", |proxy| proxy.truncate(Direction::ToClient, 40), ErrorKind::Unavailable),
    fails("requests cut short", |proxy| proxy.truncate(Direction::ToServer, 40), ErrorKind::Unavailable),
];

/// A namespace of its own for each cell.
fn cell(store: &Arc<dyn FileStore>) -> Files {
    static CELLS: AtomicU64 = AtomicU64::new(0);
    let (nonce, cell) = (std::process::id(), CELLS.fetch_add(1, Ordering::Relaxed));
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    Files::new(Arc::clone(store), Namespace::new(format!("it.{nonce}.{now}.{cell}")).unwrap())
}

/// How a cell ended.
struct Told {
    result: Result<(), Error>,
    took: Duration,
}

/// Something that breaks and is mended.
struct Trial<'a> {
    name: &'a str,
    outcome: Outcome,
    /// What is judged through: nothing breaks it while it is used.
    direct: &'a Arc<dyn FileStore>,
    store: &'a Arc<dyn FileStore>,
    sizes: Sizes,
}

impl Trial<'_> {
    /// The cells that do not hold.
    async fn run(&self, inflict: impl FnOnce(), mend: impl FnOnce()) -> Vec<String> {
        let verbs = verbs_of(self.direct);
        let given = join_all(verbs.iter().map(|verb| prepare(verb, cell(self.direct), self.sizes))).await;
        inflict();
        let begun = verbs.iter().zip(&given).map(|(verb, given)| self.tell(verb, given));
        let (told, mut wrong) = tokio::join!(join_all(begun), self.health());
        mend();
        let cells = verbs.iter().zip(&given).zip(told);
        let judged = cells.map(|((verb, given), told)| async move {
            let cell = format!("{}, {}", verb.name, self.name);
            println!("{cell}: {:?} in {:?}", told.result.as_ref().map_err(Error::kind), told.took);
            let judged = self.judge(verb, &told).and(self.is_true(verb, given, &told).await);
            judged.and(self.works_again(verb, given).await).err().map(|why| format!("{cell}: {why}"))
        });
        wrong.extend(join_all(judged).await.into_iter().flatten());
        wrong
    }

    async fn tell(&self, verb: &Verb, given: &Given) -> Told {
        let start = Instant::now();
        let result = call(verb, given.through(self.store)).await;
        Told { result, took: start.elapsed() }
    }

    /// Within a second, and why if it is not up.
    async fn health(&self) -> Vec<String> {
        let (health, took) = timed_fairly(self.store.health()).await;
        let (is_up, kind) = (health.is_up(), health.error.as_ref().map(Error::kind));
        println!("health, {}: {} {kind:?} in {took:?}", self.name, health.status);
        let is_right = match self.outcome {
            // Two round trips may take longer than a second.
            Outcome::Works => is_up || kind == Some(ErrorKind::Timeout),
            Outcome::Fails(expected) => !is_up && matches_kind(expected, kind),
        };
        let held = is_right && took < HEALTH;
        if held { Vec::new() } else { vec![format!("health, {}: {health:?} in {took:?}", self.name)] }
    }

    fn judge(&self, verb: &Verb, Told { result, took }: &Told) -> Result<(), String> {
        let is_right = match (self.outcome, result) {
            (_, result) if verb.effect == Effect::Local => result.is_ok(),
            (Outcome::Works, result) => result.is_ok(),
            (Outcome::Fails(_), Ok(())) => false,
            (Outcome::Fails(kind), Err(error)) => {
                let unknown = verb.effect.writes() && error.kind() == ErrorKind::OutcomeUnknown;
                // Half a request is a wrong one, and an answer to a HEAD does not say more.
                let wrong = self.name == "requests cut short" && error.kind() == ErrorKind::Unexpected;
                matches_kind(kind, Some(error.kind())) || unknown || wrong
            }
        };
        // What is worked through may take long on a busy machine.
        let in_time = *took < SOON || self.outcome == Outcome::Works;
        if is_right && in_time { Ok(()) } else { Err(format!("{result:?} in {took:?}")) }
    }

    /// What is told as done is done, and what is told as not done is not.
    async fn is_true(&self, verb: &Verb, given: &Given, told: &Told) -> Result<(), String> {
        let done = match &told.result {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => return Ok(()),
            Err(_) => false,
        };
        match is_done(verb, given).await {
            Some(found) if found != done => Err(format!("told as {:?}, and done: {found}", told.result)),
            _ => Ok(()),
        }
    }

    /// Once no connection is left that was broken before, and this machine has time for it.
    async fn works_again(&self, verb: &Verb, given: &Given) -> Result<(), String> {
        let begun = Instant::now();
        while let Err(error) = call(verb, given.through(self.store)).await {
            let passing = [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::OutcomeUnknown];
            if !passing.contains(&error.kind()) || begun.elapsed() > 2 * SOON {
                return Err(format!("does not work again: {error:?}"));
            }
        }
        Ok(())
    }
}

/// A server that hears no more may close the connection first, and one that is slow to do so is silent.
fn matches_kind(expected: ErrorKind, kind: Option<ErrorKind>) -> bool {
    kind == Some(expected) || (expected == ErrorKind::Unavailable && kind == Some(ErrorKind::Timeout))
}

async fn every_verb_under(fault: &Fault, direct: &Arc<dyn FileStore>, server: Served<'_>) -> Vec<String> {
    let proxy = server.proxy();
    let store = server.open(&proxy.url(&server.endpoint()), fault.silence).await;
    // In a soak 64 KiB, which take a minute.
    let sizes = if fault.slow { Sizes::slow(rounds(16, 64)) } else { Sizes::usual() };
    let trial = Trial { name: fault.name, outcome: fault.outcome, direct, store: &store, sizes };
    let mend = || {
        proxy.reset_connections();
        proxy.heal();
    };
    trial.run(|| (fault.inflict)(&proxy), mend).await
}

async fn every_verb_under_every_fault(server: Served<'_>) {
    let direct = &server.open(&server.endpoint(), PATIENCE).await;
    // Three at a time: the waiting is done side by side, and the work of two processors is not.
    let faults = FAULTS.iter().map(|fault| every_verb_under(fault, direct, server));
    let wrong: Vec<_> = futures_util::stream::iter(faults).buffer_unordered(3).collect().await;
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

async fn every_verb_while_it_stands_still(server: Served<'_>, pause: impl FnOnce(), resume: impl FnOnce()) {
    let direct = &server.open(&server.endpoint(), PATIENCE).await;
    let store = &server.open(&server.endpoint(), SILENCE).await;
    let outcome = Outcome::Fails(ErrorKind::Timeout);
    let trial = Trial { name: "paused", outcome, direct, store, sizes: Sizes::usual() };
    let wrong = trial.run(pause, resume).await;
    assert!(wrong.is_empty(), "{} cells:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_is_told_soon_and_never_as_an_absent_file() {
    every_verb_under_every_fault(Served::S3(S3Server::shared().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_network_to_azure_is_told_soon_and_never_as_an_absent_file() {
    every_verb_under_every_fault(Served::Azure(AzureServer::shared().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_told_soon() {
    let server = S3Server::start().await;
    every_verb_while_it_stands_still(Served::S3(&server), || server.pause(), || server.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_azure_that_stands_still_is_told_soon() {
    let server = AzureServer::start().await;
    every_verb_while_it_stands_still(Served::Azure(&server), || server.pause(), || server.resume()).await;
}

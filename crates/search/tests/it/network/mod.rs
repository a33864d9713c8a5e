//! Every fault of the network × every verb: which outcomes are allowed, within what time, and what is true of them.

mod generations;
mod health;
mod verbs;

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::Namespace;
use statehouse_search::{
    BulkOptions, OpenSearchConfig, OpenSearchIndex, Operation, Record, Refresh, SearchIndex as _, SearchIndexExt as _,
};
use statehouse_testkit::{Direction, FaultProxy, timed_fairly};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::opensearch::{Scratch, config, fresh_name, impatient, own_node, schema};
use verbs::{Given, VERBS, Verb, long, run};

/// Parameters, and the deadline among them.
const IMPATIENT: (&str, Duration) = ("&connect_timeout=500ms&timeout=1500ms&deadline=4s", Duration::from_secs(4));
/// Where everything arrives in the end.
const PATIENT: (&str, Duration) = ("&connect_timeout=5s&timeout=60s&deadline=90s", Duration::from_secs(90));
/// Beyond the deadline: the machine is busy.
const SLACK: Duration = Duration::from_secs(3);
/// What health takes at most is a second; the machine is busy.
const HEALTH: Duration = Duration::from_secs(3);
/// How long what was broken may take until it works again.
const MENDED: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Cut,
    Hole,
    HoleToServer,
    HoleToClient,
    Late,
    Truncated,
    /// The request ends in its first line.
    HalfRequest,
    Slow,
    /// 1 kB/s.
    SlowToServer,
    SlowToClient,
    /// Headers that a middlebox takes away of each request, and of which no answer depends.
    Stripped,
    /// The type of each body, without which the server reads none.
    TypeStripped,
}

// The longest ones first.
const FAULTS: [Fault; 12] = [
    Fault::SlowToClient,
    Fault::SlowToServer,
    Fault::Slow,
    Fault::Cut,
    Fault::Hole,
    Fault::HoleToServer,
    Fault::HoleToClient,
    Fault::Late,
    Fault::Truncated,
    Fault::HalfRequest,
    Fault::Stripped,
    Fault::TypeStripped,
];

impl Fault {
    fn begin(self, proxy: &FaultProxy) {
        match self {
            Self::Cut => proxy.cut(),
            Self::Hole => proxy.black_hole(),
            Self::HoleToServer => proxy.black_hole_way(Direction::ToServer),
            Self::HoleToClient => proxy.black_hole_way(Direction::ToClient),
            // Later than any try waits.
            Self::Late => proxy.delay(Direction::ToClient, Duration::from_secs(6)),
            Self::Truncated => proxy.truncate(Direction::ToClient, 20),
            Self::HalfRequest => proxy.truncate(Direction::ToServer, 5),
            // Each byte comes late, and in time.
            Self::Slow => proxy.delay(Direction::ToClient, Duration::from_millis(150)),
            Self::SlowToServer => proxy.limit(Direction::ToServer, 1000),
            Self::SlowToClient => proxy.limit(Direction::ToClient, 1000),
            Self::Stripped => proxy.strip_request_headers(&["accept", "accept-encoding", "user-agent", "traceparent"]),
            Self::TypeStripped => proxy.strip_request_headers(&["content-type"]),
        }
    }

    const fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::SlowToServer | Self::SlowToClient)
    }

    /// Whether it arrives, if it is waited for.
    const fn passes(self, verb: Verb) -> bool {
        match (self, verb) {
            // They take a minute, which is longer than is waited for.
            (Self::SlowToServer, Verb::Long) | (Self::SlowToClient, Verb::GetLong) => false,
            _ => self.is_slow() || matches!(self, Self::Stripped),
        }
    }
}

/// The outcomes that a step allows which asks for several things one after the other.
const fn allowed_of(fault: Fault, passes: bool, writes: bool) -> &'static [&'static str] {
    match fault {
        _ if passes => &["ok"],
        Fault::TypeStripped => &["ok", "invalid_config"],
        // It goes on, and what becomes of it is not known then.
        Fault::Slow if writes => &["ok", "outcome_unknown"],
        Fault::Slow => &["ok", "timeout"],
        _ if writes => &["unavailable", "timeout", "outcome_unknown"],
        _ => &["unavailable", "timeout"],
    }
}

/// The outcomes that a cell allows.
fn allowed(fault: Fault, verb: Verb) -> &'static [&'static str] {
    match fault {
        _ if fault.is_slow() && verb == Verb::Health => &["ok", "timeout"],
        _ if fault.passes(verb) => &["ok"],
        // Nothing can be sent on a new connection, so nothing is in doubt; one that stood may have taken the request
        // before its end was noticed.
        // Nothing is done of what has a body; some requests have none.
        Fault::TypeStripped => &["ok", "invalid_config"],
        Fault::Cut if verb.writes() => &["unavailable", "outcome_unknown"],
        // The mark is looked at first, and after that nothing has been sent.
        _ if verb.looks_first() => &["unavailable", "timeout", "outcome_unknown"],
        Fault::Cut => &["unavailable"],
        _ if verb.writes() => &["outcome_unknown"],
        // The answer breaks off, or the connection that is tried next; or a busy server has none in time.
        Fault::Truncated | Fault::HalfRequest => &["unavailable", "timeout"],
        _ => &["timeout", "unavailable"],
    }
}

/// What a table is tried on: an index on the shared node, and one that nobody writes to while it is merged.
struct Table {
    scratch: Scratch,
    quiet: Scratch,
    /// Nothing breaks its connections.
    direct: OpenSearchIndex,
}

impl Table {
    async fn new() -> Self {
        let (scratch, quiet) = (Scratch::new().await, Scratch::new().await);
        fill(&quiet.open(schema()).await.unwrap()).await;
        let direct = scratch.open(schema()).await.unwrap();
        fill(&direct).await;
        Self { scratch, quiet, direct }
    }

    async fn delete(self) {
        self.scratch.request("DELETE", &format!("/{}@marks", self.scratch.name), "").await;
        self.scratch.delete().await;
        self.quiet.delete().await;
    }

    async fn cell(&self, fault: Fault, verb: Verb) -> Result<String, String> {
        let scratch = if verb == Verb::Merge { &self.quiet } else { &self.scratch };
        let proxy = FaultProxy::start(scratch.node.address());
        let (parameters, deadline) = if fault.passes(verb) { PATIENT } else { IMPATIENT };
        let config = config(&proxy.address(), parameters);
        let index = opened(&config, &scratch.name).await;
        let id = fresh_name();
        let given = Given { index: &index, config, name: &scratch.name, id: id.as_str() };
        if verb.deletes() {
            let there = Record::new(given.id).unwrap().with_version(3).with("title", "Fever");
            self.direct.bulk(vec![Operation::Upsert(there)]).await.unwrap().check().unwrap();
        }
        fault.begin(&proxy);
        let (outcome, took) = timed_fairly(run(verb, &given)).await;
        let bound = if verb == Verb::Health { HEALTH } else { 2 * deadline + SLACK };
        let line = format!("{fault:<14?} {verb:<17?} {outcome:<16} {took:?}");
        if !allowed(fault, verb).contains(&&*outcome) || took > bound {
            return Err(line);
        }
        proxy.reset_connections();
        proxy.heal();
        self.is_true(verb, &given, &outcome).await.map_err(|why| format!("{line}: {why}"))?;
        works_again(verb, &given).await.map_err(|why| format!("{line}: {why}"))?;
        Ok(line)
    }

    /// What is told as done is done, and what is told as not done is not.
    async fn is_true(&self, verb: Verb, given: &Given<'_>, outcome: &str) -> Result<(), String> {
        if !(verb.upserts() || verb.deletes()) || outcome == "outcome_unknown" {
            return Ok(());
        }
        let is_there = self.direct.get(&given.id.try_into().unwrap()).await.unwrap().is_some();
        let is_done = is_there == verb.upserts();
        if is_done == (outcome == "ok") { Ok(()) } else { Err(format!("and done: {is_done}")) }
    }
}

/// Once the pause after a failure is over, and the machine has time for it.
async fn works_again(verb: Verb, given: &Given<'_>) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let outcome = run(verb, given).await;
        match &*outcome {
            "ok" => return Ok(()),
            "unavailable" | "timeout" | "outcome_unknown" if start.elapsed() < MENDED => {}
            _ => return Err(format!("afterwards {outcome}")),
        }
    }
}

/// The machine may be too busy for short deadlines before anything is broken.
async fn opened(config: &OpenSearchConfig, name: &Namespace) -> OpenSearchIndex {
    let start = Instant::now();
    loop {
        match OpenSearchIndex::open(config.clone(), name, schema()).await {
            Ok(index) => return index,
            Err(error) => assert!(start.elapsed() < 3 * MENDED, "{error}"),
        }
    }
}

async fn fill(index: &OpenSearchIndex) {
    let now = BulkOptions::default().with_refresh(Refresh::Now);
    let first = Record::new("a").unwrap().with_version(1).with("title", "Cholera").with("chapter", "i");
    let all = vec![Operation::Upsert(first), Operation::Upsert(long("long"))];
    index.bulk_with(all, now).await.unwrap().check().unwrap();
}

/// Prints what became of each cell, below this line. Those that are wrong fail the test.
async fn tell(cells: Vec<JoinHandle<Result<String, String>>>, head: &str) {
    let (mut wrong, mut told) = (Vec::new(), format!("\n{head}\n"));
    for cell in cells {
        match cell.await.unwrap() {
            Ok(line) => told.push_str(&(line + "\n")),
            Err(line) => wrong.push(line),
        }
    }
    crate::report(&told);
    assert!(wrong.is_empty(), "{}\nof\n{told}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_of_the_network_has_an_outcome_and_a_time_on_every_verb() {
    let table = Arc::new(Table::new().await);
    // The waiting is done side by side, and the work of two processors is not.
    let places = Arc::new(Semaphore::new(24));
    let cells = FAULTS.into_iter().flat_map(|fault| VERBS.into_iter().map(move |verb| (fault, verb)));
    let cells: Vec<_> = cells
        .map(|(fault, verb)| {
            let (table, places) = (Arc::clone(&table), Arc::clone(&places));
            tokio::spawn(async move {
                let _place = places.acquire().await.unwrap();
                table.cell(fault, verb).await
            })
        })
        .collect();
    tell(cells, "fault          verb              outcome          took").await;
    Arc::into_inner(table).unwrap().delete().await;
}

/// A process that is stopped takes connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paused_server_is_a_timeout_on_every_verb_and_health_says_so_within_a_second() {
    let node = own_node().await;
    let name = fresh_name();
    let patient = OpenSearchIndex::open(config(node.address(), ""), &name, schema()).await.unwrap();
    fill(&patient).await;
    let (parameters, deadline) = IMPATIENT;
    let config = config(node.address(), parameters);
    let index = Arc::new(impatient(&config, &name).await);
    node.pause();
    let cells: Vec<_> = VERBS
        .into_iter()
        .map(|verb| {
            let (index, config, name) = (Arc::clone(&index), config.clone(), name.clone());
            tokio::spawn(async move {
                let id = fresh_name();
                let given = Given { index: &index, config, name: &name, id: id.as_str() };
                let (outcome, took) = timed_fairly(run(verb, &given)).await;
                (verb, outcome, took)
            })
        })
        .collect();
    for cell in cells {
        let (verb, outcome, took) = cell.await.unwrap();
        let expected = match verb {
            _ if verb.writes() && !verb.looks_first() => "outcome_unknown",
            _ => "timeout",
        };
        assert_eq!(outcome, expected, "{verb:?} took {took:?}");
        let bound = if verb == Verb::Health { HEALTH } else { deadline + SLACK };
        assert!(took < bound, "{verb:?} took {took:?}");
    }
    node.resume();
    assert!(patient.get(&"a".try_into().unwrap()).await.unwrap().is_some());
}

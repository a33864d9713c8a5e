//! Every fault of the network × every verb: which outcomes are allowed, and within what time.

use std::time::{Duration, Instant};

use statehouse_core::{ErrorKind, HealthStatus, Namespace};
use statehouse_search::{
    BulkOptions, BulkReport, OpenSearchConfig, OpenSearchIndex, Operation, Outcome, Query, Record, Refresh,
    SearchIndex as _, SearchIndexExt as _, SearchRequest,
};
use statehouse_testkit::{Direction, FaultProxy};

use super::{Scratch, config, fresh_name, impatient, own_node, schema, versioned};

/// Parameters, and the deadline among them.
const IMPATIENT: (&str, Duration) = ("&connect_timeout=500ms&timeout=1500ms&deadline=4s", Duration::from_secs(4));
/// Where everything arrives in the end.
const PATIENT: (&str, Duration) = ("&connect_timeout=5s&timeout=20s&deadline=30s", Duration::from_secs(30));
/// Beyond the deadline: the machine is busy.
const SLACK: Duration = Duration::from_secs(3);
/// What health takes at most.
const HEALTH: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Open,
    Search,
    Count,
    Get,
    Refresh,
    /// With a version: may be sent again.
    Versioned,
    /// Without one: must not be.
    Unversioned,
    Health,
}

const VERBS: [Verb; 8] =
    [Verb::Open, Verb::Search, Verb::Count, Verb::Get, Verb::Refresh, Verb::Versioned, Verb::Unversioned, Verb::Health];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Cut,
    HoleToServer,
    HoleToClient,
    Late,
    Truncated,
    Slow,
}

const FAULTS: [Fault; 6] =
    [Fault::Cut, Fault::HoleToServer, Fault::HoleToClient, Fault::Late, Fault::Truncated, Fault::Slow];

impl Fault {
    fn begin(self, proxy: &FaultProxy) {
        match self {
            Self::Cut => proxy.cut(),
            Self::HoleToServer => proxy.black_hole_way(Direction::ToServer),
            Self::HoleToClient => proxy.black_hole_way(Direction::ToClient),
            // Later than any try waits.
            Self::Late => proxy.delay(Direction::ToClient, Duration::from_secs(6)),
            Self::Truncated => proxy.truncate(Direction::ToClient, 20),
            // Each byte comes late, and in time.
            Self::Slow => proxy.delay(Direction::ToClient, Duration::from_millis(150)),
        }
    }
}

/// What came of a verb, in a word.
async fn run(verb: Verb, index: &OpenSearchIndex, config: OpenSearchConfig, name: &Namespace) -> String {
    let word = |kind: Result<(), ErrorKind>| kind.map_or_else(|kind| kind.to_string(), |()| "ok".to_owned());
    word(match verb {
        Verb::Open => OpenSearchIndex::open(config, name, schema()).await.map(drop).map_err(|error| error.kind()),
        Verb::Search => {
            let found = index.search(&SearchRequest::new(Query::matches("title", "cholera"))).await;
            found.map(|found| assert_eq!(found.ids(), ["a"], "an outage is no absence")).map_err(|error| error.kind())
        }
        Verb::Count => {
            let count = index.count(&Query::matches("title", "cholera").into()).await;
            count.map(|count| assert_eq!(count, 1, "an outage is no absence")).map_err(|error| error.kind())
        }
        Verb::Get => {
            let found = index.get(&"a".try_into().unwrap()).await;
            found.map(|found| assert!(found.is_some(), "an outage is no absence")).map_err(|error| error.kind())
        }
        Verb::Refresh => index.refresh().await.map_err(|error| error.kind()),
        Verb::Versioned => applied(index.bulk(vec![Operation::Upsert(fresh_document().with_version(7))]).await),
        Verb::Unversioned => applied(index.bulk(vec![Operation::Upsert(fresh_document())]).await),
        Verb::Health => match index.health().await {
            health if health.status == HealthStatus::Up => Ok(()),
            health => Err(health.error.expect("what is not up says why").kind()),
        },
    })
}

/// Of which nothing is known, and which no search of the table finds.
fn fresh_document() -> Record {
    Record::new(fresh_name().as_str()).unwrap().with("title", "Fever")
}

fn applied(report: statehouse_core::Result<BulkReport>) -> Result<(), ErrorKind> {
    let report = report.map_err(|error| error.kind())?;
    report.outcomes.into_iter().try_for_each(|outcome| match outcome {
        Outcome::Failed(error) => Err(error.kind()),
        outcome => {
            assert!(outcome.is_ok(), "nobody else writes: {outcome:?}");
            Ok(())
        }
    })
}

/// The outcomes that a cell allows.
fn allowed(fault: Fault, verb: Verb) -> &'static [&'static str] {
    let writes = matches!(verb, Verb::Versioned | Verb::Unversioned);
    match fault {
        // Nothing can be sent on a new connection, so nothing is in doubt; one that stood may have taken the request
        // before its end was noticed.
        Fault::Cut if writes => &["unavailable", "outcome_unknown"],
        Fault::Cut => &["unavailable"],
        Fault::Slow if verb == Verb::Health => &["ok", "timeout"],
        Fault::Slow => &["ok"],
        _ if writes => &["outcome_unknown"],
        // The answer breaks off, or the connection that is tried next; or a busy server has none in time.
        Fault::Truncated => &["unavailable", "timeout"],
        Fault::HoleToServer | Fault::HoleToClient | Fault::Late => &["timeout", "unavailable"],
    }
}

async fn cell(scratch: &Scratch, fault: Fault, verb: Verb) -> Result<String, String> {
    let proxy = FaultProxy::start(scratch.node.address());
    let address = proxy.address();
    let (parameters, deadline) = if fault == Fault::Slow { PATIENT } else { IMPATIENT };
    let index = OpenSearchIndex::open(config(&address, parameters), &scratch.name, schema()).await;
    // The machine may be too busy for these deadlines before anything is broken.
    let index = match index {
        Ok(index) => index,
        Err(_) => OpenSearchIndex::open(config(&address, "&deadline=60s&timeout=30s"), &scratch.name, schema())
            .await
            .map_err(|error| format!("{fault:?} {verb:?}: {error}"))?,
    };
    fault.begin(&proxy);
    let start = Instant::now();
    let outcome = run(verb, &index, config(&address, parameters), &scratch.name).await;
    let took = start.elapsed();
    let bound = if verb == Verb::Health { HEALTH } else { 2 * deadline } + SLACK;
    let line = format!("{fault:<14?} {verb:<12?} {outcome:<16} {took:?}");
    if !allowed(fault, verb).contains(&&*outcome) || took > bound {
        return Err(line);
    }
    proxy.heal();
    drop(proxy);
    Ok(line)
}

async fn filled() -> Scratch {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let now = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with(vec![versioned("a", 1)], now).await.unwrap().check().unwrap();
    scratch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_of_the_network_has_an_outcome_and_a_time_on_every_verb() {
    let scratch = std::sync::Arc::new(filled().await);
    let mut wrong = Vec::new();
    let mut table = String::from("\nfault          verb         outcome          took\n");
    for fault in FAULTS {
        let cells: Vec<_> = VERBS
            .into_iter()
            .map(|verb| {
                let scratch = std::sync::Arc::clone(&scratch);
                tokio::spawn(async move { cell(&scratch, fault, verb).await })
            })
            .collect();
        for cell in cells {
            match cell.await.unwrap() {
                Ok(line) => table.push_str(&(line + "\n")),
                Err(line) => wrong.push(line),
            }
        }
    }
    crate::report(&table);
    assert!(wrong.is_empty(), "{}\nof\n{table}", wrong.join("\n"));
    scratch.delete().await;
}

/// A process that is stopped takes connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paused_server_is_a_timeout_on_every_verb_and_health_says_so_within_a_second() {
    let node = own_node().await;
    let name = fresh_name();
    let patient = OpenSearchIndex::open(config(node.address(), ""), &name, schema()).await.unwrap();
    let now = BulkOptions::default().with_refresh(Refresh::Now);
    patient.bulk_with(vec![versioned("a", 1)], now).await.unwrap().check().unwrap();
    let (parameters, deadline) = IMPATIENT;
    let config = config(node.address(), parameters);
    let index = impatient(&config, &name).await;
    node.pause();
    let index = std::sync::Arc::new(index);
    let cells: Vec<_> = VERBS
        .into_iter()
        .map(|verb| {
            let (index, config, name) = (std::sync::Arc::clone(&index), config.clone(), name.clone());
            tokio::spawn(async move {
                let start = Instant::now();
                (verb, run(verb, &index, config, &name).await, start.elapsed())
            })
        })
        .collect();
    for cell in cells {
        let (verb, outcome, took) = cell.await.unwrap();
        let expected = if matches!(verb, Verb::Versioned | Verb::Unversioned) { "outcome_unknown" } else { "timeout" };
        assert_eq!(outcome, expected, "{verb:?} took {took:?}");
        let bound = if verb == Verb::Health { HEALTH } else { deadline } + SLACK;
        assert!(took < bound, "{verb:?} took {took:?}");
    }
    node.resume();
    assert!(patient.get(&"a".try_into().unwrap()).await.unwrap().is_some());
}

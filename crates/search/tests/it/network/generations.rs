//! Every step of a reindex under the faults of the network: what is told in what time, and that the next one ends it all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_core::conformance::rounds;
use statehouse_core::{Error, ErrorKind, Result};
use statehouse_search::{
    ActivateOptions, BeginOptions, DocumentId, GenerationOptions, GenerationState, OpenSearchIndex, Operation, Query,
    Reindex, Scan, SearchIndex, SearchIndexExt as _,
};
use statehouse_testkit::{FaultProxy, timed_fairly};
use tokio::sync::Semaphore;

use super::{Fault, IMPATIENT, MENDED, PATIENT, SLACK, allowed_of, tell};
use crate::changed::{document, new_schema, old_schema};
use crate::opensearch::reindex::sweep;
use crate::opensearch::{Scratch, config};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Scan,
    Copy,
    /// A write to both generations.
    Write,
    Activate,
    Drop,
}

const STEPS: [Step; 6] = [Step::Begin, Step::Scan, Step::Copy, Step::Write, Step::Activate, Step::Drop];

/// The first ones are those of a short run.
const FAULTS: [Fault; 9] = [
    Fault::Slow,
    Fault::Cut,
    Fault::HoleToClient,
    Fault::Truncated,
    Fault::Hole,
    Fault::HoleToServer,
    Fault::HalfRequest,
    Fault::Stripped,
    Fault::TypeStripped,
];

/// On a slow way its time is over amid what it asks for.
const HASTY: (&str, Duration) = ("&connect_timeout=500ms&timeout=1s&deadline=1s", Duration::from_secs(1));

const DOCUMENTS: u64 = 30;

fn id(n: u64) -> DocumentId {
    DocumentId::new(format!("{n:02}")).unwrap()
}

fn begin() -> BeginOptions {
    BeginOptions::default().with_renamed("title", "name")
}

async fn put(index: &dyn SearchIndex, n: u64) -> Result<()> {
    let record = document(index.schema(), id(n).as_str(), n).with_version(7);
    index.bulk(vec![Operation::Upsert(record)]).await?.check()
}

/// Which generation is beside the live one.
async fn beside(index: &dyn SearchIndex) -> Option<u32> {
    let generations = index.generations().await.unwrap();
    generations.into_iter().find(|found| found.state != GenerationState::Live).map(|found| found.number)
}

/// An index before a step, and two ways to it.
struct Scene {
    direct: Arc<dyn SearchIndex>,
    behind: Arc<dyn SearchIndex>,
    /// For as long as there is one, the generation is being filled.
    begun: Option<Arc<dyn SearchIndex>>,
    beside: u32,
}

impl Scene {
    async fn new(scratch: &Scratch, proxy: &FaultProxy, step: Step, parameters: &str) -> Self {
        let direct: Arc<dyn SearchIndex> = Arc::new(scratch.open(old_schema()).await.unwrap());
        for n in 0..DOCUMENTS {
            put(&*direct, n).await.unwrap();
        }
        let mut scene = Self { behind: Arc::clone(&direct), direct, begun: None, beside: 0 };
        if step != Step::Begin && step != Step::Scan {
            let begun = scene.direct.begin_with(Arc::new(new_schema()), begin()).await.unwrap();
            scene.beside = beside(&*begun).await.unwrap();
            if matches!(step, Step::Activate | Step::Write) {
                begun.copy_with((0..DOCUMENTS).map(id).collect(), GenerationOptions::default()).await.unwrap();
            }
            scene.begun = Some(begun).filter(|_| step != Step::Drop);
        }
        let config = config(&proxy.address(), parameters);
        let start = Instant::now();
        scene.behind = loop {
            match OpenSearchIndex::open_live(config.clone(), &scratch.name).await {
                Ok(index) => break Arc::new(index),
                Err(error) => assert!(start.elapsed() < MENDED, "{error}"),
            }
        };
        scene
    }

    async fn run(&self, step: Step) -> Result<()> {
        let behind = &self.behind;
        match step {
            Step::Begin => behind.begin_with(Arc::new(new_schema()), begin()).await.map(drop),
            Step::Scan => {
                let found = behind.scan_with(Scan::of(1), GenerationOptions::default()).await?;
                assert_eq!(found.len() as u64, DOCUMENTS, "an outage is no absence");
                Ok(())
            }
            Step::Copy => {
                let copied = behind.copy_with((0..DOCUMENTS).map(id).collect(), GenerationOptions::default()).await?;
                assert_eq!(copied, DOCUMENTS);
                Ok(())
            }
            Step::Write => put(&**behind, DOCUMENTS).await,
            Step::Activate => behind.activate_with(self.beside, ActivateOptions::default()).await,
            Step::Drop => behind.drop_generation_with(self.beside, GenerationOptions::default()).await,
        }
    }

    /// Whether it was done, where that shows.
    async fn is_done(&self, step: Step) -> Option<bool> {
        let generations = self.direct.generations().await.unwrap();
        let live = generations.iter().find(|found| found.state == GenerationState::Live).unwrap();
        match step {
            Step::Scan | Step::Copy => None,
            Step::Begin => Some(generations.len() == 2),
            Step::Write => Some(self.direct.get(&id(DOCUMENTS)).await.unwrap().is_some()),
            Step::Activate => Some(live.number == self.beside),
            Step::Drop => Some(generations.len() == 1),
        }
    }

    /// Once the network is whole again; and nothing is missing.
    async fn end(self, step: Step) {
        let has_more = self.direct.get(&id(DOCUMENTS)).await.unwrap().is_some();
        let start = Instant::now();
        let ended = loop {
            let reindex = Reindex::new(Arc::clone(&self.behind), new_schema()).renamed("title", "name");
            match reindex.run().await {
                Ok(ended) => break ended,
                Err(error) if error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown => {
                    assert!(start.elapsed() < MENDED, "{step:?}: {error}");
                }
                Err(error) => panic!("{step:?}: {error}"),
            }
        };
        ended.index.refresh().await.unwrap();
        let all = Query::matches("name", "cholera").into();
        assert_eq!(ended.index.count(&all).await.unwrap(), DOCUMENTS + u64::from(has_more), "{step:?}");
    }
}

async fn cell(fault: Fault, step: Step) -> std::result::Result<String, String> {
    let scratch = Scratch::new().await;
    let proxy = FaultProxy::start(scratch.node.address());
    let passes = fault == Fault::Stripped;
    let (parameters, deadline) = match fault {
        Fault::Stripped => PATIENT,
        Fault::Slow => HASTY,
        _ => IMPATIENT,
    };
    let scene = Scene::new(&scratch, &proxy, step, parameters).await;
    fault.begin(&proxy);
    let (outcome, took) = timed_fairly(scene.run(step)).await;
    let word = outcome.as_ref().map_or_else(|error: &Error| error.kind().to_string(), |()| "ok".to_owned());
    proxy.reset_connections();
    proxy.heal();
    let line = format!("{:<14} {:<10} {word:<16} {took:.1?}", format!("{fault:?}"), format!("{step:?}"));
    if !allowed_of(fault, passes, step != Step::Scan).contains(&&*word) || took > 2 * deadline + SLACK {
        return Err(line);
    }
    if word != "outcome_unknown" {
        // What was on its way arrives.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let done = scene.is_done(step).await;
        if done.is_some_and(|done| done != (word == "ok")) {
            return Err(format!("{line}: and done: {done:?}"));
        }
    }
    scene.end(step).await;
    sweep(&scratch).await;
    Ok(line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_step_of_a_reindex_the_network_fails_in_the_next_one_ends_it() {
    let places = Arc::new(Semaphore::new(8));
    let faults = &FAULTS[..rounds(4, FAULTS.len())];
    let cells = faults.iter().flat_map(|fault| STEPS.into_iter().map(move |step| (*fault, step)));
    let cells: Vec<_> = cells
        .map(|(fault, step)| {
            let places = Arc::clone(&places);
            tokio::spawn(async move {
                let _place = places.acquire().await.unwrap();
                cell(fault, step).await
            })
        })
        .collect();
    tell(cells, "fault          step       outcome          took").await;
}

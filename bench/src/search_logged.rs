//! Writes that are acknowledged once they stand in the log of an index in a folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use statehouse_search::{BulkOptions, Durability, SearchIndex, TantivyConfig, TantivyIndex};

use crate::harness::{Bar, Case, Harness};
use crate::search::{Diagnosis, operation, schema};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const MANY: usize = 32;
const LOGGED: u32 = 1_024;
const ALONE: u32 = 64;

pub(crate) async fn run(harness: &mut Harness, rows: &[Diagnosis]) -> Outcome {
    let folder = tempfile::tempdir()?;
    let upserts = Arc::new(Upserts::open(&folder.path().join("logged"), rows).await?);
    let case = |name, peer, bar| Case { service: "search", name, peer, bar: Bar::Ratio(bar), ops: 1 };
    let (logged, committed) = (Durability::Logged, Durability::Committed);
    let rows = [
        (case("logged upsert, 32 writers", "logged, one writer", 10.0), (MANY, LOGGED, logged), (1, ALONE, logged)),
        (case("logged upsert, one writer", "committed, one writer", 1.5), (1, ALONE, logged), (1, ALONE, committed)),
        (
            case("logged upsert, 32 writers", "committed, 32 writers", 10.0),
            (MANY, LOGGED, logged),
            (MANY, ALONE, committed),
        ),
    ];
    for (case, ours, theirs) in rows {
        // Blocks are of different lengths: a figure is of one operation.
        let mut pairs = Vec::new();
        for _ in 0..harness.rounds() {
            pairs.push((upserts.micros(ours).await, upserts.micros(theirs).await));
        }
        harness.paired(&case, "us", &pairs[1..]);
    }
    Ok(())
}

/// An index, and what is written to it over and over.
struct Upserts {
    index: TantivyIndex,
    rows: Vec<statehouse_search::Operation>,
    next: AtomicUsize,
}

impl Upserts {
    async fn open(folder: &std::path::Path, rows: &[Diagnosis]) -> Result<Self, Box<dyn std::error::Error>> {
        let index = TantivyConfig::folder(folder).open(schema()?).await?;
        Ok(Self { index, rows: rows.iter().map(operation).collect(), next: AtomicUsize::new(0) })
    }

    /// How many microseconds an upsert takes on average, of so many in so many tasks.
    async fn micros(self: &Arc<Self>, (tasks, upserts, durability): (usize, u32, Durability)) -> f64 {
        let start = std::time::Instant::now();
        let tasks = (0..tasks).map(|_| {
            let (of, each) = (Arc::clone(self), upserts as usize / tasks);
            tokio::spawn(async move {
                for _ in 0..each {
                    let row = of.next.fetch_add(1, Ordering::Relaxed) % of.rows.len();
                    let options = BulkOptions::default().with_durability(durability);
                    let report = of.index.bulk_with(vec![of.rows[row].clone()], options).await;
                    report.and_then(|report| report.check()).expect("written");
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(upserts)
    }
}

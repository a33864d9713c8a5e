//! What is due at planned times is done once, also on a folder that two share.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use statehouse_testkit::Program;
use tokio::time::{Instant, sleep};

use super::row::{Bound, Figure, number};
use super::stage::{Stage, count, log, numbers, ready};
use crate::Failure;
use crate::visitor::Visitor;

const MADE: &str = "the report is made";

/// How often each planned time was done, of those in a span of time.
pub(super) struct Ticks {
    done: BTreeMap<i64, usize>,
    expected: Vec<i64>,
    latest_by: i64,
}

impl Ticks {
    /// Those planned from one moment to another, every so many milliseconds.
    pub(super) fn of<'a>(replicas: impl IntoIterator<Item = &'a Program>, from: i64, to: i64, every: i64) -> Self {
        let expected: Vec<_> = (from / every + 1..=to / every).map(|number| number * every).collect();
        let (mut done, mut latest_by) = (BTreeMap::new(), 0);
        for log in replicas.into_iter().map(log) {
            let late = numbers(&log, MADE, "late_ms");
            for (planned, late) in numbers(&log, MADE, "planned").into_iter().zip(late) {
                if expected.contains(&planned) {
                    *done.entry(planned).or_insert(0) += 1;
                    latest_by = latest_by.max(late);
                }
            }
        }
        Self { done, expected, latest_by }
    }

    fn missed(&self) -> usize {
        self.expected.iter().filter(|planned| !self.done.contains_key(planned)).count()
    }

    fn twice(&self) -> usize {
        self.done.values().filter(|count| **count > 1).count()
    }

    /// `again` says how many may be done again, because whoever did them was killed.
    pub(super) fn figures(&self, stage: &Stage<'_>, again: usize) -> Vec<Figure> {
        let latest = Duration::from_millis(u64::try_from(self.latest_by).unwrap_or_default()).as_secs_f64();
        vec![
            Figure::at_least("planned times", self.expected.len(), 4),
            // Who is late by a whole time makes good the last one only.
            Figure::new("planned times missed", number(self.missed()), stage.at_most(0.0, 1.0)),
            Figure::new("planned times done twice", number(self.twice()), Bound::AtMost(number(again))),
            Figure::new("seconds that the latest was late", latest, Bound::Told),
        ]
    }
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) async fn claimed(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    const EVERY: u64 = 5;
    let time = stage.seconds(40, 600);
    let fleet = stage.fleet(3, &[("CLINIC_REPORT_EVERY", "5")]).await?;
    let replicas = fleet.replicas();
    let (from, until, mut kills) = (now(), Instant::now() + time, 0);
    while Instant::now() < until {
        sleep(Duration::from_secs(7)).await;
        // Not always at the same time of a tick.
        sleep(Duration::from_millis(u64::try_from(kills * 330 % 2_000)?)).await;
        replicas[kills % 3].restart().await;
        kills += 1;
    }
    let to = now();
    // The lease of whoever was killed last.
    sleep(Duration::from_secs(EVERY)).await;
    let ticks = Ticks::of(replicas, from, to, 5_000);
    for replica in replicas {
        ready(replica).await?;
    }
    let mut operator = Visitor::log_in_as(&fleet.addresses(), "ada", 0).await?;
    let status = operator.json("/api/operator").await?;
    let reports: Vec<_> =
        status["reports"].as_array().into_iter().flatten().filter_map(|report| report["planned"].as_i64()).collect();
    let recent: Vec<_> = ticks.expected.iter().rev().take(50).collect();
    let once = recent.iter().filter(|planned| reports.iter().filter(|made| *made == **planned).count() == 1).count();
    let mut figures = ticks.figures(stage, kills);
    let missed = recent.iter().filter(|planned| !ticks.done.contains_key(planned)).count();
    figures.push(Figure::is("of the latest, those that are kept once", once, recent.len() - missed));
    figures.push(Figure::at_least("replicas killed", kills, 4));
    Ok(figures)
}

pub(super) async fn taken_in_turns(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let rounds = if stage.full { 50 } else { 2 };
    let fleet = stage.fleet(2, &[("CLINIC_REPORT_EVERY", "4")]).await?;
    let replicas = fleet.replicas();
    let mut led = 0;
    for turn in 0..2 * rounds {
        let (stopped, left) = (&replicas[turn % 2], &replicas[(turn + 1) % 2]);
        let before = log(left).matches(MADE).count();
        stopped.pause();
        // Three planned times, and two leases.
        sleep(Duration::from_secs(12)).await;
        led += usize::from(log(left).matches(MADE).count() > before);
        stopped.resume();
        sleep(Duration::from_secs(1)).await;
    }
    for replica in replicas {
        ready(replica).await?;
    }
    let errors = replicas.iter().map(|replica| log(replica).matches("ERROR").count()).sum();
    Ok(vec![
        Figure::is("turns in which whoever was left made the reports", led, 2 * rounds),
        Figure::is("errors", errors, 0),
    ])
}

pub(super) async fn folder(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let shared = tempfile::tempdir()?;
    let (one, other) =
        tokio::try_join!(on_folder(stage.clinic, shared.path(), "a"), on_folder(stage.clinic, shared.path(), "b"))?;
    let both = [one, other];
    for replica in &both {
        ready(replica).await?;
    }
    let (from, time) = (now(), stage.seconds(20, 120));
    let addresses = both.iter().map(|replica| replica.address().parse()).collect::<Result<Vec<_>, _>>()?;
    let mut revisions = Vec::new();
    for (address, codes) in [(addresses[0], "I10"), (addresses[1], "E11.9"), (addresses[0], "J45.909")] {
        let mut person = Visitor::log_in(&[address], 0).await?;
        let set = person.extend("ward", codes).await?;
        revisions.push(set);
    }
    sleep(time).await;
    let to = now();
    sleep(Duration::from_secs(4)).await;
    let ticks = Ticks::of(&both, from, to, 4_000);
    let mut figures = ticks.figures(stage, 0);
    figures.extend([
        Figure::is("times that each loaded its own index", count(&both, "46498 of 46498 concepts"), 2),
        Figure::is("times that one took over from the other", count(&both, "going on with the terminology"), 0),
        stage.complained("warnings and errors", &both),
        Figure::is("revisions of a set that both extend, in order", usize::from(revisions == [1, 2, 3]), 1),
    ]);
    Ok(figures)
}

/// One of two replicas that share a folder for files and a database, and nothing else.
async fn on_folder(clinic: &Path, shared: &Path, name: &str) -> Result<Program, Failure> {
    let database = format!("sqlite://{}?mode=rwc", shared.join("clinic.db").display());
    let program = Program::builder("clinic", clinic).arg("--listen").arg("{address}");
    let program = program.arg("--data").arg(shared.join(name)).env("CLINIC_REPLICA", name).env("RUST_LOG", "info");
    let program = program.env("CLINIC_DATABASE", database).env("CLINIC_REPORT_EVERY", "4");
    let program = program.env("STATEHOUSE_FILES_URL", format!("file:{}", shared.join("files").display()));
    Ok(program.ready_at("/live").try_start().await?)
}

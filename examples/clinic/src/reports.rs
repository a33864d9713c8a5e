//! The nightly report: made once for all replicas, by whichever is there.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statehouse::coord::{Delivery, Revised, SharedState, Tick};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::time::now;

/// How many reports are kept.
const MOST: usize = 60;
const KEY: &str = "nightly";

/// What was counted at one planned time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Report {
    /// Milliseconds since the Unix epoch, as the other times.
    pub(crate) planned: u64,
    pub(crate) made_at: i64,
    /// The replica that made it.
    pub(crate) by: String,
    /// How many diagnoses were active.
    pub(crate) active: i64,
}

/// The latest reports, the newest last.
#[derive(Clone, Debug)]
pub(crate) struct Reports(SharedState<VecDeque<Report>>);

/// This replica takes part in making reports.
pub(crate) struct Reporting(JoinHandle<()>);

impl Reports {
    pub(crate) const fn new(state: SharedState<VecDeque<Report>>) -> Self {
        Self(state)
    }

    pub(crate) async fn latest(&self) -> statehouse::Result<VecDeque<Report>> {
        Ok(self.0.get(KEY).await?.map(|reports| reports.value).unwrap_or_default())
    }

    async fn add(&self, report: &Report) -> statehouse::Result<Revised<VecDeque<Report>>> {
        self.0.update(KEY, |reports| with(reports.unwrap_or_default(), report)).await
    }
}

/// One that is made again, because whoever made it was killed before it was recorded, is there once.
fn with(mut reports: VecDeque<Report>, report: &Report) -> VecDeque<Report> {
    if !reports.iter().any(|made| made.planned == report.planned) {
        reports.push_back(report.clone());
    }
    while reports.len() > MOST {
        reports.pop_front();
    }
    reports
}

impl Reporting {
    pub(crate) fn start(app: Arc<App>, every: Duration) -> Self {
        Self(tokio::spawn(run(app, every)))
    }

    /// Ends it where it is. If this replica was making a report, another one makes it.
    pub(crate) async fn stop(self) {
        self.0.abort();
        let _cut_off = self.0.await;
    }
}

async fn run(app: Arc<App>, every: Duration) {
    let schedule = app.coord.schedule("nightly-report", every, Delivery::AtLeastOnce);
    // Whoever is killed while they make one is replaced before the next is due.
    let schedule = schedule.lease(Duration::from_secs(15).min(every / 2));
    let error = schedule.run(|tick| make(&app, tick)).await;
    tracing::warn!(%error, "this replica makes no reports");
}

async fn make(app: &App, tick: Tick) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let active = app.database.active_by_chapter().await?.into_iter().map(|(_, count)| count).sum();
    let (planned, by) = (tick.planned.as_micros() / 1_000, app.replica.clone());
    let report = Report { planned, made_at: now(), by, active };
    let reports = app.reports.add(&report).await?;
    let late_ms = tick.late.as_millis();
    tracing::info!(planned, late_ms, revision = reports.revision, "the report is made");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_there_once_and_the_oldest_go() {
        let report = |planned| Report { planned, made_at: 0, by: "a".to_owned(), active: 1 };
        let mut reports = VecDeque::new();
        for planned in 0..100 {
            for _ in 0..2 {
                reports = with(reports, &report(planned));
            }
        }
        let planned: Vec<_> = reports.iter().map(|report| report.planned).collect();
        assert_eq!(planned, (40..100).collect::<Vec<_>>());
    }
}

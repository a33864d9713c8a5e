//! The terminology is loaded once, however many begin, and by another replica where one has died.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use statehouse_testkit::Program;

use super::row::{Bound, Figure, number};
use super::stage::{PATIENCE, Stage, count, is_ready, log, numbers, progress, ready, until};
use crate::Failure;
use crate::visitor::Visitor;

/// The clinic's lease, and what a successor may take beyond it.
const TAKEOVER: f64 = 10.0 + 2.0;
const GOES_ON: &str = "going on with the terminology";
pub(super) const ALL: usize = 46_498;

pub(super) async fn cold_start(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let started = Instant::now();
    let fleet = stage.empty_fleet(5).await?;
    let replicas = fleet.replicas();
    let told = join_all(replicas.iter().map(tells_how_far)).await.into_iter().filter(|told| *told).count();
    for replica in replicas {
        ready(replica).await?;
    }
    let took = started.elapsed();
    let begun = count(replicas, "a run that is done once has begun");
    Ok(vec![
        Figure::is("times that loading began", begun, 1),
        Figure::is("times that all was loaded", count(replicas, &format!("{ALL} of {ALL} concepts")), 1),
        stage.complained("warnings and errors", replicas),
        Figure::is("replicas that told how far it is", told, 5),
        Figure::new("seconds until all five were ready", took.as_secs_f64(), Bound::Told),
    ])
}

/// Whether it says so before it is ready.
async fn tells_how_far(replica: &Program) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(replica).await && Instant::now() < deadline {
        if progress(replica).await.is_some_and(|done| done > 0) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

pub(super) async fn takeover(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let fleet = stage.empty_fleet(4).await?;
    let replicas = fleet.replicas();
    let first = loader(replicas, &[]).await?;
    reaches(&replicas[first], ALL / 4).await?;
    let asked = Instant::now();
    let stopping = replicas[first].terminate(Duration::from_secs(30));
    let taking_over = async {
        let second = successor(replicas, &[first]).await?;
        Ok::<_, Failure>((second, asked.elapsed()))
    };
    let (stopped, taken) = tokio::join!(stopping, taking_over);
    let (ended, (second, handover)) = (stopped?.success(), taken?);
    reaches(&replicas[second], ALL / 2).await?;
    let before = progress(&replicas[second]).await.unwrap_or(ALL);
    replicas[second].kill();
    let killed = Instant::now();
    let third = successor(replicas, &[first, second]).await?;
    let takeover = killed.elapsed();
    let (attempt, resumed) = (last(&replicas[third], "attempt"), last(&replicas[third], "loaded"));
    let left = (0..replicas.len()).filter(|index| ![first, second].contains(index));
    let left: Vec<_> = left.map(|index| &replicas[index]).collect();
    for replica in &left {
        ready(replica).await?;
    }
    let mut operator = Visitor::log_in_as(&fleet.addresses()[third..=third], "ada", 0).await?;
    let status = operator.json("/api/operator").await?;
    let is_done = status["terminology"]["phase"] == "Done" && status["terminology"]["attempt"] == attempt;
    Ok(vec![
        Figure::new("seconds from SIGTERM to the successor", handover.as_secs_f64(), stage.at_most(1.0, 5.0)),
        Figure::is("good ends after SIGTERM", usize::from(ended), 1),
        Figure::new("seconds from kill -9 to the successor", takeover.as_secs_f64(), stage.at_most(TAKEOVER, 30.0)),
        Figure::is("attempts", usize::try_from(attempt)?, 3),
        Figure::new("concepts that were loaded when it was killed", number(before), Bound::Told),
        Figure::at_least("concepts that were not loaded again", usize::try_from(resumed)?, 20_000),
        Figure::is("times that all was loaded", count(replicas, &format!("{ALL} of {ALL} concepts")), 1),
        Figure::is("records that it is done, by the last attempt", usize::from(is_done), 1),
        stage.complained("warnings and errors of the survivors", left),
    ])
}

/// Which of them loads, besides these.
pub(super) async fn loader(replicas: &[Program], except: &[usize]) -> Result<usize, Failure> {
    let loads = |index: &usize| !except.contains(index) && log(&replicas[*index]).contains("has begun");
    until("one of them loads", || (0..replicas.len()).find(loads)).await
}

async fn successor(replicas: &[Program], except: &[usize]) -> Result<usize, Failure> {
    let goes_on = |index: &usize| !except.contains(index) && log(&replicas[*index]).contains(GOES_ON);
    until("another one goes on", || (0..replicas.len()).find(goes_on)).await
}

pub(super) async fn reaches(replica: &Program, concepts: usize) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while progress(replica).await.is_none_or(|done| done < concepts) {
        if log(replica).contains("the terminology is ready") || Instant::now() > deadline {
            return Err("it was not seen in the middle".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn last(replica: &Program, name: &str) -> i64 {
    numbers(&log(replica), GOES_ON, name).pop().unwrap_or_default()
}

pub(super) async fn paused(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let fleet = stage.empty_fleet(3).await?;
    let replicas = fleet.replicas();
    let first = loader(replicas, &[]).await?;
    reaches(&replicas[first], ALL / 4).await?;
    replicas[first].pause();
    let paused = Instant::now();
    let second = successor(replicas, &[first]).await?;
    let takeover = paused.elapsed();
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(paused.elapsed())).await;
    replicas[first].resume();
    for replica in replicas {
        ready(replica).await?;
    }
    let lost = log(&replicas[first]).matches("a lock was lost before it was released").count();
    let mut operator = Visitor::log_in_as(&fleet.addresses(), "ada", 0).await?;
    let status = operator.json("/api/operator").await?;
    let attempts = usize::try_from(status["terminology"]["attempt"].as_i64().unwrap_or(0))?;
    // Whoever lost a request to a search that was starved has tried once more, or left it to the third.
    let by = |index: usize| status["terminology"]["by"] == crate::NAMES[index];
    let by_successor = if stage.full || attempts == 2 { by(second) } else { !by(first) };
    let attempts = match stage.full {
        true => Figure::is("attempts", attempts, 2),
        false => Figure::at_least("attempts", attempts, 2),
    };
    let found = operator.json("/api/concepts?q=Z99.89").await?["total"] == 1;
    Ok(vec![
        Figure::new("seconds from STOP to the successor", takeover.as_secs_f64(), stage.at_most(TAKEOVER, 30.0)),
        Figure::at_least("times that the stopped holder heard that its lock was lost", lost, 1),
        Figure::is("times that all was loaded", count(replicas, &format!("{ALL} of {ALL} concepts")), 1),
        Figure::is("records that the successor has done it", usize::from(by_successor), 1),
        attempts,
        Figure::is("searches that find the last concept", usize::from(found), 1),
    ])
}

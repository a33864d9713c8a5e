//! A network that is split.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use statehouse_testkit::{FaultProxy, Program};
use tokio::time::sleep;

use super::row::{Figure, number};
use super::stage::{Stage, at_work_in, balanced, is_ready, until};
use crate::soak::people::{PEOPLE, World};
use crate::visitor::Visitor;
use crate::{Balancer, Failure, Fleet};

/// The ways of one replica to the Redis.
struct Ways {
    sessions: FaultProxy,
    coordination: FaultProxy,
}

/// From when on requests must not fail.
const SETTLED: Duration = Duration::from_secs(5);

pub(super) async fn cut_off(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let redis = stage.servers.redis.url();
    let ways: Vec<_> = (0..3).map(|_| Ways { sessions: stage.to_redis(), coordination: stage.to_redis() }).collect();
    let own = ways.iter().map(|ways| {
        let [sessions, coordination] = [&ways.sessions, &ways.coordination].map(|way| way.url(&redis).into());
        vec![("STATEHOUSE_SESSIONS_URL", sessions), ("STATEHOUSE_COORDINATION_URL", coordination)]
    });
    let fleet = stage.fleet_of(own.collect(), &[]).await?;
    let balancer = balanced(&fleet).await?;
    let mut figures = one(stage, &fleet, &balancer, &ways).await?;
    figures.extend(all(stage, &fleet, &balancer, &ways).await?);
    figures.extend(alone(&fleet, &ways[0], stage.seconds(12, 30)).await?);
    Ok(figures)
}

async fn one(stage: &Stage<'_>, fleet: &Fleet, balancer: &Balancer, ways: &[Ways]) -> Result<Vec<Figure>, Failure> {
    let time = stage.seconds(40, 90);
    let world = Arc::new(World::new(&[balancer.address()]));
    let sent = || (world.requests.load(Ordering::Relaxed), world.failed.load(Ordering::Relaxed));
    let (mut before, mut after, mut out, mut live) = ((0, 0), (0, 0), 0, 0);
    let cutting = async {
        sleep(Duration::from_secs(2)).await;
        ways[1].sessions.cut();
        sleep(SETTLED).await;
        before = sent();
        sleep(time.saturating_sub(SETTLED + Duration::from_secs(3))).await;
        after = sent();
        out = balancer.states().iter().filter(|state| !state.ready).count();
        live = usize::from(status(&fleet.replicas()[1], "/live").await? == 200);
        Ok(())
    };
    let work = at_work_in(PEOPLE, &world, time, cutting).await?;
    ways[1].sessions.heal();
    until("it takes part again", || balancer.states().iter().all(|state| state.ready).then_some(())).await?;
    let (requests, failed) = (after.0 - before.0, after.1 - before.1);
    let percent = 100.0 * number(failed) / number(requests.max(1));
    Ok(vec![
        Figure::at_least("requests from the fifth second on", requests, 200),
        Figure::new("percent of them that failed", percent, stage.at_most(1.0, 5.0)).because(&work.failures),
        Figure::is("replicas that are out", out, 1),
        Figure::is("of them live", live, 1),
        Figure::is("acknowledged writes lost, and people logged out", work.broken.len(), 0).because(&work.broken),
    ])
}

async fn all(stage: &Stage<'_>, fleet: &Fleet, balancer: &Balancer, ways: &[Ways]) -> Result<Vec<Figure>, Failure> {
    let time = stage.seconds(12, 30);
    let mut person = Visitor::log_in(&[balancer.address()], 0).await?;
    ways.iter().for_each(|ways| ways.sessions.cut());
    let (cut, mut left, mut dead, mut clear, mut unclear) = (Instant::now(), 0, 0, 0, Vec::new());
    while cut.elapsed() < time {
        for replica in fleet.replicas() {
            left += usize::from(!is_ready(replica).await);
            dead += usize::from(status(replica, "/live").await? != 200);
        }
        let answer = person.get("/api/me").await?;
        match (answer.status, answer.headers.contains_key("retry-after")) {
            (StatusCode::SERVICE_UNAVAILABLE, true) => clear += 1,
            (other, _) => unclear.push(other.to_string()),
        }
        sleep(Duration::from_millis(500)).await;
    }
    ways.iter().for_each(|ways| ways.sessions.heal());
    let begun = Instant::now();
    while !person.get("/api/me").await?.status.is_success() && begun.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(vec![
        Figure::is("answers that a replica is not ready, of all cut off", left, 0),
        Figure::is("answers that one is not live", dead, 0),
        Figure::at_least("requests answered 503, with when to come again", clear, 5),
        Figure::is("requests answered otherwise", unclear.len(), 0).because(&unclear),
        Figure::new("seconds until it answered again", begun.elapsed().as_secs_f64(), stage.at_most(10.0, 30.0)),
    ])
}

/// One that knows nothing of the others.
async fn alone(fleet: &Fleet, ways: &Ways, time: Duration) -> Result<Vec<Figure>, Failure> {
    let replica = &fleet.replicas()[0];
    ways.coordination.cut();
    ways.sessions.cut();
    let (cut, mut left) = (Instant::now(), 0);
    while cut.elapsed() < time {
        left += usize::from(!is_ready(replica).await);
        sleep(Duration::from_millis(250)).await;
    }
    ways.coordination.heal();
    ways.sessions.heal();
    Ok(vec![Figure::is("answers that a replica is not ready that does not know of the others", left, 0)])
}

async fn status(replica: &Program, path: &str) -> Result<u16, Failure> {
    Ok(replica.request("GET", path, &[], b"").await?.status)
}

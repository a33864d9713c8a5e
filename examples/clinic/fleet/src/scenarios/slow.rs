//! A Redis that does not keep up.

use std::time::{Duration, Instant};

use serde_json::Value;
use statehouse_testkit::{Direction, Program};
use tokio::time::sleep;

use super::row::{Bound, Figure};
use super::stage::Stage;
use crate::visitor::Visitor;
use crate::{Failure, Fleet};

/// From when on nobody waits for the cache any more.
const KNOWN: Duration = Duration::from_secs(5);

/// Of a hundred reads or fewer, on a machine that is busy with other tests, one in a hundred tells nothing; and who waits for
/// the cache waits for two seconds each time.
const MEDIANS: [&str; 2] = ["slow: median in seconds", "silent: median in seconds"];

/// What was read in one state of the cache.
#[derive(Default)]
struct Reads {
    /// Of those from the fifth second on, in seconds.
    times: Vec<f64>,
    slowest: f64,
    failed: Vec<String>,
    dead: usize,
}

pub(super) async fn slow(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let proxy = stage.to_redis();
    let cache = proxy.url(&stage.servers.redis.url());
    let fleet = stage.fleet(3, &[("STATEHOUSE_CACHE_URL", &cache)]).await?;
    let mut person = Visitor::log_in(&fleet.addresses(), 0).await?;
    let time = stage.seconds(15, 60);
    proxy.delay(Direction::ToClient, Duration::from_secs(2));
    let slow = reads(&mut person, &fleet, time).await?;
    proxy.black_hole();
    let silent = reads(&mut person, &fleet, time).await?;
    proxy.heal();
    let (healed, mut back) = (Instant::now(), 0);
    while back < 3 && healed.elapsed() < Duration::from_secs(60) {
        // Who asks finds out that it is back.
        let _page = person.get("/").await?;
        back = 0;
        for replica in fleet.replicas() {
            back += usize::from(is_up(replica).await?);
        }
        sleep(Duration::from_millis(50)).await;
    }
    let mut figures = vec![
        Figure::new(
            "seconds from its end until all used the cache again",
            healed.elapsed().as_secs_f64(),
            stage.at_most(10.0, 30.0),
        ),
        Figure::is("replicas that do", back, 3),
    ];
    let usual = if stage.full { ["slow: p99 in seconds", "silent: p99 in seconds"] } else { MEDIANS };
    figures.extend(slow.figures(stage, ["slow: requests that failed", usual[0], "slow: the slowest in seconds"]));
    figures.extend(silent.figures(stage, ["silent: requests that failed", usual[1], "silent: the slowest in seconds"]));
    figures.push(Figure::is("answers that a replica is not live", slow.dead + silent.dead, 0));
    Ok(figures)
}

async fn reads(person: &mut Visitor, fleet: &Fleet, time: Duration) -> Result<Reads, Failure> {
    let (begun, mut reads) = (Instant::now(), Reads::default());
    while begun.elapsed() < time {
        let asked = Instant::now();
        let answer = person.get("/").await?;
        let took = asked.elapsed().as_secs_f64();
        if !answer.status.is_success() {
            reads.failed.push(answer.status.to_string());
        }
        reads.slowest = reads.slowest.max(took);
        if begun.elapsed() > KNOWN {
            reads.times.push(took);
        }
        let live = fleet.replicas()[reads.times.len() % 3].request("GET", "/live", &[], b"").await?;
        reads.dead += usize::from(live.status != 200);
    }
    Ok(reads)
}

impl Reads {
    fn figures(&self, stage: &Stage<'_>, [failed, usual, slowest]: [&'static str; 3]) -> [Figure; 3] {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let percent = if stage.full { 99 } else { 50 };
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        let known = times.get(at).copied().unwrap_or(f64::INFINITY);
        [
            Figure::is(failed, self.failed.len(), 0).because(&self.failed),
            Figure::new(usual, known, Bound::AtMost(1.0)),
            Figure::new(slowest, self.slowest, if stage.full { Bound::AtMost(5.0) } else { Bound::Told }),
        ]
    }
}

/// Whether the cache of a replica is.
async fn is_up(replica: &Program) -> Result<bool, Failure> {
    let answer = replica.request("GET", "/ready", &[], b"").await?.text();
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(answer["dependencies"]["cache"]["status"] == "up")
}

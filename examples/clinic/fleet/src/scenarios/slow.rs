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
            Bound::AtMost(10.0),
        ),
        Figure::is("replicas that do", back, 3),
    ];
    figures.extend(slow.figures([
        "slow: requests that failed",
        "slow: p99 in seconds",
        "slow: the slowest in seconds",
    ]));
    figures.extend(silent.figures([
        "silent: requests that failed",
        "silent: p99 in seconds",
        "silent: the slowest in seconds",
    ]));
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
    fn figures(&self, [failed, p99, slowest]: [&'static str; 3]) -> [Figure; 3] {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let at = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
        let known = times.get(at).copied().unwrap_or(f64::INFINITY);
        [
            Figure::is(failed, self.failed.len(), 0).because(&self.failed),
            Figure::new(p99, known, Bound::AtMost(1.0)),
            Figure::new(slowest, self.slowest, Bound::AtMost(5.0)),
        ]
    }
}

/// Whether the cache of a replica is.
async fn is_up(replica: &Program) -> Result<bool, Failure> {
    let answer = replica.request("GET", "/ready", &[], b"").await?.text();
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(answer["dependencies"]["cache"]["status"] == "up")
}

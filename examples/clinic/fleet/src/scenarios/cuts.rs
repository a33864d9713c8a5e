//! What a replica remembers of what others change, when it is cut off.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::row::Figure;
use super::stage::{PATIENCE, Stage};
use super::tables::{codes, since};
use crate::Failure;
use crate::visitor::Visitor;

/// Somebody who reads from the replica that is cut off, and somebody who writes to the others.
struct Both {
    set: String,
    codes: Vec<String>,
    reader: Visitor,
    writer: Visitor,
    /// The last revision that was written.
    written: u64,
}

/// What was read.
#[derive(Default)]
struct Read {
    stale: usize,
    unavailable: usize,
    first: Option<Instant>,
}

impl Both {
    async fn log_in(replicas: &[SocketAddr]) -> Result<Self, Failure> {
        let (set, codes) = (format!("cut-{}", std::process::id()), codes(replicas, 40).await?);
        let reader = Visitor::log_in(&replicas[..1], 0).await?;
        let mut writer = Visitor::log_in(&replicas[1..], 1).await?;
        let written = writer.extend(&set, &codes[0]).await?;
        Ok(Self { set, codes, reader, writer, written })
    }

    async fn write(&mut self, number: usize) -> Result<(), Failure> {
        let code = &self.codes[number % self.codes.len()];
        self.written = self.writer.extend(&self.set, code).await?;
        Ok(())
    }

    async fn read(&mut self, read: &mut Read) {
        match since(&mut self.reader, &self.set, 0).await {
            Ok((revision, _)) => {
                read.first.get_or_insert_with(Instant::now);
                read.stale += usize::from(revision < self.written);
            }
            Err(_) => read.unavailable += 1,
        }
    }
}

pub(super) async fn cut_off(stage: &Stage<'_>) -> Result<Vec<Figure>, Failure> {
    let (redis, proxy) = (stage.servers.redis.url(), stage.to_redis());
    let through = vec![("STATEHOUSE_SESSIONS_URL", proxy.url(&redis).into())];
    let fleet = stage.fleet_of(vec![through, Vec::new(), Vec::new()], &[]).await?;
    let addresses = fleet.addresses();
    let mut both = Both::log_in(&addresses).await?;
    let mut resyncs_before = resyncs(&addresses).await?;
    let deadline = Instant::now() + PATIENCE;
    while resyncs_before.contains(&0) {
        if Instant::now() > deadline {
            return Err(format!("a replica has never read what it remembers: {resyncs_before:?}").into());
        }
        sleep(Duration::from_millis(50)).await;
        resyncs_before = resyncs(&addresses).await?;
    }
    let [mut before, mut during, mut after] = [(); 3].map(|()| Read::default());
    both.read(&mut before).await;
    let first = both.written;

    proxy.cut();
    let (time, cut) = (stage.seconds(10, 30), Instant::now());
    let mut number = 1;
    while cut.elapsed() < time || (both.written - first < 10 && cut.elapsed() < 6 * time) {
        both.write(number).await?;
        both.read(&mut during).await;
        number += 1;
        sleep(Duration::from_millis(200)).await;
    }
    proxy.heal();
    let back = read_again(&mut both, &mut after).await;
    let resyncs_after = resyncs(&addresses).await?;
    let gained = |replica: usize| resyncs_after[replica].saturating_sub(resyncs_before[replica]);
    Ok(vec![
        Figure::is("stale answers before", before.stale + before.unavailable, 0),
        Figure::at_least("revisions written while it was cut off", usize::try_from(both.written - first)?, 10),
        Figure::is("stale answers meanwhile", during.stale, 0),
        Figure::at_least("answers that it is out of reach", during.unavailable, 1),
        Figure::new("seconds until it answered again", back, stage.at_most(10.0, 30.0)),
        Figure::is("stale answers after", after.stale, 0),
        Figure::is("resyncs of the replica that was cut off", usize::try_from(gained(0))?, 1),
        Figure::is("resyncs of the others", usize::try_from(gained(1) + gained(2))?, 0),
    ])
}

/// Until it has answered for three seconds; after how many seconds it began to.
async fn read_again(both: &mut Both, read: &mut Read) -> f64 {
    let healed = Instant::now();
    let has_answered = |read: &Read| read.first.is_some_and(|first| first.elapsed() > Duration::from_secs(3));
    while healed.elapsed() < Duration::from_secs(60) && !has_answered(read) {
        both.read(read).await;
        sleep(Duration::from_millis(50)).await;
    }
    read.first.map_or(f64::INFINITY, |first| first.duration_since(healed).as_secs_f64())
}

/// Of each replica.
async fn resyncs(addresses: &[SocketAddr]) -> Result<Vec<u64>, Failure> {
    let mut operator = Visitor::log_in_as(&addresses[1..], "ada", 2).await?;
    let mut all = Vec::new();
    for address in addresses {
        let status = operator.json_at(*address, "/api/operator").await?;
        all.push(status["resyncs"].as_u64().ok_or("nothing is told of resyncs")?);
    }
    Ok(all)
}

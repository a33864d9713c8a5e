//! Coordination of many: writers of one value, and members.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rustix::time::{ClockId, clock_gettime};
use statehouse_coord::{Coordination, MemberInfo};
use statehouse_testkit::{RedisServer, Reply};

use crate::cache::Outcome;
use crate::coord::{durable, micros, percentile, replica};
use crate::harness::{Bar, Case, Harness};

const WRITERS: usize = 20;
const UPDATES: usize = 1_000;
const MEMBERS: usize = 100;
const HEARTBEAT: Duration = Duration::from_secs(2);

pub(crate) async fn run(harness: &mut Harness, server: &RedisServer) -> Outcome {
    writers(harness, server).await?;
    members(harness).await
}

/// What one writer's updates took: the most tries of one, and the time of each in microseconds.
type Written = (usize, Vec<f64>);

/// Each as a replica of its own, all at the same value, as fast as they can.
async fn writers(harness: &mut Harness, server: &RedisServer) -> Outcome {
    let updates = if harness.is_quick() { UPDATES / 10 } else { UPDATES };
    let url = server.url();
    let open = (0..WRITERS).map(|_| replica(&url, "bench.crowd"));
    let mut writing = Vec::new();
    for coord in try_join_all(open).await? {
        writing.push(tokio::spawn(write(coord, updates)));
    }
    let (mut tries, mut times) = (0, Vec::new());
    for writer in writing {
        let (most, took) = writer.await??;
        tries = most.max(tries);
        times.extend(took);
    }
    let table = replica(&server.url(), "bench.crowd").await?.state::<u64>("table");
    let all = u64::try_from(WRITERS * updates)?;
    let last = table.get("t1").await?.ok_or("nothing was written")?;
    assert_eq!((last.revision, last.value), (all, all), "an update was lost");
    let name = "most tries of one update, 20 writers";
    harness.limited("coord", name, "tries", tries as f64, 100.0);
    let (median, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let case =
        Case { service: "coord", name: "p99 of an update, 20 writers", peer: "its p50", bar: Bar::Times(10.0), ops: 1 };
    harness.counted(&case, "us", most, median);
    Ok(())
}

async fn write(coord: Coordination, updates: usize) -> Result<Written, statehouse_core::Error> {
    let table = coord.state::<u64>("table");
    let (mut most, mut times) = (0, Vec::new());
    for _ in 0..updates {
        let (called, mut tries) = (Instant::now(), 0);
        let count = |before: Option<u64>| {
            tries += 1;
            before.unwrap_or(0) + 1
        };
        let _now = table.update("t1", count).await?;
        times.push(micros(called.elapsed()));
        most = tries.max(most);
    }
    Ok((most, times))
}

/// Each says every two seconds that it is there, and looks at all others, in this process together.
async fn members(harness: &mut Harness) -> Outcome {
    // Each renews its record once in forty seconds, and looks once a minute in any case.
    let time = Duration::from_secs(60);
    let server = durable().await;
    let url = server.url();
    let fleet = try_join_all((0..MEMBERS).map(|_| replica(&url, "bench.members"))).await?;
    tokio::time::sleep(HEARTBEAT).await;
    let idle = spent(&server, time / 10).await?;
    let (mut joined, mut watching) = (Vec::new(), Vec::new());
    for coord in &fleet {
        let membership = coord.membership().heartbeat(HEARTBEAT);
        joined.push(membership.join(MemberInfo::new("bench 1").with_fingerprint("feed", "2026-04")).await?);
        let mut watch = membership.watch();
        watching.push(tokio::spawn(async move { while watch.next().await.is_ok() {} }));
        // As replicas come: not all in one moment.
        tokio::time::sleep(HEARTBEAT / 100).await;
    }
    tokio::time::sleep(HEARTBEAT * 2).await;
    let busy = spent(&server, time).await?;
    let seen = fleet[0].membership().heartbeat(HEARTBEAT).members().await?;
    assert_eq!(seen.len(), MEMBERS, "all are there");
    watching.iter().for_each(tokio::task::JoinHandle::abort);
    let [own, redis] = [0, 1].map(|side: usize| (busy[side] - idle[side]).max(0.0) * 100.0);
    harness.limited("coord", "100 members, each replica", "% of a core", own / MEMBERS as f64, 1.0);
    harness.limited("coord", "100 members, Redis", "% of a core", redis, 1.0);
    Ok(())
}

/// The processor time of this process and of the server's in so long, as parts of a core.
async fn spent(server: &RedisServer, time: Duration) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    let (begun, own, redis) = (Instant::now(), process(), of_server(server).await?);
    tokio::time::sleep(time).await;
    let seconds = begun.elapsed().as_secs_f64();
    Ok([(process() - own) / seconds, (of_server(server).await? - redis) / seconds])
}

fn process() -> f64 {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default().as_secs_f64()
}

/// Seconds since it was started, with those of its threads.
async fn of_server(server: &RedisServer) -> Result<f64, Box<dyn std::error::Error>> {
    let Reply::Text(text) = server.command(&["INFO", "cpu"]).await? else { return Err("INFO has no text".into()) };
    let of = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("INFO has no processor time")?;
        Ok::<_, Box<dyn std::error::Error>>(found.trim().parse::<f64>()?)
    };
    Ok(of("used_cpu_sys:")? + of("used_cpu_user:")?)
}

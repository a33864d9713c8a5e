//! What the clinic does in a second, and what it costs: on one machine, and as three replicas.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use statehouse_testkit::{Program, ProgramBuilder};

use crate::visitor::{Deed, Visitor};
use crate::{Failure, Fleet, Servers, ready};

/// How many people click at the same time, each as soon as the last answer is there.
const VISITORS: usize = 32;

/// Starts the clinic at `clinic` on one machine and then as three replicas on real servers, and lets people click for
/// `time` on each of its pages. The visitors go round the replicas by themselves: no load balancer is measured.
///
/// # Errors
/// If something does not start, or a request is not answered well.
pub async fn measure(clinic: &Path, time: Duration, say: impl Fn(&str)) -> Result<(), Failure> {
    // It is started in a folder of its own.
    let clinic = &std::path::absolute(clinic)?;
    say(&format!(
        "{VISITORS} visitors, {} s for each line; the visitors and all servers share this machine",
        time.as_secs()
    ));
    alone(clinic, time, &|line: String| say(&format!("embedded     {line}"))).await?;
    replicas(clinic, time, &|line: String| say(&format!("3 replicas   {line}"))).await
}

async fn alone(clinic: &Path, time: Duration, say: &impl Fn(String)) -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let program = Program::builder("clinic", clinic).arg("--listen").arg("{address}").arg("--data").arg(data.path());
    let program = first_start(program, say).await?;
    program.terminate(Duration::from_secs(10)).await?;
    let started = Instant::now();
    program.restart().await;
    say(format!("second start: answers after {:.2?}", started.elapsed()));
    ready(&program).await?;
    let address = program.address().parse()?;
    clicks(&[address], time, say).await?;
    say(format!("peak memory: {} MiB", peak_memory(&program)? >> 20));
    Ok(())
}

async fn first_start(program: ProgramBuilder, say: &impl Fn(String)) -> Result<Program, Failure> {
    let started = Instant::now();
    let program = program.ready_at("/live").try_start().await?;
    let first = started.elapsed();
    ready(&program).await?;
    let loaded = started.elapsed();
    say(format!("first start: answers after {first:.2?}, has loaded the terminology after {loaded:.2?}"));
    say(format!("peak memory while loading: {} MiB", peak_memory(&program)? >> 20));
    Ok(program)
}

async fn replicas(clinic: &Path, time: Duration, say: &impl Fn(String)) -> Result<(), Failure> {
    let servers = Servers::start().await?;
    let started = Instant::now();
    let fleet = Fleet::start(clinic, &servers, 3).await?;
    let first = started.elapsed();
    for replica in fleet.replicas() {
        ready(replica).await?;
    }
    let loaded = started.elapsed();
    say(format!("first start: all answer after {first:.2?}, with PostgreSQL's; all are ready after {loaded:.2?}"));
    clicks(&fleet.addresses(), time, say).await?;
    let peaks = fleet.replicas().iter().map(peak_memory).collect::<Result<Vec<_>, _>>()?;
    let peaks: Vec<_> = peaks.iter().map(|peak| format!("{} MiB", peak >> 20)).collect();
    say(format!("peak memory: {}", peaks.join(", ")));
    Ok(())
}

/// The most memory that the process ever had, in bytes.
fn peak_memory(program: &Program) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the system does not tell")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

/// Every deed by itself, and then all of them mixed as in a day's work.
async fn clicks(replicas: &[SocketAddr], time: Duration, say: &impl Fn(String)) -> Result<(), Failure> {
    let logins = (0..VISITORS).map(|number| Visitor::log_in(replicas, number));
    let mut visitors = futures_util::future::try_join_all(logins).await?;
    let all = Deed::ALL.iter().map(|deed| (deed.name(), std::slice::from_ref(deed)));
    for (name, deeds) in all.chain([("all of these, mixed", &Deed::MIX[..])]) {
        let took;
        (visitors, took) = click(visitors, deeds, time).await?;
        say(format!("{name:28} {}", Figures::of(took, time)));
    }
    Ok(())
}

/// How long each answer took.
async fn click(
    visitors: Vec<Visitor>,
    deeds: &'static [Deed],
    time: Duration,
) -> Result<(Vec<Visitor>, Vec<Duration>), Failure> {
    let until = Instant::now() + time;
    let tasks = visitors.into_iter().map(|mut visitor| {
        tokio::spawn(async move {
            let mut took = Vec::new();
            for deed in deeds.iter().cycle() {
                let start = Instant::now();
                if start >= until {
                    break;
                }
                visitor.act(*deed).await?;
                took.push(start.elapsed());
            }
            Ok::<_, Failure>((visitor, took))
        })
    });
    let (mut visitors, mut all) = (Vec::new(), Vec::new());
    for task in tasks.collect::<Vec<_>>() {
        let (visitor, took) = task.await??;
        visitors.push(visitor);
        all.extend(took);
    }
    Ok((visitors, all))
}

struct Figures {
    per_second: f64,
    median: Duration,
    slowest_percent: Duration,
}

impl Figures {
    fn of(mut took: Vec<Duration>, time: Duration) -> Self {
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        let count = u32::try_from(took.len()).unwrap_or(u32::MAX);
        Self { per_second: f64::from(count) / time.as_secs_f64(), median: at(50), slowest_percent: at(99) }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { per_second, median, slowest_percent } = self;
        write!(f, "{per_second:6.0} requests/s   median {median:7.1?}   99 % within {slowest_percent:7.1?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_all_answers() {
        let took = (1..=200).rev().map(Duration::from_millis).collect();
        let figures = Figures::of(took, Duration::from_secs(2));
        assert_eq!(figures.per_second, 100.0);
        assert_eq!((figures.median, figures.slowest_percent), (Duration::from_millis(101), Duration::from_millis(199)));
        let none = Figures::of(Vec::new(), Duration::from_secs(2));
        assert_eq!((none.per_second, none.median), (0.0, Duration::ZERO));
    }
}

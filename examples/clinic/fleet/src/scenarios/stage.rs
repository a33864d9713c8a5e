//! Where scenarios take place.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use statehouse_testkit::{FaultProxy, Program};

use super::row::{Bound, Figure};
use crate::soak::people::{self, World};
use crate::{Balancer, Failure, Fleet, Servers, own_namespace};

/// The servers, and how long it lasts.
pub(super) struct Stage<'a> {
    pub(super) clinic: &'a Path,
    pub(super) servers: &'a Servers,
    /// With the numbers that the scenario was written with.
    pub(super) full: bool,
}

/// What people at work met.
pub(super) struct Work {
    pub(super) requests: usize,
    pub(super) failed: usize,
    /// How they failed.
    pub(super) failures: Vec<String>,
    /// What was acknowledged and is gone, and who was logged out.
    pub(super) broken: Vec<String>,
}

/// How long anything may take that is not measured.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// What replicas say if this machine stood still for a second.
const BUSY: [&str; 5] = [
    "Redis is away; requests fail at once",
    "Redis answers again",
    "the store is slow; loaders answer",
    "the store is away; loaders answer",
    "the store answers again",
];

impl Stage<'_> {
    /// The short form's, or the long one's.
    pub(super) fn seconds(&self, short: u64, full: u64) -> Duration {
        Duration::from_secs(if self.full { full } else { short })
    }

    /// A bound in seconds or the like, that `full` form's; or a wide one, where a machine is busy with other tests.
    pub(super) fn at_most(&self, full: f64, short: f64) -> Bound {
        Bound::AtMost(if self.full { full } else { short })
    }

    /// None may have warned of anything; in the short form, of nothing but that something did not answer in time.
    pub(super) fn complained<'a>(&self, name: &'static str, replicas: impl IntoIterator<Item = &'a Program>) -> Figure {
        let logs: Vec<_> = replicas.into_iter().map(log).collect();
        let is_busy = |line: &str| !self.full && BUSY.iter().any(|words| line.contains(words));
        let lines: Vec<_> = logs.iter().flat_map(|log| complaints(log)).filter(|line| !is_busy(line)).collect();
        Figure::is(name, lines.len(), 0).because(&lines)
    }

    /// A way to the Redis that can be cut.
    pub(super) fn to_redis(&self) -> FaultProxy {
        let url = self.servers.redis.url();
        let server = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        FaultProxy::start(server.rsplit_once('@').map_or(server, |(_, host)| host).trim_end_matches('/'))
    }

    /// Replicas on empty stores, each as soon as it listens.
    pub(super) async fn empty_fleet(&self, count: usize) -> Result<Fleet, Failure> {
        let log = [("RUST_LOG", OsStr::new("info"))];
        Fleet::start_with(self.clinic, self.servers, count, &own_namespace(), &log).await
    }

    /// Replicas that are ready. What one fleet has loaded is there for the next.
    pub(super) async fn fleet(&self, count: usize, env: &[(&'static str, &str)]) -> Result<Fleet, Failure> {
        self.fleet_of(vec![Vec::new(); count], env).await
    }

    /// The same, each replica with more variables of its own.
    pub(super) async fn fleet_of(
        &self,
        mut own: Vec<Vec<(&'static str, OsString)>>,
        env: &[(&'static str, &str)],
    ) -> Result<Fleet, Failure> {
        for variables in &mut own {
            variables.push(("RUST_LOG", "info".into()));
            variables.extend(env.iter().map(|(name, value)| (*name, OsString::from(value))));
        }
        let fleet = Fleet::start_each(self.clinic, self.servers, namespace(), own).await?;
        for replica in fleet.replicas() {
            ready(replica).await?;
        }
        Ok(fleet)
    }
}

/// That of all fleets but those on empty stores.
pub(super) fn namespace() -> &'static str {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    NAMESPACE.get_or_init(own_namespace)
}

/// A balancer before the fleet that knows that all are ready.
pub(super) async fn balanced(fleet: &Fleet) -> Result<Balancer, Failure> {
    let balancer = Balancer::start("127.0.0.1:0", &fleet.addresses()).await?;
    until("the balancer knows all", || balancer.states().iter().all(|state| state.ready).then_some(())).await?;
    Ok(balancer)
}

/// Lets people work through the balancer for so long, while `meanwhile` happens; then looks for what they were promised.
pub(super) async fn at_work(
    people: usize,
    balancer: &Balancer,
    time: Duration,
    meanwhile: impl Future<Output = Result<(), Failure>>,
) -> Result<Work, Failure> {
    let world = Arc::new(World::new(&[balancer.address()]));
    at_work_in(people, &world, time, meanwhile).await
}

/// The same in a world that `meanwhile` looks at.
pub(super) async fn at_work_in(
    people: usize,
    world: &Arc<World>,
    time: Duration,
    meanwhile: impl Future<Output = Result<(), Failure>>,
) -> Result<Work, Failure> {
    let working = people::arrive(world, people, Instant::now() + time).await?;
    meanwhile.await?;
    let mut broken = Vec::new();
    for person in working {
        broken.extend(person.await?.check().await);
    }
    let (requests, failed) = (world.requests.load(Ordering::Relaxed), world.failed.load(Ordering::Relaxed));
    Ok(Work { requests, failed, failures: world.failures(), broken })
}

/// Looks again and again, until there is an answer.
pub(super) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(format!("never: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) async fn ready(replica: &Program) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(replica).await {
        if Instant::now() > deadline {
            return Err("a replica does not become ready".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

pub(super) async fn is_ready(replica: &Program) -> bool {
    replica.request("GET", "/ready", &[], b"").await.is_ok_and(|answer| answer.status == 200)
}

/// How much of the terminology is there, as `/started` says it; none if it says nothing of that.
pub(super) async fn progress(replica: &Program) -> Option<usize> {
    let answer = replica.request("GET", "/started", &[], b"").await.ok()?.text();
    let (_, behind) = answer.split_once("terminology: ")?;
    let (done, rest) = behind.split_once(' ')?;
    done.parse().ok().filter(|_| rest.starts_with("of "))
}

pub(super) fn log(replica: &Program) -> String {
    replica.log().unwrap_or_default()
}

pub(super) fn count(replicas: &[Program], text: &str) -> usize {
    replicas.iter().map(|replica| log(replica).matches(text).count()).sum()
}

/// The lines of warnings and errors.
fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).collect()
}

/// The numbers that stand behind `name=` in the lines with this text.
pub(super) fn numbers(log: &str, text: &str, name: &str) -> Vec<i64> {
    let field = format!("{name}=");
    let of = |line: &str| line.split_once(&field)?.1.split(' ').next()?.parse().ok();
    log.lines().filter(|line| line.contains(text)).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log_are_read() {
        let log = "T  INFO clinic: the report is made planned=4000 late_ms=-3 revision=2\nT  WARN x: lost\nERROR";
        assert_eq!(numbers(log, "the report is made", "planned"), [4_000]);
        assert_eq!(numbers(log, "the report is made", "late_ms"), [-3]);
        assert_eq!(complaints(log).len(), 2);
    }
}

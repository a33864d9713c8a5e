//! What the clinic wears out: honest people and hostile ones, for as long as one likes, on one machine and as replicas
//! whose processes and servers are killed meanwhile.

mod chaos;
mod gauge;
mod hostile;
pub(crate) mod people;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_testkit::{Program, RedisServer, S3Server};

use self::gauge::{Bound, Gauges};
use self::people::World;
use crate::{Failure, Fleet, Servers, own_namespace, ready};

/// How long what hostile visitors hold may take to be let go after they have left.
const SETTLE: Duration = Duration::from_secs(75);

/// Where the figures of one clinic come from.
struct Place<'a> {
    /// Never killed, so that its figures are those of one life.
    process: &'a Program,
    /// Its own folder for temporary files.
    temporary: PathBuf,
    /// What it keeps itself.
    data: PathBuf,
    shared: Option<(&'a RedisServer, &'a S3Server)>,
}

/// Lets the clinic at `clinic` be used and abused for `time`, half of it on one machine and half as three replicas.
///
/// # Errors
/// If something does not start, something acknowledged is lost, or a figure grows with every request.
pub async fn soak(clinic: &Path, time: Duration, say: impl Fn(&str)) -> Result<(), Failure> {
    let clinic = &std::path::absolute(clinic)?;
    say("embedded: everything in one process and one folder");
    let alone = alone(clinic, time / 2, &say).await?;
    say("3 replicas on Redis, S3, OpenSearch and PostgreSQL; two are killed in turn, and so is every server");
    let replicas = replicas(clinic, time / 2, &say).await?;
    let broken: Vec<_> = alone.into_iter().chain(replicas).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}

async fn alone(clinic: &Path, time: Duration, say: &impl Fn(&str)) -> Result<Vec<String>, Failure> {
    let (data, temporary) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let program = Program::builder("clinic", clinic).arg("--listen").arg("{address}").arg("--data").arg(data.path());
    let program = program.env("CLINIC_FORWARDED", "true").env("TMPDIR", temporary.path()).env("RUST_LOG", "warn");
    let program = program.ready_at("/live").try_start().await?;
    let place = Place { process: &program, temporary: temporary.path().into(), data: data.path().into(), shared: None };
    ready(&program).await?;
    run(&place, &[program.address().parse()?], time, std::future::pending::<()>(), say).await
}

async fn replicas(clinic: &Path, time: Duration, say: &impl Fn(&str)) -> Result<Vec<String>, Failure> {
    let (servers, temporary) = (Servers::start().await?, tempfile::tempdir()?);
    let env = [("TMPDIR", temporary.path().as_os_str()), ("RUST_LOG", "warn".as_ref())];
    let fleet = Fleet::start_with(clinic, &servers, 3, &own_namespace(), &env).await?;
    for replica in fleet.replicas() {
        ready(replica).await?;
    }
    let process = fleet.replicas().first().ok_or("there are no replicas")?;
    let data = fleet.data().join(crate::NAMES[0]);
    let shared = Some((&servers.redis, &servers.s3));
    let place = Place { process, temporary: temporary.path().into(), data, shared };
    run(&place, &fleet.addresses(), time, chaos::break_things(&servers, &fleet, say), say).await
}

/// People, hostile visitors and what is broken, for this long. Returns what is wrong, in words.
async fn run(
    place: &Place<'_>,
    replicas: &[SocketAddr],
    time: Duration,
    breaking: impl Future<Output = ()>,
    say: &impl Fn(&str),
) -> Result<Vec<String>, Failure> {
    let world = Arc::new(World::new(replicas));
    let mut gauges = Gauges::default();
    let until = Instant::now() + time;
    let people = people::arrive(&world, people::PEOPLE, until).await?;
    let hostile = hostile::arrive(&world, until);
    let measuring = async {
        while Instant::now() < until {
            gauges.read(place, &world).await;
            tokio::time::sleep(Duration::from_secs(2).min(time / 40)).await;
        }
    };
    tokio::pin!(breaking);
    tokio::select! {
        () = measuring => {}
        () = &mut breaking => {}
    }
    let mut ledgers = Vec::new();
    for person in people {
        ledgers.push(person.await?);
    }
    for visitor in hostile {
        visitor.await?;
    }
    chaos::mend(replicas).await?;
    let mut broken = Vec::new();
    for mut ledger in ledgers {
        broken.extend(ledger.check().await);
    }
    say(&format!("  {world}"));
    say(&format!("  what was acknowledged and is missing: {}", broken.len()));
    broken.extend(gauges.report(say));
    broken.extend(settle(place, &world, &gauges, say).await);
    Ok(broken)
}

/// When everybody has gone, connections and what is half stored go too.
async fn settle(place: &Place<'_>, world: &World, gauges: &Gauges, say: &impl Fn(&str)) -> Vec<String> {
    let until = Instant::now() + SETTLE;
    let mut after = Gauges::default();
    loop {
        after.read(place, world).await;
        let left = gauges.left(&after);
        if left.is_empty() || Instant::now() > until {
            say(&format!("  when all have gone: {}", after.last_line()));
            return left;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl Bound {
    /// Everything that is measured, what it may gain while the load is the same, and whether it goes with the load.
    pub(crate) const ALL: [Self; 8] = [
        Self { name: "memory, MiB", gain: 24.0, goes: false },
        Self { name: "descriptors", gain: 60.0, goes: true },
        Self { name: "threads", gain: 12.0, goes: false },
        Self { name: "temporary files", gain: 8.0, goes: true },
        Self { name: "half-stored files", gain: 24.0, goes: true },
        Self { name: "sessions and cached entries beyond log-ins", gain: 40.0, goes: false },
        // As many as log-ins fail in five minutes, which depends on how busy the machine is.
        Self { name: "counters of log-ins that failed", gain: 1_000.0, goes: false },
        Self { name: "stored documents beyond those acknowledged", gain: 24.0, goes: false },
    ];
}

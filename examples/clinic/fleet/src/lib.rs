//! The clinic as replicas: real servers, the processes, and a load balancer before them.
//!
//! The clinic's own tests kill and pause what is in here under load; `cargo xtask demo` shows the same to people,
//! `cargo xtask bench clinic` measures it, `cargo xtask soak clinic` wears it, and `cargo xtask scenarios` shows what its
//! replicas do together.

mod balancer;
mod demo;
mod measure;
mod scenarios;
mod soak;
mod visitor;

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use statehouse_testkit::{OpenSearchNode, PostgresServer, Program, RedisServer, S3Server};
use tempfile::TempDir;

pub use balancer::{BackendState, Balancer};
pub use demo::demo;
pub use measure::measure;
pub use scenarios::{Bound, Figure, Row, Scenario, scenarios, scenarios_page};
pub use soak::soak;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The servers that replicas share.
#[derive(Debug)]
#[non_exhaustive]
pub struct Servers {
    /// Sessions and caches. What it has acknowledged is on its disk.
    pub redis: RedisServer,
    /// Documents.
    pub s3: S3Server,
    /// The terminology.
    pub opensearch: OpenSearchNode,
}

impl Servers {
    /// Starts one of each.
    ///
    /// # Errors
    /// If one is not installed or does not start.
    pub async fn start() -> Result<Self, Failure> {
        let durable = RedisServer::builder().arg("--appendonly", "yes").arg("--appendfsync", "always");
        let (redis, s3, opensearch) =
            tokio::try_join!(durable.try_start(), S3Server::builder().try_start(), OpenSearchNode::try_start())?;
        Ok(Self { redis, s3, opensearch })
    }
}

/// Replicas of the clinic on the same servers, apart from other fleets by their namespace and their database.
#[derive(Debug)]
pub struct Fleet {
    replicas: Vec<Program>,
    postgres: PostgresServer,
    data: TempDir,
}

impl Fleet {
    /// Starts `count` replicas of the program at `clinic` at the same time. Returns when each answers.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(clinic: &Path, servers: &Servers, count: usize) -> Result<Self, Failure> {
        Self::start_with(clinic, servers, count, &own_namespace(), &[]).await
    }

    /// The same in a namespace in which a fleet was before that has ended: what it has loaded is there.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start_in(namespace: &str, clinic: &Path, servers: &Servers, count: usize) -> Result<Self, Failure> {
        Self::start_with(clinic, servers, count, namespace, &[]).await
    }

    /// The same with more variables in the environment.
    async fn start_with(
        clinic: &Path,
        servers: &Servers,
        count: usize,
        namespace: &str,
        env: &[(&'static str, &OsStr)],
    ) -> Result<Self, Failure> {
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::start_each(clinic, servers, namespace, vec![env; count]).await
    }

    /// One replica for each of these environments.
    async fn start_each(
        clinic: &Path,
        servers: &Servers,
        namespace: &str,
        env: Vec<Vec<(&'static str, OsString)>>,
    ) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let postgres = PostgresServer::try_start().await?;
        let starts = NAMES.iter().zip(&env).map(|(name, env)| {
            let folder = data.path().join(name);
            replica(clinic, servers, &postgres, namespace, name, folder, env)
        });
        let replicas = futures_util::future::try_join_all(starts).await?;
        Ok(Self { replicas, postgres, data })
    }

    /// The replicas, in order.
    #[must_use]
    pub fn replicas(&self) -> &[Program] {
        &self.replicas
    }

    /// Where each replica has a folder of its own.
    fn data(&self) -> &Path {
        self.data.path()
    }

    /// Patients and charts.
    #[must_use]
    pub const fn postgres(&self) -> &PostgresServer {
        &self.postgres
    }

    /// Where the replicas listen, in order.
    ///
    /// # Panics
    /// Never: every program has an address.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.address().parse().expect("an address")).collect()
    }
}

/// Waits until a program says that it is ready.
async fn ready(program: &Program) -> Result<(), Failure> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let answer = program.request("GET", "/ready", &[], b"").await?;
        if answer.status == 200 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("not ready after {READY_WITHIN:?}: {}", answer.text()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// To load the terminology takes seconds, and on a machine that is busy a minute.
const READY_WITHIN: Duration = Duration::from_secs(300);

fn own_namespace() -> String {
    format!("clinic-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

static NEXT: AtomicU64 = AtomicU64::new(0);
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

async fn replica(
    clinic: &Path,
    servers: &Servers,
    postgres: &PostgresServer,
    namespace: &str,
    name: &'static str,
    data: PathBuf,
    env: &[(&'static str, OsString)],
) -> Result<Program, Failure> {
    let (redis, s3, opensearch) = (servers.redis.url(), s3_url(&servers.s3), &servers.opensearch);
    let program = Program::builder("clinic", clinic)
        .arg("--listen")
        .arg("{address}")
        .arg("--data")
        .arg(data)
        .env("CLINIC_REPLICA", name)
        .env("CLINIC_FORWARDED", "true")
        .env("CLINIC_DATABASE", postgres.url())
        .env("STATEHOUSE_NAMESPACE", namespace)
        .env("STATEHOUSE_CACHE_URL", &redis)
        .env("STATEHOUSE_SESSIONS_URL", &redis)
        .env("STATEHOUSE_COORDINATION_URL", &redis)
        .env("STATEHOUSE_FILES_URL", s3)
        .env("STATEHOUSE_SEARCH_URL", format!("opensearch+{}", opensearch.url()))
        .ready_at("/live");
    // The last one of a name counts.
    let program = env.iter().fold(program, |program, (name, value)| program.env(name, value));
    Ok(program.try_start().await?)
}

/// As `STATEHOUSE_FILES_URL` wants it.
fn s3_url(server: &S3Server) -> String {
    s3_url_at(server, &server.endpoint())
}

/// The same, reached at another place.
fn s3_url_at(server: &S3Server, endpoint: &str) -> String {
    let (key, secret, bucket, region) = (server.access_key(), server.secret_key(), server.bucket(), server.region());
    format!("s3://{key}:{secret}@{bucket}?endpoint={endpoint}&region={region}&allow_http=true")
}

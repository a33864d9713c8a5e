//! Whether the servers keep what they have acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use statehouse_core::{Error, ErrorKind, Health, HealthStatus, Result};
use statehouse_redis::{Contents, EvictionPolicy, Persistence, RedisClient};
use tokio::time::timeout;

/// A health check is over within a second.
const LIMIT: Duration = Duration::from_millis(900);

/// What is known of it: an administrator may change it while the server runs, and a server may be started again otherwise.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// As it was told last.
    is: AtomicBool,
    /// Whether it ever was, so that locks were given out.
    was: AtomicBool,
}

impl Lasting {
    pub(super) fn is(&self) -> bool {
        self.is.load(Ordering::Relaxed)
    }

    /// Asks, in two round trips at the same time.
    pub(super) async fn ask(&self, redis: &RedisClient) -> Result<(Persistence, EvictionPolicy)> {
        let (persistence, eviction) = tokio::try_join!(redis.persistence(), redis.eviction_policy())?;
        let is = persistence == Persistence::AppendOnlyFile && eviction == EvictionPolicy::Never;
        self.was.fetch_or(is, Ordering::Relaxed);
        if self.is.swap(is, Ordering::Relaxed) && !is {
            tracing::error!(name: "coord.durable_no_longer", ?persistence, ?eviction, "{ADVICE}: no lock is given until then");
        }
        Ok((persistence, eviction))
    }

    /// The health, and whether the servers still keep what they are told. What they do not tell in time stays as it was.
    pub(super) async fn health(&self, redis: &RedisClient) -> Health {
        let begun = Instant::now();
        let asked = timeout(LIMIT, self.ask(redis));
        let (mut health, asked) = tokio::join!(redis.health_of(Contents::MustStay), asked);
        let is_known = matches!(asked, Ok(Ok(_)));
        if health.status == HealthStatus::Up && is_known && self.was.load(Ordering::Relaxed) && !self.is() {
            health.status = HealthStatus::Degraded;
            health.error = Some(Error::new(ErrorKind::InvalidConfig, ADVICE).with_backend("redis"));
            health.latency = begun.elapsed();
        }
        health
    }
}

pub(super) const ADVICE: &str =
    "this Redis may lose records of coordination: set appendonly yes and maxmemory-policy noeviction";

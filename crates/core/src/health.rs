use std::time::Duration;

use crate::Error;

/// How a backend is, as one round trip to it just found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// What backend this is and where, without secrets, for example `redis redis.internal:6379`.
    pub backend: String,
    /// How long the check took.
    pub latency: Duration,
    /// Why it is not up.
    pub error: Option<Error>,
}

/// The verdict of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthStatus {
    /// Everything works.
    Up,
    /// It answers, and something that the contract needs is missing.
    Degraded,
    /// It does not answer.
    Down,
}

impl Health {
    /// The health that a probe's result says: up if it succeeded, else down.
    pub fn of(backend: impl Into<String>, latency: Duration, probe: Result<(), Error>) -> Self {
        let status = if probe.is_ok() { HealthStatus::Up } else { HealthStatus::Down };
        Self { status, backend: backend.into(), latency, error: probe.err() }
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.status == HealthStatus::Up
    }
}

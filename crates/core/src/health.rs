use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use crate::Error;

/// How a backend is, as one round trip to it just found.
///
/// Serialized, it is a map for a health endpoint: `status` (`up`, `degraded` or `down`), `backend`, `latency_ms`, and
/// where it is not up `error_kind` and `error`.
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
    /// A check of a disk ends by then: every health check answers within a second.
    #[doc(hidden)]
    pub const LIMIT: Duration = Duration::from_millis(900);

    /// The health that a probe's result says: up if it succeeded, else down.
    pub fn of(backend: impl Into<String>, latency: Duration, probe: Result<(), Error>) -> Self {
        let status = if probe.is_ok() { HealthStatus::Up } else { HealthStatus::Down };
        Self { status, backend: backend.into(), latency, error: probe.err() }
    }

    /// The health of what is read and written in two ways: up if both succeeded, degraded if it can only be read, else
    /// down.
    pub fn of_reads_and_writes(
        backend: impl Into<String>,
        latency: Duration,
        reads: Result<(), Error>,
        writes: Result<(), Error>,
    ) -> Self {
        let can_be_read = reads.is_ok();
        let mut health = Self::of(backend, latency, reads.and(writes));
        if can_be_read && !health.is_up() {
            health.status = HealthStatus::Degraded;
        }
        health
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.status.is_up()
    }
}

impl HealthStatus {
    /// Whether everything works.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// The verdict as one lowercase word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for HealthStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("Health", if self.error.is_some() { 5 } else { 3 })?;
        map.serialize_field("status", &self.status)?;
        map.serialize_field("backend", &self.backend)?;
        map.serialize_field("latency_ms", &(self.latency.as_secs_f64() * 1e3))?;
        match &self.error {
            Some(error) => {
                map.serialize_field("error_kind", error.kind().as_str())?;
                map.serialize_field("error", &error.to_string())?;
            }
            None => {
                map.skip_field("error_kind")?;
                map.skip_field("error")?;
            }
        }
        map.end()
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_health_endpoint_shows_the_verdict_and_why() {
        let up = Health::of("memory", Duration::from_micros(1500), Ok(()));
        let json = serde_json::to_string(&up).unwrap();
        assert_eq!(json, r#"{"status":"up","backend":"memory","latency_ms":1.5}"#);
        let error = Error::new(ErrorKind::Timeout, "Redis at h:1 did not answer in time");
        let down = Health::of("Redis at h:1", Duration::from_secs(1), Err(error));
        assert!(!down.is_up() && !down.status.is_up());
        let json: serde_json::Value = serde_json::to_value(&down).unwrap();
        assert_eq!(json["status"], "down");
        assert_eq!(json["error_kind"], "timeout");
        assert_eq!(json["error"], "Redis at h:1 did not answer in time");
    }
}

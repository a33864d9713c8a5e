//! How the services are.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::Serializer;
use statehouse_core::Health;

use crate::service::Service;
use crate::watched::Seen;

/// What each service that is used answered to one health check. Serialized, it is a map from their names.
///
/// ```
/// use std::time::Duration;
/// use statehouse::{Config, Services};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse::Result<()> {
/// let services = Services::open(Config::in_memory()).await?;
/// let scans = services.files("scans")?;
/// let health = services.health().await;
/// assert!(health.is_up() && health.get("files").is_some_and(|files| files.is_up()));
/// assert!(health.lasting("files") < Some(Duration::from_secs(60)), "it is up since then");
/// assert!(health.get("cache").is_none(), "nobody uses it");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ServicesHealth(pub(crate) Vec<ServiceHealth>);

#[derive(Debug)]
pub(crate) struct ServiceHealth {
    service: Service,
    health: Health,
    lasting: Duration,
}

impl ServiceHealth {
    pub(crate) fn of(service: Service, health: Health, seen: Seen) -> Self {
        Self { service, health, lasting: Instant::now().saturating_duration_since(seen.since) }
    }
}

impl ServicesHealth {
    /// Whether every service that is used is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.iter().all(|(_, health)| health.is_up())
    }

    /// Each service's name and health: of `cache`, `sessions`, `files`, `search`, `coordination` and `signals` those that are used.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Health)> {
        self.0.iter().map(|asked| (asked.service.as_str(), &asked.health))
    }

    /// The health of the service of this name, if it is used.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Health> {
        self.iter().find(|(service, _)| *service == name).map(|(_, health)| health)
    }

    /// For how long the service of this name has been as it is now, by all health checks of this process.
    #[must_use]
    pub fn lasting(&self, name: &str) -> Option<Duration> {
        self.0.iter().find(|asked| asked.service.as_str() == name).map(|asked| asked.lasting)
    }
}

/// Each service's name and health.
impl IntoIterator for ServicesHealth {
    type Item = (&'static str, Health);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        let named: Vec<_> = self.0.into_iter().map(|asked| (asked.service.as_str(), asked.health)).collect();
        named.into_iter()
    }
}

/// A health as one map, with the seconds that it has lasted.
#[derive(Serialize)]
pub(crate) struct Lasting<'h> {
    #[serde(flatten)]
    pub(crate) health: &'h Health,
    pub(crate) for_seconds: u64,
}

impl Serialize for ServicesHealth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|asked| {
            let lasting = Lasting { health: &asked.health, for_seconds: asked.lasting.as_secs() };
            (asked.service, lasting)
        }))
    }
}

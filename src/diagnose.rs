//! Opens services and asks everything that they and their servers tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use statehouse_core::{Error, ErrorKind, Health, HealthStatus};
use tokio::time::timeout;

use crate::description::ServiceDescription;
use crate::diagnosis::{Diagnosis, Finding, ServerDiagnosis, ServiceDiagnosis};
use crate::findings;
use crate::service::Service;
use crate::services::Services;
use crate::slot::Row;

/// The most that opening a service takes here: somebody waits for the answer, and wants one that is complete.
const OPENED_WITHIN: Duration = Duration::from_secs(20);

/// The most that its servers have to say what they are.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

impl Services {
    /// Opens these services, all at once, and asks everything that they and their servers tell: for a page or a command that
    /// shows what is wrong, such as `statehouse doctor`. The others are described as [`describe`](Self::describe) does. Those
    /// that are examined count as used from then on.
    ///
    /// There is an answer in every state of the servers, after half a minute at the latest.
    ///
    /// ```
    /// use statehouse::{Config, Service, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let diagnosis = services.diagnose(&[Service::Cache, Service::Files]).await;
    /// assert!(diagnosis.is_good());
    /// assert!(diagnosis.to_string().contains("cache: memory, not shared, not durable: up after"));
    /// assert!(diagnosis.to_string().contains("note: each replica has its own; set STATEHOUSE_CACHE_URL"));
    /// # Ok(()) }
    /// ```
    pub async fn diagnose(&self, services: &[Service]) -> Diagnosis {
        let table = self.inner().table();
        let chosen = table.iter().filter(|row| services.contains(&row.service()));
        let looks = join_all(chosen.map(|row| self.look(*row))).await;
        // Only now is known what they can do.
        let described = self.describe();
        let any_shared = described.services.iter().any(|one| one.shared);
        let mut looks: BTreeMap<_, _> = looks.into_iter().map(|look| (look.service, look)).collect();
        let examined = described.services.into_iter().map(|one| match looks.remove(&one.service) {
            Some(look) => look.into_diagnosis(one, any_shared),
            None => ServiceDiagnosis { description: one, health: None, servers: Vec::new(), findings: Vec::new() },
        });
        let examined = examined.collect();
        let findings = findings::of_namespace(&described.namespace, any_shared).into_iter().collect();
        Diagnosis { namespace: described.namespace, services: examined, findings }
    }

    async fn look(&self, row: &dyn Row) -> Look {
        row.want();
        let start = Instant::now();
        let opened = timeout(OPENED_WITHIN, row.open()).await;
        let late = |_| Err(Error::new(ErrorKind::Timeout, "the service was not open after 20 seconds"));
        let health = match opened.unwrap_or_else(late) {
            Ok(()) => row.health().await.0,
            Err(error) => Health::of(row.service().as_str(), start.elapsed(), Err(error)),
        };
        let servers = timeout(TOLD_WITHIN, self.servers(row, &health)).await.unwrap_or_default();
        let (servers, findings): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
        Look { service: row.service(), health, servers, findings: findings.concat() }
    }

    /// What the servers of a service say, and what is to be said of that.
    async fn servers(&self, row: &dyn Row, health: &Health) -> Vec<(ServerDiagnosis, Vec<Finding>)> {
        if health.status == HealthStatus::Down {
            return Vec::new();
        }
        #[cfg(any(feature = "cache-redis", feature = "coord-redis", feature = "session-redis"))]
        if let Some(client) = self.inner().redis.of(row.place().setting()) {
            let Ok(client) = client.get().await else { return Vec::new() };
            let reports = client.report().await.unwrap_or_default();
            return reports.into_iter().map(|report| crate::in_redis::told(report, row.service(), health)).collect();
        }
        let version = row.release().await.ok().flatten();
        let told = version.map(|version| ServerDiagnosis { version: Some(version), ..ServerDiagnosis::default() });
        told.into_iter().map(|server| (server, Vec::new())).collect()
    }
}

/// What was seen of one service.
struct Look {
    service: Service,
    health: Health,
    servers: Vec<ServerDiagnosis>,
    findings: Vec<Finding>,
}

impl Look {
    fn into_diagnosis(self, description: ServiceDescription, any_shared: bool) -> ServiceDiagnosis {
        let mut findings = findings::of_service(&description, &self.health, any_shared);
        findings.extend(self.findings);
        ServiceDiagnosis { description, health: Some(self.health), servers: self.servers, findings }
    }
}

//! What the services are, and whether several replicas can use them.

use statehouse_core::{Error, Result};

use crate::config::DEFAULT_NAMESPACE;
use crate::description::{Description, ServiceDescription, ServiceState};
use crate::services::Services;
use crate::slot::Row;

impl Services {
    /// What each service is, where, and what it lacks for several replicas. Nothing is opened and no server asked.
    ///
    /// ```
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let config = Config::in_memory().with_files("file:/srv/scans?durability=relaxed");
    /// let services = Services::open(config).await?;
    /// let scans = services.files("scans")?;
    /// let described = services.describe().to_string();
    /// assert!(described.contains("files: local disk /srv/scans, not shared, durable; each replica has its own"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn describe(&self) -> Description {
        let table = self.inner().table();
        let services = table.iter().map(|row| {
            let mut described = row.describe();
            if let Some(other) = table.iter().find(|other| is_trouble_beside(*row, **other)) {
                described.missing.push(beside(*row, *other));
            }
            described
        });
        Description { namespace: self.namespace().as_str().to_owned(), services: services.collect() }
    }

    /// Refuses services that each replica would have for itself: for a program that is meant to run as several replicas, and
    /// whose forgotten setting would show as wrong answers by turns. To be called once its handles are made, as
    /// [`connect`](Self::connect) is: it looks at the services that are used, and at all if none is used yet.
    ///
    /// ```
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let scans = services.files("scans")?;
    /// let refused = services.require_shared().unwrap_err();
    /// assert_eq!(refused.setting(), Some("STATEHOUSE_FILES_URL"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig), whose [`setting`](Error::setting) names each that is not shared
    /// and whose message says what each would have to be.
    pub fn require_shared(&self) -> Result<()> {
        let all = self.describe().services;
        let is_used = |service: &&ServiceDescription| service.state != ServiceState::NotUsed;
        let any_used = all.iter().any(|service| is_used(&service));
        let looked_at = all.iter().filter(|service| !any_used || is_used(service));
        let alone: Vec<_> = looked_at.filter(|service| !service.shared).collect();
        if alone.is_empty() {
            return Ok(());
        }
        let mut settings: Vec<_> = alone.iter().map(|service| service.setting.as_str()).collect();
        let mut seen = std::collections::BTreeSet::new();
        // One may say where two are.
        settings.retain(|setting| seen.insert(*setting));
        let settings = settings.join(" and ");
        let words = alone.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Err(Error::invalid_config(&settings, format!("several replicas need services that all of them see: {words}")))
    }
}

impl Services {
    /// Says that a shared store is used under the namespace of those who have set none: two such applications would read
    /// each other's entries.
    pub(crate) fn warn_of_namespace(&self) {
        if self.namespace().as_str() != DEFAULT_NAMESPACE {
            return;
        }
        let (namespace, all) = (DEFAULT_NAMESPACE, self.describe().services);
        let shared: Vec<_> =
            all.iter().filter(|service| service.shared).map(|service| service.service.as_str()).collect();
        if !shared.is_empty() {
            let services = shared.join(", ");
            tracing::warn!(
                name: "services.default_namespace", namespace, services,
                "any other application that sets no namespace has the same on these servers: set STATEHOUSE_NAMESPACE"
            );
        }
    }
}

#[cfg(feature = "serve")]
impl Services {
    /// A line for each service that is used.
    pub(crate) fn log_description(&self) {
        let all = self.describe().services;
        for described in all.into_iter().filter(|described| described.state != ServiceState::NotUsed) {
            let (service, shared, durable) = (described.service.as_str(), described.shared, described.durable);
            tracing::info!(name: "services.described", service, shared, durable, "{described}");
        }
    }
}

/// Whether what must stay and a cache, which may be as large as it likes, are on one server.
fn is_trouble_beside(row: &dyn Row, other: &dyn Row) -> bool {
    use crate::service::Service::Cache;
    let (one, another) = (row.service(), other.service());
    (one == Cache && another.must_stay() || another == Cache && one.must_stay())
        && row.is_wanted()
        && other.is_wanted()
        && row.place().is_beside(other.place())
}

fn beside(row: &dyn Row, other: &dyn Row) -> String {
    use crate::service::Service::Sessions;
    let (lost, stopped) = match [row.service(), other.service()].contains(&Sessions) {
        true => ("sessions are lost", "log-ins"),
        false => ("locks are refused", "them"),
    };
    format!(
        "on one Redis with {}: if that evicts, {lost}, and if it does not, a full cache stops {stopped}; give each a server \
         of its own",
        other.service()
    )
}

//! What an application depends on.

use std::error::Error as StdError;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use statehouse_core::{Error, ErrorKind, Health};
use tokio::time::timeout;

use crate::lazy::HEALTH_WITHIN;
use crate::service::Service;
use crate::services::Services;
use crate::watched::{Seen, Watched};

type BoxError = Box<dyn StdError + Send + Sync>;
type Ask = dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// What an application depends on: a [`Service`], or something of its own that can be asked, such as its database. Given to
/// [`Operations::hard`](super::Operations::hard) or [`soft`](super::Operations::soft).
///
/// ```
/// use statehouse::{Config, Dependency, Service, Services};
///
/// # #[derive(Clone)] struct Pool;
/// # impl Pool { async fn ping(&self) -> std::io::Result<()> { Ok(()) } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse::Result<()> {
/// # let pool = Pool;
/// let services = Services::open(Config::in_memory()).await?;
/// let database = Dependency::new("database", move || {
///     let pool = pool.clone();
///     async move { pool.ping().await }
/// });
/// let operations = services.operations().hard(Service::Sessions).hard(database);
/// let ready = operations.probes().answer("/ready").await.expect("one of the probes");
/// assert_eq!(ready.status(), 200);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Dependency(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Service(Service),
    Other(Arc<Other>),
}

struct Other {
    name: String,
    ask: Box<Ask>,
    watched: Watched,
}

impl Dependency {
    /// Something of the application's own. `ask` says within a second whether it can be had, or why not: that stands in the
    /// answers of probes, so it must tell no secret.
    pub fn new<F, E>(name: impl Into<String>, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let ask = move || {
            let asked = ask();
            async move { asked.await.map_err(Into::into) }.boxed()
        };
        Self(Kind::Other(Arc::new(Other { name: name.into(), ask: Box::new(ask), watched: Watched::default() })))
    }

    pub(super) fn name(&self) -> &str {
        match &self.0 {
            Kind::Service(service) => service.as_str(),
            Kind::Other(other) => &other.name,
        }
    }

    /// Says that the program uses it.
    pub(super) fn want(&self, services: &Services) {
        if let Kind::Service(service) = self.0
            && let Some(row) = services.inner().row(service)
        {
            row.want();
        }
    }

    /// How it is, within a second, and how it was before; nothing of a service that is not there.
    pub(super) async fn look(&self, services: &Services) -> Option<(Health, Seen)> {
        match &self.0 {
            Kind::Service(service) => Some(services.inner().row(*service)?.health().await),
            Kind::Other(other) => {
                let health = other.health().await;
                let seen = other.watched.saw(health.status, Instant::now());
                Some((health, seen))
            }
        }
    }
}

impl From<Service> for Dependency {
    fn from(service: Service) -> Self {
        Self(Kind::Service(service))
    }
}

impl Other {
    async fn health(&self) -> Health {
        let start = Instant::now();
        let asked = AssertUnwindSafe(async { (self.ask)().await }).catch_unwind();
        let asked = match timeout(HEALTH_WITHIN, asked).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Error::new(ErrorKind::Unavailable, error.to_string())),
            // The others are looked at, and this one is asked again.
            Ok(Err(_)) => Err(Error::new(ErrorKind::Unexpected, "its check has panicked")),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "no answer within a second")),
        };
        Health::of(self.name.as_str(), start.elapsed(), asked)
    }
}

impl fmt::Debug for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Other").field("name", &self.name).field("watched", &self.watched).finish_non_exhaustive()
    }
}

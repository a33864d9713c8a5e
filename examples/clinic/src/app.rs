//! What the handlers share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse::cache::TypedCache;
use statehouse::coord::{Coordination, RateLimiter, Revision, RunStatus};
use statehouse::files::Files;
use statehouse::session::{SessionLayer, Sessions};
use statehouse::{Capabilities, Dependency, ErrorKind, Health, Services};

use crate::attempts::Attempt;
use crate::db::{Database, Staff};
use crate::error::{AppError, Result, SOON};
use crate::links::Links;
use crate::metrics::Reads;
use crate::outages;
use crate::problem_sets::ProblemSets;
use crate::reports::Reports;
use crate::settings::Settings;
use crate::terminology::Concepts;
use crate::turnstile::Turnstile;
use crate::wiring::Wiring;

/// How many diagnoses are active, by the number of the chapter.
pub(crate) type Counts = BTreeMap<String, i64>;

pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) services: Services,
    pub(crate) sessions: Sessions,
    pub(crate) documents: Files,
    pub(crate) links: Links,
    pub(crate) coord: Coordination,
    pub(crate) problem_sets: ProblemSets,
    pub(crate) reports: Reports,
    pub(crate) api_limit: Option<RateLimiter>,
    pub(crate) concepts: Concepts,
    counts: TypedCache<Counts>,
    count_reads: Reads,
    staff: TypedCache<Option<Staff>>,
    staff_reads: Reads,
    turnstile: Turnstile,
    pub(crate) replica: String,
    pub(crate) started: Instant,
}

/// How many log-ins are looked at side by side: while one's password is checked, others ask the database.
const CHECKS_AT_A_TIME: usize = 4;
/// How long somebody waits for their turn to log in.
const TURN_WITHIN: Duration = Duration::from_secs(10);

impl App {
    /// Opens everything that the settings name.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let wiring = Wiring::open(settings).await?;
        let loading = wiring.services.operations().startup("terminology");
        let database = Database::open(&settings.database).await?;
        Ok(Self {
            database,
            services: wiring.services,
            sessions: wiring.sessions,
            documents: wiring.documents,
            links: wiring.links,
            coord: wiring.coord,
            problem_sets: wiring.problem_sets,
            reports: wiring.reports,
            api_limit: wiring.api_limit,
            concepts: Concepts::new(wiring.concepts, wiring.chapter_counts, settings.edition, loading),
            counts: wiring.counts,
            count_reads: Reads::of("counts"),
            staff: wiring.staff,
            staff_reads: Reads::of("staff"),
            turnstile: Turnstile::new(CHECKS_AT_A_TIME),
            replica: settings.replica.clone(),
            started: Instant::now(),
        })
    }

    pub(crate) async fn close(&self) -> Result<(), statehouse::Error> {
        self.services.shutdown().await?;
        self.database.close().await;
        Ok(())
    }

    pub(crate) fn session_layer(&self) -> SessionLayer {
        SessionLayer::from(self.sessions.clone())
    }

    /// The active diagnoses by chapter: from the cache, and from the database if they are not there or the cache is
    /// out of reach.
    pub(crate) async fn active_by_chapter(&self) -> Result<Arc<Counts>> {
        self.count_reads.read();
        let cached = self.counts.get_or_load("active", || self.count_active()).await;
        match cached {
            Ok(counts) => Ok(counts),
            Err(error) if error.kind() == ErrorKind::LoadFailed => {
                outages::failed("the database", &error);
                Err(AppError::unavailable("The database is out of reach. Try again in a moment.", SOON))
            }
            Err(error) => {
                outages::failed("the cache", &error);
                Ok(Arc::new(self.count_active().await?))
            }
        }
    }

    async fn count_active(&self) -> sqlx::Result<Counts> {
        self.count_reads.load();
        Ok(self.database.active_by_chapter().await?.into_iter().collect())
    }

    /// To be called after every write that changes the counts. If the cache is out of reach, they are wrong until they
    /// expire; the diagnosis itself is in the database.
    pub(crate) async fn diagnoses_changed(&self) {
        if let Err(error) = self.counts.invalidate("active").await {
            outages::failed("the cache", &error);
        }
    }

    /// Whose password this is. Refuses whoever has guessed too often, and what nobody waits for any more.
    pub(crate) async fn admit(&self, login: &str, password: &str, from: IpAddr) -> Result<Staff> {
        let busy =
            || AppError::unavailable("Too many people are logging in at the moment. Try again in a few seconds.", SOON);
        let turn = tokio::time::timeout(TURN_WITHIN, self.turnstile.turn(from)).await;
        let Ok(Ok(_turn)) = turn else { return Err(busy()) };
        let mut attempt = Attempt::of(&self.coord, login, from);
        if let Some(wait) = attempt.count().await? {
            tracing::warn!(target: "clinic::security", %from, "too many log-ins failed: refused for a time");
            let minutes = wait.as_secs().div_ceil(60).max(1);
            let words = format!("Too many log-ins failed. Try again in {minutes} min.");
            return Err(AppError::too_many(words, wait));
        }
        let found = match self.database.log_in(login, password).await {
            Ok(found) => found,
            Err(error) => {
                attempt.take_back().await;
                return Err(error.into());
            }
        };
        let Some(staff) = found else {
            attempt.failed();
            tracing::warn!(target: "clinic::security", %from, "a log-in failed: no such login, or another password");
            return Err(AppError::wrong_password());
        };
        attempt.forgive().await?;
        Ok(staff)
    }

    /// The member of staff with this number, as of some seconds ago; `None` if they were dismissed.
    pub(crate) async fn staff(&self, id: i64) -> Result<Option<Staff>> {
        self.staff_reads.read();
        let load = || {
            self.staff_reads.load();
            self.database.staff(id)
        };
        match self.staff.get_or_load(id.to_string(), load).await {
            Ok(staff) => Ok((*staff).clone()),
            Err(error) if error.kind() == ErrorKind::LoadFailed => Err(AppError::from(error)),
            // Without the cache.
            Err(_) => Ok(self.database.staff(id).await?),
        }
    }

    /// Every service's name, how it is, and what it can do.
    pub(crate) async fn health(&self) -> Vec<(&'static str, Health, Capabilities)> {
        let (services, database) = tokio::join!(self.services.health(), self.database_health());
        let services = services.into_iter().map(|(name, health)| {
            let can = match name {
                "cache" => self.counts.capabilities(),
                "sessions" => self.sessions.store().capabilities(),
                "files" => self.documents.store().capabilities(),
                "coordination" => self.coord.store().capabilities(),
                _ => self.concepts.index().index().capabilities(),
            };
            (name, health, can)
        });
        services.chain([("database", database, Capabilities::default())]).collect()
    }

    /// Which replica loads the terminology, or has; none if each has its own.
    pub(crate) async fn loading_status(&self) -> statehouse::Result<Option<RunStatus>> {
        let name = self.concepts.edition().index_name();
        self.coord.run_once(&name, Revision::new(1, "")).status().await
    }

    /// How every cache was read here.
    pub(crate) const fn reads(&self) -> [&Reads; 3] {
        [&self.count_reads, &self.staff_reads, self.concepts.reads()]
    }

    /// For the probe. Without the database much cannot be done, and that is said where it is tried; without this replica too
    /// nothing would be better.
    pub(crate) fn database_dependency(&self) -> Dependency {
        let database = self.database.clone();
        Dependency::new("database", move || {
            let database = database.clone();
            async move { database.ping().await.map_err(|_| "it does not answer") }
        })
    }

    async fn database_health(&self) -> Health {
        let start = Instant::now();
        let probe = self.database.ping().await.map_err(|error| {
            statehouse::Error::new(ErrorKind::Unavailable, "the database does not answer").with_source(error)
        });
        Health::of(self.database.engine(), start.elapsed(), probe)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn while_the_database_is_away_nobody_is_told_that_they_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let args = ["--data".into(), folder.path().into()];
        let app = App::open(&Settings::read(args, |_| None).unwrap().unwrap()).await.unwrap();
        app.database.close().await;
        for tried in 0..12 {
            let error = app.admit("ada", "statehouse", [10, 0, 0, 1].into()).await.unwrap_err();
            assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE, "{tried}");
        }
    }
}

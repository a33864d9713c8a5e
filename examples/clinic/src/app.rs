//! What the handlers share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use statehouse::cache::TypedCache;
use statehouse::coord::{Coordination, RateLimiter, Revision, RunStatus};
use statehouse::files::Files;
use statehouse::session::{Authority, Session, SessionKey, SessionLayer, SessionStoreExt as _, Sessions, Snapshot};
use statehouse::{Capabilities, Dependency, ErrorKind, Health, Services};

use crate::attempts::Attempt;
use crate::db::{Database, Login, Staff};
use crate::error::{AppError, Result, SOON};
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

/// A session that is alive.
pub(crate) struct LiveLogin {
    pub(crate) login: Login,
    pub(crate) last_used: i64,
}

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
        let attempt = Attempt::of(&self.coord, login, from);
        if let Some(wait) = attempt.count().await? {
            tracing::warn!(target: "clinic::security", %from, "too many log-ins failed: refused for a time");
            let minutes = wait.as_secs().div_ceil(60).max(1);
            let words = format!("Too many log-ins failed. Try again in {minutes} min.");
            return Err(AppError::too_many(words, wait));
        }
        let Some(staff) = self.database.log_in(login, password).await? else {
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

    /// Where a member of staff is logged in. Forgets what has expired. Asks for many sessions at a time.
    pub(crate) async fn live_logins(&self, staff: i64) -> Result<Vec<LiveLogin>> {
        let mut logins = self.database.logins(staff).await?.into_iter();
        let mut live = Vec::new();
        loop {
            let some = logins.by_ref().take(16).map(|login| self.live_login(staff, login));
            let some: Vec<_> = some.collect();
            if some.is_empty() {
                return Ok(live);
            }
            live.extend(try_join_all(some).await?.into_iter().flatten());
        }
    }

    async fn live_login(&self, staff: i64, login: Login) -> Result<Option<LiveLogin>> {
        let snapshot = self.sessions.store().load(&session_key(&login.session_key)?).await?.found();
        let mine = |snapshot: &Snapshot| {
            snapshot.record().principal().is_some_and(|owner| owner.as_str() == staff.to_string())
        };
        let Some(snapshot) = snapshot.filter(mine) else {
            self.forget_login(staff, &login.session_key).await;
            return Ok(None);
        };
        let last_used = i64::try_from(snapshot.last_seen().as_micros() / 1_000).unwrap_or(i64::MAX);
        Ok(Some(LiveLogin { login, last_used }))
    }

    /// Removes the rows of sessions that began before this time and are no more. Says how many.
    pub(crate) async fn sweep_logins(&self, started_before: i64) -> Result<u64> {
        const AT_A_TIME: i64 = 200;
        let (mut removed, mut behind) = (0, String::new());
        loop {
            let logins = self.database.logins_before(started_before, &behind, AT_A_TIME).await?;
            let Some((_, last)) = logins.last() else { return Ok(removed) };
            behind.clone_from(last);
            for (staff, key) in &logins {
                if self.sessions.store().load(&session_key(key)?).await?.found().is_none() {
                    self.database.remove_login(*staff, key).await?;
                    removed += 1;
                }
            }
        }
    }

    /// Ends a session, whoever holds its cookie.
    pub(crate) async fn end_login(&self, staff: i64, key: &str) -> Result<()> {
        let _was_there = self.sessions.store().delete(&session_key(key)?, Authority::Application).await?;
        self.forget_login(staff, key).await;
        Ok(())
    }

    /// Removes the row of a session that has ended. Where that fails the session has ended all the same: the row is removed when
    /// its owner's sessions are listed, or by the sweep.
    pub(crate) async fn forget_login(&self, staff: i64, key: &str) {
        if let Err(error) = self.database.remove_login(staff, key).await {
            let _recorded = AppError::from(error);
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

/// The key under which the session is stored, as the table of log-ins has it.
pub(crate) async fn key_of(session: &Session) -> Result<String> {
    let key = session.key().await?.ok_or_else(|| AppError::conflict("There is no session. Log in again."))?;
    Ok(key.to_string())
}

fn session_key(text: &str) -> Result<SessionKey> {
    text.parse().map_err(|_| AppError::not_found("session"))
}

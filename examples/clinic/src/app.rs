//! What the handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use statehouse::cache::TypedCache;
use statehouse::files::Files;
use statehouse::session::{Authority, Session, SessionKey, SessionLayer, Sessions};
use statehouse::{Capabilities, ErrorKind, Health, Services};

use crate::db::{Database, Login};
use crate::error::{AppError, Result, SOON};
use crate::metrics::{Metrics, Reads};
use crate::settings::Settings;
use crate::terminology::Concepts;
use crate::wiring::Wiring;

/// How many diagnoses are active, by the number of the chapter.
pub(crate) type Counts = BTreeMap<String, i64>;

pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) services: Services,
    pub(crate) sessions: Sessions,
    pub(crate) documents: Files,
    pub(crate) markers: Files,
    pub(crate) concepts: Concepts,
    counts: TypedCache<Counts>,
    count_reads: Reads,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    draining: AtomicBool,
}

/// A session that is alive.
pub(crate) struct LiveLogin {
    pub(crate) login: Login,
    pub(crate) last_used: i64,
}

impl App {
    /// Opens everything that the settings name.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let wiring = Wiring::open(settings).await?;
        let open = Database::open(&settings.database).await;
        let database = open.map_err(|error| format!("cannot open the database: {error}"))?;
        Ok(Self {
            database,
            services: wiring.services,
            sessions: wiring.sessions,
            documents: wiring.documents,
            markers: wiring.markers,
            concepts: Concepts::new(wiring.concepts, wiring.chapter_counts, settings.edition),
            counts: wiring.counts,
            count_reads: Reads::default(),
            metrics: Metrics::default(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
        })
    }

    pub(crate) async fn close(&self) -> Result<(), statehouse::Error> {
        self.services.shutdown().await?;
        self.database.close().await;
        Ok(())
    }

    /// Tells load balancers to send no more requests here.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
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
                tracing::warn!(%error, "the diagnoses could not be counted");
                Err(AppError::unavailable("The database is out of reach. Try again in a moment.", SOON))
            }
            Err(error) => {
                tracing::warn!(%error, "counting without the cache");
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
            tracing::warn!(%error, "the counts could not be invalidated");
        }
    }

    /// Where a member of staff is logged in. Forgets what has expired.
    pub(crate) async fn live_logins(&self, staff: i64) -> Result<Vec<LiveLogin>> {
        let mut live = Vec::new();
        for login in self.database.logins(staff).await? {
            let snapshot = self.sessions.store().load(&session_key(&login.session_key)?).await?.found();
            let owner = snapshot.as_ref().and_then(|snapshot| snapshot.record().principal());
            match snapshot {
                Some(ref snapshot) if owner.is_some_and(|owner| owner.as_str() == staff.to_string()) => {
                    let last_used = i64::try_from(snapshot.last_seen().as_micros() / 1_000).unwrap_or(i64::MAX);
                    live.push(LiveLogin { login, last_used });
                }
                _ => self.database.remove_login(staff, &login.session_key).await?,
            }
        }
        Ok(live)
    }

    /// Ends a session, whoever holds its cookie.
    pub(crate) async fn end_login(&self, staff: i64, key: &str) -> Result<()> {
        let _was_there = self.sessions.store().delete(&session_key(key)?, Authority::Application).await?;
        Ok(self.database.remove_login(staff, key).await?)
    }

    /// Every service's name, how it is, and what it can do.
    pub(crate) async fn health(&self) -> [(&'static str, Health, Capabilities); 5] {
        let (services, database) = tokio::join!(self.services.health(), self.database_health());
        [
            ("cache", services.cache, self.counts.capabilities()),
            ("sessions", services.sessions, self.sessions.store().capabilities()),
            ("files", services.files, self.services.file_store().capabilities()),
            ("search", services.search, self.concepts.index().index().capabilities().clone()),
            ("database", database, Capabilities::default()),
        ]
    }

    /// Every cache's name, and how it was read here.
    pub(crate) const fn reads(&self) -> [(&'static str, &Reads); 2] {
        [("counts", &self.count_reads), ("chapter-counts", self.concepts.reads())]
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

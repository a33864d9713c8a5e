//! Everything that the clinic's replicas share. Nothing else in the clinic knows where it is kept.

use std::time::Duration;

use statehouse::cache::TypedCache;
use statehouse::coord::{Coordination, Rate, RateLimiter, WithoutStore};
use statehouse::files::Files;
use statehouse::search::Index;
use statehouse::session::{CookieConfig, SessionConfig, Sessions};
use statehouse::{Result, Services};

use crate::app::Counts;
use crate::db::Staff;
use crate::links::Links;
use crate::problem_sets::ProblemSets;
use crate::reports::Reports;
use crate::settings::Settings;
use crate::terminology::{ChapterCounts, Concept};

pub(crate) struct Wiring {
    pub(crate) services: Services,
    pub(crate) sessions: Sessions,
    pub(crate) documents: Files,
    pub(crate) links: Links,
    pub(crate) coord: Coordination,
    pub(crate) problem_sets: ProblemSets,
    pub(crate) reports: Reports,
    pub(crate) api_limit: Option<RateLimiter>,
    pub(crate) counts: TypedCache<Counts>,
    pub(crate) staff: TypedCache<Option<Staff>>,
    pub(crate) concepts: Index<Concept>,
    pub(crate) chapter_counts: TypedCache<ChapterCounts>,
}

impl Wiring {
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        // Memory and a folder; with STATEHOUSE_CACHE_URL=redis://… and the like, what all replicas share.
        let services = Services::builder(settings.statehouse.clone()).with_label(&*settings.replica).open().await?;

        // Who is logged in.
        let cookie = if settings.https { CookieConfig::default() } else { CookieConfig::insecure_localhost() };
        let config = SessionConfig::builder().idle_timeout(minutes(60)).cookie(cookie).build()?;
        let sessions = Sessions::new(services.sessions(), config);

        // Attached photos and letters.
        let documents = services.files("documents")?;

        // What replicas do together: one loads the terminology, one makes each report, and all count log-ins that fail,
        // answer an upload once, take each other's links and extend the same problem sets.
        let coord = services.coordination();
        let links = Links::new(documents.clone(), settings.link_keys.clone(), coord.state("links"));
        let problem_sets = ProblemSets::new(coord.state("problem-sets"), coord.broadcast("problem-sets"));
        let reports = Reports::new(coord.state("reports"));
        let api_rate = settings.api_rate.map(|count| Rate::new(count, Duration::from_secs(1))).transpose()?;
        let api_limit = api_rate.map(|rate| coord.limiter("api", rate, WithoutStore::Open));

        // What the dashboard shows: counted once, until a diagnosis is added or resolved.
        let counts = services.cache("counts").time_to_live(minutes(1)).open()?;

        // What each member of staff may do. Who is dismissed is out after these few seconds, in the middle of a session.
        let staff = services.cache("staff").time_to_live(Duration::from_secs(5)).open()?;

        // What diagnoses are coded with: each edition, in each shape of its index, has an index of its own.
        let concepts = services.search(&settings.edition.index_name()).open().await?;

        let chapter_counts = services.cache("chapter-counts").time_to_live(minutes(10)).open()?;

        // What cannot be had is said at the start, and not to the first who needs it.
        services.connect().await?;
        Ok(Self {
            services,
            sessions,
            documents,
            links,
            coord,
            problem_sets,
            reports,
            api_limit,
            counts,
            staff,
            concepts,
            chapter_counts,
        })
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

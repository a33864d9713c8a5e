//! Everything that the clinic's replicas share. Nothing else in the clinic knows where it is kept.

use std::time::Duration;

use statehouse::cache::TypedCache;
use statehouse::files::Files;
use statehouse::search::Index;
use statehouse::session::{CookieConfig, SessionConfig, Sessions};
use statehouse::{Result, Services};

use crate::app::Counts;
use crate::db::Staff;
use crate::settings::Settings;
use crate::terminology::{ChapterCounts, Concept};

pub(crate) struct Wiring {
    pub(crate) services: Services,
    pub(crate) sessions: Sessions,
    pub(crate) documents: Files,
    pub(crate) markers: Files,
    pub(crate) counts: TypedCache<Counts>,
    pub(crate) staff: TypedCache<Option<Staff>>,
    pub(crate) concepts: Index<Concept>,
    pub(crate) chapter_counts: TypedCache<ChapterCounts>,
}

impl Wiring {
    pub(crate) async fn open(settings: &Settings) -> Result<Self> {
        // Memory and a folder; with STATEHOUSE_CACHE_URL=redis://… and the like, what all replicas share.
        let services = Services::open(settings.statehouse.clone()).await?;

        // Who is logged in.
        let cookie = if settings.https { CookieConfig::default() } else { CookieConfig::insecure_localhost() };
        let config = SessionConfig::builder().idle_timeout(minutes(60)).cookie(cookie).build()?;
        let sessions = Sessions::new(services.sessions(), config);

        // Attached photos and letters; and who loads the terminology.
        let documents = services.files("documents")?;
        let markers = services.files("terminology")?;

        // What the dashboard shows: counted once, until a diagnosis is added or resolved.
        let counts = services.cache("counts").time_to_live(minutes(1)).open()?;

        // What each member of staff may do. Who is dismissed is out after these few seconds, in the middle of a session.
        let staff = services.cache("staff").time_to_live(Duration::from_secs(5)).open()?;

        // What diagnoses are coded with: each edition, in each shape of its index, has an index of its own.
        let concepts = services.search(&settings.edition.index_name()).open().await?;

        let chapter_counts = services.cache("chapter-counts").time_to_live(minutes(10)).open()?;

        // What cannot be had is said at the start, and not to the first who needs it.
        services.connect().await?;
        Ok(Self { services, sessions, documents, markers, counts, staff, concepts, chapter_counts })
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

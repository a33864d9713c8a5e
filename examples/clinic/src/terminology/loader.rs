//! Loads the terminology once, however many replicas start.

use std::sync::Arc;
use std::time::Duration;

use statehouse::Result;
use statehouse::search::Query;

use super::lease::{Lease, Turn, Watch};
use super::progress::Progress;
use crate::app::App;

/// Concepts in one bulk.
const BULK: usize = 1_000;
/// How often a waiting replica looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Returns when the terminology is there, whoever loaded it.
pub(crate) async fn load(app: Arc<App>) {
    let mut watch = Watch::new(app.markers.clone(), app.concepts.edition());
    loop {
        match step(&app, &mut watch).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the terminology is not loaded yet; trying again"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    app.concepts.set_ready();
    tracing::info!(edition = app.concepts.edition().name(), "the terminology is ready");
}

async fn step(app: &App, watch: &mut Watch) -> Result<bool> {
    match watch.turn().await? {
        Turn::Wait => Ok(false),
        Turn::Load(lease) => load_all(app, lease).await,
        Turn::Loaded(note) => {
            if app.concepts.index().count(Query::all()).await? == app.concepts.edition().len() {
                return Ok(true);
            }
            match note.distrust().await? {
                Some(lease) => load_all(app, lease).await,
                None => Ok(false),
            }
        }
    }
}

/// `false` if another replica took over meanwhile. Loading a concept twice changes nothing.
async fn load_all(app: &App, mut lease: Lease) -> Result<bool> {
    let (index, edition) = (app.concepts.index(), app.concepts.edition());
    let mut progress = Progress::new(edition.len());
    let mut concepts = edition.concepts();
    let mut loaded = 0;
    while loaded < edition.len() {
        let bulk: Vec<_> = concepts.by_ref().take(BULK).collect();
        loaded += bulk.len() as u64;
        // The last bulk commits those before it.
        let write = index.upsert_all(bulk);
        let write = if loaded < edition.len() { write.queued() } else { write };
        write.await?;
        if !lease.renew().await? {
            tracing::info!("another replica goes on loading the terminology");
            return Ok(false);
        }
        app.concepts.set_loaded(loaded);
        progress.show(loaded);
    }
    index.refresh().await?;
    lease.finish().await
}

//! Loads the terminology once, however many replicas start.

use std::sync::Arc;
use std::time::Duration;

use statehouse::Result;
use statehouse::search::Query;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lease::{Lease, Turn, Watch};
use super::progress::Progress;
use crate::app::App;

/// Concepts in one bulk.
const BULK: usize = 1_000;
/// How often a waiting replica looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the loading may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The terminology is being loaded, by this replica or another.
pub(crate) struct Loading {
    task: JoinHandle<()>,
    told: watch::Sender<bool>,
}

impl Loading {
    pub(crate) fn start(app: Arc<App>) -> Self {
        let (told, stop) = watch::channel(false);
        Self { task: tokio::spawn(load(app, stop)), told }
    }

    /// Gives this replica's turn, if it has it, to another one.
    pub(crate) async fn stop(self) {
        self.told.send_replace(true);
        if tokio::time::timeout(STOP_WITHIN, self.task).await.is_err() {
            tracing::info!("the loading of the terminology is cut off");
        }
    }
}

/// Returns when the terminology is there, whoever loaded it, or when this replica is told to stop.
async fn load(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut marker = Watch::new(app.markers.clone(), app.concepts.edition());
    loop {
        match step(&app, &mut marker, &stop).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the terminology is not loaded yet; trying again"),
        }
        let told = tokio::time::timeout(LOOK_EVERY, stop.wait_for(|stop| *stop)).await;
        if told.is_ok() {
            return;
        }
    }
    app.concepts.set_ready();
    tracing::info!(edition = app.concepts.edition().name(), "the terminology is ready");
}

async fn step(app: &App, watch: &mut Watch, stop: &watch::Receiver<bool>) -> Result<bool> {
    match watch.turn().await? {
        Turn::Wait => Ok(false),
        Turn::Load(lease) => load_all(app, lease, stop).await,
        Turn::Loaded(note) => {
            if app.concepts.index().count(Query::all()).await? == app.concepts.edition().len() {
                return Ok(true);
            }
            match note.distrust().await? {
                Some(lease) => load_all(app, lease, stop).await,
                None => Ok(false),
            }
        }
    }
}

/// `false` if another replica took over meanwhile. Loading a concept twice changes nothing.
async fn load_all(app: &App, mut lease: Lease, stop: &watch::Receiver<bool>) -> Result<bool> {
    let (index, edition) = (app.concepts.index(), app.concepts.edition());
    let mut progress = Progress::new(edition.len());
    let mut concepts = edition.concepts();
    let mut loaded = 0;
    while loaded < edition.len() {
        if *stop.borrow() {
            tracing::info!(loaded, "stopping: another replica, or the next start, loads the terminology");
            return lease.give_up().await.map(|()| false);
        }
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

//! Loads the terminology once, however many replicas start.

use std::sync::Arc;
use std::time::Duration;

use statehouse::Result;
use statehouse::search::{Query, capability};
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
    // An index of this process alone is nobody else's to load, whoever has the same folder for files.
    let alone = !app.concepts.index().index().capabilities().has(capability::SHARED);
    loop {
        let step = if alone { load_alone(&app, &stop).await } else { step(&app, &mut marker, &stop).await };
        match step {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => app.concepts.loading().failed(error),
        }
        let told = tokio::time::timeout(LOOK_EVERY, stop.wait_for(|stop| *stop)).await;
        if told.is_ok() {
            return;
        }
    }
    app.concepts.loading().finish();
    tracing::info!(edition = app.concepts.edition().name(), "the terminology is ready");
}

async fn load_alone(app: &App, stop: &watch::Receiver<bool>) -> Result<bool> {
    if is_whole(app).await? { Ok(true) } else { load_all(app, None, stop).await }
}

async fn is_whole(app: &App) -> Result<bool> {
    Ok(app.concepts.index().count(Query::all()).await? == app.concepts.edition().len())
}

async fn step(app: &App, watch: &mut Watch, stop: &watch::Receiver<bool>) -> Result<bool> {
    match watch.turn().await? {
        Turn::Wait => Ok(false),
        Turn::Load(lease) => load_all(app, Some(lease), stop).await,
        Turn::Loaded(note) => {
            if is_whole(app).await? {
                return Ok(true);
            }
            match note.distrust().await? {
                None => Ok(false),
                lease => load_all(app, lease, stop).await,
            }
        }
    }
}

/// `false` if another replica took over meanwhile. Loading a concept twice changes nothing.
async fn load_all(app: &App, mut lease: Option<Lease>, stop: &watch::Receiver<bool>) -> Result<bool> {
    let (index, edition) = (app.concepts.index(), app.concepts.edition());
    let mut progress = Progress::new(edition.len());
    let mut concepts = edition.concepts();
    let mut loaded = 0;
    while loaded < edition.len() {
        if *stop.borrow() {
            tracing::info!(loaded, "stopping: another replica, or the next start, loads the terminology");
            if let Some(lease) = lease {
                lease.give_up().await?;
            }
            return Ok(false);
        }
        let bulk: Vec<_> = concepts.by_ref().take(BULK).collect();
        loaded += bulk.len() as u64;
        // The last bulk commits those before it.
        let write = index.upsert_all(bulk);
        let write = if loaded < edition.len() { write.queued() } else { write };
        write.await?;
        if let Some(lease) = &mut lease
            && !lease.renew().await?
        {
            tracing::info!("another replica goes on loading the terminology");
            return Ok(false);
        }
        app.concepts.loading().progress(loaded, edition.len());
        progress.show(loaded);
    }
    index.refresh().await?;
    match lease {
        Some(lease) => lease.finish().await,
        None => Ok(true),
    }
}

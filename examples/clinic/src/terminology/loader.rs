//! Loads the terminology once, however many replicas start.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use statehouse::coord::{Revision, Run, RunOnce, RunPhase};
use statehouse::search::{MassIndexed, MassIndexer, Query, capability, rows_of};
use statehouse::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::progress::Progress;
use crate::app::App;

/// After so many concepts all of them are durable, and a successor goes on there.
const SAVE_EVERY: u64 = 5_000;
/// After how long another replica goes on where one was killed.
const LEASE: Duration = Duration::from_secs(10);
/// How often it is tried again, and how often a waiting replica looks how far the other one is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The terminology is being loaded, by this replica or another.
pub(crate) struct Loading(JoinHandle<()>);

impl Loading {
    pub(crate) fn start(app: Arc<App>) -> Self {
        Self(tokio::spawn(load(app)))
    }

    /// Ends it where it is. If it was this replica that loads, another one goes on at once.
    pub(crate) async fn stop(self) {
        self.0.abort();
        let _cut_off = self.0.await;
    }
}

/// Returns when the terminology is there, whoever loaded it.
async fn load(app: Arc<App>) {
    // An index of this process alone is nobody else's to load.
    let shared = app.concepts.index().index().capabilities().has(capability::SHARED);
    loop {
        let loaded = if shared { load_once(&app).await } else { load_alone(&app).await };
        match loaded {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => app.concepts.loading().failed(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    app.concepts.loading().finish();
    tracing::info!(edition = app.concepts.edition().name(), "the terminology is ready");
}

async fn is_whole(app: &App) -> Result<bool> {
    Ok(app.concepts.index().count(Query::all()).await? == app.concepts.edition().len())
}

async fn load_alone(app: &Arc<App>) -> Result<bool> {
    if !is_whole(app).await? {
        load_all(app, None).await?;
    }
    Ok(true)
}

/// By one replica for all. Says whether it is there.
async fn load_once(app: &Arc<App>) -> Result<bool> {
    let once = |number| {
        let (name, revision) = (app.concepts.edition().index_name(), Revision::new(number, ""));
        app.coord.run_once(&name, revision).lease(LEASE)
    };
    let number = match app.loading_status().await? {
        None => 1,
        // It was loaded, and the index was lost.
        Some(status) if status.phase == RunPhase::Done && !is_whole(app).await? => status.revision.number() + 1,
        Some(status) => status.revision.number(),
    };
    let loading = once(number).run(|run| load_this_time(app, run));
    tokio::select! {
        ran = loading => drop(ran?),
        never = show(app, once(number)) => match never {},
    }
    is_whole(app).await
}

async fn load_this_time(app: &Arc<App>, run: Run) -> Result<()> {
    if run.checkpoint().is_none() && is_whole(app).await? {
        return Ok(());
    }
    let loaded = load_all(app, Some(run)).await;
    // Nothing has failed if another one goes on.
    if let Some(error) = loaded.as_ref().err().filter(|error| error.kind() != ErrorKind::Conflict) {
        app.concepts.loading().failed(error);
    }
    loaded
}

/// For those who ask this replica: how far whoever loads is. A successor begins behind what was saved last, which is no step back.
async fn show(app: &App, run: RunOnce) -> Infallible {
    let mut most = 0;
    loop {
        if let Ok(Some(status)) = run.status().await
            && status.phase == RunPhase::Running
        {
            most = status.done.max(most);
            app.concepts.loading().progress(most, status.total);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// From the checkpoint on. Loading a concept twice changes nothing.
async fn load_all(app: &Arc<App>, run: Option<Run>) -> Result<()> {
    let edition = app.concepts.edition();
    let before = run.as_ref().map_or(0, saved);
    if let Some(run) = run.as_ref().filter(|run| run.attempt() > 1) {
        tracing::info!(
            attempt = run.attempt(),
            loaded = before,
            "going on with the terminology where another replica stopped"
        );
    }
    let rows = edition.concepts().skip(usize::try_from(before).unwrap_or(usize::MAX));
    let (alone, mut progress) = (run.is_none().then(|| Arc::clone(app)), Progress::new(edition.len()));
    let (sender, receiver) = watch::channel(before);
    let mut indexer = MassIndexer::new(Arc::clone(app.concepts.index().index())).save_every(SAVE_EVERY);
    if let Some(run) = &run {
        indexer = indexer.fenced(run);
    }
    let indexer = indexer.on_progress(move |done| {
        let loaded = before + done.rows;
        sender.send_replace(loaded);
        if let Some(app) = &alone {
            app.concepts.loading().progress(loaded, app.concepts.edition().len());
        }
        progress.show(loaded);
    });
    let save = |done: MassIndexed| {
        let (run, loaded) = (run.as_ref(), before + done.rows);
        async move {
            match run {
                Some(run) => run.save(loaded.to_string(), loaded, edition.len()).await,
                None => Ok(()),
            }
        }
    };
    tokio::select! {
        loaded = indexer.run_saving(rows_of(rows), save) => loaded.map(drop),
        taken_over = tell(run.as_ref(), receiver, edition.len()) => Err(taken_over),
    }
}

/// Says to all replicas how far it is, until another one has taken over.
async fn tell(run: Option<&Run>, mut loaded: watch::Receiver<u64>, total: u64) -> Error {
    while let Some(run) = run
        && loaded.changed().await.is_ok()
    {
        let loaded = *loaded.borrow_and_update();
        if let Err(error) = run.progress(loaded, total).await {
            return error;
        }
    }
    std::future::pending().await
}

/// How many concepts an attempt before has loaded for good.
fn saved(run: &Run) -> u64 {
    let checkpoint = run.checkpoint().and_then(|checkpoint| std::str::from_utf8(checkpoint).ok());
    checkpoint.and_then(|count| count.parse().ok()).unwrap_or(0)
}

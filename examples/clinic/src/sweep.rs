//! Removes files of uploads that died between the file and its row.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;

use crate::app::App;
use crate::error::Result;

const EVERY: Duration = Duration::from_secs(15 * 60);
/// An upload that began later may still be under way.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// Sweeps now and then. Replicas may do so at the same time: deleting twice is deleting.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(EVERY).await;
        match sweep(&app, GRACE).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "swept files without a document"),
            Err(error) => tracing::warn!(message = error.message, "could not sweep; trying again later"),
        }
    }
}

async fn sweep(app: &App, grace: Duration) -> Result<u64> {
    let mut removed = 0;
    let mut files = pin!(app.documents.list("").stream());
    while let Some(file) = files.try_next().await? {
        let age = SystemTime::now().duration_since(file.modified.into()).unwrap_or_default();
        let Some(id) = app.documents.name(&file.key).filter(|_| age > grace) else { continue };
        if app.database.document(id).await?.is_none() {
            app.documents.delete(id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

//! Ends uploads that died between the file and its row, and removes drafts that nobody goes on with: once in the fleet.

use std::sync::Arc;
use std::time::Duration;

use statehouse::ErrorKind;
use statehouse::coord::Delivery;
use statehouse::files::{Decision, StageId, Swept};

use crate::app::App;
use crate::error::{AppError, Result};
use crate::time::now;

const EVERY: Duration = Duration::from_secs(15 * 60);
/// A file that was staged later may still get its row: that takes as long as one statement, which the database ends after ten
/// seconds.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// Nobody goes on with a note after so long.
const KEEP_DRAFTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Takes part in the sweeps.
pub(crate) async fn run(app: Arc<App>) {
    let schedule = app.coord.schedule("sweep", EVERY, Delivery::AtLeastOnce);
    let error = schedule.run(async |_| both(&app).await.map_err(|error| error.message)).await;
    tracing::warn!(%error, "this replica sweeps nothing");
}

async fn both(app: &App) -> Result<()> {
    let drafts = app.database.sweep_drafts(now() - millis(KEEP_DRAFTS)).await.map_err(AppError::from);
    let swept = sweep(app, GRACE).await?;
    if swept != Swept::default() {
        tracing::info!(?swept, "swept what uploads have left behind");
    }
    match drafts? {
        0 => {}
        removed => tracing::info!(removed, "swept old drafts"),
    }
    Ok(())
}

/// Commits files that have a row, and discards those that will never have one.
async fn sweep(app: &App, grace: Duration) -> Result<Swept> {
    let decide = async |id: String, _: StageId| match app.database.document(&id).await {
        Ok(row) => Ok(row.map_or(Decision::Discard, |_| Decision::Commit)),
        Err(error) => {
            Err(statehouse::Error::new(ErrorKind::Unavailable, "the database does not answer").with_source(error))
        }
    };
    Ok(app.documents.sweep().grace(grace).decide(decide).await?)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Document;
    use crate::settings::Settings;

    async fn clinic(data: &std::path::Path) -> App {
        let args = ["--data".into(), data.into()];
        App::open(&Settings::read(args, |_| None).unwrap().unwrap()).await.unwrap()
    }

    /// As an upload that dies before its file is committed: with its row or before that.
    async fn stage(app: &App, id: &str, with_row: bool) {
        let staged = app.documents.put(id, "pixels").content_type("image/png").stage().await.unwrap();
        let (id, name, content_type) = (id.to_owned(), "scan.png".to_owned(), "image/png".to_owned());
        let (added_by, stage) = ("Ada".to_owned(), Some(staged.id().to_string()));
        let document = Document { id, patient: 1, name, content_type, size: 6, added_at: 0, added_by, stage };
        if with_row {
            app.database.add_document(&document).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_file_with_a_row_is_committed_and_one_without_is_discarded_after_the_grace() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        stage(&app, "with-row", true).await;
        stage(&app, "orphan", false).await;
        assert_eq!(sweep(&app, GRACE).await.unwrap(), Swept::default(), "the row may be about to come");
        let swept = sweep(&app, Duration::ZERO).await.unwrap();
        assert_eq!((swept.committed, swept.discarded, swept.kept), (1, 1, 0));
        assert_eq!(app.documents.get("with-row").bytes().await.unwrap(), "pixels");
        assert!(!app.documents.exists("orphan").await.unwrap());
        assert_eq!(sweep(&app, Duration::ZERO).await.unwrap(), Swept::default());
        app.close().await.unwrap();
    }
}

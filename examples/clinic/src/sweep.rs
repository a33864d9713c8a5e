//! Ends uploads that died between the file and its row, deletes documents that were removed a month ago, and removes drafts that
//! nobody goes on with: once in the fleet.

use std::sync::Arc;
use std::time::Duration;

use statehouse::ErrorKind;
use statehouse::coord::Delivery;
use statehouse::files::{Decision, StageId, Swept};

use crate::app::App;
use crate::db::Document;
use crate::error::{AppError, Result};

const EVERY: Duration = Duration::from_secs(15 * 60);
/// A file that was staged later may still get its row: that takes as long as one statement, which the database ends after ten
/// seconds.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// Nobody goes on with a note after so long.
const KEEP_DRAFTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long somebody can restore a document.
pub(crate) const KEEP_REMOVED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Takes part in the sweeps.
pub(crate) async fn run(app: Arc<App>) {
    let schedule = app.coord.schedule("sweep", EVERY, Delivery::AtLeastOnce);
    let error = schedule.run(async |_| all(&app).await.map_err(|error| error.message)).await;
    tracing::warn!(%error, "this replica sweeps nothing");
}

/// Each of them, whatever becomes of the others.
async fn all(app: &App) -> Result<()> {
    let drafts = app.database.sweep_drafts(KEEP_DRAFTS).await.map_err(AppError::from);
    let deleted = delete_removed(app, KEEP_REMOVED).await;
    let swept = sweep(app, GRACE).await?;
    if swept != Swept::default() {
        tracing::info!(?swept, "swept what uploads have left behind");
    }
    match drafts? {
        0 => {}
        removed => tracing::info!(removed, "swept old drafts"),
    }
    match deleted? {
        0 => {}
        deleted => tracing::info!(deleted, "deleted documents for good that were removed long ago"),
    }
    Ok(())
}

/// Deletes what was removed so long ago for good, and what an earlier sweep has begun to. How many there were.
///
/// The end of a row comes first: from then on nobody can restore it, so that no row is without its file. The row itself goes last:
/// as long as it is there a file may be, and the next sweep goes on with it, whatever died in between.
async fn delete_removed(app: &App, keep: Duration) -> Result<usize> {
    app.database.end_documents(keep).await?;
    let (mut deleted, mut failed) = (0, None);
    for document in app.database.ended_documents().await? {
        match delete(app, &document).await {
            Ok(()) => deleted += 1,
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(deleted), Err)
}

async fn delete(app: &App, document: &Document) -> Result<()> {
    if let Some(stage) = &document.stage {
        // Else who has found the row before it ended could make the file behind us.
        let _committed_or_not = app.documents.discard(&document.id, stage.parse()?).await?;
    }
    let _there_or_not = app.documents.delete(&document.id).await?;
    Ok(app.database.forget_document(&document.id).await?)
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

#[cfg(test)]
mod tests {
    use statehouse::files::CommitOutcome;

    use super::*;
    use crate::settings::Settings;
    use crate::time::{millis, set_ahead};

    async fn clinic(data: &std::path::Path) -> App {
        let args = ["--data".into(), data.into()];
        App::open(&Settings::read(args, |_| None).unwrap().unwrap()).await.unwrap()
    }

    /// As an upload that dies before its file is committed: with its row or before that.
    async fn stage(app: &App, id: &str, with_row: bool) {
        let staged = app.documents.put(id, "pixels").content_type("image/png").stage().await.unwrap();
        let (id, name, content_type) = (id.to_owned(), "scan.png".to_owned(), "image/png".to_owned());
        let (added_by, stage) = ("Ada".to_owned(), Some(staged.id().to_string()));
        let (removed_at, removed_by) = (None, None);
        let document = Document {
            id,
            patient: 1,
            name,
            content_type,
            size: 6,
            added_at: 0,
            added_by,
            stage,
            removed_at,
            removed_by,
        };
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

    async fn attach(app: &App, id: &str) {
        stage(app, id, true).await;
        let stage = app.database.document(id).await.unwrap().unwrap().stage.unwrap();
        let _committed = app.documents.commit(id, stage.parse().unwrap()).await.unwrap();
    }

    /// Whether there is a row that somebody can meet, and whether there is a file.
    async fn is_there(app: &App, id: &str) -> (bool, bool) {
        (app.database.document(id).await.unwrap().is_some(), app.documents.exists(id).await.unwrap())
    }

    #[tokio::test]
    async fn what_was_removed_long_ago_is_deleted_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        for id in ["kept", "removed", "restored"] {
            attach(&app, id).await;
        }
        for id in ["removed", "restored"] {
            assert!(app.database.remove_document(1, id, "Ada").await.unwrap());
            assert!(!app.database.remove_document(1, id, "Grace").await.unwrap(), "it was removed");
        }
        assert!(!app.database.restore_document(2, "restored").await.unwrap(), "of another patient");
        assert!(app.database.restore_document(1, "restored").await.unwrap());
        assert!(!app.database.restore_document(1, "restored").await.unwrap(), "it was restored");
        assert_eq!(delete_removed(&app, KEEP_REMOVED).await.unwrap(), 0, "it may be restored for a month");
        assert_eq!(is_there(&app, "removed").await, (true, true));
        assert_eq!(delete_removed(&app, Duration::ZERO).await.unwrap(), 1);
        assert_eq!(is_there(&app, "removed").await, (false, false));
        assert!(!app.database.restore_document(1, "removed").await.unwrap(), "too late");
        for id in ["kept", "restored"] {
            assert_eq!(is_there(&app, id).await, (true, true), "{id}");
        }
        app.close().await.unwrap();
    }

    /// That of one replica may have been wrong while it removed something, or be so while it sweeps.
    #[tokio::test]
    async fn no_replicas_clock_decides_what_was_removed_long_ago() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        let months = 3 * millis(KEEP_REMOVED);
        for (id, removed, swept) in [("early", -months, 0), ("late", 0, months)] {
            attach(&app, id).await;
            set_ahead(removed);
            assert!(app.database.remove_document(1, id, "Ada").await.unwrap());
            set_ahead(swept);
            assert_eq!(delete_removed(&app, KEEP_REMOVED).await.unwrap(), 0, "{id}: it may be restored for a month");
            assert!(app.database.restore_document(1, id).await.unwrap(), "{id}");
            set_ahead(0);
        }
        app.close().await.unwrap();
    }

    /// Dies behind each step: the next sweep does the rest.
    #[tokio::test]
    async fn a_sweep_goes_on_where_one_has_died() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        for (step, id) in ["ended", "discarded", "deleted"].into_iter().enumerate() {
            // The first one's file was never committed.
            if step == 0 {
                stage(&app, id, true).await
            } else {
                attach(&app, id).await
            }
            assert!(app.database.remove_document(1, id, "Ada").await.unwrap());
            let stage = app.database.document(id).await.unwrap().unwrap().stage.unwrap().parse().unwrap();
            app.database.end_documents(Duration::ZERO).await.unwrap();
            assert!(!app.database.restore_document(1, id).await.unwrap(), "the row has ended");
            if step > 0 {
                let _committed = app.documents.discard(id, stage).await.unwrap();
            }
            if step > 1 {
                let _there = app.documents.delete(id).await.unwrap();
            }
            assert_eq!(delete_removed(&app, KEEP_REMOVED).await.unwrap(), 1, "{id}");
            assert_eq!(is_there(&app, id).await, (false, false), "{id}");
            let late = app.documents.commit(id, stage).await.unwrap();
            assert_eq!(late, CommitOutcome::Gone, "{id}: nobody makes the file behind the sweep");
        }
        assert_eq!(sweep(&app, Duration::ZERO).await.unwrap(), Swept::default(), "no stage is left either");
        app.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_restore_during_the_sweep_has_its_file_or_finds_nothing() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        for round in 0..24 {
            let id = format!("round-{round}");
            attach(&app, &id).await;
            assert!(app.database.remove_document(1, &id, "Ada").await.unwrap());
            let restore = async {
                tokio::time::sleep(Duration::from_micros(100 * (round % 12))).await;
                app.database.restore_document(1, &id).await.unwrap()
            };
            let (is_restored, swept) = tokio::join!(restore, delete_removed(&app, Duration::ZERO));
            assert_eq!(swept.unwrap(), usize::from(!is_restored), "round {round}");
            assert_eq!(is_there(&app, &id).await, (is_restored, is_restored), "round {round}");
        }
        app.close().await.unwrap();
    }

    #[tokio::test]
    async fn of_two_who_remove_or_restore_at_once_one_does() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        attach(&app, "one").await;
        let remove = |by| app.database.remove_document(1, "one", by);
        let restore = || app.database.restore_document(1, "one");
        for _ in 0..10 {
            let (ada, grace) = tokio::join!(remove("Ada"), remove("Grace"));
            let (ada, grace) = (ada.unwrap(), grace.unwrap());
            assert!(ada != grace);
            let by = app.database.document("one").await.unwrap().unwrap().removed_by;
            assert_eq!(by.as_deref(), Some(if ada { "Ada" } else { "Grace" }));
            let (one, other) = tokio::join!(restore(), restore());
            assert!(one.unwrap() != other.unwrap());
        }
        app.close().await.unwrap();
    }
}

//! Removes files of uploads that died between the file and its row, and rows of what has ended by itself.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;

use crate::app::App;
use crate::error::Result;
use crate::time::now;

const EVERY: Duration = Duration::from_secs(15 * 60);
/// An upload that began later may still be under way.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// Nobody goes on with a note after so long.
const KEEP_DRAFTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Sweeps now and then. Replicas may do so at the same time: deleting twice is deleting.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(EVERY).await;
        match sweep(&app, SystemTime::now() - GRACE).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "swept files without a document"),
            Err(error) => tracing::warn!(message = error.message, "could not sweep; trying again later"),
        }
        match sweep_rows(&app, now()).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "swept rows of sessions and drafts that are over"),
            Err(error) => tracing::warn!(message = error.message, "could not sweep rows; trying again later"),
        }
    }
}

/// Removes the rows of sessions that have ended by themselves, and of old drafts.
async fn sweep_rows(app: &App, now: i64) -> Result<u64> {
    let removed = app.sweep_logins(now - millis(GRACE)).await?;
    let drafts = app.database.sweep_drafts(now - millis(KEEP_DRAFTS)).await?;
    Ok(removed + drafts)
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Removes what was stored before this time and has no row.
async fn sweep(app: &App, stored_before: SystemTime) -> Result<u64> {
    let mut removed = 0;
    let mut files = pin!(app.documents.list("").stream());
    while let Some(file) = files.try_next().await? {
        let due = SystemTime::from(file.modified) < stored_before;
        let Some(id) = app.documents.name(&file.key).filter(|_| due) else { continue };
        if app.database.document(id).await?.is_none() {
            app.documents.delete(id).await?;
            removed += 1;
        }
    }
    Ok(removed)
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

    /// As an upload does it, and as one that dies in between.
    async fn store(app: &App, id: &str, with_row: bool) {
        app.documents.put(id, "pixels").content_type("image/png").await.unwrap();
        let (id, name, content_type) = (id.to_owned(), "scan.png".to_owned(), "image/png".to_owned());
        let document =
            Document { id, patient: 1, name, content_type, size: 6, added_at: 0, added_by: "Ada".to_owned() };
        if with_row {
            app.database.add_document(&document).await.unwrap();
        }
    }

    #[tokio::test]
    async fn only_a_file_without_a_row_is_swept_and_only_after_its_grace() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        store(&app, "referenced", true).await;
        store(&app, "orphan", false).await;
        let after = |minutes: u64| SystemTime::now() + Duration::from_secs(60 * minutes) - GRACE;
        assert_eq!(sweep(&app, after(59)).await.unwrap(), 0, "its upload may still be under way");
        assert!(app.documents.exists("orphan").await.unwrap());

        assert_eq!(sweep(&app, after(61)).await.unwrap(), 1);
        assert!(!app.documents.exists("orphan").await.unwrap());
        assert_eq!(app.documents.get("referenced").bytes().await.unwrap(), "pixels");
        assert_eq!(sweep(&app, after(61)).await.unwrap(), 0);
        app.close().await.unwrap();
    }

    #[tokio::test]
    async fn rows_of_sessions_that_are_over_are_swept_and_no_others() {
        let data = tempfile::tempdir().unwrap();
        let app = clinic(data.path()).await;
        for key in 0..40 {
            app.database.add_login(1, &format!("{key:064x}"), "curl").await.unwrap();
        }
        let session = app.sessions.open(&axum::http::HeaderMap::new());
        session.login(1).await.unwrap();
        session.commit().await.unwrap();
        let alive = crate::app::key_of(&session).await.unwrap();
        app.database.add_login(1, &alive, "Firefox").await.unwrap();
        assert_eq!(sweep_rows(&app, now()).await.unwrap(), 0, "a session may be about to be saved");
        assert_eq!(sweep_rows(&app, now() + 1 + millis(GRACE)).await.unwrap(), 40);
        let left = app.database.logins(1).await.unwrap();
        assert_eq!(left.iter().map(|login| &login.session_key).collect::<Vec<_>>(), [&alive]);
        app.close().await.unwrap();
    }
}

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
        match sweep(&app, SystemTime::now() - GRACE).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "swept files without a document"),
            Err(error) => tracing::warn!(message = error.message, "could not sweep; trying again later"),
        }
    }
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
        app.documents.put(id, "pixels").content_type("image/png").if_absent().await.unwrap();
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
}

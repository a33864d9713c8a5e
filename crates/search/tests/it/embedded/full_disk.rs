//! A disk without space: what was acknowledged is kept and committed when there is space again, and health says so.

use std::process::Command;
use std::time::Duration;

use statehouse_core::{ErrorKind, HealthStatus};
use statehouse_search::{
    BulkOptions, DocumentId, Durability, Operation, Query, SearchIndex, SearchIndexExt as _, TantivyConfig,
};

use super::{schema, upsert};

const DIRECTORY: &str = "STATEHOUSE_TEST_FULL_DISK";

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let folder = format!("{directory}/index");
    let config = || TantivyConfig::folder(&folder).with_commit_interval(Duration::from_millis(20));
    let index = config().open(schema()).await.unwrap();
    index.bulk(vec![upsert("old", "cholera"), upsert("gone", "fever")]).await.unwrap().check().unwrap();
    let filler = format!("{directory}/filler");
    fill(&filler);
    let id = |text: &str| DocumentId::new(text).unwrap();
    let queued = || BulkOptions::default().with_durability(Durability::Queued);
    let delete = Operation::Delete { id: id("gone"), version: None };
    index.bulk_with(vec![upsert("new", "typhoid"), delete], queued()).await.unwrap().check().unwrap();

    let kept =
        async || (index.get(&id("new")).await.unwrap().is_some(), index.get(&id("gone")).await.unwrap().is_none());
    for _ in 0..3 {
        let error = index.refresh().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
        assert_eq!(kept().await, (true, true));
        let health = index.health().await;
        assert_eq!(health.status, HealthStatus::Degraded);
        assert!(health.error.is_some());
    }
    // A write that waits is refused and did not happen; nor is one queued that might wait for ever.
    index.bulk(vec![upsert("new", "other"), upsert("more", "x")]).await.unwrap_err();
    index.bulk_with(vec![upsert("more", "x")], queued()).await.unwrap_err();
    assert!(index.get(&id("more")).await.unwrap().is_none());
    let new = index.get(&id("new")).await.unwrap().unwrap();
    assert_eq!(new.value("title").unwrap().as_text(), Some("typhoid"));

    std::fs::remove_file(&filler).unwrap();
    let committed = async {
        while index.count(&Query::matches("title", "typhoid").into()).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), committed).await.unwrap();
    assert_eq!(index.health().await.status, HealthStatus::Up);
    index.close().await.unwrap();
    drop(index);
    let index = config().open(schema()).await.unwrap();
    let found = index.search(&Query::all().into()).await.unwrap();
    assert_eq!(found.ids(), ["new", "old"]);
    std::fs::write(format!("{directory}/done"), "done").unwrap();
}

/// Writes until there is no space.
fn fill(path: &str) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    // A mount of its own name space, seen by nobody else; it goes with the process.
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" && \"$2\" --exact embedded::full_disk::the_process_on_the_small_disk && test -e \"$1/done\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory.path())
        .output()
        .expect("unshare, of util-linux");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

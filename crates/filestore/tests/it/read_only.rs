//! A directory that cannot be written is opened to read, if that is asked for.

use std::process::Command;
use std::sync::Arc;

use statehouse_core::{ErrorKind, Namespace, ServiceUrl};
use statehouse_filestore::{Files, LocalFileStore};

const DIRECTORY: &str = "STATEHOUSE_TEST_READ_ONLY";

/// Not a test of its own: runs where the directory is mounted so that nobody can write it.
#[tokio::test]
async fn the_process_on_the_read_only_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let path = format!("{directory}/files");
    let error = LocalFileStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(error.message().contains("access=read"), "{error}");
    let url = ServiceUrl::parse("FILES", &format!("file:{path}?access=read")).unwrap();
    let files = statehouse_filestore::open(url, &Namespace::new("n").unwrap()).await.unwrap();
    assert!(files.store().health().await.is_up());
    assert_eq!(files.get("a/b").bytes().await.unwrap(), "x");
    assert_eq!(files.get("long").bytes().await.unwrap(), vec![7; 3 << 20]);
    let etag = files.head("a/b").await.unwrap().etag;
    assert_eq!(files.list("").await.unwrap().entries.len(), 2);
    let denied = [
        files.put("a/b", "y").await.map(drop),
        files.put("c", vec![7; 3 << 20]).await.map(drop),
        files.put("c", "y").if_absent().await.map(drop),
        files.put("a/b", "y").if_match(&etag).await.map(drop),
        files.delete("a/b").await.map(drop),
        files.copy("a/b", "c").await.map(drop),
    ];
    for denied in denied {
        assert_eq!(denied.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    use std::io::Write;
    writeln!(std::io::stdout(), "all was read").unwrap();
}

#[tokio::test]
async fn a_read_only_disk_is_opened_to_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalFileStore::open(directory.path().join("files")).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    files.put("a/b", "x").await.unwrap();
    files.put("long", vec![7; 3 << 20]).await.unwrap();
    drop(files);
    // A mount of its own name space, seen by nobody else; it goes with the process.
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && \
                  exec \"$2\" --exact read_only::the_process_on_the_read_only_disk --nocapture";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory.path())
        .output()
        .expect("unshare, of util-linux");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("all was read"), "{text}");
}

#[tokio::test]
async fn what_is_no_store_is_not_opened_to_read_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    for (path, kind) in [("", ErrorKind::InvalidConfig), ("/missing", ErrorKind::NotFound)] {
        let url = format!("file:{}{path}?access=read", directory.path().display());
        let url = ServiceUrl::parse("FILES", &url).unwrap();
        let error = statehouse_filestore::open(url, &Namespace::new("n").unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.setting()), (kind, Some("FILES")), "{error:?}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

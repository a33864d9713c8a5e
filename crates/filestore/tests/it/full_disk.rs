//! A disk without space: a typed error, the old content, no litter, and all is well when there is space again.

use std::process::Command;
use std::sync::Arc;

use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::{Body, Files, LocalFileStore};

const DIRECTORY: &str = "STATEHOUSE_TEST_FULL_DISK";

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let store = LocalFileStore::open(format!("{directory}/files")).await.unwrap();
    let files = Files::new(Arc::new(store), Namespace::new("n").unwrap());
    files.put("a", "old").await.unwrap();
    let large = vec![7_u8; 3 << 20];
    let pieces: Vec<_> = large.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    for body in [Body::from(large.clone()), Body::from_stream(futures_util::stream::iter(pieces))] {
        let error = files.put("a", body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(error.message(), "the disk is full");
        assert!(!error.is_retryable());
    }
    assert_eq!(files.get("a").bytes().await.unwrap(), "old");
    // As much as there is only if the failed puts left nothing.
    files.put("b", vec![7; 1_500_000]).await.unwrap();
    files.delete("b").await.unwrap();
    files.put("a", vec![8; 1_500_000]).await.unwrap();
    std::fs::write(format!("{directory}/done"), "done").unwrap();
}

#[test]
fn a_full_disk_is_told_keeps_the_old_file_and_leaves_no_litter() {
    let directory = tempfile::tempdir().unwrap();
    // A mount of its own name space, seen by nobody else; it goes with the process.
    let script = "mount -t tmpfs -o size=2m tmpfs \"$1\" && \"$2\" --exact full_disk::the_process_on_the_small_disk && test -e \"$1/done\"";
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

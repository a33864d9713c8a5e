//! A disk without space: a typed error, the old content, no litter, and all is well when there is space again.

use std::sync::Arc;

use statehouse_core::{ErrorKind, Namespace};
use statehouse_filestore::{Body, Files, LocalFileStore};
use statehouse_testkit::SmallDisk;

/// Not a test of its own: runs where a small file system is mounted, which the other test sees to.
#[tokio::test]
async fn the_process_on_the_small_disk() {
    let Some(disk) = SmallDisk::here() else { return };
    let store = LocalFileStore::open(disk.path().join("files")).await.unwrap();
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
}

#[test]
fn a_full_disk_is_told_keeps_the_old_file_and_leaves_no_litter() {
    SmallDisk::run(2, "full_disk::the_process_on_the_small_disk");
}

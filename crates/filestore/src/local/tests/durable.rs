//! A directory that another process has made is as durable as one of our own once a file in it is acknowledged.

use std::sync::atomic::Ordering;

use super::*;

fn synced(store: &LocalFileStore) -> usize {
    store.disk.writing.as_ref().unwrap().stage.durable.synced.load(Ordering::Relaxed)
}

#[tokio::test]
async fn the_directory_above_one_that_another_process_has_made_is_synced_once() {
    let dir = Dir::new();
    let store = Arc::new(dir.store().await);
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
    fs::create_dir_all(dir.0.join("n+/p42+")).unwrap();
    files.put("p42/a", "x").await.unwrap();
    assert_eq!(synced(&store), 1, "by whoever finds it");
    // As soon as it is old enough to be told from one that would be made in its place.
    let mut before = 0;
    while before < synced(&store) {
        before = synced(&store);
        tokio::time::sleep(Duration::from_millis(20)).await;
        files.put("p42/a", "x").await.unwrap();
    }
    for name in ["p42/a", "p42/b", "p42/c"] {
        files.put(name, "y").await.unwrap();
    }
    assert_eq!(synced(&store), before, "and no more once it is known");
    // One that is made in its place is another one.
    for name in ["p42/a", "p42/b", "p42/c"] {
        files.delete(name).await.unwrap();
    }
    assert!(!dir.0.join("n+/p42+").exists());
    fs::create_dir_all(dir.0.join("n+/p42+")).unwrap();
    files.put("p42/a", "z").await.unwrap();
    assert_eq!(synced(&store), before + 1);
}

#[tokio::test]
async fn a_store_that_is_not_synced_syncs_no_directory() {
    let dir = Dir::new();
    let config = LocalConfig::new(&dir.0).with_durability(Durability::Relaxed);
    let store = Arc::new(LocalFileStore::open_with(config).await.unwrap());
    fs::create_dir_all(dir.0.join("n+/p42+")).unwrap();
    Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap()).put("p42/a", "x").await.unwrap();
    assert_eq!(synced(&store), 0);
}

/// Whoever has committed or deleted it may have failed before that was synced, or have been killed.
#[tokio::test]
async fn what_is_told_again_is_synced_first() {
    let dir = Dir::new();
    let store = Arc::new(dir.store().await);
    let files = Files::new(Arc::clone(&store) as Arc<dyn FileStore>, Namespace::new("n").unwrap());
    let count = || store.disk.synced.load(Ordering::Relaxed);
    let staged = files.put("p/a", "x").stage().await.unwrap();
    assert!(matches!(staged.commit().await.unwrap(), CommitOutcome::Committed(_)));
    let before = count();
    assert!(matches!(staged.commit().await.unwrap(), CommitOutcome::Committed(_)));
    assert_eq!(count(), before + 2, "where it is, and where it was");
    let before = count();
    assert_eq!(staged.discard().await.unwrap(), DiscardOutcome::Committed);
    assert!(count() >= before + 2, "whoever is told that it stays");
    files.put("p/b", "x").await.unwrap();
    files.delete("p/b").await.unwrap();
    let before = count();
    assert_eq!(files.delete("p/b").await.unwrap(), Deleted::Absent);
    assert_eq!(count(), before + 1);
    files.delete("p/a").await.unwrap();
    assert!(!dir.0.join("n+/p+").exists());
    let before = count();
    assert_eq!(files.delete("p/a").await.unwrap(), Deleted::Absent);
    assert_eq!(count(), before + 1, "what is above");
}

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ManualClock;

use super::*;

crate::filestore_conformance!(async { crate::conformance::Store::new(MemoryFileStore::new()) });

#[tokio::test]
async fn times_come_from_the_clock() {
    let clock = ManualClock::default();
    let store = MemoryFileStore::with_clock(Arc::new(clock.clone()));
    let key = FileKey::new("a").unwrap();
    clock.advance(Duration::from_secs(5));
    let stored = store.put_with(&key, "x".into(), PutOptions::default()).await.unwrap().stored();
    assert!(stored.is_some());
    assert_eq!(store.head_with(&key, HeadOptions::default()).await.unwrap().found().unwrap().modified, clock.now());
}

#[test]
fn it_needs_no_runtime() {
    let store = MemoryFileStore::new();
    let (key, content) = (FileKey::new("a").unwrap(), vec![7; 1 << 20]);
    let put = store.put_with(&key, content.clone().into(), PutOptions::default());
    let stored = futures_util::FutureExt::now_or_never(put).unwrap().unwrap();
    let stored = stored.stored().unwrap();
    assert_eq!(stored.sha256, Some(crate::digest::Digest::of(&content)));
    let etag = stored.etag.as_str();
    assert!(etag.len() == 34 && etag.starts_with('"') && etag.ends_with('"'), "as HTTP writes it: {etag}");
}

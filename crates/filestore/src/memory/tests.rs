use std::sync::Arc;
use std::time::Duration;

use statehouse_core::ManualClock;

use super::*;

crate::conformance_suite!(|| async { Arc::new(MemoryFileStore::new()) as Arc<dyn FileStore> });

#[tokio::test]
async fn times_come_from_the_clock() {
    let clock = ManualClock::default();
    let store = MemoryFileStore::with_clock(Arc::new(clock.clone()));
    let key = FileKey::new("a").unwrap();
    clock.advance(Duration::from_secs(5));
    store.put_with(&key, "x".into(), PutOptions::default()).await.unwrap();
    assert_eq!(store.head_with(&key, HeadOptions::default()).await.unwrap().modified, clock.now());
}

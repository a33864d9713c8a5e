use object_store::memory::InMemory;
use statehouse_core::ErrorKind;

use super::*;

crate::filestore_conformance!(async {
    let config = ObjectConfig::new().with_prefix("some/prefix").with_capability(capability::ETAG_PER_PUT);
    let store = ObjectFileStore::open(Arc::new(InMemory::new()), config).await;
    crate::conformance::Store::new(store.unwrap())
});

#[tokio::test]
async fn without_a_probe_no_condition_is_taken_that_nobody_vouches_for() {
    let open = async |config| ObjectFileStore::open(Arc::new(InMemory::new()), config).await.unwrap();
    let never = || ObjectConfig::new().with_probe(Probe::Never);
    let key = FileKey::new("a").unwrap();
    let put = async |store: &ObjectFileStore, condition| {
        let options = PutOptions::default().with_condition(condition).with_content_type("text/plain");
        store.put_with(&key, "x".into(), options).await
    };
    let store = open(never()).await;
    assert!(put(&store, Condition::Always).await.unwrap().stored().is_some());
    assert_eq!(put(&store, Condition::Absent).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let store = open(never().with_capability(capability::CREATE_IF_ABSENT)).await;
    assert!(put(&store, Condition::Absent).await.unwrap().stored().is_some());
    assert_eq!(put(&store, Condition::Absent).await.unwrap(), PutOutcome::Conflict);
}

#[tokio::test]
async fn a_store_is_as_durable_and_shared_as_who_brings_it_says() {
    let open = async |config| ObjectFileStore::open(Arc::new(InMemory::new()), config).await.unwrap();
    let [plain, vouched] = [ObjectConfig::new(), ObjectConfig::new().with_capability(capability::SHARED)];
    for (config, shared) in [(plain, false), (vouched, true)] {
        let has = open(config).await.capabilities();
        assert_eq!((has.has(capability::DURABLE), has.has(capability::SHARED)), (false, shared));
    }
}

/// A short file's put says what it has replaced before it is sent.
#[test]
fn what_is_stored_meanwhile_keeps_its_digest() {
    let (records, key) = (client::Records::default(), FileKey::new("k").unwrap());
    records.add(&key, "before");
    assert!(!records.forget(&FileKey::new("other").unwrap(), "before"));
    records.add(&key, "meanwhile");
    assert!(!records.forget(&key, "before"));
    assert!(records.forget(&key, "meanwhile") && !records.forget(&key, "meanwhile"));
}

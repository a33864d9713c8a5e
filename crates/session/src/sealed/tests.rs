use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use statehouse_core::{CodecId, KeyRing, Namespace, Secret, hex};

use super::SealedSessionStore;
use crate::record::{Attribute, AttributeName, Attributes, NewSession, Principal};
use crate::{MemorySessionStore, SessionKey, SessionStoreExt as _, VerifierHash};

const HOUR: Duration = Duration::from_secs(3_600);
const KEY: SessionKey = SessionKey::from_bytes([7; 32]);

/// What stands for the principal `u42`, and each attribute by what stands for its name. Another program has made it, after
/// the table alone: nothing in a seal is drawn.
const GOLDEN: &str = include_str!("../../golden/seal-v1.txt");

fn golden() -> (Principal, Attributes) {
    let (first, rest) = GOLDEN.split_once('\n').unwrap();
    let bytes = |text: &str| text.as_bytes().chunks(2).map(|two| hex::decode::<1>(two).unwrap()[0]).collect::<Bytes>();
    let attributes = rest.lines().map(|line| {
        let (name, value) = line.split_once(' ').unwrap();
        (AttributeName::new(name).unwrap(), Attribute::new(CodecId::RAW, bytes(value)))
    });
    (Principal::new(first.strip_prefix("principal ").unwrap()).unwrap(), attributes.collect())
}

fn plain() -> (Principal, Attributes) {
    let theme = Attribute::new(CodecId(4), Bytes::from_static(b"\xa4dark")).with_schema(7).with_type_name("str");
    (Principal::new("u42").unwrap(), Attributes::from([(AttributeName::new("theme").unwrap(), theme)]))
}

fn sealed(inner: &Arc<MemorySessionStore>) -> SealedSessionStore {
    let keys = KeyRing::new("2026-11", Secret::new("k".repeat(32))).unwrap();
    let names = Secret::new("n".repeat(32));
    SealedSessionStore::new(Arc::<MemorySessionStore>::clone(inner), &Namespace::new("shop").unwrap(), keys, &names)
        .unwrap()
}

fn new((who, attributes): (Principal, Attributes)) -> NewSession {
    NewSession::new(VerifierHash::from_bytes([2; 32]), HOUR, 10 * HOUR).with_principal(who).with_attributes(attributes)
}

/// Pins the seal, which replicas of every later version open.
#[tokio::test]
async fn the_golden_bytes_are_what_the_table_says() {
    let inner = Arc::new(MemorySessionStore::new());
    sealed(&inner).create(&KEY, &new(plain())).await.unwrap();
    let stored = inner.load(&KEY).await.unwrap().found().unwrap();
    let (who, attributes) = golden();
    assert_eq!((stored.record().principal(), stored.record().attributes()), (Some(&who), &attributes));
}

#[tokio::test]
async fn the_golden_bytes_are_opened() {
    let inner = Arc::new(MemorySessionStore::new());
    inner.create(&KEY, &new(golden())).await.unwrap();
    let opened = sealed(&inner).load(&KEY).await.unwrap().found().unwrap();
    let (who, attributes) = plain();
    assert_eq!((opened.record().principal(), opened.record().attributes()), (Some(&who), &attributes));
}

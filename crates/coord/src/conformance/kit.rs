//! What the cases have in common.

use bytes::Bytes;
use statehouse_core::Version;
use statehouse_core::conformance::Backend;

use crate::api::{CoordStore, CoordStoreExt as _};
use crate::key::CoordKey;
use crate::options::{Condition, PutOptions};
use crate::outcome::PutOutcome;
use crate::record::Record;

/// What the cases ask of a backend: an empty store, and [another](Backend::another) one beside it.
pub(super) trait CoordBackend: Backend<Service = dyn CoordStore> {}

impl<B: Backend<Service = dyn CoordStore>> CoordBackend for B {}

pub(super) fn key(text: &str) -> CoordKey {
    CoordKey::new(text).expect("a good key")
}

pub(super) fn on(condition: Condition) -> PutOptions {
    PutOptions::default().with_condition(condition)
}

pub(super) async fn put(store: &dyn CoordStore, name: &str, value: &str) -> Version {
    put_with(store, name, value, PutOptions::default()).await
}

pub(super) async fn put_with(store: &dyn CoordStore, name: &str, value: &str, options: PutOptions) -> Version {
    let put = store.put_with(&key(name), Bytes::copy_from_slice(value.as_bytes()), options).await;
    put.expect("an answer").stored().expect("a condition that holds")
}

pub(super) async fn get(store: &dyn CoordStore, name: &str) -> Option<Record> {
    store.get(&key(name)).await.expect("an answer")
}

/// The record that a put found in its way.
pub(super) fn conflict(outcome: PutOutcome) -> Option<Record> {
    match outcome {
        PutOutcome::Conflict(current) => current,
        PutOutcome::Stored(version) => panic!("expected a conflict, and {version} was stored"),
    }
}

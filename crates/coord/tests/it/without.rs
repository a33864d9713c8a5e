//! A store that somebody brings along and that can do less: one of a build before, or of their own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use statehouse_coord::{
    CoordKey, CoordStore, GetOptions, NowOptions, Page, PutOptions, PutOutcome, Record, RemoveOptions, RemoveOutcome,
    ScanOptions, WaitOptions,
};
use statehouse_core::{Capabilities, Capability, Health, Result, Timestamp, Version};

/// The store, and what it lacks.
#[derive(Debug)]
pub(crate) struct Without(pub(crate) Arc<dyn CoordStore>, pub(crate) &'static [Capability]);

#[async_trait]
impl CoordStore for Without {
    async fn get_with(&self, key: &CoordKey, options: GetOptions) -> Result<Option<Record>> {
        self.0.get_with(key, options).await
    }

    async fn put_with(&self, key: &CoordKey, value: Bytes, options: PutOptions) -> Result<PutOutcome> {
        self.0.put_with(key, value, options).await
    }

    async fn remove_with(&self, key: &CoordKey, version: Version, options: RemoveOptions) -> Result<RemoveOutcome> {
        self.0.remove_with(key, version, options).await
    }

    async fn scan_with(&self, options: ScanOptions) -> Result<Page> {
        self.0.scan_with(options).await
    }

    async fn now_with(&self, options: NowOptions) -> Result<Timestamp> {
        self.0.now_with(options).await
    }

    async fn wait_with(&self, key: &CoordKey, seen: Option<Version>, options: WaitOptions) {
        self.0.wait_with(key, seen, options).await;
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }

    fn capabilities(&self) -> Capabilities {
        let all = self.0.capabilities();
        all.iter().filter(|capability| !self.1.contains(capability)).collect()
    }
}

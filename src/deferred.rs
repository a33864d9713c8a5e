//! Stores that can be handed out before they are open: the first call opens them.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
#[cfg(feature = "cache-redis")]
use statehouse_cache::{
    self as cache, Cache, CacheKey, Entry, RemoveOutcome, Reservation, ReserveOptions, SetOutcome, TouchOutcome,
};
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result, Timestamp};
use statehouse_filestore::{
    self as files, Body, DeleteOutcome, FileKey, FileStore, Meta, Object, Page, PutOutcome, ReadOutcome, StageId,
    Staged,
};
use statehouse_session::{
    self as session, Authority, Deleted, Delta, Loaded, NewSession, Principal, Revoke, Rotation, Saved, SessionKey,
    SessionStore, Snapshot, Touched,
};

use crate::lazy::Lazy;

/// A store that may not be open yet.
#[derive(Debug)]
pub(crate) struct Deferred<S> {
    pub(crate) store: Arc<Lazy<S>>,
    /// What every store of its kind can do, for as long as nothing else is known.
    pub(crate) known: Capabilities,
}

/// Passes a call on, with what is left of its deadline.
macro_rules! pass_on {
    ($store:expr, $options:ident, $call:ident($($argument:expr),*)) => {{
        let mut options = $options;
        let store = $store.within(&mut options.deadline).await?;
        store.$call($($argument,)* options).await
    }};
}

#[cfg(feature = "cache-redis")]
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Cache for Deferred<Arc<dyn Cache>> {
    async fn get_with(&self, key: &CacheKey, options: cache::GetOptions) -> Result<Option<Entry>> {
        pass_on!(self.store, options, get_with(key))
    }

    async fn get_many_with(&self, keys: &[CacheKey], options: cache::GetOptions) -> Result<Vec<Option<Entry>>> {
        pass_on!(self.store, options, get_many_with(keys))
    }

    async fn set_with(&self, key: &CacheKey, value: bytes::Bytes, options: cache::SetOptions) -> Result<SetOutcome> {
        pass_on!(self.store, options, set_with(key, value))
    }

    async fn remove_with(&self, key: &CacheKey, options: cache::RemoveOptions) -> Result<RemoveOutcome> {
        pass_on!(self.store, options, remove_with(key))
    }

    async fn touch_with(&self, key: &CacheKey, options: cache::TouchOptions) -> Result<TouchOutcome> {
        pass_on!(self.store, options, touch_with(key))
    }

    async fn reserve_with(&self, key: &CacheKey, options: ReserveOptions) -> Result<Reservation> {
        pass_on!(self.store, options, reserve_with(key))
    }

    async fn clear_with(&self, options: cache::ClearOptions) -> Result<()> {
        pass_on!(self.store, options, clear_with())
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        pass_on!(self.store, options, raise_with(fence))
    }

    fn server_of(&self, key: &CacheKey) -> Option<Arc<str>> {
        self.store.opened()?.server_of(key)
    }

    fn capabilities(&self) -> Capabilities {
        self.store.opened().map_or_else(|| self.known.clone(), |store| store.capabilities())
    }

    async fn health(&self) -> Health {
        self.health_of("cache", |store| store.health()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for Deferred<Arc<dyn SessionStore>> {
    async fn create_with(
        &self,
        key: &SessionKey,
        new: &NewSession,
        options: session::CreateOptions,
    ) -> Result<Snapshot> {
        pass_on!(self.store, options, create_with(key, new))
    }

    async fn load_with(&self, key: &SessionKey, options: session::LoadOptions) -> Result<Loaded> {
        pass_on!(self.store, options, load_with(key))
    }

    async fn load_entering_with(
        &self,
        key: &SessionKey,
        who: &Principal,
        options: session::LoadOptions,
    ) -> Result<(Loaded, u64)> {
        pass_on!(self.store, options, load_entering_with(key, who))
    }

    async fn save_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        delta: &Delta,
        options: session::SaveOptions,
    ) -> Result<Saved> {
        pass_on!(self.store, options, save_with(base, authority, delta))
    }

    async fn rotate_with(
        &self,
        base: &Snapshot,
        authority: Authority,
        rotation: &Rotation,
        delta: &Delta,
        options: session::SaveOptions,
    ) -> Result<Saved> {
        pass_on!(self.store, options, rotate_with(base, authority, rotation, delta))
    }

    async fn touch_with(&self, key: &SessionKey, options: session::TouchOptions) -> Result<Touched> {
        pass_on!(self.store, options, touch_with(key))
    }

    async fn delete_with(
        &self,
        key: &SessionKey,
        authority: Authority,
        options: session::DeleteOptions,
    ) -> Result<Deleted> {
        pass_on!(self.store, options, delete_with(key, authority))
    }

    async fn epoch_with(&self, principal: &Principal, options: session::EpochOptions) -> Result<u64> {
        pass_on!(self.store, options, epoch_with(principal))
    }

    async fn list_with(&self, principal: &Principal, options: session::ListOptions) -> Result<Vec<Snapshot>> {
        pass_on!(self.store, options, list_with(principal))
    }

    async fn revoke_with(&self, which: Revoke<'_>, options: session::RevokeOptions) -> Result<()> {
        pass_on!(self.store, options, revoke_with(which))
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        pass_on!(self.store, options, raise_with(fence))
    }

    fn capabilities(&self) -> Capabilities {
        self.store.opened().map_or_else(|| self.known.clone(), |store| store.capabilities())
    }

    async fn health(&self) -> Health {
        self.health_of("sessions", |store| store.health()).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FileStore for Deferred<Arc<dyn FileStore>> {
    async fn put_with(&self, key: &FileKey, body: Body, options: files::PutOptions) -> Result<PutOutcome> {
        pass_on!(self.store, options, put_with(key, body))
    }

    async fn get_with(&self, key: &FileKey, options: files::GetOptions) -> Result<ReadOutcome<Object>> {
        pass_on!(self.store, options, get_with(key))
    }

    async fn head_with(&self, key: &FileKey, options: files::HeadOptions) -> Result<ReadOutcome<Meta>> {
        pass_on!(self.store, options, head_with(key))
    }

    async fn list_with(&self, options: files::ListOptions) -> Result<Page> {
        pass_on!(self.store, options, list_with())
    }

    async fn delete_with(&self, key: &FileKey, options: files::DeleteOptions) -> Result<DeleteOutcome> {
        pass_on!(self.store, options, delete_with(key))
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: files::CopyOptions) -> Result<PutOutcome> {
        pass_on!(self.store, options, copy_with(from, to))
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        pass_on!(self.store, options, raise_with(fence))
    }

    async fn presign_with(&self, key: &FileKey, options: files::PresignOptions) -> Result<files::Presigned> {
        pass_on!(self.store, options, presign_with(key))
    }

    async fn stage_with(&self, key: &FileKey, body: Body, options: files::PutOptions) -> Result<Staged> {
        pass_on!(self.store, options, stage_with(key, body))
    }

    async fn commit_with(
        &self,
        key: &FileKey,
        stage: StageId,
        options: files::CommitOptions,
    ) -> Result<files::CommitOutcome> {
        pass_on!(self.store, options, commit_with(key, stage))
    }

    async fn discard_with(
        &self,
        key: &FileKey,
        stage: StageId,
        options: files::DiscardOptions,
    ) -> Result<files::DiscardOutcome> {
        pass_on!(self.store, options, discard_with(key, stage))
    }

    async fn stages_with(&self, options: files::StagesOptions) -> Result<Vec<files::Stage>> {
        pass_on!(self.store, options, stages_with())
    }

    async fn sweep_with(&self, options: files::SweepOptions) -> Result<files::Swept> {
        pass_on!(self.store, options, sweep_with())
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.get().await?.now().await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.opened().map_or_else(|| self.known.clone(), |store| store.capabilities())
    }

    async fn health(&self) -> Health {
        self.health_of("files", |store| store.health()).await
    }
}

impl<S: Send + Sync + 'static> Deferred<S> {
    /// Within a second, be it open or not.
    pub(crate) async fn health_of<'a>(
        &'a self,
        service: &str,
        ask: impl FnOnce(&'a S) -> BoxFuture<'a, Health>,
    ) -> Health {
        let start = Instant::now();
        let health = self.store.health(ask).await;
        health.unwrap_or_else(|error| Health::of(service, start.elapsed(), Err(error)))
    }
}

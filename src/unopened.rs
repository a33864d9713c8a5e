//! What stands in for a service that nobody has configured and whose default folder cannot be had.

use async_trait::async_trait;
use statehouse_core::{Capabilities, Error, Health, Result};
use statehouse_filestore::{
    Body, CopyOptions, DeleteOptions, DeleteOutcome, FileKey, FileStore, GetOptions, HeadOptions, ListOptions, Meta,
    Object, Page, PutOptions, PutOutcome,
};
use statehouse_session as session;
use statehouse_session::{
    Authority, Deleted, Delta, Loaded, NewSession, Rotation, Saved, SessionKey, SessionStore, Snapshot, Touched,
};

/// Answers every call with the error of opening it: a program that never uses the service never sees it.
#[derive(Debug)]
pub(crate) struct Unopened {
    service: &'static str,
    error: Error,
}

impl Unopened {
    pub(crate) fn new(service: &'static str, error: Error) -> Self {
        tracing::warn!(
            name: "services.unopened",
            service,
            %error,
            "the default folder of a service cannot be had; the service fails when it is used"
        );
        Self { service, error }
    }

    fn refuse<T>(&self) -> Result<T> {
        Err(self.error.clone())
    }

    fn health(&self) -> Health {
        Health::of(self.service, std::time::Duration::ZERO, self.refuse())
    }
}

#[async_trait]
impl SessionStore for Unopened {
    async fn create_with(&self, _: &SessionKey, _: &NewSession, _: session::CreateOptions) -> Result<Snapshot> {
        self.refuse()
    }

    async fn load_with(&self, _: &SessionKey, _: session::LoadOptions) -> Result<Loaded> {
        self.refuse()
    }

    async fn save_with(&self, _: &Snapshot, _: Authority, _: &Delta, _: session::SaveOptions) -> Result<Saved> {
        self.refuse()
    }

    async fn rotate_with(
        &self,
        _: &Snapshot,
        _: Authority,
        _: &Rotation,
        _: &Delta,
        _: session::SaveOptions,
    ) -> Result<Saved> {
        self.refuse()
    }

    async fn touch_with(&self, _: &SessionKey, _: session::TouchOptions) -> Result<Touched> {
        self.refuse()
    }

    async fn delete_with(&self, _: &SessionKey, _: Authority, _: session::DeleteOptions) -> Result<Deleted> {
        self.refuse()
    }

    async fn health(&self) -> Health {
        self.health()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

#[async_trait]
impl FileStore for Unopened {
    async fn put_with(&self, _: &FileKey, _: Body, _: PutOptions) -> Result<PutOutcome> {
        self.refuse()
    }

    async fn get_with(&self, _: &FileKey, _: GetOptions) -> Result<Object> {
        self.refuse()
    }

    async fn head_with(&self, _: &FileKey, _: HeadOptions) -> Result<Meta> {
        self.refuse()
    }

    async fn list_with(&self, _: ListOptions) -> Result<Page> {
        self.refuse()
    }

    async fn delete_with(&self, _: &FileKey, _: DeleteOptions) -> Result<DeleteOutcome> {
        self.refuse()
    }

    async fn copy_with(&self, _: &FileKey, _: &FileKey, _: CopyOptions) -> Result<PutOutcome> {
        self.refuse()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn health(&self) -> Health {
        self.health()
    }
}

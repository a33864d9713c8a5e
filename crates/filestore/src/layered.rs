use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::layer::Layer;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result, Timestamp};

use crate::operation::NAME;
use crate::{
    Body, CommitOptions, CommitOutcome, CopyOptions, DeleteOptions, DeleteOutcome, DiscardOptions, DiscardOutcome,
    FileKey, FileStore, GetOptions, HeadOptions, ListOptions, Meta, Object, Page, PresignOptions, Presigned,
    PutOptions, PutOutcome, ReadOutcome, Stage, StageId, Staged, StagesOptions, SweepOptions, Swept, Verb,
};

/// A [`FileStore`] with a [`Layer`] around each of its calls. Capabilities, health and clock are those of the store in it.
///
/// ```
/// use std::sync::Arc;
/// use statehouse_core::layer::Faults;
/// use statehouse_core::{ErrorKind, Namespace};
/// use statehouse_filestore::{Files, LayeredFileStore, MemoryFileStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// let store = Arc::new(MemoryFileStore::new());
/// let faulty = LayeredFileStore::new(store.clone(), Faults::seeded(1).with_lost_answers(1.0));
/// let lost = Files::new(Arc::new(faulty), Namespace::new("clinic")?).put("scan", "DICM").await.unwrap_err();
/// assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown);
/// assert_eq!(Files::new(store, Namespace::new("clinic")?).get("scan").bytes().await?, "DICM");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LayeredFileStore<L> {
    inner: Arc<dyn FileStore>,
    layer: Arc<L>,
}

impl<L: Layer> LayeredFileStore<L> {
    /// Puts the layer around a store.
    #[must_use]
    pub fn new(inner: Arc<dyn FileStore>, layer: L) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<L: Layer> FileStore for LayeredFileStore<L> {
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome> {
        self.layer.around(NAME.put, self.inner.put_with(key, body, options)).await
    }

    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>> {
        self.layer.around(NAME.get, self.inner.get_with(key, options)).await
    }

    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>> {
        self.layer.around(NAME.head, self.inner.head_with(key, options)).await
    }

    async fn list_with(&self, options: ListOptions) -> Result<Page> {
        self.layer.around(NAME.list, self.inner.list_with(options)).await
    }

    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome> {
        self.layer.around(NAME.delete, self.inner.delete_with(key, options)).await
    }

    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome> {
        self.layer.around(NAME.copy, self.inner.copy_with(from, to, options)).await
    }

    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        self.layer.around(NAME.raise, self.inner.raise_with(fence, options)).await
    }

    async fn presign_with(&self, key: &FileKey, options: PresignOptions) -> Result<Presigned> {
        // Who only reads may have a download signed, and no upload.
        let name = if options.verb == Verb::Get { NAME.presign_get } else { NAME.presign };
        self.layer.around(name, self.inner.presign_with(key, options)).await
    }

    async fn stage_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        self.layer.around(NAME.stage, self.inner.stage_with(key, body, options)).await
    }

    async fn commit_with(&self, key: &FileKey, stage: StageId, options: CommitOptions) -> Result<CommitOutcome> {
        self.layer.around(NAME.commit, self.inner.commit_with(key, stage, options)).await
    }

    async fn discard_with(&self, key: &FileKey, stage: StageId, options: DiscardOptions) -> Result<DiscardOutcome> {
        self.layer.around(NAME.discard, self.inner.discard_with(key, stage, options)).await
    }

    async fn stages_with(&self, options: StagesOptions) -> Result<Vec<Stage>> {
        self.layer.around(NAME.stages, self.inner.stages_with(options)).await
    }

    async fn sweep_with(&self, options: SweepOptions) -> Result<Swept> {
        self.layer.around(NAME.sweep, self.inner.sweep_with(options)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::layer::Faults;

    use super::*;
    use crate::MemoryFileStore;

    // Every call goes through, as it was made.
    crate::filestore_conformance!(async {
        let store = LayeredFileStore::new(Arc::new(MemoryFileStore::new()), Faults::seeded(1));
        crate::conformance::Store::new(store)
    });
}

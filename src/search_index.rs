//! Opens search indexes by name with the type of their documents; everything else is of `statehouse-search`.

use std::marker::PhantomData;
use std::sync::Arc;

use statehouse_core::Result;
use statehouse_search::{Document, Index, Indexes};

use crate::read_only::ReadOnly;
use crate::services::Services;
use crate::slot::Slot;

impl Services {
    /// The search index of this name, to be opened.
    pub fn search<'s, D: Document>(&'s self, name: &'s str) -> SearchBuilder<'s, D> {
        let is_read_only = self.inner().read_only.is_some();
        SearchBuilder { indexes: self.indexes(), name, is_read_only, documents: PhantomData }
    }
}

/// An index to be opened: made by [`Services::search`](crate::Services::search).
#[must_use = "nothing is opened until `open` is awaited"]
#[derive(Debug)]
pub struct SearchBuilder<'s, D> {
    indexes: &'s Slot<Arc<Indexes>, ()>,
    name: &'s str,
    is_read_only: bool,
    documents: PhantomData<fn() -> D>,
}

impl<'s, D: Document> SearchBuilder<'s, D> {
    /// Opens the index, or makes it if there is none, be it to be [only read](crate::Config::read_only). A name that is open already gives the same index.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is not a lowercase word as [`Namespace`](crate::Namespace)
    /// describes, or if it is open with documents of another schema. [`Conflict`](crate::ErrorKind::Conflict) if the stored index
    /// has another schema or, on disk, is open elsewhere. Else what the backend says.
    pub async fn open(self) -> Result<Index<D>> {
        let index = self.indexes.get().await?.index(self.name, D::schema()?).await?;
        Index::new(if self.is_read_only { ReadOnly::index(index) } else { index })
    }
}

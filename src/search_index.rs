//! Opens search indexes by name with the type of their documents; everything else is of `statehouse-search`.

use std::marker::PhantomData;
use std::sync::Arc;

use statehouse_core::Result;
use statehouse_search::{Document, Index, Indexes};

use crate::services::Services;
use crate::slot::Slot;

impl Services {
    /// The search index of this name, to be opened.
    pub fn search<'s, D: Document>(&'s self, name: &'s str) -> SearchBuilder<'s, D> {
        SearchBuilder { indexes: self.indexes(), name, documents: PhantomData }
    }
}

/// An index to be opened: made by [`Services::search`](crate::Services::search).
#[must_use = "nothing is opened until `open` is awaited"]
#[derive(Debug)]
pub struct SearchBuilder<'s, D> {
    indexes: &'s Slot<Arc<Indexes>, ()>,
    name: &'s str,
    documents: PhantomData<fn() -> D>,
}

impl<'s, D: Document> SearchBuilder<'s, D> {
    /// Opens the index, or makes it if there is none. A name that is open already gives the same index.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is not a lowercase word as [`Namespace`](crate::Namespace)
    /// describes, or if it is open with documents of another schema. [`Conflict`](crate::ErrorKind::Conflict) if the stored index
    /// has another schema or, on disk, is open elsewhere. Else what the backend says.
    pub async fn open(self) -> Result<Index<D>> {
        Index::new(self.indexes.get().await?.index(self.name, D::schema()?).await?)
    }
}

//! Opens search indexes by name with the type of their documents; everything else is of `statehouse-search`.

use std::marker::PhantomData;
use std::sync::Arc;

use statehouse_core::Result;
use statehouse_search::{Document, Index, Indexes, SearchIndex};

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
    /// Fields that the index lacks are added to it.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is not a lowercase word as [`Namespace`](crate::Namespace)
    /// describes. [`Conflict`](crate::ErrorKind::Conflict) if the stored index needs a
    /// [`Reindex`](statehouse_search::Reindex) to have this schema. [`Unavailable`](crate::ErrorKind::Unavailable) if, on disk, another process has it
    /// open. Else what the backend says.
    pub async fn open(self) -> Result<Index<D>> {
        let index = self.indexes.get().await?.index(self.name, D::schema()?).await?;
        Index::new(if self.is_read_only { ReadOnly::index(index) } else { index })
    }

    /// Opens what is live by the schema that it has, whichever that is: what a [`Reindex`](statehouse_search::Reindex) begins with.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`NotFound`](crate::ErrorKind::NotFound) if there is no index.
    pub async fn live(self) -> Result<Arc<dyn SearchIndex>> {
        let index = self.indexes.get().await?.live(self.name).await?;
        Ok(if self.is_read_only { ReadOnly::index(index) } else { index })
    }
}

//! Content that is only read, whoever asks.

use std::sync::Arc;

use statehouse_core::layer::Layer;
use statehouse_core::{Error, ErrorKind, Result, Retry};
use statehouse_filestore::{FileStore, LayeredFileStore};

use crate::config::READ_ONLY;

/// What changes nothing of the content: a mark is raised for whoever may write. What is not known is taken for a write.
const READS: [&str; 17] = [
    "filestore.get",
    "filestore.head",
    "filestore.list",
    "filestore.presign_get",
    "filestore.raise",
    "filestore.stages",
    "search.close",
    "search.count",
    "search.diff",
    "search.generations",
    "search.get",
    "search.hits",
    "search.raise",
    "search.refresh",
    "search.scan",
    "search.search",
    "search.suggest",
];

/// Refuses every call that is not known to change nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOnly;

impl ReadOnly {
    pub(crate) fn files(store: Arc<dyn FileStore>) -> Arc<dyn FileStore> {
        Arc::new(LayeredFileStore::new(store, Self))
    }

    #[cfg(feature = "_search")]
    pub(crate) fn index(index: Arc<dyn statehouse_search::SearchIndex>) -> Arc<dyn statehouse_search::SearchIndex> {
        Arc::new(statehouse_search::LayeredIndex::new(index, Self))
    }
}

impl Layer for ReadOnly {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if READS.contains(&operation) {
            return work.await;
        }
        let message = "this application only reads: files and search indexes are written by its loader alone";
        let error = Error::new(ErrorKind::PermissionDenied, message).with_retry(Retry::Never);
        Err(error.with_operation(operation).with_setting(READ_ONLY))
    }
}

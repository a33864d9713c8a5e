//! Where the files of one namespace are.

use std::sync::Arc;
use std::time::Duration;

use statehouse_core::capability::FENCED;
use statehouse_core::{Error, Fence, Namespace, RaiseOptions, Result};

use crate::api::FileStore;

#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) store: Arc<dyn FileStore>,
    pub(crate) namespace: Namespace,
}

impl Place {
    /// What a key or prefix of the store is called here.
    pub(crate) fn name<'k>(&self, text: &'k str) -> Option<&'k str> {
        text.strip_prefix(self.namespace.as_str())?.strip_prefix('/')
    }

    /// Marks of a namespace are apart from those of others. A store that does not say that it keeps any raises this one first,
    /// as the write would: one that is not open yet opens for it, and one of somebody else's that ignores fences cannot.
    pub(crate) async fn fence(&self, fence: Option<Fence>, deadline: Option<Duration>) -> Result<Option<Fence>> {
        let Some(fence) = fence else { return Ok(None) };
        let fence = fence.within(self.namespace.as_str())?;
        if !self.store.capabilities().has(FENCED) {
            let mut options = RaiseOptions::default();
            options.deadline = deadline;
            self.store.raise_with(&fence, options).await?;
        }
        Ok(Some(fence))
    }

    /// Has an error name a file, or a prefix, as the application does: users may read it, and the namespace is none of their
    /// business.
    pub(crate) fn naming(&self, key: &str, error: Error) -> Error {
        match self.name(key) {
            Some(name) if error.key().is_some() => error.with_key(name),
            _ => error,
        }
    }
}

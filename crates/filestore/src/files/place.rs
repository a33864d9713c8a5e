//! Where the files of one namespace are.

use std::sync::Arc;

use statehouse_core::{Error, Namespace};

use crate::api::FileStore;

#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: Arc<dyn FileStore>,
    pub(super) namespace: Namespace,
}

impl Place {
    /// What a key or prefix of the store is called here.
    pub(super) fn name<'k>(&self, text: &'k str) -> Option<&'k str> {
        text.strip_prefix(self.namespace.as_str())?.strip_prefix('/')
    }

    /// Has an error name a file, or a prefix, as the application does: users may read it, and the namespace is none of their
    /// business.
    pub(super) fn naming(&self, key: &str, error: Error) -> Error {
        match self.name(key) {
            Some(name) if error.key().is_some() => error.with_key(name),
            _ => error,
        }
    }
}

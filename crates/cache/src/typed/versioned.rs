use std::sync::Arc;

use statehouse_core::Version;

/// A value with the version that the store gave it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Versioned<V> {
    /// The value.
    pub value: Arc<V>,
    /// Its version, for [`Set::if_version`](crate::Set::if_version).
    pub version: Version,
}

impl<V> Versioned<V> {
    pub(crate) const fn new(value: Arc<V>, version: Version) -> Self {
        Self { value, version }
    }
}

//! A generation beside the live one that cannot be read: damaged, or of another release.

use std::path::Path;
use std::sync::Arc;

use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::super::error::BACKEND;
use super::super::folder;
use crate::Schema;

/// It stays where it is until it is dropped: another release may be able to read it.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub(super) number: u32,
    /// One without fields if that cannot be read either.
    pub(super) schema: Arc<Schema>,
    why: Error,
}

impl Unreadable {
    /// What cannot be read, and why. What the disk cannot do just now is an error of opening the index.
    pub(super) fn of(number: u32, folder: &Path, why: Error) -> Result<Self> {
        if why.is_retryable() {
            return Err(why);
        }
        let schema = folder::schema(folder).map_or_else(|_| Schema::builder().build().map(Arc::new), Ok)?;
        tracing::warn!(
            name: "search.generation_unreadable", generation = number, error = %why,
            "a generation beside the live one cannot be read; drop it, unless another release is to go on with it"
        );
        Ok(Self { number, schema, why })
    }

    /// Whether it would be that of a schema.
    pub(super) fn serves(&self, wanted: &Schema) -> bool {
        self.schema.diff(wanted).into_added().is_ok_and(|added| added.is_empty())
    }

    pub(super) fn refused(&self) -> Error {
        let message = format!("generation {} beside the live one cannot be read: drop it first", self.number);
        let refused = Error::new(ErrorKind::Conflict, message).with_backend(BACKEND).with_retry(Retry::Never);
        refused.with_source(self.why.clone())
    }
}

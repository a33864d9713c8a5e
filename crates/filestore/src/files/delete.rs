use std::marker::PhantomData;

use statehouse_core::Result;

use super::place::Place;
use crate::key::FileKey;
use crate::meta::ETag;
use crate::options::DeleteOptions;
use crate::outcome::{DeleteOutcome, Deleted};

/// A delete that is being described; `.await` deletes the file.
///
/// It gives what was [`Deleted`], and with a condition a [`DeleteOutcome`].
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// let seen = scans.put("draft", "healthy").await?;
/// scans.put("draft", "ill").await?; // somebody else
/// let deleted = scans.delete("draft").if_match(&seen.etag).deadline(Duration::from_secs(30)).await?;
/// assert!(matches!(deleted, DeleteOutcome::Conflict), "{deleted:?}");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is deleted until awaited"]
pub struct Delete<'a, O = Deleted> {
    place: &'a Place,
    key: Result<FileKey>,
    options: DeleteOptions,
    outcome: PhantomData<fn() -> O>,
}

impl<'a> Delete<'a> {
    pub(super) fn new(place: &'a Place, key: Result<FileKey>) -> Self {
        Self { place, key, options: DeleteOptions::default(), outcome: PhantomData }
    }

    /// Deletes the file only if it has this etag.
    pub fn if_match(self, etag: &ETag) -> Delete<'a, DeleteOutcome> {
        let Self { place, key, options, .. } = self;
        Delete { place, key, options: options.with_if_match(etag.clone()), outcome: PhantomData }
    }
}

impl<'a, O> Delete<'a, O> {
    fn run(self) -> impl Future<Output = Result<DeleteOutcome>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, key, mut options, .. } = self;
        async move {
            options.fence = place.fence(options.fence.take(), options.deadline).await?;
            let key = key?;
            let deleted = place.store.delete_with(&key, options).await;
            deleted.map_err(|error| place.naming(&key, error))
        }
    }
}

bound!(
    Delete,
    "Deletes",
    "",
    "Sets how long the delete may take; see [`DeleteOptions::deadline`](crate::DeleteOptions::deadline)."
);
awaited!(Delete: Deleted, DeleteOutcome);

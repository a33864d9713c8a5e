use std::marker::PhantomData;
use std::time::Duration;

use statehouse_core::{Result, Timestamp};

use super::place::Place;
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::HeadOptions;
use crate::outcome::ReadOutcome;

/// A head that is being described; `.await` gives the file's [`Meta`].
///
/// Where it says what the reader has, it gives a [`ReadOutcome`].
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::{ErrorKind, Namespace};
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// scans.put("p42/chest.dcm", "DICM").await?;
/// let meta = scans.head("p42/chest.dcm").deadline(Duration::from_secs(30)).await?;
/// assert_eq!(meta.len, 4);
/// assert_eq!(scans.head("p42/chest.dcm").if_none_match(&meta.etag).await?, ReadOutcome::NotModified);
/// assert_eq!(scans.head("p42/chest.dcm").if_modified_since(meta.modified).await?, ReadOutcome::NotModified);
/// assert_eq!(scans.head("p42/chest.dcm").if_match(&meta.etag).if_unmodified_since(meta.modified).await?, meta);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read until awaited"]
pub struct Head<'a, O = Meta> {
    place: &'a Place,
    key: Result<FileKey>,
    options: HeadOptions,
    outcome: PhantomData<fn() -> O>,
}

impl<'a> Head<'a> {
    pub(super) fn new(place: &'a Place, key: Result<FileKey>) -> Self {
        Self { place, key, options: HeadOptions::default(), outcome: PhantomData }
    }
}

impl<'a, O> Head<'a, O> {
    /// Sets how long the head may take; see [`HeadOptions::deadline`].
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    fn run(self) -> impl Future<Output = Result<ReadOutcome<Meta>>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, key, options, .. } = self;
        async move {
            let key = key?;
            let head = place.store.head_with(&key, options).await;
            head.map_err(|error| place.naming(&key, error))
        }
    }
}

read_if!(Head, Meta);
awaited!(Head: Meta, ReadOutcome<Meta>);

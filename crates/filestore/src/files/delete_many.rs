use std::fmt;
use std::future::{IntoFuture, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use statehouse_core::{AsFence, Error, ErrorKind, Fence, Result};

use super::list::List;
use super::place::Place;
use crate::capability::DELETE_IF_MATCH;
use crate::key::FileKey;
use crate::meta::ETag;
use crate::options::DeleteOptions;
use crate::outcome::{DeleteOutcome, DeletedMany};

/// How many files are deleted at a time.
const AT_A_TIME: usize = 32;

/// A delete of many files that is being described; `.await` does it and says what became of them: [`DeletedMany`].
///
/// One that cannot be deleted keeps none of the others. An error of the whole is only what makes it impossible to go on: a listing
/// that fails, or that another holder has the lock. Deletes that are under way then are ended first, and nobody is told what has been deleted by
/// then. Done once more, it goes on with what is left.
///
/// Of a prefix, what the listing comes upon is deleted, and nothing that replaces it meanwhile: that is [kept](DeletedMany::kept). Without
/// [`DELETE_IF_MATCH`] whatever has the name then is deleted, and without [`ETAG_PER_PUT`](crate::capability::ETAG_PER_PUT) also what has the same content
/// again. The listing goes on for as long as there is something behind it: beside somebody who writes ever greater names it does not end by itself.
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicU64, Ordering};
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// for name in ["p42/a", "p42/b", "p43/a", "p44/a"] {
///     scans.put(name, "DICM").await?;
/// }
/// let seen = AtomicU64::new(0);
/// let gone = scans.delete_prefix("p42/").progress(|done| seen.store(done, Ordering::Relaxed)).await?;
/// assert_eq!((gone.removed, gone.failed, seen.into_inner()), (2, 0, 2));
/// let gone = scans.delete_many(["p43/a", "p43/b"]).await?;
/// assert_eq!((gone.removed, gone.absent), (1, 1));
/// assert!(scans.exists("p44/a").await?);
/// # Ok(()) }
/// ```
#[must_use = "nothing is deleted until awaited"]
pub struct DeleteMany<'a> {
    place: &'a Place,
    named: BoxStream<'a, Result<Named>>,
    skipped: Arc<AtomicU64>,
    fence: Option<Fence>,
    progress: Option<Box<dyn Fn(u64) + Send + Sync + 'a>>,
}

/// What is deleted, and if it was listed, in which state.
struct Named {
    name: String,
    key: Result<FileKey>,
    etag: Option<ETag>,
}

impl<'a> DeleteMany<'a> {
    pub(super) fn of(place: &'a Place, named: impl Iterator<Item = (String, Result<FileKey>)>) -> Self {
        let named: Vec<_> = named.map(|(name, key)| Ok(Named { name, key, etag: None })).collect();
        Self::new(place, futures_util::stream::iter(named).boxed(), Arc::default())
    }

    pub(super) fn below(place: &'a Place, prefix: &str) -> Self {
        let skipped = Arc::default();
        let entries = List::new(place, prefix).stream_counting(Arc::clone(&skipped));
        let prefix = prefix.to_owned();
        let named = entries.map(move |entry| {
            let entry = entry?;
            let name = place.name(&entry.key).filter(|name| name.starts_with(&prefix)).map(str::to_owned);
            // Anybody may write a store, and what it lists is deleted.
            let outside = || Error::new(ErrorKind::Unexpected, "the store listed what is not below the prefix");
            let name = name.ok_or_else(outside)?;
            // A store that opens when it is first asked knows now what it can do.
            let etag = Some(entry.etag).filter(|_| place.store.capabilities().has(DELETE_IF_MATCH));
            Ok(Named { name, key: Ok(entry.key), etag })
        });
        Self::new(place, named.boxed(), skipped)
    }

    const fn new(place: &'a Place, named: BoxStream<'a, Result<Named>>, skipped: Arc<AtomicU64>) -> Self {
        Self { place, named, skipped, fence: None, progress: None }
    }

    /// Deletes only as long as nobody else has acquired the lock since: else the rest is left, and it is refused as
    /// [`Fenced`](statehouse_core::ErrorKind::Fenced). The lock should [guard](statehouse_core::Guarded) these files; if it does
    /// not, this is refused once its next holder has written one of them.
    pub fn fenced(mut self, guard: &impl AsFence) -> Self {
        self.fence = Some(guard.as_fence().clone());
        self
    }

    /// Is told, with each file, how many have been dealt with, whatever has become of them.
    pub fn progress(mut self, progress: impl Fn(u64) + Send + Sync + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    async fn run(self) -> Result<DeletedMany> {
        let Self { place, named, skipped, fence, progress } = self;
        let fence = place.fence(fence, None).await?;
        let is_over = AtomicBool::new(false);
        let named = named.try_take_while(|_| ready(Ok(!is_over.load(Ordering::Relaxed))));
        let deleting = named.map_ok(|named| delete(place, named, fence.clone()));
        let mut deleting = deleting.try_buffer_unordered(AT_A_TIME);
        let (mut all, mut done, mut over) = (DeletedMany::default(), 0, None);
        // Behind an error no other is begun, and those that are under way are waited for: dropped, they might still be made.
        while let Some(deleted) = deleting.next().await {
            match deleted {
                Err(error) => {
                    over = over.or(Some(error));
                    is_over.store(true, Ordering::Relaxed);
                    continue;
                }
                Ok((_, Err(error))) if error.kind() == ErrorKind::Fenced => over = over.or(Some(error)),
                Ok((name, deleted)) => all.add(name, deleted),
            }
            is_over.store(over.is_some(), Ordering::Relaxed);
            done += 1;
            progress.iter().for_each(|progress| progress(done));
        }
        all.skipped = skipped.load(Ordering::Relaxed);
        over.map_or(Ok(all), Err)
    }
}

/// What became of one, which is no error of the others.
async fn delete(place: &Place, named: Named, fence: Option<Fence>) -> Result<(String, Result<DeleteOutcome>)> {
    let Named { name, key, etag } = named;
    let delete = async {
        let (key, mut options) = (key?, DeleteOptions::default());
        (options.fence, options.if_match) = (fence, etag);
        let deleted = place.store.delete_with(&key, options).await;
        deleted.map_err(|error| place.naming(&key, error))
    };
    let deleted = delete.await;
    Ok::<_, Error>((name, deleted))
}

impl fmt::Debug for DeleteMany<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteMany").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for DeleteMany<'a> {
    type Output = Result<DeletedMany>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

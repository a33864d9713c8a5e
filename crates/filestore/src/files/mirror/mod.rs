//! The files of one store, copied to another while both are written.

mod pair;
mod union;

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use statehouse_core::{Error, Result};

use self::pair::{Pair, Settled};
use self::union::union;
use super::list::List;
use super::place::Place;
use super::walk::{AT_A_TIME, Interrupted, Progress, Tally, names, tell, walk};
use crate::capability::{CREATE_IF_ABSENT, DELETE_IF_MATCH, METADATA, REPLACE_IF_MATCH};

/// A copy of many files to another store that is being described; `.await` does it and says what has become of them: [`Mirrored`].
///
/// Each file goes as a stream, with its content type, disposition, cache control, the application's metadata, what is left of its
/// [time to live](crate::Put::time_to_live), and its SHA-256: what is read must have the digest that this store has recorded, and what
/// arrives as well. A file that is damaged here is not copied, and told. One that is there with the same digest and the same metadata is
/// not read. One whose time is over is not copied. Stages are not copied: commit or discard them before.
///
/// # While both are written
/// The application goes on meanwhile, and makes each of its writes and deletes here first and then there. Nothing newer is replaced there,
/// and nothing comes back that was deleted. Of each file:
/// 1. The other store is looked at: an etag, or that there is none. Only then this one is read.
/// 2. It is put there on that condition: as long as there is none, or it has that etag. If that does not hold, all is done again.
/// 3. When it is put, this store is looked at again. If the file is another one now, all is done again. If it is gone, what was put is
///    deleted there, at the etag that the put gave, and all is done again.
///
/// A file that is written again and again is tried some ten times in three seconds, and told as a failure. Two who write one
/// file at the same moment, each in both stores, may leave different ones: that is so without a mirror too, and the next one mends it.
///
/// # What is left
/// A process that is killed between 2 and 3, a mirror that is dropped or interrupted then, or a put in doubt of a file without a digest,
/// of which nobody knows whose it is, may leave a file there that has just been
/// deleted here. The next mirror with [`remove_others`](Self::remove_others) deletes it. Where an etag is the content's (S3) it may
/// also leave the metadata of a moment before, or none, of a file that was put once more with the same content: the next mirror
/// mends that. No file is half there, and begun again it goes on with what is missing, [`after`](Self::after) the last that was told; what
/// had failed before that is not tried again by one that begins there.
///
/// # Errors
/// What one file fails with is [counted and told](Mirrored::failures), and the others go on. [`Interrupted`] is what stands against all of
/// them: a listing that fails, a store that is full or away after some tries. It says how far it has come. A store that cannot
/// decide conditions or keeps no metadata is refused as [`Unsupported`](statehouse_core::ErrorKind::Unsupported) before anything is read, and a
/// single file that it cannot keep (too long for its conditions, a time to live) is a failure of that file.
///
/// # Cancellation
/// Dropped, it begins no more files; of those under way each is there whole or not at all, see above.
///
/// # Time
/// What is left of a time to live is by the clock of this store, and of the other one there; both are asked once. It may end up to a minute earlier than here, as far
/// as clocks differ, and up to an hour later, as where a copy took long, until the file is copied again.
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicU64, Ordering};
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let open = || Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans").unwrap());
/// # let (disk, bucket) = (open(), open());
/// for name in ["p42/chest.dcm", "p42/knee.dcm", "p43/hip.dcm"] {
///     disk.put(name, "DICM").content_type("application/dicom").await?;
/// }
/// let bytes = AtomicU64::new(0);
/// let first = disk.mirror_to(&bucket).prefix("p42/").progress(|done| bytes.store(done.bytes, Ordering::Relaxed)).await?;
/// assert_eq!((first.copied, bytes.into_inner(), first.last.as_deref()), (2, 8, Some("p42/knee.dcm")));
///
/// bucket.put("p99/test.dcm", "DICM").await?;
/// let second = disk.mirror_to(&bucket).at_a_time(8).remove_others(true).await?;
/// assert_eq!((second.copied, second.same, second.removed, second.failed), (1, 2, 1, 0));
/// let rest = disk.mirror_to(&bucket).after("p42/knee.dcm").await?;
/// assert_eq!((rest.files, rest.same), (1, 1));
/// assert_eq!(bucket.head("p43/hip.dcm").await?.content_type.as_deref(), Some("application/dicom"));
/// # Ok(()) }
/// ```
#[must_use = "nothing is copied until awaited"]
pub struct Mirror<'a> {
    pair: Pair<'a>,
    prefix: String,
    after: Option<String>,
    at_a_time: usize,
    progress: Option<Progress<'a, Mirrored>>,
}

/// What has become of the files that a [`Mirror`] came upon.
#[derive(Clone, Debug, Default)]
#[must_use = "some files may not have been copied"]
#[non_exhaustive]
pub struct Mirrored {
    /// How many names it has dealt with: the sum of all that follow.
    pub files: u64,
    /// How many were copied.
    pub copied: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many were there already, with the same digest and metadata.
    pub same: u64,
    /// How many were deleted while it ran.
    pub gone: u64,
    /// How many have no time left to live, and were not copied. Where another of that name is there, it counts as one of the others.
    pub expired: u64,
    /// How many are there and not here. They are left, unless it [removes](Mirror::remove_others) them.
    pub others: u64,
    /// How many of these were deleted.
    pub removed: u64,
    /// How many could not be copied, or may not have been.
    pub failed: u64,
    /// The first 100 of these by their names, and why.
    pub failures: Vec<(String, Error)>,
    /// How many of the copied ones had no recorded digest here: of these nobody knows whether they are what was stored, nor whether
    /// they are the same as what is there, so that every mirror copies them.
    pub undigested: u64,
    /// How many things the listing of this store has left out, as [`Page::skipped`](crate::Page::skipped) counts them: what is none
    /// of its files, and on a disk also a file that is damaged so that nobody can tell. None of these is there.
    pub skipped: u64,
    /// The name up to which everything has been dealt with, failures among them: where the next mirror goes on
    /// [after](Mirror::after), if this one has been ended. None if it has not come so far.
    pub last: Option<String>,
}

impl Tally<Settled> for Mirrored {
    fn add(&mut self, name: &str, done: Result<Settled>) {
        self.files += 1;
        match done {
            Ok(Settled::Copied { bytes, has_digest }) => {
                self.copied += 1;
                self.bytes += bytes;
                self.undigested += u64::from(!has_digest);
            }
            Ok(Settled::Same) => self.same += 1,
            Ok(Settled::Gone) => self.gone += 1,
            Ok(Settled::Expired) => self.expired += 1,
            Ok(Settled::Other) => self.others += 1,
            Ok(Settled::Removed) => self.removed += 1,
            Err(error) => {
                self.failed += 1;
                tell(&mut self.failures, name, error);
            }
        }
    }

    fn reached(&mut self, name: String) {
        self.last = Some(name);
    }
}

impl<'a> Mirror<'a> {
    pub(super) const fn new(from: &'a Place, to: &'a Place) -> Self {
        let pair = Pair::new(from, to);
        Self { pair, prefix: String::new(), after: None, at_a_time: AT_A_TIME.0, progress: None }
    }

    /// Copies only the files whose names begin with this text, and of the other store looks at no others.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Begins behind this text, in the order of bytes: at the [`last`](Mirrored::last) of one that has been ended.
    pub fn after(mut self, name: impl Into<String>) -> Self {
        self.after = Some(name.into());
        self
    }

    /// Sets how many files are copied at a time, 1 to 64; 4 at first. Each takes as much memory as a put of a stream and a read take.
    pub fn at_a_time(mut self, files: usize) -> Self {
        self.at_a_time = files.clamp(1, AT_A_TIME.1);
        self
    }

    /// Deletes what is there and not here. Right before that, this store is looked at, and there it is deleted only at the etag
    /// that was seen before. False at first: then these are [counted](Mirrored::others).
    pub const fn remove_others(mut self, removes: bool) -> Self {
        self.pair.remove_others = removes;
        self
    }

    /// Is told, with each file, what has become of all of them by then.
    pub fn progress(mut self, progress: impl Fn(&Mirrored) + Send + Sync + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    async fn run(self) -> std::result::Result<Mirrored, Interrupted<Mirrored>> {
        let mut done = Mirrored::default();
        let skipped = Arc::default();
        let ended = self.copy(&mut done, &skipped).await;
        done.skipped = skipped.load(Ordering::Relaxed);
        Interrupted::unless(ended, done)
    }

    async fn copy(&self, done: &mut Mirrored, skipped: &Arc<AtomicU64>) -> Result<()> {
        let Self { pair, prefix, after, .. } = self;
        // A store that opens when it is first asked knows then what it can do.
        List::new(pair.to, prefix).limit(1).await?;
        let capabilities = pair.to.store.capabilities();
        for needed in [CREATE_IF_ABSENT, REPLACE_IF_MATCH, DELETE_IF_MATCH, METADATA] {
            capabilities.require(needed)?;
        }
        let listed = |place, skipped| names(place, prefix, after.as_deref(), skipped);
        let all = union(listed(pair.from, Arc::clone(skipped)), listed(pair.to, Arc::default()));
        let tell = |done: &Mirrored| self.progress.iter().for_each(|progress| progress(done));
        walk(all, self.at_a_time, |name| pair.settle(name), done, tell).await
    }
}

impl fmt::Debug for Mirror<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("prefix", &self.prefix).field("after", &self.after).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Mirror<'a> {
    type Output = std::result::Result<Mirrored, Interrupted<Mirrored>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

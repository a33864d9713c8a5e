use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use statehouse_core::{Error, ErrorKind, Result};

use super::place::Place;
use super::walk::{AT_A_TIME, Interrupted, Progress, Tally, Tries, apart, names, tell, walk};
use crate::key::FileKey;
use crate::options::GetOptions;

/// A check of many files that is being described; `.await` reads each of them and says what it found: [`Checked`].
///
/// Every file is read as a stream and compared with the SHA-256 that was recorded when it was stored. Nothing is changed. What was put while
/// it runs may or may not be looked at.
///
/// # Errors
/// A file that is damaged or cannot be read is [counted and told](Checked::failures), and the others go on. [`Interrupted`] is what stands
/// against all of them: a listing that fails, a store that is away after some tries. It says how far it has come.
///
/// # Cancellation
/// Dropped, it reads no more.
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicU64, Ordering};
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// for name in ["p42/chest.dcm", "p42/knee.dcm", "p43/hip.dcm"] {
///     scans.put(name, "DICM").await?;
/// }
/// let bytes = AtomicU64::new(0);
/// let checked = scans.check().progress(|done| bytes.store(done.bytes, Ordering::Relaxed)).await?;
/// assert_eq!((checked.files, checked.damaged, bytes.into_inner()), (3, 0, 12));
/// let rest = scans.check().prefix("p42/").after("p42/chest.dcm").at_a_time(8).await?;
/// assert_eq!((rest.files, rest.last.as_deref()), (1, Some("p42/knee.dcm")));
/// # Ok(()) }
/// ```
#[must_use = "nothing is read until awaited"]
pub struct Check<'a> {
    place: &'a Place,
    prefix: String,
    after: Option<String>,
    at_a_time: usize,
    progress: Option<Progress<'a, Checked>>,
}

/// What a [`Check`] has found.
#[derive(Clone, Debug, Default)]
#[must_use = "some files may be damaged"]
#[non_exhaustive]
pub struct Checked {
    /// How many files it has looked at.
    pub files: u64,
    /// How many bytes it has read of those that are whole.
    pub bytes: u64,
    /// How many are not what was stored.
    pub damaged: u64,
    /// How many could not be read, for another reason.
    pub failed: u64,
    /// The first 100 of the damaged ones and of those that could not be read, by their names, and why: a damaged one is
    /// [`Corrupt`](statehouse_core::ErrorKind::Corrupt).
    pub failures: Vec<(String, Error)>,
    /// How many could be read and have no recorded digest, so that nobody knows whether they are what was stored.
    pub undigested: u64,
    /// How many things the listing has left out, as [`Page::skipped`](crate::Page::skipped) counts them: what is none of the store's
    /// files, and on a disk also a file that is damaged so that nobody can tell, which the log names.
    pub skipped: u64,
    /// The name up to which everything has been looked at: where the next check goes on [after](Check::after), if this one
    /// has been ended. None if it has not come so far.
    pub last: Option<String>,
}

/// What was read of one; nothing if it was deleted meanwhile.
struct Read(Option<(u64, bool)>);

impl Tally<Read> for Checked {
    fn add(&mut self, name: &str, done: Result<Read>) {
        match done {
            Ok(Read(None)) => return,
            Ok(Read(Some((bytes, has_digest)))) => {
                self.bytes += bytes;
                self.undigested += u64::from(!has_digest);
            }
            Err(error) => {
                let is_damaged = error.kind() == ErrorKind::Corrupt;
                self.damaged += u64::from(is_damaged);
                self.failed += u64::from(!is_damaged);
                tell(&mut self.failures, name, error);
            }
        }
        self.files += 1;
    }

    fn reached(&mut self, name: String) {
        self.last = Some(name);
    }
}

impl<'a> Check<'a> {
    pub(super) const fn new(place: &'a Place) -> Self {
        Self { place, prefix: String::new(), after: None, at_a_time: AT_A_TIME.0, progress: None }
    }

    /// Reads only the files whose names begin with this text.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Begins behind this text, in the order of bytes: at the [`last`](Checked::last) of one that has been ended.
    pub fn after(mut self, name: impl Into<String>) -> Self {
        self.after = Some(name.into());
        self
    }

    /// Sets how many files are read at a time, 1 to 64; 4 at first.
    pub fn at_a_time(mut self, files: usize) -> Self {
        self.at_a_time = files.clamp(1, AT_A_TIME.1);
        self
    }

    /// Is told, with each file, what was found by then.
    pub fn progress(mut self, progress: impl Fn(&Checked) + Send + Sync + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    async fn run(self) -> std::result::Result<Checked, Interrupted<Checked>> {
        let Self { place, prefix, after, at_a_time, progress } = self;
        let (mut done, skipped) = (Checked::default(), Arc::<AtomicU64>::default());
        let names = names(place, &prefix, after.as_deref(), Arc::clone(&skipped));
        let tell = |done: &Checked| progress.iter().for_each(|progress| progress(done));
        let check = |name: String| async move { apart(&name, insist(place, &name).await, &[place]).await };
        let ended = walk(names, at_a_time, check, &mut done, tell).await;
        done.skipped = skipped.load(Ordering::Relaxed);
        Interrupted::unless(ended, done)
    }
}

async fn insist(place: &Place, name: &str) -> Result<Read> {
    let key = FileKey::within(&place.namespace, name)?;
    let mut tries = Tries::new();
    loop {
        match read(place, &key).await {
            Ok(read) => return Ok(Read(Some(read))),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Read(None)),
            Err(error) => tries.next(Some(error)).await?,
        }
    }
}

async fn read(place: &Place, key: &FileKey) -> Result<(u64, bool)> {
    let object = place.store.get_with(key, GetOptions::default()).await?.unconditional()?;
    let (len, has_digest) = (object.meta().len, object.meta().sha256.is_some());
    let object = if has_digest { object.verify_sha256() } else { object };
    object.into_stream().try_for_each(|_| std::future::ready(Ok(()))).await?;
    Ok((len, has_digest))
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("prefix", &self.prefix).field("after", &self.after).finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Check<'a> {
    type Output = std::result::Result<Checked, Interrupted<Checked>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

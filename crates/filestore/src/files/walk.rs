//! Many files, a few at a time and in the order of their names as far as anybody is told.

use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, HealthStatus, Result, Retry};
use tokio::sync::Semaphore;

use super::list::List;
use super::place::Place;

/// How many files are looked at at a time, if nothing else is said, and at most.
pub(super) const AT_A_TIME: (usize, usize) = (4, 64);

/// How many files are begun before the first of them has ended: what is remembered of them is bounded, and one that is long does not
/// keep the others.
const AHEAD: usize = 1024;

/// How often one file is tried. With the pauses in between these are some three seconds.
const TRIES: u32 = 10;

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How many failures are told.
const TOLD: usize = 100;

/// Why a walk over many files ended before its end, and how far it had come: what [`Mirror`](crate::Mirror) and
/// [`Check`](crate::Check) fail with.
///
/// ```
/// # use std::sync::Arc;
/// # use statehouse_core::Namespace;
/// # use statehouse_core::layer::Faults;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let store = LayeredFileStore::new(Arc::new(MemoryFileStore::new()), Faults::seeded(1).with_refused_calls(1.0));
/// # let scans = Files::new(Arc::new(store), Namespace::new("clinic.scans")?);
/// let mut after = String::new();
/// if let Err(ended) = scans.check().after(&after).await {
///     println!("{}, behind {} files", ended.error(), ended.done().files);
///     after = ended.done().last.clone().unwrap_or(after);
///     assert!(ended.into_error().is_retryable());
/// }
/// # assert_eq!(after, "");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Interrupted<T> {
    error: Error,
    done: Box<T>,
}

impl<T> Interrupted<T> {
    /// How a walk has ended that has done so much.
    pub(super) fn unless(ended: Result<()>, done: T) -> std::result::Result<T, Self> {
        match ended {
            Ok(()) => Ok(done),
            Err(error) => Err(Self { error, done: Box::new(done) }),
        }
    }

    /// What stands against everything.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// That alone.
    #[must_use]
    pub fn into_error(self) -> Error {
        self.error
    }

    /// What had become of the files by then. Its `last` is where to go on.
    #[must_use]
    pub const fn done(&self) -> &T {
        &self.done
    }
}

impl<T> fmt::Debug for Interrupted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<T> fmt::Display for Interrupted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> std::error::Error for Interrupted<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// Is told of each file.
pub(super) type Progress<'a, T> = Box<dyn Fn(&T) + Send + Sync + 'a>;

/// What counts files.
pub(super) trait Tally<T> {
    fn add(&mut self, name: &str, done: Result<T>);

    /// All files up to this one have been added.
    fn reached(&mut self, name: String);
}

/// The first of the files that failed.
pub(super) fn tell(failures: &mut Vec<(String, Error)>, name: &str, error: Error) {
    if failures.len() < TOLD {
        failures.push((name.to_owned(), error));
    }
}

/// The names below a prefix, in their order.
pub(super) fn names<'a>(
    place: &'a Place,
    prefix: &str,
    after: Option<&str>,
    skipped: Arc<AtomicU64>,
) -> BoxStream<'a, Result<String>> {
    let list = List::new(place, prefix);
    let list = match after {
        Some(after) => list.after(after),
        None => list,
    };
    let prefix = prefix.to_owned();
    let named = list.stream_counting(skipped).map(move |entry| {
        let entry = entry?;
        let name = place.name(&entry.key).filter(|name| name.starts_with(&prefix)).map(str::to_owned);
        // Anybody may write a store.
        name.ok_or_else(|| Error::new(ErrorKind::Unexpected, "the store listed what is not below the prefix"))
    });
    named.boxed()
}

/// Does this with each of the files. An error of the work is one that stands against all others: none is begun any more, and
/// those that are under way are waited for.
pub(super) async fn walk<T, F, C>(
    names: BoxStream<'_, Result<String>>,
    at_a_time: usize,
    work: impl Fn(String) -> F + Send,
    tally: &mut C,
    told: impl Fn(&C) + Send,
) -> Result<()>
where
    T: Send,
    C: Tally<T> + Send,
    F: Future<Output = Result<Result<T>>> + Send,
{
    let ahead = Arc::new(Semaphore::new(AHEAD));
    let begun = names.try_take_while(|_| ready(Ok(!ahead.is_closed()))).try_filter_map(|name| {
        let ahead = Arc::clone(&ahead);
        async move { Ok(ahead.acquire_owned().await.ok().map(|place| (name, place))) }
    });
    let running = begun.enumerate().map(|(at, begun)| begun.map(|(name, place)| (at, name, place)));
    let running = running.map_ok(|(at, name, place)| {
        let work = work(name.clone());
        async move { Ok((at, name, place, work.await?)) }
    });
    let mut running = pin!(running.try_buffer_unordered(at_a_time));
    let (mut ended, mut next, mut over) = (BTreeMap::new(), 0, None);
    while let Some(one) = running.next().await {
        match one {
            Err(error) => {
                over = over.or(Some(error));
                ahead.close();
            }
            Ok((at, name, place, done)) => {
                tally.add(&name, done);
                ended.insert(at, (name, place));
                while let Some((name, _)) = ended.remove(&next) {
                    next += 1;
                    tally.reached(name);
                }
                told(tally);
            }
        }
    }
    over.map_or(Ok(()), Err)
}

/// How often one file has been tried.
pub(super) struct Tries {
    left: u32,
    pauses: Backoff,
}

impl Tries {
    pub(super) fn new() -> Self {
        Self { left: TRIES, pauses: Backoff::new(PAUSES.0, PAUSES.1) }
    }

    /// Waits for the next try, behind this error or because somebody has written the file; or says why there is none.
    pub(super) async fn next(&mut self, failed: Option<Error>) -> Result<()> {
        self.left -= 1;
        match failed {
            Some(error) if self.left == 0 || !is_for_now(&error) => return Err(error),
            None if self.left == 0 => {
                let message = "the file was written again and again while it was looked at";
                return Err(Error::new(ErrorKind::Conflict, message).with_retry(Retry::Exhausted));
            }
            _ => tokio::time::sleep(self.pauses.pause()).await,
        }
        Ok(())
    }
}

/// Whether the next try may succeed: somebody was writing, or a server is in trouble.
fn is_for_now(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::OutcomeUnknown => true,
        ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Timeout => error.retry() != Retry::FULL,
        _ => false,
    }
}

/// What one file has come to: an error of this is one of all files, and that of this one is in what it gives.
pub(super) async fn apart<T>(name: &str, done: Result<T>, places: &[&Place]) -> Result<Result<T>> {
    match done.map_err(|error| error.with_key(name)) {
        Err(error) if is_of_all(&error, places).await => Err(error),
        done => Ok(done),
    }
}

/// Whether what one file failed with stands against every other: a store is full, takes nobody in, or is away.
async fn is_of_all(error: &Error, places: &[&Place]) -> bool {
    match error.kind() {
        ErrorKind::Unauthenticated => true,
        ErrorKind::Unavailable if error.retry() == Retry::FULL => true,
        ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::Timeout | ErrorKind::OutcomeUnknown => {
            let healths = places.iter().map(|place| place.store.health());
            futures_util::future::join_all(healths).await.iter().any(|health| health.status == HealthStatus::Down)
        }
        _ => false,
    }
}

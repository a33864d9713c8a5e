//! Asking the application's own database again, where that is safe.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use statehouse_core::policy::{Backoff, RetryBudget};
use statehouse_core::{Error, ErrorKind, Retry};
use tokio::time::{Instant, sleep, timeout};

/// Tries again what has failed with its connection, on another one: for a database of the application's own, whose
/// failover ends all connections of a pool at once. The services of this library do so themselves.
///
/// # Behavior
/// - **Only what is idempotent** may be given to it: what can be done twice, because an answer may be lost of what was done.
///   A read is, and so is a write that names its whole result, or that is under a condition. An insert with a new number is
///   not, nor is "add one".
/// - Each try gets an [`Attempt`]: from the second on it must take **another connection**, which was not in the pool
///   when the first one failed, or the next dead one is tried.
/// - It is tried again only if the error says so, at most [twice](Self::with_tries) more, after a pause of 20 ms that
///   doubles up to half a second, by chance shortened.
/// - **A deadline** of 3 seconds is for all tries together, and each may take a second: one that hangs is dropped.
/// - **A budget**: ten successes pay for one retry, and a hundred are saved up at most, so that a database that is in trouble
///   is not asked three times as much. Clones share it; there should be one for each database.
///
/// ```
/// use std::time::Duration;
/// use statehouse::Retries;
///
/// # #[derive(Debug)] struct DbError { is_connection: bool }
/// # #[derive(Clone)] struct Pool;
/// # struct Row(u32);
/// # impl Pool {
/// #     async fn acquire(&self) -> Result<Pool, DbError> { Ok(Pool) }
/// #     async fn connect_anew(&self) -> Result<Pool, DbError> { Ok(Pool) }
/// #     async fn fetch_one(&self, _: &str) -> Result<Row, DbError> { Ok(Row(7)) }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let pool = Pool;
/// // Once, beside the pool
/// let database = Retries::new().with_tries(4).with_try_within(Duration::from_millis(500));
/// let row = database
///     .idempotent(
///         |error: &DbError| error.is_connection,
///         async |attempt| {
///             let connection = if attempt.is_first() { pool.acquire().await } else { pool.connect_anew().await };
///             connection?.fetch_one("select count(*) from patient").await
///         },
///     )
///     .await;
/// assert_eq!(row.expect("a row").0, 7);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Retries {
    tries: u32,
    deadline: Duration,
    try_within: Duration,
    budget: Arc<RetryBudget>,
}

const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// Longer than anything lasts, and the clock has a time after it, as it may not have after [`Duration::MAX`].
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// No limit is one of thirty years.
pub(crate) const fn bounded(time: Duration) -> Duration {
    if time.as_secs() < LONGEST.as_secs() { time } else { LONGEST }
}

/// Which try it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The first is 1.
    pub number: u32,
    /// How long it may take.
    pub within: Duration,
}

impl Attempt {
    /// Whether a connection of the pool will do.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.number == 1
    }
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Failed<E> {
    /// What the last try failed with.
    Error(E),
    /// It took too long: what the try before failed with, if there was one. It may have been done.
    Late(Option<E>),
}

impl Retries {
    /// Three tries within three seconds, with a full budget.
    #[must_use]
    pub fn new() -> Self {
        let (deadline, try_within) = (Duration::from_secs(3), Duration::from_secs(1));
        Self { tries: 3, deadline, try_within, budget: Arc::default() }
    }

    /// So many tries at most, the first included.
    #[must_use]
    pub const fn with_tries(mut self, tries: u32) -> Self {
        self.tries = if tries == 0 { 1 } else { tries };
        self
    }

    /// How long all tries may take together.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = bounded(deadline);
        self
    }

    /// How long each try may take.
    #[must_use]
    pub const fn with_try_within(mut self, limit: Duration) -> Self {
        self.try_within = limit;
        self
    }

    /// Does what may be done twice, and does it again where it has failed with its connection, or has hung.
    ///
    /// # Errors
    /// What the last try failed with, or that it took too long.
    pub async fn idempotent<T, E>(
        &self,
        is_of_connection: impl Fn(&E) -> bool,
        mut work: impl AsyncFnMut(Attempt) -> Result<T, E>,
    ) -> Result<T, Failed<E>> {
        let until = Instant::now() + self.deadline;
        let (mut backoff, mut last, mut number) = (Backoff::new(PAUSES[0], PAUSES[1]), None, 1);
        loop {
            let within = until.saturating_duration_since(Instant::now()).min(self.try_within);
            if within.is_zero() {
                return Err(Failed::Late(last));
            }
            let failed = match timeout(within, work(Attempt { number, within })).await {
                Ok(Ok(done)) => {
                    self.budget.earn();
                    return Ok(done);
                }
                Ok(Err(error)) if !is_of_connection(&error) => return Err(Failed::Error(error)),
                Ok(Err(error)) => Failed::Error(error),
                Err(_) => Failed::Late(last.take()),
            };
            if number >= self.tries || !self.budget.spend() {
                return Err(failed);
            }
            number += 1;
            last = failed.into_error();
            sleep(backoff.pause().min(until.saturating_duration_since(Instant::now()))).await;
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Failed<E> {
    /// What a try has failed with.
    pub fn into_error(self) -> Option<E> {
        match self {
            Self::Error(error) => Some(error),
            Self::Late(error) => error,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Late(Some(error)) => write!(f, "not answered in time, after {error}"),
            Self::Late(None) => f.write_str("not answered in time"),
        }
    }
}

impl<E: StdError + 'static> StdError for Failed<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Error(error) => error.source(),
            Self::Late(error) => error.as_ref().map(|error| error as _),
        }
    }
}

/// [`ErrorKind::Unavailable`], or [`ErrorKind::OutcomeUnknown`] if it took too long; nothing more is to be tried.
impl<E: StdError + Send + Sync + 'static> From<Failed<E>> for Error {
    fn from(failed: Failed<E>) -> Self {
        let kind = match failed {
            Failed::Error(_) => ErrorKind::Unavailable,
            Failed::Late(_) => ErrorKind::OutcomeUnknown,
        };
        Self::new(kind, failed.to_string()).with_retry(Retry::Exhausted).with_source(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Db {
        Lost,
        Refused,
    }

    impl fmt::Display for Db {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{self:?}")
        }
    }

    impl StdError for Db {}

    /// What came of these answers, one for each try, and how many tries there were.
    async fn tried(retries: &Retries, answers: &[Result<u32, Db>]) -> (Result<u32, Failed<Db>>, u32) {
        let mut tries = 0;
        let done = retries
            .idempotent(
                |error| *error == Db::Lost,
                async |attempt| {
                    tries += 1;
                    assert_eq!((attempt.number, attempt.is_first()), (tries, tries == 1));
                    answers[tries as usize - 1]
                },
            )
            .await;
        (done, tries)
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_lost_its_connection_is_tried_again_and_nothing_else() {
        let retries = Retries::new();
        assert_eq!(tried(&retries, &[Err(Db::Lost), Ok(7)]).await, (Ok(7), 2));
        assert_eq!(tried(&retries, &[Err(Db::Refused)]).await, (Err(Failed::Error(Db::Refused)), 1));
        assert_eq!(tried(&retries, &[Err(Db::Lost); 3]).await, (Err(Failed::Error(Db::Lost)), 3));
        assert_eq!(tried(&retries.with_tries(0), &[Err(Db::Lost)]).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_hangs_is_dropped_and_all_together_end_at_the_deadline() {
        let begun = Instant::now();
        let hangs = Retries::new().with_tries(9);
        let done = hangs.idempotent(|_: &Db| true, async |_| std::future::pending::<Result<u32, Db>>().await).await;
        assert_eq!((done, begun.elapsed()), (Err(Failed::Late(None)), Duration::from_secs(3)));
        let second = async |attempt: Attempt| if attempt.is_first() { std::future::pending().await } else { Ok(7) };
        assert_eq!(hangs.idempotent(|_: &Db| true, second).await, Ok(7));
        let error = Error::from(Failed::Late(Some(Db::Lost)));
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::OutcomeUnknown, "not answered in time, after Lost".to_owned())
        );
    }

    #[tokio::test]
    async fn a_deadline_without_an_end_is_one() {
        let retries = Retries::new().with_deadline(Duration::MAX).with_try_within(Duration::MAX);
        assert_eq!(tried(&retries, &[Err(Db::Lost), Ok(7)]).await, (Ok(7), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_in_trouble_is_not_asked_three_times_as_much() {
        let retries = Retries::new();
        let mut tries = 0;
        for _ in 0..1_000 {
            tries += tried(&retries.clone(), &[Err(Db::Lost); 3]).await.1;
        }
        assert_eq!(tries, 1_100, "a hundred retries were saved up");
    }
}

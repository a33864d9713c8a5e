//! The end of a call by the deadline that its caller gave it.
//!
//! No runtime is named here: whoever calls brings what waits, such as `tokio::time::sleep`.
//!
//! ```
//! use std::time::Duration;
//! use statehouse_core::{ErrorKind, Result, deadline};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let silent = std::future::pending::<Result<()>>();
//! let limit = Some(Duration::from_millis(1));
//! let error = deadline::within(limit, tokio::time::sleep, deadline::not_done, silent).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Timeout);
//! # }
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::{Error, ErrorKind, Result, Retry};

/// The setter that the options of every call have, as all services spell it.
#[doc(hidden)]
#[macro_export]
macro_rules! with_deadline {
    () => {
        /// With a limit for how long this call may take, in place of the backend's own.
        #[must_use]
        pub const fn with_deadline(mut self, limit: ::std::time::Duration) -> Self {
            self.deadline = Some(limit);
            self
        }
    };
}

/// Options of calls that may be told nothing but how long they may take, as all services spell them.
#[doc(hidden)]
#[macro_export]
macro_rules! deadline_options {
    ($($(#[$about:meta])* $name:ident)*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// How long this call may take; the backend's own limit if none.
            pub deadline: Option<::std::time::Duration>,
        }

        impl $name {
            $crate::with_deadline!();
        }
    )*};
}

/// Does work for at most so long, if there is a limit. Work that is done when it ends is done. `late` says of the rest
/// what it may have done: [`not_done`], [`in_doubt`], or one of them by what is known then.
///
/// # Errors
/// Those of the work, and `late`.
pub async fn within<T, S: Future<Output = ()>>(
    limit: Option<Duration>,
    sleep: impl FnOnce(Duration) -> S,
    late: impl FnOnce(Duration) -> Error,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = pin!(work);
    let Some(limit) = limit else { return work.await };
    let mut over = pin!(sleep(limit));
    let done = poll_fn(|context| {
        // Asked first, so that work that is always busy does not keep the runtime from answering it.
        let over = over.as_mut().poll(context).is_ready();
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    done.await.unwrap_or_else(|| Err(late(limit)))
}

/// What was to be done has not been, and will not be, or changes nothing. The caller has no time left to try again.
#[must_use]
pub fn not_done(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("not done within the call's deadline of {limit:?}"))
        .with_retry(Retry::Exhausted)
}

/// What was to be done may have been, or still be.
#[must_use]
pub fn in_doubt(limit: Duration) -> Error {
    let message = format!("not answered within the call's deadline of {limit:?}; it may have been done or still be");
    Error::new(ErrorKind::OutcomeUnknown, message)
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    /// A timer that has run out already.
    fn run_out(_: Duration) -> Ready<()> {
        ready(())
    }

    #[tokio::test]
    async fn what_is_late_says_what_it_may_have_done_and_what_is_done_is_not_late() {
        let error = within(Some(LIMIT), run_out, not_done, pending::<Result<()>>()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Exhausted));
        assert_eq!(error.to_string(), "not done within the call's deadline of 2s");
        let error = within(Some(LIMIT), run_out, in_doubt, pending::<Result<()>>()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::OutcomeUnknown, false));
        assert_eq!(within(Some(LIMIT), run_out, not_done, ready(Ok(1))).await.unwrap(), 1);
        let never = |_| pending();
        assert_eq!(within(Some(LIMIT), never, not_done, ready(Ok(2))).await.unwrap(), 2);
        assert_eq!(within(None, run_out, not_done, ready(Ok(3))).await.unwrap(), 3);
    }
}

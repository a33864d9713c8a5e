//! A connection that is put to the test: why, and for how long its answer is waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::timeout;

/// What of an answer is waited for at a time.
const STEP: Duration = Duration::from_millis(50);

/// Says whether a connection that was doubted has answered since.
pub(super) type Answered = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a test finds of a connection.
pub(super) enum Doubted {
    Answers,
    /// It was closed.
    Broken,
    /// Nothing came.
    Silent,
}

/// The answer, if it comes within `limit` of time in which this process ran. A machine that is so busy that timers fire
/// late has not looked for the answer either: such a pause counts as one step.
pub(super) async fn within_waking<T>(limit: Duration, mut answer: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    for _ in 0..limit.as_millis().div_ceil(STEP.as_millis()) {
        if let Ok(answer) = timeout(STEP, answer.as_mut()).await {
            return Some(answer);
        }
    }
    None
}

//! What is left of a try's time after something else had to be waited for.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Failure, timed_out};

/// Fails as one who has sent nothing if what was waited for, at least one round trip, took longer than there is time left:
/// the answer to what is sent now would come too late. The next try finds that done.
pub(crate) fn leaves_time(took: Duration, until: Instant) -> Result<(), Failure> {
    let enough = until.saturating_duration_since(Instant::now()) >= took;
    enough.then_some(()).ok_or_else(|| Failure::not_sent(timed_out()))
}

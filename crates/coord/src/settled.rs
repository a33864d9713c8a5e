use std::time::Duration;

use bytes::Bytes;
use statehouse_core::policy::Backoff;
use statehouse_core::{ErrorKind, Result};
use tokio::time::{Instant, sleep};

use crate::api::CoordStore;
use crate::away::is_away;
use crate::key::CoordKey;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::record::WriteId;

/// How often what became of a put is found out.
const TRIES: usize = 4;

/// Puts a record, and finds out what became of it where an answer was lost. The id of the put must be set; a deadline is for all
/// of that.
///
/// # Errors
/// [`ErrorKind::OutcomeUnknown`] only if others have written since, or nobody answers any more.
pub(crate) async fn put_settled(
    store: &dyn CoordStore,
    key: &CoordKey,
    value: &Bytes,
    id: WriteId,
    mut options: PutOptions,
) -> Result<PutOutcome> {
    let until = options.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    let unknown = match store.put_with(key, value.clone(), options.clone().with_id(id)).await {
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => error,
        settled => return settled,
    };
    for _ in 1..TRIES {
        sleep(backoff.pause()).await;
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            options.deadline = Some(left);
        }
        match store.put_with(key, value.clone(), options.clone().repeating(id)).await {
            Ok(settled) => return Ok(settled),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown || is_away(&error) => {}
            // What refuses this one, as a mark that was raised since, says nothing of the first, which may have been made.
            Err(_) => break,
        }
    }
    Err(unknown)
}

use std::time::Duration;

use bytes::Bytes;
use statehouse_core::policy::Backoff;
use statehouse_core::{ErrorKind, Result};
use tokio::time::sleep;

use crate::api::CoordStore;
use crate::key::CoordKey;
use crate::options::PutOptions;
use crate::outcome::PutOutcome;
use crate::record::WriteId;

/// How often what became of a put is found out.
const TRIES: usize = 4;

/// Puts a record, and finds out what became of it where an answer was lost. The id of the put must be set.
///
/// # Errors
/// [`ErrorKind::OutcomeUnknown`] only if others have written since, or nobody answers any more.
pub(crate) async fn put_settled(
    store: &dyn CoordStore,
    key: &CoordKey,
    value: &Bytes,
    id: WriteId,
    options: PutOptions,
) -> Result<PutOutcome> {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    let mut put = store.put_with(key, value.clone(), options.clone().with_id(id)).await;
    for _ in 1..TRIES {
        let unknown = match put {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => error,
            settled => return settled,
        };
        sleep(backoff.pause()).await;
        put = store.put_with(key, value.clone(), options.clone().repeating(id)).await;
        if put.as_ref().is_err_and(|error| error.kind() == ErrorKind::Fenced) {
            // It may have been made before somebody else acquired the lock.
            return Err(unknown);
        }
    }
    put
}

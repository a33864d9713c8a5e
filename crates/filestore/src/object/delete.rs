//! Deleting a file, and what became of a delete whose answer was lost.

use std::time::Instant;

use object_store::ObjectStoreExt;
use statehouse_core::{ErrorKind, Result};

use super::ObjectFileStore;
use super::client::{Failure, changed, is_older, lost};
use super::wire::{Answer, Terms};
use crate::capability;
use crate::key::FileKey;
use crate::options::{Condition, DeleteOptions};
use crate::outcome::Deleted;

impl ObjectFileStore {
    pub(super) async fn delete(&self, key: &FileKey, options: DeleteOptions) -> Result<Deleted> {
        if let Some(fence) = options.fence.clone() {
            self.capabilities.require(capability::FENCED)?;
            return Box::pin(self.delete_fenced(key, options, &fence)).await;
        }
        let condition = options.if_match.map_or(Condition::Always, Condition::Match);
        if condition != Condition::Always {
            self.capabilities.require(capability::DELETE_IF_MATCH)?;
        }
        self.delete_as_told(key, condition).await
    }

    /// Whatever fence there is was checked.
    pub(super) async fn delete_as_told(&self, key: &FileKey, condition: Condition) -> Result<Deleted> {
        // S3 answers alike whether there was something to delete or not.
        let (meta, marks) = match (self.remote.peek(key).await, &condition) {
            (Err(error), Condition::Always) if error.kind() == ErrorKind::NotFound => return Ok(Deleted::Absent),
            (Err(error), _) if error.kind() == ErrorKind::NotFound => return Err(changed()),
            (peeked, _) => peeked?,
        };
        if matches!(&condition, Condition::Match(etag) if *etag != meta.etag) {
            return Err(changed());
        }
        let (path, start) = (self.remote.path(key)?, Instant::now());
        let terms = Terms::new(Answer::Nothing).condition(&condition);
        if let Err(failure) = self.remote.call(terms, self.remote.store.delete(&path)).await {
            self.settle_delete(key, &condition, failure, start).await?;
        }
        if let Some(put) = marks.put.filter(|_| marks.apart) {
            self.remote.records.forget(key, &put);
            // The file is gone, whatever becomes of its digest: should that stay, a sweep finds it.
            let _ = self.remote.remove(&self.remote.digest_path(key, &put)?).await;
        }
        Ok(Deleted::Removed)
    }

    /// The outcome of a delete that failed: done if an earlier attempt did it. That the file is still there says nothing of one
    /// that is on its way.
    async fn settle_delete(
        &self,
        key: &FileKey,
        condition: &Condition,
        failure: Failure,
        start: Instant,
    ) -> Result<()> {
        let (doubtful, under_way) = (failure.log.doubtful, failure.log.under_way);
        let error = failure.into_error(condition);
        if error.kind() == ErrorKind::NotFound {
            return Ok(());
        }
        if !doubtful {
            return Err(error);
        }
        match (Box::pin(self.remote.peek_dated(key)).await, condition) {
            (Err(gone), _) if gone.kind() == ErrorKind::NotFound => Ok(()),
            // It is still what was to be deleted.
            (Ok((meta, ..)), Condition::Match(etag)) if meta.etag == *etag && !under_way => Err(error),
            // It is another file, and was before: what is on its way is refused as well.
            (Ok((meta, _, now)), Condition::Match(etag))
                if is_older(meta.modified, now, start) && meta.etag != *etag =>
            {
                Err(error)
            }
            (Ok((meta, _, now)), _) if is_older(meta.modified, now, start) && !under_way => Err(error),
            _ => Err(lost(error)),
        }
    }
}

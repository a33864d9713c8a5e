//! Files that are not visible yet, and what is over.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{MutexGuard, PoisonError};

use statehouse_core::Result;

use super::{MemoryFileStore, Pending};
use crate::body::Body;
use crate::digest::Digest;
use crate::key::FileKey;
use crate::meta::Stored;
use crate::options::{Condition, PutOptions, StagesOptions, SweepOptions};
use crate::outcome::{CommitOutcome, DiscardOutcome, Swept};
use crate::stage::{Stage, StageId, Staged};

/// How many files a sweep looks at before others have their turn.
const AT_ONCE: usize = 256;

impl MemoryFileStore {
    // Nothing panics while the lock is held, as with the files'.
    fn pending(&self) -> MutexGuard<'_, BTreeMap<StageId, Pending>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn stage(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        options.check_stage()?;
        let (id, condition) = (StageId::random()?, options.condition.clone());
        let mut file = self.receive(key, body, options).await?;
        file.meta.etag = id.etag();
        let digest = file.meta.sha256.unwrap_or_else(|| Digest::of(&file.content));
        let staged = Staged::new(id, file.meta.len, digest);
        self.pending().insert(id, Pending { file, condition, since: self.clock.now() });
        Ok(staged)
    }

    pub(super) fn commit(&self, key: &FileKey, id: StageId) -> Result<CommitOutcome> {
        let mut pending = self.pending();
        let Some(stage) = pending.get(&id).filter(|stage| stage.file.meta.key == *key) else {
            return Ok(self.committed(key, id).map_or(CommitOutcome::Gone, CommitOutcome::Committed));
        };
        let stored = self.publish(stage.file.clone(), &stage.condition, None);
        let outcome = CommitOutcome::of(stored.map(Some), stage.condition != Condition::Always)?;
        if matches!(outcome, CommitOutcome::Committed(_)) {
            pending.remove(&id);
        }
        Ok(outcome)
    }

    /// What is stored, if it is what this stage was.
    fn committed(&self, key: &FileKey, id: StageId) -> Option<Stored> {
        let meta = self.find(key).ok()?.meta;
        (meta.etag == id.etag()).then(|| Stored::new(meta.etag, meta.len, meta.sha256))
    }

    pub(super) fn discard(&self, key: &FileKey, id: StageId) -> DiscardOutcome {
        let mut pending = self.pending();
        if pending.get(&id).is_some_and(|stage| stage.file.meta.key == *key) {
            pending.remove(&id);
            return DiscardOutcome::Discarded;
        }
        self.committed(key, id).map_or(DiscardOutcome::Absent, |_| DiscardOutcome::Committed)
    }

    pub(super) fn stages(&self, options: &StagesOptions) -> Vec<Stage> {
        let (pending, now) = (self.pending(), self.clock.now());
        let all = pending.iter().map(|(id, stage)| (stage.file.meta.key.clone(), *id, now.since(stage.since)));
        let due = all.filter(|(key, _, age)| key.starts_with(&options.prefix) && *age >= options.older_than);
        due.map(|(key, id, age)| Stage::new(key, id, age)).collect()
    }

    pub(super) async fn sweep(&self, options: &SweepOptions) -> Swept {
        let (mut from, mut expired) = (Bound::Included(options.prefix.clone()), 0);
        while let Some(next) = self.sweep_some(&options.prefix, &from, &mut expired) {
            from = next;
            tokio::task::yield_now().await;
        }
        Swept { expired, ..Swept::default() }
    }

    /// Looks at a few files, since everybody waits meanwhile. Where to go on, if there are more.
    fn sweep_some(&self, prefix: &str, from: &Bound<String>, expired: &mut u64) -> Option<Bound<String>> {
        let (mut files, now) = (self.write(), self.clock.now());
        let some = files.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded));
        let (mut last, mut ended) = (None, Vec::new());
        for (key, file) in some.take_while(|(key, _)| key.starts_with(prefix)).take(AT_ONCE) {
            if file.meta.expires.is_some_and(|expires| expires <= now) {
                ended.push(key.clone());
            }
            last = Some(Bound::Excluded(key.as_str().to_owned()));
        }
        *expired += ended.len() as u64;
        // Freed when nobody waits any more.
        let removed: Vec<_> = ended.iter().map(|key| files.remove(key)).collect();
        drop((files, removed));
        last
    }
}

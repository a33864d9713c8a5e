use statehouse_core::Result;

use super::place::Place;
use crate::digest::Digest;
use crate::key::FileKey;
use crate::options::{CommitOptions, DiscardOptions};
use crate::outcome::{CommitOutcome, DiscardOutcome};
use crate::stage::{StageId, Staged};

/// A file that is stored out of sight, until it is committed or discarded. Made by [`Put::stage`](crate::Put::stage).
///
/// Dropping it does neither: whether the transaction that it belongs to was committed may not be known. What nobody
/// commits, a [`sweep`](crate::Files::sweep) asks about.
#[derive(Clone, Debug)]
#[must_use = "a stage becomes a file when it is committed"]
pub struct StagedFile {
    place: Place,
    key: FileKey,
    staged: Staged,
}

impl StagedFile {
    pub(super) const fn new(place: Place, key: FileKey, staged: Staged) -> Self {
        Self { place, key, staged }
    }

    /// The stage's name, which the row of the file has: with it [`Files::commit`](crate::Files::commit) does, from any process.
    #[must_use]
    pub const fn id(&self) -> StageId {
        self.staged.id
    }

    /// The content's length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.staged.len
    }

    /// Whether there is no content.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.staged.len == 0
    }

    /// The content's SHA-256.
    #[must_use]
    pub const fn sha256(&self) -> Digest {
        self.staged.sha256
    }

    /// Makes it the file, once the transaction that it belongs to is committed. May be done again, if it failed.
    ///
    /// # Errors
    /// As [`FileStore`](crate::FileStore) says; whether it was done is told by doing it again.
    pub async fn commit(&self) -> Result<CommitOutcome> {
        self.place.commit(&self.key, self.staged.id).await
    }

    /// Removes it, once the transaction that it belongs to is rolled back.
    ///
    /// # Errors
    /// As [`FileStore`](crate::FileStore) says. A sweep asks about it later then.
    pub async fn discard(self) -> Result<DiscardOutcome> {
        self.place.discard(&self.key, self.staged.id).await
    }
}

impl Place {
    pub(super) async fn commit(&self, key: &FileKey, stage: StageId) -> Result<CommitOutcome> {
        let committed = self.store.commit_with(key, stage, CommitOptions::default()).await;
        committed.map_err(|error| self.naming(key, error))
    }

    pub(super) async fn discard(&self, key: &FileKey, stage: StageId) -> Result<DiscardOutcome> {
        let discarded = self.store.discard_with(key, stage, DiscardOptions::default()).await;
        discarded.map_err(|error| self.naming(key, error))
    }
}

//! Reads with conditions: what counts of these goes to the server, so that it sends nothing that the reader has.

use std::time::{Duration, SystemTime};

use object_store::GetOptions;
use statehouse_core::{Error, ErrorKind, Result, Timestamp};

use super::client::{Failure, Remote, check_etag};
use super::error::map_error;
use super::metadata;
use super::wire::{Answer, Terms};
use crate::key::FileKey;
use crate::meta::{ETag, Meta};
use crate::options::{Conditions, HeadOptions, seconds};
use crate::outcome::ReadOutcome;

/// Adds conditions to a request: none beside one that goes before it, because not every server knows their order. An etag that no file
/// of the server has is known to be another one.
pub(super) fn conditional(request: GetOptions, on: Conditions<'_>) -> GetOptions {
    let header = |etag: &ETag| etag.as_str().to_owned();
    let known = on.if_none_match.filter(|etag| check_etag(etag).is_ok());
    // Some servers compare more precisely than in the seconds that a request can say: to them a file of this very second is written later.
    // What they let pass by the next second is looked at here.
    let next = |time: Timestamp| date(seconds(time).saturating_add(1));
    GetOptions {
        if_match: on.if_match.map(header),
        if_none_match: known.map(header),
        if_modified_since: on
            .if_modified_since
            .filter(|_| on.if_none_match.is_none())
            .map(|time| date(seconds(time)).into()),
        if_unmodified_since: on.if_unmodified_since.filter(|_| on.if_match.is_none()).map(|time| next(time).into()),
        ..request
    }
}

/// No later than any clock shows: in the year 9999.
fn date(seconds: u64) -> SystemTime {
    const LAST: u64 = 253_370_764_800;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST))
}

impl Conditions<'_> {
    /// Whether the reader says what it has.
    fn is_known(&self) -> bool {
        self.if_none_match.is_some() || self.if_modified_since.is_some()
    }

    const fn is_none(&self) -> bool {
        self.if_match.is_none()
            && self.if_none_match.is_none()
            && self.if_modified_since.is_none()
            && self.if_unmodified_since.is_none()
    }

    /// Whether the server says that the reader has what there is.
    pub(super) fn is_unmodified(&self, failure: &Failure) -> bool {
        self.is_known() && matches!(failure.error, object_store::Error::NotModified { .. })
    }
}

impl Remote {
    /// What else must hold of what the reader has. Not every server looks at it, and none at parts of a second.
    pub(super) async fn unmodified(&self, key: &FileKey, on: Conditions<'_>) -> Result<()> {
        if on.if_match.is_none() && on.if_unmodified_since.is_none() {
            return Ok(());
        }
        on.judge(&self.peek(key).await?.0).map(drop)
    }

    /// Why a read was refused. To Azure, what is absent does not have the etag that it must have.
    pub(super) async fn unmatched(&self, key: &FileKey, on: Conditions<'_>, refused: Error) -> Error {
        if !self.is_azure() || on.if_match.is_none() || refused.kind() != ErrorKind::Conflict {
            return refused;
        }
        Box::pin(self.peek(key)).await.err().unwrap_or(refused)
    }

    pub(super) async fn head(&self, key: &FileKey, options: &HeadOptions) -> Result<ReadOutcome<Meta>> {
        let on = options.conditions();
        if on.is_none() {
            return self.look(key).await.map(|(meta, _)| ReadOutcome::Found(meta));
        }
        if let Some(Err(changed)) = options.if_match.as_ref().map(check_etag) {
            // What is absent has no etag at all.
            self.peek(key).await?;
            return Err(changed);
        }
        let path = self.path(key)?;
        let request = conditional(GetOptions { head: true, ..Default::default() }, on);
        let found = match self.call(Terms::new(Answer::Nothing), self.store.get_opts(&path, request)).await {
            Ok(found) => found,
            Err(failure) if on.is_unmodified(&failure) => {
                return self.unmodified(key, on).await.map(|()| ReadOutcome::NotModified);
            }
            Err(failure) => return Err(self.unmatched(key, on, map_error(failure.error, &failure.log)).await),
        };
        let (meta, marks) = metadata::read(key, &found.meta, &found.attributes);
        // Not every server looks at the conditions of a read.
        if options.check_conditions(&meta)? == ReadOutcome::NotModified {
            return Ok(ReadOutcome::NotModified);
        }
        self.with_digest(meta, marks).await.map(|(meta, _)| ReadOutcome::Found(meta))
    }
}

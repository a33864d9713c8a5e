use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use statehouse_core::deadline::{in_doubt, not_done, within};
use statehouse_core::{Error, ErrorKind, RaiseOptions, Result};

use super::place::Place;
use crate::capability::{DELETE_IF_MATCH, ETAG_PER_PUT};
use crate::contended::insist;
use crate::key::FileKey;
use crate::meta::{ETag, Meta, Stored};
use crate::options::{Condition, CopyOptions, DeleteOptions, HeadOptions};
use crate::outcome::{DeleteOutcome, PutOutcome};

/// A rename that is being described; `.await` gives the file its new name.
///
/// It gives what was [`Stored`], and with a condition a [`PutOutcome`].
///
/// It is a copy and then a delete, for no store has more: for a moment the file has both names. Only the state that was copied is deleted. If somebody
/// replaces or deletes the file meanwhile, the rename fails with [`Conflict`](ErrorKind::Conflict): a state of it has the new name then, save where it was
/// deleted before the copy, and what is under the old one stays. One that [says to try again](statehouse_core::Error::is_retryable) is of two who write at
/// the same moment, and says nothing of either name; each step is tried some three seconds before it is told.
///
/// If the delete fails, or the process ends before it, the file has both names. Renamed once more, it has the new one alone, but that is a rename like the
/// first: without a condition it replaces what has the new name, also if that was changed since; with [`if_absent`](Self::if_absent) it is a
/// [`Conflict`](PutOutcome::Conflict) with its own copy. Where both names may be written meanwhile, look at both, and delete the old one by its etag. Where
/// the delete is in doubt ([`OutcomeUnknown`](ErrorKind::OutcomeUnknown)), [`NotFound`](ErrorKind::NotFound) of the second try says that it was made.
///
/// Without [`ETAG_PER_PUT`] a state is its content: the same content put in between with other metadata is taken for the one that was copied, and deleted.
/// A file without a digest is renamed there only if its copy has its etag, as on S3 one that is in one part; else the rename fails with `Conflict` behind
/// the copy, and both names stay.
///
/// A time to live begins anew. Without [`DELETE_IF_MATCH`] a rename is [`Unsupported`](ErrorKind::Unsupported), and nothing is copied.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use statehouse_core::Namespace;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// scans.put("inbox/7", "DICM").content_type("application/dicom").await?;
/// let named = scans.rename("inbox/7", "p42/chest.dcm").if_absent().deadline(Duration::from_secs(30)).await?;
/// assert!(matches!(named, PutOutcome::Stored(_)), "somebody was faster: {named:?}");
/// assert!(!scans.exists("inbox/7").await?);
/// assert_eq!(scans.head("p42/chest.dcm").await?.content_type.as_deref(), Some("application/dicom"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is renamed until awaited"]
pub struct Rename<'a, O = Stored> {
    place: &'a Place,
    keys: Result<(FileKey, FileKey)>,
    options: CopyOptions,
    outcome: PhantomData<fn() -> O>,
}

impl<'a, O> Rename<'a, O> {
    fn run(self) -> impl Future<Output = Result<PutOutcome>> + Send + 'a
    where
        O: 'a,
    {
        let Self { place, keys, mut options, .. } = self;
        async move {
            let ((from, to), begun) = (keys?, AtomicBool::new(false));
            let late = |limit| if begun.load(Ordering::Relaxed) { in_doubt(limit) } else { not_done(limit) };
            let deadline = options.deadline.take();
            let work = async {
                options.fence = place.fence(options.fence.take(), None).await?;
                place.rename(&from, &to, options, &begun).await
            };
            let renamed = within(deadline, tokio::time::sleep, late, work).await;
            renamed.map_err(|error| place.naming(&from, error))
        }
    }
}

to_another_name!(Rename, "Renames");
bound!(
    Rename,
    "Renames",
    ", and if they have done so between its two steps, the file has both names",
    "Sets how long the rename may take, both of its steps together."
);
awaited!(Rename: Stored, PutOutcome);

impl Place {
    async fn rename(
        &self,
        from: &FileKey,
        to: &FileKey,
        options: CopyOptions,
        begun: &AtomicBool,
    ) -> Result<PutOutcome> {
        let meta = self.store.head_with(from, HeadOptions::default()).await?.unconditional()?;
        // A store that opens when it is first asked knows now what it can do.
        self.store.capabilities().require(DELETE_IF_MATCH)?;
        if from == to {
            // No write, which would look at it.
            if let Some(fence) = &options.fence {
                self.store.raise_with(fence, RaiseOptions::default()).await?;
            }
            return Ok(onto_itself(meta, &options.condition));
        }
        begun.store(true, Ordering::Relaxed);
        let mut delete = DeleteOptions::default().with_if_match(meta.etag.clone());
        delete.fence.clone_from(&options.fence);
        // Each step by itself: the whole of it would come upon its own copy.
        let copied = match insist(|| self.store.copy_with(from, to, options.clone())).await {
            Ok(PutOutcome::Stored(copied)) => copied,
            Ok(PutOutcome::Conflict) => return Ok(PutOutcome::Conflict),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(conflict(from, GONE).with_source(error)),
            Err(error) => return Err(error),
        };
        // It may have been replaced between the look and the copy, and, where etags are the content's, be as before again.
        if !is_of(&copied, &meta, self.store.capabilities().has(ETAG_PER_PUT)) {
            let unknown = copied.len == meta.len && copied.sha256.zip(meta.sha256).is_none();
            let error = conflict(from, OTHER);
            return Err(if unknown { error.with_source(NoDigest) } else { error });
        }
        match insist(|| self.store.delete_with(from, delete.clone())).await? {
            DeleteOutcome::Removed => Ok(PutOutcome::Stored(copied)),
            DeleteOutcome::Absent | DeleteOutcome::Conflict => Err(conflict(from, REPLACED)),
        }
    }
}

const GONE: &str = "the file was deleted while it was renamed: it was not copied";
const OTHER: &str = "what has the new name is not known to be what the file was: somebody has written one of the two names \
                     meanwhile, or the file has no digest; what is under its old name was left";
const REPLACED: &str = "the file was replaced or deleted while it was renamed: what is under its old name was left";

/// What stands behind a conflict that may be none: nobody knows whether the copy is what was looked at.
#[derive(Debug)]
pub(crate) struct NoDigest;

impl std::fmt::Display for NoDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the file has no digest, and its copy has another etag")
    }
}

impl std::error::Error for NoDigest {}

/// Whether a copy has the content that was looked at. Where an etag is of one put, the delete looks at the same state again, and what is not known
/// does not matter; else it has to be known.
fn is_of(copied: &Stored, meta: &Meta, etag_per_put: bool) -> bool {
    copied.len == meta.len
        && match copied.sha256.zip(meta.sha256) {
            Some((copied, seen)) => copied == seen,
            None => etag_per_put || copied.etag == meta.etag,
        }
}

fn onto_itself(meta: Meta, condition: &Condition) -> PutOutcome {
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => false,
        Condition::Match(etag) => *etag == meta.etag,
    };
    if holds { PutOutcome::Stored(Stored::new(meta.etag, meta.len, meta.sha256)) } else { PutOutcome::Conflict }
}

fn conflict(key: &FileKey, message: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, message).with_key(key)
}

#[cfg(test)]
mod tests {
    use statehouse_core::Timestamp;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn where_etags_are_the_contents_a_copy_is_of_what_is_known_to_be_the_same() {
        let (known, other) = (Some(Digest::of(b"content")), Some(Digest::of(b"another")));
        let cases = [
            ("both are known", known, known, "\"2\"", (true, true)),
            ("both are known", known, other, "\"1\"", (false, false)),
            ("one is", known, None, "\"2\"", (true, false)),
            ("the other is", None, known, "\"2\"", (true, false)),
            ("none is", None, None, "\"2\"", (true, false)),
            ("none is, and the etag is the same", None, None, "\"1\"", (true, true)),
        ];
        for (case, seen, copied, etag, (per_put, of_content)) in cases {
            let key = FileKey::new("n/a").unwrap();
            let meta = Meta::new(key, 7, ETag::new("\"1\""), Timestamp::default()).with_sha256(seen);
            let stored = Stored::new(ETag::new(etag), 7, copied);
            assert_eq!((is_of(&stored, &meta, true), is_of(&stored, &meta, false)), (per_put, of_content), "{case}");
            let shorter = Stored::new(ETag::new(etag), 6, copied);
            assert!(!is_of(&shorter, &meta, true) && !is_of(&shorter, &meta, false), "{case}");
        }
    }
}

mod listing;
mod presign;
mod range;

use std::collections::BTreeMap;
use std::time::Duration;

use statehouse_core::{Fence, Result};

pub use self::listing::{Depth, ListOptions, Page, PageToken, Start};
pub use self::presign::{PresignOptions, Presigned, Verb};
pub use self::range::{BeyondEnd, ByteRange};
use crate::digest::{Digest, Intake};
use crate::meta::ETag;

/// What must hold for a write to happen; `Match` is of an etag. On S3 an etag is the content's: see [`ETag`].
pub type Condition = statehouse_core::Condition<ETag>;

/// Options of a put.
///
/// For whoever calls a [`FileStore`](crate::FileStore) itself; [`Files`](crate::Files) has all of it as words of its own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> statehouse_core::Result<()> {
/// use std::time::Duration;
/// use statehouse_core::{ErrorKind, Fence, Key, RaiseOptions, Version};
/// use statehouse_filestore::*;
///
/// let store = MemoryFileStore::new();
/// let key = FileKey::new("clinic/p42/chest.dcm")?;
/// let patient = Duration::from_secs(30);
/// let options = PutOptions::default()
///     .with_condition(Condition::Absent)
///     .with_content_type("application/dicom")
///     .with_metadata("modality", "ct")
///     .with_expected_digest(Digest::of(b"DICM"))
///     .with_max_len(50 << 20)
///     .with_deadline(patient);
/// let stored = store.put_with(&key, Body::from("DICM"), options).await?;
/// let etag = stored.stored().expect("there was none").etag;
///
/// let options = GetOptions::default().with_range(..2).with_if_match(etag.clone()).with_deadline(patient);
/// assert_eq!(store.get_with(&key, options).await?.bytes().await?, "DI");
///
/// let options = ListOptions::new("clinic/").with_depth(Depth::OneLevel).with_limit(100).with_deadline(patient);
/// assert_eq!(store.list_with(options.clone()).await?.prefixes, ["clinic/p42/"]);
/// let options = options.with_start(Start::After("clinic/p42/".to_owned()));
/// assert_eq!(store.list_with(options).await?.prefixes, [""; 0]);
///
/// let meta = store.head_with(&key, HeadOptions::default().with_deadline(patient)).await?;
/// assert_eq!(meta.content_type.as_deref(), Some("application/dicom"));
/// let options = CopyOptions::default().with_condition(Condition::Absent).with_deadline(patient);
/// let copied = store.copy_with(&key, &FileKey::new("clinic/p42/copy.dcm")?, options).await?;
/// assert!(matches!(copied, PutOutcome::Stored(_)));
///
/// let options = DeleteOptions::default().with_if_match(etag).with_deadline(patient);
/// assert_eq!(store.delete_with(&key, options).await?, DeleteOutcome::Removed);
///
/// // What is written under a lock is refused once somebody else has acquired that.
/// let lock = Key::new("lock/export")?;
/// let (one, next) = (Fence::new(lock.clone(), Version::new(1)), Fence::new(lock, Version::new(2)));
/// store.raise_with(&next, RaiseOptions::default()).await?;
/// let late = store.put_with(&key, Body::from("late"), PutOptions::default().with_fence(&one)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
/// let late = store.delete_with(&key, DeleteOptions::default().with_fence(&one)).await;
/// assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
/// let late = store.copy_with(&key, &key, CopyOptions::default().with_fence(&one)).await;
/// assert!(late.is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// What must hold for the put to happen.
    pub condition: Condition,
    /// The media type, 1 to 255 visible ASCII characters.
    pub content_type: Option<String>,
    /// The application's own metadata: names of `a-z`, `0-9` and `-`, values without control characters, at most
    /// 64 pairs and 1,536 bytes in all, counting three for each byte of a value outside visible ASCII.
    pub user: BTreeMap<String, String>,
    /// The SHA-256 that the content must have; else the put fails and nothing becomes visible.
    pub expected_digest: Option<Digest>,
    /// The most bytes that the content may have; a longer stream is cut off with an error, and nothing becomes visible.
    pub max_len: Option<u64>,
    /// Under which lock it is stored; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take, its body included; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl PutOptions {
    /// With a condition.
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// With a media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// With another pair of the application's own metadata.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user.insert(name.into(), value.into());
        self
    }

    /// With the digest that the content must have.
    #[must_use]
    pub const fn with_expected_digest(mut self, digest: Digest) -> Self {
        self.expected_digest = Some(digest);
        self
    }

    /// With the most bytes that the content may have.
    #[must_use]
    pub const fn with_max_len(mut self, bytes: u64) -> Self {
        self.max_len = Some(bytes);
        self
    }

    statehouse_core::with_fence!();

    statehouse_core::with_deadline!();

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        crate::meta::check_described(self.content_type.as_deref(), &self.user)
    }

    /// What takes the content in, of so many bytes if that is declared.
    pub(crate) fn intake(&self, declared: Option<u64>) -> Result<Intake> {
        Intake::new(self.max_len, declared, self.expected_digest)
    }
}

/// Options of a get.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// The bytes to read; all of them if none.
    pub range: Option<ByteRange>,
    /// The etag that the file must have; else the get fails with `Conflict`.
    pub if_match: Option<ETag>,
    /// How long this call may take until the content begins; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl GetOptions {
    /// With a range.
    #[must_use]
    pub fn with_range(mut self, range: impl Into<ByteRange>) -> Self {
        self.range = Some(range.into());
        self
    }

    /// With the etag that the file must have.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    statehouse_core::with_deadline!();
}

/// Options of a head.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeadOptions {
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl HeadOptions {
    statehouse_core::with_deadline!();
}

/// Options of a delete.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// The etag that the file must have; else nothing is deleted.
    pub if_match: Option<ETag>,
    /// Under which lock it is deleted; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl DeleteOptions {
    statehouse_core::with_fence!();

    /// With the etag that the file must have.
    #[must_use]
    pub fn with_if_match(mut self, etag: ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    statehouse_core::with_deadline!();
}

/// Options of a copy.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// What must hold for the target.
    pub condition: Condition,
    /// Under which lock the target is stored; none if that makes no difference.
    pub fence: Option<Fence>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl CopyOptions {
    statehouse_core::with_fence!();

    /// With a condition on the target.
    #[must_use]
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    statehouse_core::with_deadline!();
}

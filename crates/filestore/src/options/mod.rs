mod conditions;
mod listing;
mod presign;
mod range;
mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use statehouse_core::{Error, Fence, Result, Timestamp};

pub(crate) use self::conditions::Conditions;
use self::conditions::read_conditions;
#[cfg(feature = "s3")]
pub(crate) use self::conditions::seconds;
pub use self::listing::{Depth, ListOptions, Page, PageToken, Start};
pub use self::presign::{PresignOptions, Presigned, Verb};
pub use self::range::{BeyondEnd, ByteRange};
pub use self::stage::{CommitOptions, DiscardOptions, StagesOptions, SweepOptions};
pub(crate) use self::stage::{read_condition, write_condition};
use crate::described;
use crate::digest::{Digest, Intake};
use crate::meta::{ETag, Meta};
use crate::outcome::ReadOutcome;

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
///     .with_content_disposition(disposition::attachment("chest.dcm"))
///     .with_cache_control("private, max-age=3600")
///     .with_metadata("modality", "ct")
///     .with_expected_digest(Digest::of(b"DICM"))
///     .with_max_len(50 << 20)
///     .with_time_to_live(Duration::from_secs(30 * 24 * 60 * 60))
///     .with_deadline(patient);
/// let stored = store.put_with(&key, Body::from("DICM"), options).await?;
/// let etag = stored.stored().expect("there was none").etag;
///
/// let options = GetOptions::default().with_range(..2).with_if_match(etag.clone()).with_deadline(patient);
/// assert_eq!(store.get_with(&key, options).await?.unconditional()?.bytes().await?, "DI");
/// let options = GetOptions::default().with_if_none_match(etag.clone()).with_deadline(patient);
/// assert!(matches!(store.get_with(&key, options).await?, ReadOutcome::NotModified));
///
/// let options = ListOptions::new("clinic/").with_depth(Depth::OneLevel).with_limit(100).with_deadline(patient);
/// assert_eq!(store.list_with(options.clone()).await?.prefixes, ["clinic/p42/"]);
/// let options = options.with_start(Start::After("clinic/p42/".to_owned()));
/// assert_eq!(store.list_with(options).await?.prefixes, [""; 0]);
///
/// let meta = store.head_with(&key, HeadOptions::default().with_deadline(patient)).await?.unconditional()?;
/// let options = HeadOptions::default().with_if_modified_since(meta.modified).with_if_unmodified_since(meta.modified);
/// assert_eq!(store.head_with(&key, options).await?, ReadOutcome::NotModified);
/// assert_eq!(meta.content_type.as_deref(), Some("application/dicom"));
/// let options = CopyOptions::default().with_condition(Condition::Absent).with_deadline(patient);
/// let copied = store.copy_with(&key, &FileKey::new("clinic/p42/copy.dcm")?, options).await?;
/// assert!(matches!(copied, PutOutcome::Stored(_)));
///
/// let options = DeleteOptions::default().with_if_match(etag).with_deadline(patient);
/// assert_eq!(store.delete_with(&key, options).await?, DeleteOutcome::Removed);
///
/// // Stored out of sight, and committed when whatever it belongs to is
/// let staged = store.stage_with(&key, Body::from("DICM"), PutOptions::default().with_deadline(patient)).await?;
/// let stages = StagesOptions::new("clinic/").with_older_than(Duration::ZERO).with_deadline(patient);
/// assert_eq!(store.stages_with(stages).await?[0].id, staged.id);
/// let options = CommitOptions::default().with_deadline(patient);
/// assert!(matches!(store.commit_with(&key, staged.id, options).await?, CommitOutcome::Committed(_)));
/// let options = DiscardOptions::default().with_deadline(patient);
/// assert_eq!(store.discard_with(&key, staged.id, options).await?, DiscardOutcome::Committed);
/// let sweep = SweepOptions::new("clinic/").with_uploads_older_than(Duration::from_secs(3600)).with_deadline(patient);
/// assert_eq!(store.sweep_with(sweep).await?, Swept::default());
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
    /// The media type: a type, a slash, a subtype and whole parameters, up to 255 visible ASCII characters
    /// ([RFC 9110, 8.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1)).
    pub content_type: Option<String>,
    /// What the header `Content-Disposition` says of the file: a word with parameters, up to 1,024 visible ASCII characters. See
    /// [`disposition`](crate::disposition) for how a name is written.
    pub content_disposition: Option<String>,
    /// What the header `Cache-Control` says of the file, 1 to 255 visible ASCII characters.
    pub cache_control: Option<String>,
    /// The application's own metadata: names of `a-z`, `0-9` and `-`, values without control characters, at most
    /// 64 pairs and, with disposition and cache control, 1,536 bytes in all, counting three for each byte of a value outside
    /// visible ASCII.
    pub user: BTreeMap<String, String>,
    /// The SHA-256 that the content must have; else the put fails and nothing becomes visible.
    pub expected_digest: Option<Digest>,
    /// The most bytes that the content may have; a longer stream is cut off with an error, and nothing becomes visible.
    pub max_len: Option<u64>,
    /// How long it is kept at least, from when it was last written; a sweep removes it then. For ever if none. At least a
    /// second, at most 100 years, and whole seconds count.
    pub time_to_live: Option<Duration>,
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

    /// With what the header `Content-Disposition` says of the file.
    #[must_use]
    pub fn with_content_disposition(mut self, content_disposition: impl Into<String>) -> Self {
        self.content_disposition = Some(content_disposition.into());
        self
    }

    /// With what the header `Cache-Control` says of the file.
    #[must_use]
    pub fn with_cache_control(mut self, cache_control: impl Into<String>) -> Self {
        self.cache_control = Some(cache_control.into());
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

    /// With how long it is kept at least.
    #[must_use]
    pub const fn with_time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    statehouse_core::with_fence!();

    statehouse_core::with_deadline!();

    /// Refuses what no backend takes. Every backend calls this before anything else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check(&self) -> Result<()> {
        const LONGEST: u64 = 100 * 366 * 24 * 60 * 60;
        if self.time_to_live.is_some_and(|time| !(1..=LONGEST).contains(&time.as_secs())) {
            return Err(Error::invalid_input("a file's time to live is a second to 100 years"));
        }
        described::check_type(self.content_type.as_deref())?;
        let headers = described::check_headers(self.content_disposition.as_deref(), self.cache_control.as_deref())?;
        described::check_user(&self.user, headers)
    }

    /// Whether nothing is to be kept with the file that only some stores keep.
    #[cfg(feature = "s3")]
    pub(crate) fn is_plain(&self) -> bool {
        self.content_type.is_none() && self.user.is_empty() && !self.has_headers()
    }

    /// Whether a disposition or a cache control is to be kept with it.
    #[cfg(feature = "s3")]
    pub(crate) const fn has_headers(&self) -> bool {
        self.content_disposition.is_some() || self.cache_control.is_some()
    }

    /// Also all that this file says of itself.
    #[cfg(feature = "s3")]
    pub(crate) fn described_as(mut self, meta: Meta) -> Self {
        (self.content_type, self.user) = (meta.content_type, meta.user);
        (self.content_disposition, self.cache_control) = (meta.content_disposition, meta.cache_control);
        self
    }

    /// As [`check`](Self::check), of a put that ends with a stage.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput), naming the rule.
    pub fn check_stage(&self) -> Result<()> {
        if self.fence.is_some() {
            return Err(Error::invalid_input("a stage is under no lock: the transaction that it belongs to decides"));
        }
        self.check()
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
    /// The etag of what the reader has already: if the file has it, it is [`NotModified`](ReadOutcome::NotModified).
    pub if_none_match: Option<ETag>,
    /// When what the reader has was written: if the file was not written since, it is [`NotModified`](ReadOutcome::NotModified).
    /// Whole seconds count, and none does beside [`if_none_match`](Self::if_none_match).
    pub if_modified_since: Option<Timestamp>,
    /// Since when the file must not have been written; else the get fails with `Conflict`. Whole seconds count, and none does beside
    /// [`if_match`](Self::if_match).
    pub if_unmodified_since: Option<Timestamp>,
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

    statehouse_core::with_deadline!();
}

read_conditions!(GetOptions);

/// Options of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeadOptions {
    /// The etag that the file must have; else the head fails with `Conflict`.
    pub if_match: Option<ETag>,
    /// The etag of what the reader has already: if the file has it, it is [`NotModified`](ReadOutcome::NotModified).
    pub if_none_match: Option<ETag>,
    /// When what the reader has was written: if the file was not written since, it is [`NotModified`](ReadOutcome::NotModified).
    /// Whole seconds count, and none does beside [`if_none_match`](Self::if_none_match).
    pub if_modified_since: Option<Timestamp>,
    /// Since when the file must not have been written; else the head fails with `Conflict`. Whole seconds count, and none does beside
    /// [`if_match`](Self::if_match).
    pub if_unmodified_since: Option<Timestamp>,
    /// How long this call may take; the backend's own limit if none.
    pub deadline: Option<Duration>,
}

impl HeadOptions {
    statehouse_core::with_deadline!();

    /// The same conditions and time.
    pub(crate) fn of(get: GetOptions) -> Self {
        let GetOptions { range: _, if_match, if_none_match, if_modified_since, if_unmodified_since, deadline } = get;
        Self { if_match, if_none_match, if_modified_since, if_unmodified_since, deadline }
    }
}

read_conditions!(HeadOptions);

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

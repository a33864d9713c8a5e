//! Our files handed out as an `ObjectStore`, for what wants one.

mod error;
mod list;
mod moved;
mod read;
mod upload;
mod write;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyMode, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode,
};

use self::error::{NAME, conflict, told};
use self::list::Listing;
use self::moved::Moved;
use self::read::Read;
use self::upload::Upload;
use self::write::contended;
use crate::contended::{insist, is_contended};
use crate::files::Files;
use crate::outcome::PutOutcome;

/// How many files of a stream are deleted at a time, as `object_store` does it where there is no bulk delete.
const DELETES: usize = 10;

/// The files of one namespace as an [`ObjectStore`] of `object_store` 0.14, for what wants one: query engines, readers and writers of Parquet,
/// tables. Made by [`Files::into_object_store`]. Of `object_store`'s own integration suite what is of an [`ObjectStore`] passes on memory, disk, S3 and a wrapped
/// `InMemory`; its cases of `MultipartStore`, `PaginatedListStore`, tags and versions are of what there is not, and that of attributes ends at the encoding, which is refused.
///
/// ```
/// # use std::sync::Arc;
/// # use statehouse_core::{Namespace, ServiceUrl};
/// use object_store::path::Path;
/// use object_store::{ObjectStore, ObjectStoreExt, PutMode, WriteMultipart};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = ServiceUrl::parse("APP_FILES_URL", "memory:")?; // or file:///srv/tables, s3://bucket
/// let tables = statehouse_filestore::open(url, &Namespace::new("clinic.tables")?).await?;
/// let store: Arc<dyn ObjectStore> = Arc::new(tables.clone().into_object_store());
///
/// let path = Path::from("visits/2026.parquet");
/// let mut upload = WriteMultipart::new(store.put_multipart(&path).await?);
/// upload.write(b"PAR1");
/// upload.write(b"... PAR1");
/// let stored = upload.finish().await?; // visible now, whole
/// assert_eq!(store.get_range(&path, 0..4).await?, "PAR1");
///
/// // Only if nobody has replaced it
/// let mode = PutMode::Update(stored.into());
/// store.put_opts(&path, "PAR1, corrected".into(), mode.into()).await?;
/// assert_eq!(tables.head("visits/2026.parquet").await?.len, 15);
/// # Ok(()) }
/// ```
///
/// # Names
/// A [`Path`] is the file's name as it is written there: `Path::from("a%b")` is the file `a%25b`. What no file here is called is refused as
/// `NotSupported` before anything is sent or written: the root, more than 400 bytes with the namespace, more than 255 between two slashes, U+FFFD, U+FFFE
/// and U+FFFF, and control characters beyond ASCII. Every file here has a path there.
///
/// # What is the same, and what is not
/// | `object_store` | here |
/// | --- | --- |
/// | `PutMode::Create`, `Update`; copies and renames to a name that is free | decided by the store in one step. A store that cannot decide: `NotImplemented`, as is one that cannot for content longer than a part (no [`CONDITIONAL_PARTS`](crate::capability::CONDITIONAL_PARTS)) |
/// | another write in the way of one (409 of S3) | done again for some three seconds. Then `AlreadyExists` for a name that was to be free, `Precondition` if the file has another etag by then, and else `Generic` |
/// | [`ETAG_PER_PUT`](crate::capability::ETAG_PER_PUT) | without it, as on S3, an `Update` holds again where the content is again what it was |
/// | content type, content disposition, cache control, metadata | kept, within the limits of [`PutOptions`](crate::PutOptions); what is beyond them is `NotSupported`. Names of metadata have no capitals and no `_` |
/// | content encoding, content language, storage class | `NotImplemented` |
/// | tags, extensions | ignored, as `object_store` asks for |
/// | versions | there are none; who asks for one is told `NotImplemented` |
/// | multipart uploads | parts of any length, and no shortest one; one is taken when its future says so. See below |
/// | `if_match`, `if_none_match` | one etag: one request. Several, and an `if_none_match` of `*`: a head before, and what it says is what the store then decides about |
/// | times | whole seconds count, as in HTTP |
/// | reads | whole ones are checked against what was stored: one that is damaged ends with an error; a range cannot be |
/// | reads, heads and copies on S3 of what was uploaded in parts (longer than `part_size`) | a digest that was known at the end only is apart: each read, also of a range, and each head takes a second request for it, and a copy or rename of up to 5 GiB goes through this host |
/// | ranges | the last 0 bytes, and the last of an empty file, are none; an empty range from one offset to another is `Generic` |
/// | etags | one that is weak is not handed out, and fulfils no `if_match` |
/// | a delete of what is not there | `Ok`, as on S3. Ten of a stream at a time, each by itself: no request deletes several |
/// | `list`, `list_with_offset` | pages of 1,000 as they are asked for, in order; the store begins at the offset, which has 400 bytes at most with the namespace |
/// | `list_with_delimiter` | all pages in memory, for that is its result |
/// | `rename` | deletes only what it has copied: see [`Rename`](crate::Rename). Replaced meanwhile: `Precondition`. Without a digest to know its copy by, as of what something else stored in parts: `Generic`, and both names stay. A store without [`DELETE_IF_MATCH`](crate::capability::DELETE_IF_MATCH), as every one that is brought along: copied and deleted, as `object_store` does it by itself, and what has replaced the file meanwhile is deleted |
/// | `MultipartStore`, `PaginatedListStore`, `Signer` | not implemented: [`Put::stage`](crate::Put::stage), [`Files::list`] and `SignedUrls` are what is here in their place |
/// | errors | ours is the source, save of a `NotImplemented`, which has none: `downcast_ref::<statehouse_core::Error>()` says its kind, and whether trying again helps |
///
/// # Uploads
/// The parts of an upload are one put of a stream: stored as they are handed over, in that order, whichever is waited for first, and no faster than the store
/// takes them. What is handed over and not yet taken is in memory, and as much as its caller does not wait for: `WriteMultipart::wait_for_capacity` bounds
/// it, and `BufWriter` does so by itself. Parts of one upload are not sent side by side as such; a store that sends parts of its own, as S3, has two under way.
///
/// An upload becomes the file when it is completed, and only if every part's future has said that it was taken: one that was dropped, as by a time limit,
/// may be in it or not. Dropped or aborted before, it never does; dropped while it is being completed, it may
/// still become the file. One to which nothing is handed over for as long as a source may be silent (`body_timeout` on a disk and on S3, 300 s if nothing else is
/// said) is ended by the store, and so is one that holds much of a store's `upload_memory` while others wait for it; the next part, or the end, says so.
/// On S3 three quarters of `upload_memory` are for all that has come of parts that are not full, and the last quarter for one at a time: of 256 MiB, about 38 uploads
/// that wait for their caller with 5 MiB each, or 24 with almost 8. What is handed over beyond them waits half of `body_timeout` for room, and then one of them is ended.
/// Who keeps more of them open raises `upload_memory`; who completes them at a checkpoint later than `body_timeout` raises that.
///
/// A store that is away or refuses is noticed by the first part, not by `put_multipart`, which waits for nothing. An abort ends the upload at once, and what it has stored of
/// it is removed behind that: on S3 by a task that tries for some minutes. What that cannot remove, or the end of the process leaves, a [sweep](crate::Files::sweep) finds.
///
/// # Panics
/// `put_multipart` outside a runtime of tokio: what is handed over is stored on a task of its own.
#[derive(Clone, Debug)]
pub struct AsObjectStore {
    files: Files,
}

impl Files {
    /// Hands these files out as an [`ObjectStore`]: see [`AsObjectStore`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use statehouse_core::Namespace;
    /// # use statehouse_filestore::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// use object_store::ObjectStoreExt;
    ///
    /// scans.put("p42/chest.dcm", "DICM").await?;
    /// let store = scans.into_object_store();
    /// assert_eq!(store.get(&"p42/chest.dcm".into()).await?.bytes().await?, "DICM");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn into_object_store(self) -> AsObjectStore {
        AsObjectStore { files: self }
    }
}

impl fmt::Display for AsObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}({})", self.files.namespace())
    }
}

#[async_trait]
impl ObjectStore for AsObjectStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: object_store::PutOptions,
    ) -> object_store::Result<PutResult> {
        let condition = write::condition(opts.mode)?;
        let options = write::options(&opts.attributes)?.with_condition(condition.clone());
        let key = self.files.key(location).map_err(|error| told(error, location))?;
        // In one piece its digest is known before it is sent.
        let (store, body) = (self.files.store(), Bytes::from(payload));
        match insist(|| store.put_with(&key, body.clone().into(), options.clone())).await {
            Ok(PutOutcome::Stored(stored)) => Ok(write::result(&stored)),
            Ok(PutOutcome::Conflict) => Err(conflict(&condition, location)),
            Err(error) if is_contended(&error) => {
                Err(contended(&self.files, (&key, location), &condition, error).await)
            }
            Err(error) => Err(told(error, location)),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let options = write::options(&opts.attributes)?;
        let key = self.files.key(location).map_err(|error| told(error, location))?;
        Ok(Box::new(Upload::begin(&self.files, location, key, options)))
    }

    async fn get_opts(&self, location: &Path, options: object_store::GetOptions) -> object_store::Result<GetResult> {
        Read::new(&self.files, location, options)?.run().await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let files = self.files.clone();
        let deletes = locations.map(move |location| {
            let files = files.clone();
            async move {
                let location = location?;
                files.delete(&location).await.map_err(|error| told(error, &location))?;
                Ok(location)
            }
        });
        deletes.buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        Listing::below(&self.files, prefix).stream()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        Listing::below(&self.files, prefix).behind(offset).stream()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        Listing::below(&self.files, prefix).one_level().await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: object_store::CopyOptions) -> object_store::Result<()> {
        Moved::new(&self.files, from, to)?.copy(options.mode == CopyMode::Create).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        Moved::new(&self.files, from, to)?.rename(options.target_mode == RenameTargetMode::Create).await
    }
}

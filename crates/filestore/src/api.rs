use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{Capabilities, Fence, Health, RaiseOptions, Result};

use crate::body::Body;
use crate::content::Object;
use crate::key::FileKey;
use crate::meta::Meta;
use crate::options::{
    CopyOptions, DeleteOptions, GetOptions, HeadOptions, ListOptions, Page, PresignOptions, Presigned, PutOptions,
};
use crate::outcome::{DeleteOutcome, PutOutcome};

/// Files under keys: what a backend implements. Applications use the handle [`Files`](crate::Files).
///
/// # Behavior
/// - **Put** makes a file visible whole or not at all, with its metadata, in one step; readers see the old file or the
///   new one. Without a condition the last writer wins.
/// - **Conditions** are decided by the store in one step with the write, among all its clients. One that does not hold
///   is an answer and no error: [`PutOutcome::Conflict`], [`DeleteOutcome::Conflict`]. Of racing creators exactly one
///   wins; a replace or delete whose etag is not the current one is a conflict, also if the file is absent. A read of
///   another etag than the current one fails with [`Conflict`]. A backend that cannot decide refuses with
///   [`Unsupported`] before it writes anything. An error of kind [`Conflict`] that says to try again means that the store
///   did not look at the condition, because somebody else was writing.
/// - **Fenced writes.** With [`FENCED`](crate::capability::FENCED) a put, delete or copy with a [`Fence`] is made only as long as
///   no higher token of its lock is known here, by a write or by [`raise_with`](Self::raise_with); else it is
///   [`Fenced`](statehouse_core::ErrorKind::Fenced), and nothing is changed. With
///   [`FENCED_AT_ONCE`](crate::capability::FENCED_AT_ONCE) that is one step: after a mark was raised no write below it becomes
///   visible. Without it all of these are [`Unsupported`].
/// - **Etags** change whenever the content does. With [`ETAG_PER_PUT`](crate::capability::ETAG_PER_PUT) an etag is of one put;
///   without it a condition holds again where the etag is the same again, because the same content is there again.
/// - **Get** gives the metadata first. A whole file is checked against what was recorded of its content when
///   it was stored (a CRC-32, or its SHA-256 where there is none; see [`Object::verify_sha256`]); one that is shorter, longer or changed ends with
///   [`Corrupt`]. A range must have at least one byte of the file; its end may lie behind the
///   file's end. Get, head and copy of an absent file fail with [`NotFound`].
/// - **List** is complete, in the order of the keys' bytes, in pages: whatever was put is listed. Files written or
///   deleted meanwhile may or may not be in it; all others are. With [`OneLevel`](crate::Depth::OneLevel) no empty
///   prefix is listed, and none that is not behind where the listing begins.
/// - **Foreign things** that lie among the files (links, markers, names that no key has) are not listed and not
///   followed; the page [counts](Page::skipped) them.
/// - **Delete** of an absent file is `Ok(Absent)`. [`Removed`](DeleteOutcome::Removed) says that the file was there when
///   looked at: two racing deletes may both say so.
/// - **Copy** keeps content type, user metadata and digest. Where the content goes through this process, as from a disk, it is
///   checked as that of a whole file is when it is read.
/// - **Presigned requests.** With [`PRESIGNED`](crate::capability::PRESIGNED) a request that is signed in advance is answered by the
///   store's own server, to whoever has it, as long as it is what was signed and has not expired. Without it, it is [`Unsupported`]. What was
///   not said beforehand (content type, digest) is not recorded: the file is as one that something else wrote there.
/// - **Cancellation**: a dropped put of bytes may still complete; a dropped put of a stream that has not ended does
///   not, and leaves nothing behind. Nothing is ever half-done.
/// - **Time**: a put lasts as long as its source gives something, a get as long as its reader wants. Deadlines count the
///   store's silence; where a put holds something of the store, a source that is silent for minutes is given up; pieces without bytes
///   are silence. As long as no other upload waits for memory, a source of 1 kB/s is fast enough; where a store bounds the
///   memory of all its uploads and others wait for it, one that holds an equal share or more and has kept it waiting for
///   too long fails with [`RateLimited`] and has to begin again. A call that is given a deadline ends by then: with [`Timeout`] if nothing of it has been done or will
///   be, with [`OutcomeUnknown`] if it may have been or still be. Of a get it is the time until the content begins.
/// - **Keys** are validated types; options are checked before anything is sent or written.
///
/// # Errors
/// Besides the above: [`InvalidInput`] for options that no backend takes, [`TooLarge`] over a limit,
/// [`Unavailable`]/[`RateLimited`]/[`Timeout`] for an outage, which never looks like an absent file, and
/// [`OutcomeUnknown`] if a write was sent, its answer was lost, and reading back could not tell.
///
/// # Durability
/// Whether an acknowledged write survives the process or the host is in the [`capabilities`](Self::capabilities) and
/// in each backend's documentation.
///
/// [`Conflict`]: statehouse_core::ErrorKind::Conflict
/// [`Corrupt`]: statehouse_core::ErrorKind::Corrupt
/// [`InvalidInput`]: statehouse_core::ErrorKind::InvalidInput
/// [`NotFound`]: statehouse_core::ErrorKind::NotFound
/// [`OutcomeUnknown`]: statehouse_core::ErrorKind::OutcomeUnknown
/// [`RateLimited`]: statehouse_core::ErrorKind::RateLimited
/// [`Timeout`]: statehouse_core::ErrorKind::Timeout
/// [`TooLarge`]: statehouse_core::ErrorKind::TooLarge
/// [`Unavailable`]: statehouse_core::ErrorKind::Unavailable
/// [`Unsupported`]: statehouse_core::ErrorKind::Unsupported
#[async_trait]
pub trait FileStore: Debug + Send + Sync + 'static {
    /// Stores a file.
    async fn put_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<PutOutcome>;

    /// Reads a file, or a range of it.
    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<Object>;

    /// Reads a file's metadata.
    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<Meta>;

    /// Lists one page of files.
    async fn list_with(&self, options: ListOptions) -> Result<Page>;

    /// Deletes a file.
    async fn delete_with(&self, key: &FileKey, options: DeleteOptions) -> Result<DeleteOutcome>;

    /// Stores the content and metadata of one file under another key.
    async fn copy_with(&self, from: &FileKey, to: &FileKey, options: CopyOptions) -> Result<PutOutcome>;

    /// Raises the mark of a lock to the token of its new holder, so that writes of all before are refused.
    async fn raise_with(&self, fence: &Fence, options: RaiseOptions) -> Result<()> {
        let _ = (fence, options);
        Err(Fence::unsupported())
    }

    /// Signs a request in advance, for the store's own server to answer.
    async fn presign_with(&self, key: &FileKey, options: PresignOptions) -> Result<Presigned> {
        let _ = (key, options);
        Err(Presigned::unsupported())
    }

    /// What this store can do.
    fn capabilities(&self) -> Capabilities;

    /// Asks the store whether it works, in one round trip.
    async fn health(&self) -> Health;
}

// The boxed futures are passed through by hand: `async_trait` would box each of them once more.
macro_rules! forward {
    ($pointer:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: FileStore + ?Sized> FileStore for $pointer<S> {
            fn put_with<'a, 'k, 'f>(
                &'a self,
                key: &'k FileKey,
                body: Body,
                options: PutOptions,
            ) -> Boxed<'f, PutOutcome>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).put_with(key, body, options)
            }

            fn get_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, options: GetOptions) -> Boxed<'f, Object>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).get_with(key, options)
            }

            fn head_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, options: HeadOptions) -> Boxed<'f, Meta>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).head_with(key, options)
            }

            fn list_with<'a, 'f>(&'a self, options: ListOptions) -> Boxed<'f, Page>
            where
                'a: 'f,
            {
                (**self).list_with(options)
            }

            fn delete_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, options: DeleteOptions) -> Boxed<'f, DeleteOutcome>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).delete_with(key, options)
            }

            fn copy_with<'a, 'k, 't, 'f>(
                &'a self,
                from: &'k FileKey,
                to: &'t FileKey,
                options: CopyOptions,
            ) -> Boxed<'f, PutOutcome>
            where
                'a: 'f,
                'k: 'f,
                't: 'f,
            {
                (**self).copy_with(from, to, options)
            }

            fn raise_with<'a, 'k, 'f>(&'a self, fence: &'k Fence, options: RaiseOptions) -> Boxed<'f, ()>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).raise_with(fence, options)
            }

            fn presign_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, options: PresignOptions) -> Boxed<'f, Presigned>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).presign_with(key, options)
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn health<'a, 'f>(&'a self) -> std::pin::Pin<Box<dyn Future<Output = Health> + Send + 'f>>
            where
                'a: 'f,
            {
                (**self).health()
            }
        }
    };
}

type Boxed<'f, T> = std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send + 'f>>;

forward!(Arc);
forward!(Box);

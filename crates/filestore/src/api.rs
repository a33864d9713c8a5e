use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use statehouse_core::{
    Capabilities, Clock as _, Error, ErrorKind, Fence, Health, RaiseOptions, Result, SystemClock, Timestamp,
};

use crate::body::Body;
use crate::content::Object;
use crate::key::FileKey;
use crate::meta::Meta;
use crate::options::{
    CommitOptions, CopyOptions, DeleteOptions, DiscardOptions, GetOptions, HeadOptions, ListOptions, Page,
    PresignOptions, Presigned, PutOptions, StagesOptions, SweepOptions,
};
use crate::outcome::{CommitOutcome, DeleteOutcome, DiscardOutcome, PutOutcome, ReadOutcome, Swept};
use crate::stage::{Stage, StageId, Staged};

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
/// - **Conditions on reads.** A get or head may say what the reader has, by [etag](GetOptions::if_none_match) or
///   [time](GetOptions::if_modified_since): if that is what there is, it is [`NotModified`](ReadOutcome::NotModified), an answer and no error,
///   and no content is read. It may also say what the file must be, by etag or time, and else fails with [`Conflict`]. All of them are looked
///   at in the order of [RFC 9110, 13.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2): what must be before what the reader has,
///   and of each an etag in place of a time; then the range. Times count in whole seconds, so that a file that was written twice within one may be
///   taken for unchanged; etags do not. An absent file is [`NotFound`], whatever is asked of it.
/// - **Content disposition and cache control.** With [`CONTENT_HEADERS`](crate::capability::CONTENT_HEADERS) a file keeps both as they were
///   put, until it is replaced; get and head give them back, and copies and commits keep them. A listing does not have them. On S3 they are the
///   object's own headers: its server sends them to whoever reads the file by a presigned request. Text that would be another header, or is too
///   long, is [`InvalidInput`]; without the capability, both are [`Unsupported`].
/// - **List** is complete, in the order of the keys' bytes, in pages: whatever was put is listed. Files written or
///   deleted meanwhile may or may not be in it; all others are. With [`OneLevel`](crate::Depth::OneLevel) no empty
///   prefix is listed, and none that is not behind where the listing begins.
/// - **Foreign things** that lie among the files (links, markers, names that no key has) are not listed and not
///   followed; the page [counts](Page::skipped) them.
/// - **Delete** of an absent file is `Ok(Absent)`. [`Removed`](DeleteOutcome::Removed) says that the file was there when
///   looked at: two racing deletes may both say so.
/// - **Copy** keeps content type, user metadata and digest. It is of one state of the original: if that is replaced meanwhile, a copy that had begun
///   may fail with a [`Conflict`] that says to try again, and nothing is stored. Where the content goes through this process, as from a disk, it is
///   checked as that of a whole file is when it is read.
/// - **Presigned requests.** With [`PRESIGNED`](crate::capability::PRESIGNED) a request that is signed in advance is answered by the
///   store's own server, to whoever has it, as long as it is what was signed and has not expired. Without it, it is [`Unsupported`]. What was
///   not said beforehand (content type, digest) is not recorded: the file is as one that something else wrote there.
/// - **Staged files.** With [`STAGED`](crate::capability::STAGED) a put may end with a stage: whole, out of sight, and there until it is
///   committed or discarded, whatever becomes of the process that made it. A commit makes it the file in one step, if the condition that it was
///   staged with holds then; of several commits one does it, and all are told that it is done. Of a commit and a discard one wins:
///   a commit behind it is [`Gone`](CommitOutcome::Gone) and changes nothing, a discard behind it finds the stage [`Committed`](DiscardOutcome::Committed) and
///   leaves the file. The age of a stage counts from when all of it was there, by the store's clock. Without it, all of these are [`Unsupported`].
/// - **Time to live.** With [`TIME_TO_LIVE`](crate::capability::TIME_TO_LIVE) a file may have one, which counts from when the file was last written, by the
///   store's clock. A sweep removes it then, and not before; until one does, it is read and listed as every other file is. A copy has its own, which
///   begins with it; a file that replaces it has the one that it is given, but without [`ETAG_PER_PUT`](crate::capability::ETAG_PER_PUT) one that is
///   put with the same content while a sweep deletes it may go with it. Without the capability, a put with one is [`Unsupported`].
/// - **Sweeps** touch what is below their prefix: files whose time is over, if they are still what was looked at, and what uploads have left that nobody can
///   end; on a disk, what a store that has ended was writing, wherever that is. What cannot be removed keeps none of the rest, and is told. No sweep takes a stage, or what a stage needs, and several at a time do no harm.
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
    async fn get_with(&self, key: &FileKey, options: GetOptions) -> Result<ReadOutcome<Object>>;

    /// Reads a file's metadata.
    async fn head_with(&self, key: &FileKey, options: HeadOptions) -> Result<ReadOutcome<Meta>>;

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

    /// Stores a file out of sight; its condition is decided by the commit.
    async fn stage_with(&self, key: &FileKey, body: Body, options: PutOptions) -> Result<Staged> {
        let _ = (key, body, options);
        Err(Staged::unsupported())
    }

    /// Makes a stage the file.
    async fn commit_with(&self, key: &FileKey, stage: StageId, options: CommitOptions) -> Result<CommitOutcome> {
        let _ = (key, stage, options);
        Err(Staged::unsupported())
    }

    /// Removes a stage, so that nobody commits it any more.
    async fn discard_with(&self, key: &FileKey, stage: StageId, options: DiscardOptions) -> Result<DiscardOutcome> {
        let _ = (key, stage, options);
        Err(Staged::unsupported())
    }

    /// Lists stages, in no order.
    async fn stages_with(&self, options: StagesOptions) -> Result<Vec<Stage>> {
        let _ = options;
        Err(Staged::unsupported())
    }

    /// Removes what nobody will: files whose time is over, and what uploads have left behind. Stages stay.
    async fn sweep_with(&self, options: SweepOptions) -> Result<Swept> {
        let _ = options;
        Err(Error::new(ErrorKind::Unsupported, "this store has nothing that a sweep could remove"))
    }

    /// What time it is by the clock that says when a file's time is over: that of this machine, unless the store has another.
    async fn now(&self) -> Result<Timestamp> {
        Ok(SystemClock::default().now())
    }

    /// What this store can do.
    fn capabilities(&self) -> Capabilities;

    /// Asks the store whether it works, in one round trip. Says so within a second, whatever the network and the store do.
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

            fn get_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, options: GetOptions) -> Boxed<'f, ReadOutcome<Object>>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).get_with(key, options)
            }

            fn head_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, options: HeadOptions) -> Boxed<'f, ReadOutcome<Meta>>
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

            fn stage_with<'a, 'k, 'f>(&'a self, key: &'k FileKey, body: Body, options: PutOptions) -> Boxed<'f, Staged>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).stage_with(key, body, options)
            }

            fn commit_with<'a, 'k, 'f>(
                &'a self,
                key: &'k FileKey,
                stage: StageId,
                options: CommitOptions,
            ) -> Boxed<'f, CommitOutcome>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).commit_with(key, stage, options)
            }

            fn discard_with<'a, 'k, 'f>(
                &'a self,
                key: &'k FileKey,
                stage: StageId,
                options: DiscardOptions,
            ) -> Boxed<'f, DiscardOutcome>
            where
                'a: 'f,
                'k: 'f,
            {
                (**self).discard_with(key, stage, options)
            }

            fn stages_with<'a, 'f>(&'a self, options: StagesOptions) -> Boxed<'f, Vec<Stage>>
            where
                'a: 'f,
            {
                (**self).stages_with(options)
            }

            fn sweep_with<'a, 'f>(&'a self, options: SweepOptions) -> Boxed<'f, Swept>
            where
                'a: 'f,
            {
                (**self).sweep_with(options)
            }

            fn now<'a, 'f>(&'a self) -> Boxed<'f, Timestamp>
            where
                'a: 'f,
            {
                (**self).now()
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

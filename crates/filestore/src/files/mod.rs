//! What applications use: the files of one namespace, and what is done with them, described step by step. All verbs begin in this
//! file; how each goes on is in the file of its name: `put.rs`, `get.rs`.

/// What a builder gives when it is awaited: what was done, and with a condition its outcome.
macro_rules! awaited {
    ($builder:ident: $done:ty, $outcome:ty) => {
        impl<'a> std::future::IntoFuture for $builder<'a> {
            type Output = statehouse_core::Result<$done>;
            type IntoFuture = futures_util::future::BoxFuture<'a, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(async { self.run().await?.unconditional() })
            }
        }

        impl<'a> std::future::IntoFuture for $builder<'a, $outcome> {
            type Output = statehouse_core::Result<$outcome>;
            type IntoFuture = futures_util::future::BoxFuture<'a, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.run())
            }
        }
    };
}

/// What every change may be bound to: a lock, and a time.
macro_rules! bound {
    ($builder:ident, $does:literal, $else:literal, $time:literal) => {
        impl<O> $builder<'_, O> {
            #[doc = concat!($does, " only as long as nobody else has acquired the lock since: else it is refused as")]
            #[doc = concat!("[`Fenced`](statehouse_core::ErrorKind::Fenced)", $else, ".")]
            /// The lock should [guard](statehouse_core::Guarded) these files; if it does not, this is refused once its next holder has
            /// written one of them.
            pub fn fenced(mut self, guard: &impl statehouse_core::AsFence) -> Self {
                self.options = self.options.with_fence(guard);
                self
            }

            #[doc = $time]
            pub const fn deadline(mut self, deadline: std::time::Duration) -> Self {
                self.options.deadline = Some(deadline);
                self
            }
        }
    };
}

/// The conditions of a read. Where it says what the reader has, that may be what there is.
macro_rules! read_if {
    ($builder:ident, $found:ty) => {
        impl<'a, O> $builder<'a, O> {
            /// Reads the file only if it has this etag; else fails with `Conflict`.
            pub fn if_match(mut self, etag: &ETag) -> Self {
                self.options.if_match = Some(etag.clone());
                self
            }

            /// Reads the file only if it was not written since then, in whole seconds; else fails with `Conflict`. Beside
            /// [`if_match`](Self::if_match) it counts for nothing.
            pub const fn if_unmodified_since(mut self, time: Timestamp) -> Self {
                self.options.if_unmodified_since = Some(time);
                self
            }

            /// Reads the file only if it does not have this etag: else the reader has it.
            pub fn if_none_match(mut self, etag: &ETag) -> $builder<'a, ReadOutcome<$found>> {
                self.options.if_none_match = Some(etag.clone());
                self.with_outcome()
            }

            /// Reads the file only if it was written since then, in whole seconds: else the reader has it. Beside
            /// [`if_none_match`](Self::if_none_match) it counts for nothing.
            pub fn if_modified_since(mut self, time: Timestamp) -> $builder<'a, ReadOutcome<$found>> {
                self.options.if_modified_since = Some(time);
                self.with_outcome()
            }

            fn with_outcome(self) -> $builder<'a, ReadOutcome<$found>> {
                let Self { place, key, options, .. } = self;
                $builder { place, key, options, outcome: PhantomData }
            }
        }
    };
}

/// What gives a file another name has the options of a copy, and conditions on what has that name.
macro_rules! to_another_name {
    ($builder:ident, $does:literal) => {
        impl<'a> $builder<'a> {
            pub(super) fn new(place: &'a Place, keys: Result<(FileKey, FileKey)>) -> Self {
                Self { place, keys, options: CopyOptions::default(), outcome: PhantomData }
            }

            #[doc = concat!($does, " only if no file has the new name.")]
            pub fn if_absent(self) -> $builder<'a, PutOutcome> {
                self.on(Condition::Absent)
            }

            #[doc = concat!($does, " only if the file that has the new name has this etag.")]
            pub fn if_match(self, etag: &ETag) -> $builder<'a, PutOutcome> {
                self.on(Condition::Match(etag.clone()))
            }

            fn on(self, condition: Condition) -> $builder<'a, PutOutcome> {
                let Self { place, keys, options, .. } = self;
                $builder { place, keys, options: options.with_condition(condition), outcome: PhantomData }
            }
        }
    };
}

mod check;
mod copy;
mod delete;
mod delete_many;
mod get;
mod head;
mod list;
mod mirror;
mod place;
mod put;
mod reader;
mod rename;
mod source;
mod stage;
mod sweep;
mod walk;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use statehouse_core::fence::Raising;
use statehouse_core::{ErrorKind, Fence, Guarded, Namespace, RaiseOptions, Result};

pub use self::check::{Check, Checked};
pub use self::copy::Copy;
pub use self::delete::Delete;
pub use self::delete_many::DeleteMany;
pub use self::get::Get;
pub use self::head::Head;
pub use self::list::List;
pub use self::mirror::{Mirror, Mirrored};
pub(crate) use self::place::Place;
pub use self::put::Put;
pub use self::reader::FileReader;
#[cfg(feature = "object-store")]
pub(crate) use self::rename::NoDigest;
pub use self::rename::Rename;
pub use self::stage::StagedFile;
pub use self::sweep::{Decision, Sweep};
pub use self::walk::Interrupted;
pub use self::writer::FileWriter;
use crate::api::FileStore;
use crate::body::{Body, source_failed};
use crate::key::FileKey;
use crate::outcome::{CommitOutcome, DiscardOutcome};
use crate::stage::StageId;

/// The files of one namespace: what applications use.
///
/// Each method returns a builder that ends in `.await`. Names are checked then, too: one that [`FileKey`] does not take
/// fails with `InvalidInput` before anything is sent or written. Errors name a file as the application does, without the
/// namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    place: Place,
}

impl Files {
    /// The files of a namespace in a store.
    pub fn new(store: Arc<dyn FileStore>, namespace: Namespace) -> Self {
        Self { place: Place { store, namespace } }
    }

    /// The store, for what this handle has no words for.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn FileStore> {
        &self.place.store
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.place.namespace
    }

    /// The key in the store of the file with this name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], saying which rule the name breaks.
    pub fn key(&self, name: impl AsRef<str>) -> Result<FileKey> {
        let name = name.as_ref();
        FileKey::within(&self.place.namespace, name).map_err(|error| error.with_key(name))
    }

    /// Stores a file.
    pub fn put(&self, name: impl AsRef<str>, body: impl Into<Body>) -> Put<'_> {
        Put::new(&self.place, self.key(name), body.into())
    }

    /// Stores a file from a stream that may borrow from what is around it, such as the field of a multipart form that a
    /// web framework hands out. [`Body::from_stream`] takes only streams that own all they need.
    ///
    /// ```
    /// # use statehouse_filestore::Files;
    /// # async fn upload(files: &Files) -> statehouse_core::Result<()> {
    /// let form = vec!["scan, ".to_owned(), "page 2".to_owned()];
    /// let field = futures_util::stream::iter(&form);
    /// let pieces = futures_util::StreamExt::map(field, |piece| Ok::<_, std::io::Error>(piece.clone()));
    /// files.put_stream("p42/scan.txt", pieces).content_type("text/plain").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_stream<'a, S, B, E>(&'a self, name: impl AsRef<str>, stream: S) -> Put<'a>
    where
        S: Stream<Item = Result<B, E>> + Send + 'a,
        B: Into<Bytes>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let source = stream.map(|piece| piece.map(Into::into).map_err(source_failed)).boxed();
        self.put(name, Bytes::new()).with_source(source)
    }

    /// Reads a file.
    pub fn get(&self, name: impl AsRef<str>) -> Get<'_> {
        Get::new(&self.place, self.key(name))
    }

    /// Reads a file's metadata. Its [`key`](crate::Meta::key) includes the namespace.
    pub fn head(&self, name: impl AsRef<str>) -> Head<'_> {
        Head::new(&self.place, self.key(name))
    }

    /// Whether there is a file with this name.
    ///
    /// # Errors
    /// As [`FileStore`] says of a head, save for `NotFound`.
    pub async fn exists(&self, name: impl AsRef<str> + Send) -> Result<bool> {
        match self.head(name).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a file.
    pub fn delete(&self, name: impl AsRef<str>) -> Delete<'_> {
        Delete::new(&self.place, self.key(name))
    }

    /// Stores the content and metadata of one file under another name.
    pub fn copy(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Copy<'_> {
        let keys = self.key(from).and_then(|from| Ok((from, self.key(to)?)));
        Copy::new(&self.place, keys)
    }

    /// Deletes many files, several at a time.
    pub fn delete_many<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> DeleteMany<'_> {
        let named = names.into_iter().map(|name| (name.as_ref().to_owned(), self.key(name)));
        DeleteMany::of(&self.place, named)
    }

    /// Deletes the files whose names begin with this text, several at a time: all of them, if it is empty. Those that are written
    /// or replaced meanwhile may stay: see [`DeleteMany`].
    pub fn delete_prefix(&self, prefix: impl AsRef<str>) -> DeleteMany<'_> {
        DeleteMany::below(&self.place, prefix.as_ref())
    }

    /// Gives a file another name, with all that belongs to it. A file that has that name is replaced, unless the rename has a condition.
    pub fn rename(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Rename<'_> {
        let keys = self.key(from).and_then(|from| Ok((from, self.key(to)?)));
        Rename::new(&self.place, keys)
    }

    /// Makes a stage the file of this name: what [`StagedFile::commit`] does, for whoever has its name from the row that it belongs
    /// to, such as a reader that finds the row and not yet the file.
    ///
    /// # Errors
    /// As [`FileStore`] says.
    pub async fn commit(&self, name: impl AsRef<str> + Send, stage: StageId) -> Result<CommitOutcome> {
        self.place.commit(&self.key(name)?, stage).await
    }

    /// Removes a stage: what [`StagedFile::discard`] does.
    ///
    /// # Errors
    /// As [`FileStore`] says.
    pub async fn discard(&self, name: impl AsRef<str> + Send, stage: StageId) -> Result<DiscardOutcome> {
        self.place.discard(&self.key(name)?, stage).await
    }

    /// Removes what nobody will, and ends what was staged and is not committed: see [`Sweep`].
    pub fn sweep(&self) -> Sweep<'_> {
        Sweep::new(&self.place)
    }

    /// Copies all files to another store, under the same names in the other handle's namespace, while the application goes on and writes
    /// both: see [`Mirror`].
    pub fn mirror_to<'a>(&'a self, other: &'a Self) -> Mirror<'a> {
        Mirror::new(&self.place, &other.place)
    }

    /// Reads all files and compares them with what was recorded when they were stored: see [`Check`].
    pub fn check(&self) -> Check<'_> {
        Check::new(&self.place)
    }

    /// Lists the files whose names begin with this text.
    pub fn list(&self, prefix: impl AsRef<str>) -> List<'_> {
        List::new(&self.place, prefix.as_ref())
    }

    /// A key's name in this namespace.
    #[must_use]
    pub fn name<'k>(&self, key: &'k FileKey) -> Option<&'k str> {
        self.place.name(key)
    }
}

impl Guarded for Files {
    fn raise<'a>(&'a self, fence: &'a Fence, limit: Duration) -> Raising<'a> {
        Box::pin(async move {
            let fence = fence.within(self.place.namespace.as_str())?;
            self.place.store.raise_with(&fence, RaiseOptions::default().with_deadline(limit)).await
        })
    }
}

//! What applications use: the files of one namespace, and what is done with them, described step by step.

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

mod copy;
mod delete;
mod get;
mod list;
mod place;
mod put;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use statehouse_core::fence::Raising;
use statehouse_core::{ErrorKind, Fence, Guarded, Namespace, RaiseOptions, Result};

pub use self::copy::Copy;
pub use self::delete::Delete;
pub use self::get::Get;
pub use self::list::List;
pub(crate) use self::place::Place;
pub use self::put::Put;
use crate::api::FileStore;
use crate::body::{Body, source_failed};
use crate::key::FileKey;
use crate::meta::Meta;
use crate::options::HeadOptions;

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

    /// Reads a file's metadata. Its [`key`](Meta::key) includes the namespace.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such file; others as [`FileStore`] says.
    pub async fn head(&self, name: impl AsRef<str> + Send) -> Result<Meta> {
        let key = self.key(name)?;
        let head = self.place.store.head_with(&key, HeadOptions::default()).await;
        head.map_err(|error| self.place.naming(&key, error))
    }

    /// Whether there is a file with this name.
    ///
    /// # Errors
    /// As [`head`](Self::head), save for `NotFound`.
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

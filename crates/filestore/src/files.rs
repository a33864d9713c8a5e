use std::future::IntoFuture;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::future::{BoxFuture, Either};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use statehouse_core::{ErrorKind, Namespace, Result};
use tracing::Instrument;

use crate::{
    Body, ByteRange, Condition, CopyOptions, DeleteOptions, Deleted, Depth, Digest, ETag, Entry, FileKey, FileStore,
    GetOptions, HeadOptions, ListOptions, Meta, Object, Page, PageToken, PutOptions, Start, Stored,
};

/// The files of one namespace: what applications use.
///
/// Each method returns a builder that ends in `.await`. Names are checked then, too: one that [`FileKey`] does not take
/// fails with `InvalidInput` before anything is sent or written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files {
    store: Arc<dyn FileStore>,
    namespace: Namespace,
}

impl Files {
    /// The files of a namespace in a store.
    pub fn new(store: Arc<dyn FileStore>, namespace: Namespace) -> Self {
        Self { store, namespace }
    }

    /// The store, for what this handle has no words for.
    #[must_use]
    pub const fn store(&self) -> &Arc<dyn FileStore> {
        &self.store
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The key in the store of the file with this name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], saying which rule the name breaks.
    pub fn key(&self, name: impl AsRef<str>) -> Result<FileKey> {
        FileKey::within(&self.namespace, name.as_ref())
    }

    /// Stores a file.
    pub fn put(&self, name: impl AsRef<str>, body: impl Into<Body>) -> Put<'_> {
        let (key, body) = (self.key(name), body.into());
        Put { files: self, key, body, source: None, options: PutOptions::default() }
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
        let source = stream.map(|piece| piece.map(Into::into).map_err(crate::body::source_failed)).boxed();
        Put { source: Some(Source(source)), ..self.put(name, Bytes::new()) }
    }

    /// Reads a file.
    pub fn get(&self, name: impl AsRef<str>) -> Get<'_> {
        Get { files: self, key: self.key(name), options: GetOptions::default() }
    }

    /// Reads a file's metadata. Its [`key`](Meta::key) includes the namespace.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such file; others as [`FileStore`] says.
    pub async fn head(&self, name: impl AsRef<str> + Send) -> Result<Meta> {
        let key = self.key(name)?;
        let span = tracing::debug_span!("filestore.head");
        self.store.head_with(&key, HeadOptions::default()).instrument(span).await
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
        Delete { files: self, key: self.key(name), options: DeleteOptions::default() }
    }

    /// Stores the content and metadata of one file under another name.
    pub fn copy(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Copy<'_> {
        let keys = self.key(from).and_then(|from| Ok((from, self.key(to)?)));
        Copy { files: self, keys, options: CopyOptions::default() }
    }

    /// Lists the files whose names begin with this text.
    pub fn list(&self, prefix: impl AsRef<str>) -> List<'_> {
        let options = ListOptions::new(format!("{}/{}", self.namespace, prefix.as_ref()));
        List { files: self, options }
    }

    /// A key's name in this namespace.
    #[must_use]
    pub fn name<'k>(&self, key: &'k FileKey) -> Option<&'k str> {
        self.within(key)
    }

    fn within<'k>(&self, text: &'k str) -> Option<&'k str> {
        text.strip_prefix(self.namespace.as_str())?.strip_prefix('/')
    }
}

/// A put that is being described; `.await` stores the file.
#[derive(Debug)]
#[must_use = "nothing is stored until awaited"]
pub struct Put<'a> {
    files: &'a Files,
    key: Result<FileKey>,
    body: Body,
    source: Option<Source<'a>>,
    options: PutOptions,
}

/// A stream that borrows.
struct Source<'a>(BoxStream<'a, Result<Bytes>>);

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl Source<'_> {
    /// Hands pieces over to a body that owns what it needs, one at a time.
    async fn feed(mut self, body: tokio::sync::mpsc::Sender<Option<Result<Bytes>>>) {
        while let Some(piece) = self.0.next().await {
            if body.send(Some(piece)).await.is_err() {
                return;
            }
        }
        let _ = body.send(None).await;
    }
}

/// What is fed. It ends well only if its source says so, and not if that is dropped.
fn fed(source: tokio::sync::mpsc::Receiver<Option<Result<Bytes>>>) -> Body {
    let pieces = futures_util::stream::unfold(Some(source), |source| async {
        let mut source = source?;
        match source.recv().await {
            Some(Some(piece)) => Some((piece, Some(source))),
            Some(None) => None,
            None => Some((Err(crate::body::source_failed("it was dropped")), None)),
        }
    });
    Body::from(pieces.boxed())
}

impl Put<'_> {
    /// Sets the media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.options = self.options.with_content_type(content_type);
        self
    }

    /// Adds a pair of the application's own metadata; see [`PutOptions::user`].
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options = self.options.with_metadata(name, value);
        self
    }

    /// Stores the file only if there is none with this name; else fails with `AlreadyExists`.
    pub fn if_absent(mut self) -> Self {
        self.options.condition = Condition::Absent;
        self
    }

    /// Replaces the file only if it has this etag; else fails with `Conflict`.
    pub fn if_match(mut self, etag: &ETag) -> Self {
        self.options.condition = Condition::Match(etag.clone());
        self
    }

    /// Fails, and makes nothing visible, unless the content has this digest.
    pub const fn expect_sha256(mut self, digest: Digest) -> Self {
        self.options.expected_digest = Some(digest);
        self
    }

    /// Fails, and makes nothing visible, if the content has more bytes.
    pub const fn max_len(mut self, bytes: u64) -> Self {
        self.options.max_len = Some(bytes);
        self
    }
}

impl<'a> IntoFuture for Put<'a> {
    type Output = Result<Stored>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let put = async move {
            let key = self.key?;
            let Some(source) = self.source else {
                return self.files.store.put_with(&key, self.body, self.options).await;
            };
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let put = self.files.store.put_with(&key, fed(receiver), self.options);
            match futures_util::future::select(put, Box::pin(source.feed(sender))).await {
                Either::Left((stored, _)) => stored,
                Either::Right(((), put)) => put.await,
            }
        };
        put.instrument(tracing::debug_span!("filestore.put")).boxed()
    }
}

/// A get that is being described; `.await` gives the [`Object`], `.bytes().await` its content.
#[derive(Debug)]
#[must_use = "nothing is read until awaited"]
pub struct Get<'a> {
    files: &'a Files,
    key: Result<FileKey>,
    options: GetOptions,
}

impl Get<'_> {
    /// Reads only these bytes.
    pub fn range(mut self, range: impl Into<ByteRange>) -> Self {
        self.options.range = Some(range.into());
        self
    }

    /// Reads the file only if it has this etag; else fails with `Conflict`.
    pub fn if_match(mut self, etag: &ETag) -> Self {
        self.options.if_match = Some(etag.clone());
        self
    }

    /// Reads the content in one piece.
    ///
    /// # Errors
    /// As [`Object::bytes`].
    pub async fn bytes(self) -> Result<Bytes> {
        self.await?.bytes().await
    }

    /// Reads the content in pieces; see [`Object::into_stream`].
    ///
    /// # Errors
    /// As [`FileStore::get_with`].
    pub async fn stream(self) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(self.await?.into_stream())
    }
}

impl<'a> IntoFuture for Get<'a> {
    type Output = Result<Object>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.files.store.get_with(&self.key?, self.options).await }
            .instrument(tracing::debug_span!("filestore.get"))
            .boxed()
    }
}

/// A delete that is being described; `.await` deletes the file.
#[derive(Debug)]
#[must_use = "nothing is deleted until awaited"]
pub struct Delete<'a> {
    files: &'a Files,
    key: Result<FileKey>,
    options: DeleteOptions,
}

impl Delete<'_> {
    /// Deletes the file only if it has this etag; else fails with `Conflict`.
    pub fn if_match(mut self, etag: &ETag) -> Self {
        self.options.if_match = Some(etag.clone());
        self
    }
}

impl<'a> IntoFuture for Delete<'a> {
    type Output = Result<Deleted>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.files.store.delete_with(&self.key?, self.options).await }
            .instrument(tracing::debug_span!("filestore.delete"))
            .boxed()
    }
}

/// A copy that is being described; `.await` copies the file.
#[derive(Debug)]
#[must_use = "nothing is copied until awaited"]
pub struct Copy<'a> {
    files: &'a Files,
    keys: Result<(FileKey, FileKey)>,
    options: CopyOptions,
}

impl Copy<'_> {
    /// Copies only if the target is absent; else fails with `AlreadyExists`.
    pub fn if_absent(mut self) -> Self {
        self.options.condition = Condition::Absent;
        self
    }

    /// Copies only if the target has this etag; else fails with `Conflict`.
    pub fn if_match(mut self, etag: &ETag) -> Self {
        self.options.condition = Condition::Match(etag.clone());
        self
    }
}

impl<'a> IntoFuture for Copy<'a> {
    type Output = Result<Stored>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let (from, to) = self.keys?;
            self.files.store.copy_with(&from, &to, self.options).await
        }
        .instrument(tracing::debug_span!("filestore.copy"))
        .boxed()
    }
}

/// A listing that is being described; `.await` gives a page, [`stream`](Self::stream) all of it.
#[derive(Debug)]
#[must_use = "nothing is listed until awaited"]
pub struct List<'a> {
    files: &'a Files,
    options: ListOptions,
}

impl<'a> List<'a> {
    /// Gathers names with a further slash behind the prefix into [`Page::prefixes`], which this handle's
    /// [`list`](Files::list) takes as they are.
    pub const fn one_level(mut self) -> Self {
        self.options.depth = Depth::OneLevel;
        self
    }

    /// Begins behind this text, in the order of bytes; see [`Start::After`].
    pub fn after(mut self, name: impl AsRef<str>) -> Self {
        let after = format!("{}/{}", self.files.namespace, name.as_ref());
        self.options.start = Start::After(after);
        self
    }

    /// Goes on where a page ended.
    pub fn page(mut self, token: PageToken) -> Self {
        self.options.start = Start::Token(token);
        self
    }

    /// Sets the most entries and prefixes of a page, 1 to 1,000.
    pub const fn limit(mut self, limit: u16) -> Self {
        self.options.limit = limit;
        self
    }

    /// All entries, page after page, as they are asked for.
    pub fn stream(self) -> impl Stream<Item = Result<Entry>> + Send + 'a {
        let pages = futures_util::stream::try_unfold(Some(self.options), move |options| async move {
            let Some(options) = options else { return Ok(None) };
            let page = self.files.store.list_with(options.clone()).await?;
            let next = page.next.map(|token| options.with_start(Start::Token(token)));
            let entries = futures_util::stream::iter(page.entries.into_iter().map(Ok));
            Ok::<_, statehouse_core::Error>(Some((entries, next)))
        });
        pages.try_flatten()
    }
}

impl<'a> IntoFuture for List<'a> {
    type Output = Result<Page>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let mut page = self.files.store.list_with(self.options).await?;
            page.prefixes =
                page.prefixes.iter().filter_map(|prefix| self.files.within(prefix).map(ToOwned::to_owned)).collect();
            Ok(page)
        }
        .instrument(tracing::debug_span!("filestore.list"))
        .boxed()
    }
}

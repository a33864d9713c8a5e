//! Azure's client, but for what it can do only where it signs itself.

use std::fmt;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::azure::MicrosoftAzure;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::super::connection::Native;

/// How often the end of a file is read that is replaced again and again.
const TRIES: u32 = 8;

/// Sends a delete as a request of its own: it has a status then, and can be conditional. One in a batch has no signature.
#[derive(Debug)]
pub(in super::super) struct Blobs {
    pub(in super::super) inner: MicrosoftAzure,
    pub(in super::super) native: Native,
}

impl fmt::Display for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Blobs {
    /// The last bytes of a file. Azure knows no range that counts from the end, so its length is asked for first.
    async fn last(&self, location: &Path, len: u64, options: &GetOptions) -> Result<GetResult> {
        let mut tries = 0;
        loop {
            let head = GetOptions { range: None, head: true, ..options.clone() };
            let now = self.inner.get_opts(location, head).await?.meta;
            if now.size == 0 {
                return Err(Error::Generic { store: "Azure", source: "an empty file has no last bytes".into() });
            }
            let range = Some(GetRange::Bounded(now.size.saturating_sub(len)..now.size));
            let of_now =
                GetOptions { range, if_match: now.e_tag, version: options.version.clone(), ..GetOptions::default() };
            tries += 1;
            match self.inner.get_opts(location, of_now).await {
                // Replaced meanwhile.
                Err(Error::Precondition { .. }) if tries < TRIES => {}
                got => return got,
            }
        }
    }
}

#[async_trait]
impl ObjectStore for Blobs {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match options.range {
            Some(GetRange::Suffix(len)) if !options.head => self.last(location, len, &options).await,
            _ => self.inner.get_opts(location, options).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let native = self.native.clone();
        let delete = move |location: Result<Path>| {
            let native = native.clone();
            async move {
                let location = location?;
                native.delete(location.as_ref()).await.map(|()| location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use percent_encoding::percent_decode_str;
use statehouse_core::{Error, Result};
use tower_service::Service;

use super::body::FileBody;
use super::disposition::Disposition;
use super::headers::Show;
use super::respond::not_allowed;
use super::signed::{Grant, SignedUrls};
use super::status::{bare, error_response};
use super::store::store;
use crate::files::Files;

/// The most bytes of an upload, if nothing else is said: 1 GiB.
const MAX_UPLOAD: u64 = 1 << 30;

/// Serves the files of a namespace over HTTP: a tower service over any [`FileStore`](crate::FileStore).
///
/// A request's path, without the slash it begins with, is the file's name; nest it below another path by axum's
/// `Router::nest_service`. `GET` and `HEAD` are answered as [`Respond`](crate::Respond) says, with ranges and preconditions. What fails is
/// answered by its kind, see [`error_response`], and without words: 400 for a path that no file has (`..`, an empty segment, broken
/// encoding), 404 for no such file, 405 with `Allow` for another method, 503 with `Retry-After` for an outage.
///
/// What was stored with a file as its `Cache-Control` is sent: of a file that not everybody may see, it is private, as it is without one. Whoever
/// uploads by a presigned URL of S3 may give their own; [`with_cache_control`](Self::with_cache_control) takes its place.
///
/// All files of the namespace are served to whoever asks: put what checks the right to see them around it, or serve
/// [signed URLs](Self::signed) only. Those store files, too: a `PUT` is answered 200 with the new `ETag`, 403 where what it says is not
/// what was signed, 400 where its content turns out not to be, 412 where its precondition (`If-None-Match: *`, or `If-Match` with one etag) does not hold, 413 for too much.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use axum::body::Body;
/// use axum::http::Request;
/// use statehouse_core::Namespace;
/// use statehouse_filestore::{Disposition, FileServer, Files, MemoryFileStore};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// scans.put("p42/chest.txt", "0123456789").content_type("text/plain").await?;
/// let server = FileServer::new(scans).with_max_ranges(4).with_disposition(Disposition::Attachment);
/// let app: Router = Router::new().nest_service("/scans", server);
///
/// let request = Request::get("/scans/p42/chest.txt").header("range", "bytes=2-4").body(Body::empty())?;
/// let response = app.oneshot(request).await?;
/// assert_eq!((response.status().as_u16(), &response.headers()["content-range"]), (206, &"bytes 2-4/10".parse()?));
/// assert_eq!(axum::body::to_bytes(response.into_body(), 100).await?, "234");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileServer {
    files: Files,
    show: Show,
    signed: Option<SignedUrls>,
    max_upload: u64,
}

impl FileServer {
    /// Serves all files of a namespace to whoever asks.
    #[must_use]
    pub fn new(files: Files) -> Self {
        Self { files, show: Show::default(), signed: None, max_upload: MAX_UPLOAD }
    }

    /// Serves what these URLs allow, and answers 403 to everything else.
    #[must_use]
    pub fn signed(urls: SignedUrls) -> Self {
        let files = urls.files().clone();
        Self { signed: Some(urls), ..Self::new(files) }
    }

    /// Sets whether a browser shows files or saves them; unless told, [`Disposition::Safe`]. A signed URL may say otherwise of its file.
    #[must_use]
    pub const fn with_disposition(mut self, disposition: Disposition) -> Self {
        self.show.disposition = disposition;
        self
    }

    /// Sets how long who may keep an answer, whatever was [stored](crate::Put::cache_control) with the file; unless told by either,
    /// `private, no-cache`.
    #[must_use]
    pub fn with_cache_control(mut self, value: HeaderValue) -> Self {
        self.show.cache_control = Some(value);
        self
    }

    /// Sets how many ranges a request may ask for; unless told, 16. One that asks for more gets the whole file.
    #[must_use]
    pub const fn with_max_ranges(mut self, most: usize) -> Self {
        self.show.max_ranges = most;
        self
    }

    /// Sets how many bytes an upload may have whose URL does not say; unless told, 1 GiB.
    #[must_use]
    pub const fn with_max_upload(mut self, bytes: u64) -> Self {
        self.max_upload = bytes;
        self
    }

    async fn answer<B>(self, request: Request<B>) -> Result<Response<FileBody>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let name = name_of(parts.uri.path())?;
        let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
        let Some(urls) = &self.signed else {
            let allowed = is_read.then(|| self.read(&name, &parts, self.show.clone()));
            return match allowed {
                Some(read) => read.await,
                None => Ok(not_allowed("GET, HEAD")),
            };
        };
        if !is_read && parts.method != Method::PUT {
            return Ok(not_allowed("GET, HEAD, PUT"));
        }
        let grant = match urls.check(&parts.method, &name, parts.uri.query().unwrap_or_default()) {
            Ok(grant) => grant,
            Err(denied) => {
                tracing::debug!(name: "filestore.url_denied", ?denied, "a URL that is not signed for what it is used for");
                return Ok(bare(StatusCode::FORBIDDEN));
            }
        };
        match is_read {
            true => self.read(&name, &parts, self.showing(&grant)).await,
            false => store(&self.files, &name, &grant, self.max_upload, &parts.headers, body).await,
        }
    }

    async fn read(&self, name: &str, request: &Parts, show: Show) -> Result<Response<FileBody>> {
        self.files.get(name).respond(&request.method, &request.headers).show(show).await
    }

    /// As the URL says, where it does.
    fn showing(&self, grant: &Grant) -> Show {
        let mut show = self.show.clone();
        if let Some(disposition) = grant.disposition {
            show.disposition = disposition;
        }
        show.file_name.clone_from(&grant.file_name);
        show
    }
}

/// The name that a path means: decoded once, so that what is encoded twice names what it says.
fn name_of(path: &str) -> Result<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let is_encoded =
        |at: usize| path.as_bytes().get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    let broken = || Error::invalid_input("the path is not encoded as one");
    if !path.match_indices('%').all(|(at, _)| is_encoded(at)) {
        return Err(broken());
    }
    percent_decode_str(path).decode_utf8().map(|name| name.into_owned()).map_err(|_| broken())
}

impl<B> Service<Request<B>> for FileServer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<FileBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        let answer: BoxFuture<'static, _> =
            Box::pin(async move { server.answer(request).await.or_else(|error| Ok(error_response(&error))) });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_or_refused() {
        for (path, name) in [
            ("/a/b.txt", Some("a/b.txt")),
            ("a", Some("a")),
            ("/a%20b%2Fc", Some("a b/c")),
            ("/%252e%252e/x", Some("%2e%2e/x")),
            ("/R%C3%B6ntgen", Some("Röntgen")),
            ("/%ff", None),
            ("/%", None),
            ("/%2", None),
            ("/%zz", None),
        ] {
            assert_eq!(name_of(path).ok().as_deref(), name, "{path}");
        }
    }
}

use std::future::IntoFuture;

use futures_util::future::BoxFuture;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use statehouse_core::{Error, ErrorKind, Result, Retry};

use super::body::FileBody;
use super::conditions::{Conditions, Verdict};
use super::disposition::Disposition;
use super::headers::{Show, content_range, insert};
use super::multipart::several;
use super::range::{Selected, asked, select};
use super::reader::Reader;
use super::status::bare;
use crate::content::Object;
use crate::files::{Get, Place};
use crate::key::FileKey;
use crate::meta::Meta;
use crate::options::{BeyondEnd, ByteRange, GetOptions};

/// How often a request begins again because its file was replaced between two steps.
const ATTEMPTS: usize = 4;

/// The answer to an HTTP request for a file that is being described; `.await` gives the [`Response`].
///
/// Made by [`Get::respond`]. What the request asks for is answered as
/// [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110) says: 200 with the whole file; 206 with a range or, as
/// `multipart/byteranges`, several; 304 and 412 by its preconditions; 416 for ranges of which the file has nothing; 405 for a method
/// other than `GET` and `HEAD`. Only what the store fails with is an error: [`error_response`](crate::error_response) answers that.
///
/// The answer is an [`http::Response`], so a handler of axum returns it as it is. Its body reads as fast as the client does.
///
/// ```
/// # use std::sync::Arc;
/// use http::{HeaderMap, HeaderValue, Method};
/// # use statehouse_core::Namespace;
/// use statehouse_filestore::Disposition;
/// # use statehouse_filestore::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let files = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic")?);
/// files.put("logo.svg", "<svg/>").content_type("image/svg+xml").await?;
/// let answer = files.get("logo.svg").respond(&Method::GET, &HeaderMap::new());
/// assert_eq!(answer.await?.headers()["content-disposition"], "attachment; filename=\"logo.svg\"");
///
/// // The application's own, which nobody has uploaded
/// let answer = files.get("logo.svg").respond(&Method::GET, &HeaderMap::new()).disposition(Disposition::Inline);
/// let answer = answer.cache_control(HeaderValue::from_static("public, max-age=3600")).max_ranges(1).await?;
/// assert_eq!(answer.headers()["content-type"], "image/svg+xml");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read until awaited"]
pub struct Respond<'a> {
    place: &'a Place,
    key: Result<FileKey>,
    options: GetOptions,
    method: Method,
    conditions: Conditions,
    headers: HeaderMap,
    show: Show,
}

impl<'a> Get<'a> {
    /// Answers an HTTP request with this file; see [`Respond`]. A range of the get itself gives way to that of the request.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use axum::extract::{Path, State};
    /// use axum::http::{HeaderMap, Method};
    /// use axum::response::IntoResponse;
    /// use axum::{Router, routing::get};
    /// use statehouse_core::Namespace;
    /// use statehouse_filestore::{Files, MemoryFileStore, error_response};
    ///
    /// async fn scan(State(scans): State<Files>, Path(id): Path<String>, method: Method, headers: HeaderMap) -> impl IntoResponse {
    ///     // … once it is known that who asks may see it
    ///     let answer = scans.get(format!("{id}/chest.png")).respond(&method, &headers);
    ///     answer.file_name("Röntgen.png").await.unwrap_or_else(|error| error_response(&error))
    /// }
    ///
    /// # fn main() -> statehouse_core::Result<()> {
    /// let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
    /// let app: Router = Router::new().route("/scans/{id}", get(scan)).with_state(scans);
    /// # drop(app);
    /// # Ok(()) }
    /// ```
    pub fn respond(self, method: &Method, headers: &HeaderMap) -> Respond<'a> {
        let (place, key, options) = self.into_parts();
        Respond {
            place,
            key,
            options,
            method: method.clone(),
            conditions: Conditions::of(headers),
            headers: headers.clone(),
            show: Show::default(),
        }
    }
}

impl Respond<'_> {
    /// Sets whether a browser shows the file or saves it; unless told, [`Disposition::Safe`].
    pub const fn disposition(mut self, disposition: Disposition) -> Self {
        self.show.disposition = disposition;
        self
    }

    /// Sets the name under which the file is saved, in place of the [stored](crate::Put::content_disposition) one and of what its key
    /// ends with.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.show.file_name = Some(name.into());
        self
    }

    /// Sets the type, in place of the one that is stored. What a browser would run is handed out as [`Disposition`] says.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.show.content_type = Some(content_type.into());
        self
    }

    /// Sets how long who may keep the answer, in place of what is [stored](crate::Put::cache_control); unless told by either,
    /// `private, no-cache`: a browser may, and asks each time whether it is still current.
    pub fn cache_control(mut self, value: HeaderValue) -> Self {
        self.show.cache_control = Some(value);
        self
    }

    /// Sets how many ranges a request may ask for; unless told, 16. One that asks for more gets the whole file.
    pub const fn max_ranges(mut self, most: usize) -> Self {
        self.show.max_ranges = most;
        self
    }

    pub(super) fn show(self, show: Show) -> Self {
        Self { show, ..self }
    }

    async fn run(self) -> Result<Response<FileBody>> {
        let Self { place, key, options, method, conditions, headers, show } = self;
        if method != Method::GET && method != Method::HEAD {
            return Ok(not_allowed("GET, HEAD"));
        }
        let reader = Reader::new(place.clone(), key?, options);
        // A range is only of a GET (RFC 9110, 14.2).
        let ranges = if method == Method::GET { asked(&headers, show.max_ranges) } else { None };
        let answer = Answer { reader, show, conditions, ranges: ranges.unwrap_or_default() };
        match method == Method::HEAD {
            true => answer.head().await,
            false => answer.get().await,
        }
    }
}

impl<'a> IntoFuture for Respond<'a> {
    type Output = Result<Response<FileBody>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Answers a method that is none of these.
pub(super) fn not_allowed(methods: &'static str) -> Response<FileBody> {
    let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

struct Answer {
    reader: Reader,
    show: Show,
    conditions: Conditions,
    ranges: Vec<ByteRange>,
}

impl Answer {
    async fn head(&self) -> Result<Response<FileBody>> {
        let meta = self.reader.head().await?;
        let judged = self.refused(&meta);
        Ok(judged.unwrap_or_else(|| respond(StatusCode::OK, self.show.describe(&meta, meta.len), FileBody::empty())))
    }

    async fn get(&self) -> Result<Response<FileBody>> {
        // One step where nothing depends on the file's state.
        match self.ranges[..] {
            [] if self.conditions.is_none() => return self.reader.get(None).await.map(|object| self.whole(object)),
            [range] if self.conditions.is_none() && range.check().is_ok() => return self.range(range).await,
            _ => {}
        }
        for _ in 1..ATTEMPTS {
            match self.step().await {
                Err(error) if error.kind() == ErrorKind::Conflict && !self.reader.is_bound() => {}
                other => return other,
            }
        }
        let replaced =
            |error: Error| if error.kind() == ErrorKind::Conflict { error.with_retry(Retry::Now) } else { error };
        self.step().await.map_err(replaced)
    }

    async fn range(&self, range: ByteRange) -> Result<Response<FileBody>> {
        match self.reader.get(Some(range)).await {
            Ok(object) => Ok(self.part(object)),
            Err(error) => match BeyondEnd::of(&error).map(BeyondEnd::file_len) {
                // As of every answer about an empty file.
                Some(0) => self.reader.get(None).await.map(|object| self.whole(object)),
                Some(len) => Ok(self.nothing(len)),
                None => Err(error),
            },
        }
    }

    /// Looks at the file, and then reads that state of it.
    async fn step(&self) -> Result<Response<FileBody>> {
        let meta = self.reader.head().await?;
        if let Some(refused) = self.refused(&meta) {
            return Ok(refused);
        }
        let selected = match self.conditions.allow_ranges(&meta) {
            true => select(&self.ranges, meta.len),
            false => Selected::Whole,
        };
        match selected {
            // They would be of several states, if it is replaced in between.
            Selected::Several(_) if !meta.etag.names_a_state() => {
                self.reader.pinned(&meta, None).await.map(|object| self.whole(object))
            }
            Selected::Whole => self.reader.pinned(&meta, None).await.map(|object| self.whole(object)),
            Selected::One(range) => self.reader.pinned(&meta, Some(range.into())).await.map(|object| self.part(object)),
            Selected::Nothing => Ok(self.nothing(meta.len)),
            Selected::Several(ranges) => {
                let content_type = self.show.content_type(&meta);
                let (kind, len, body) = several(self.reader.clone(), meta.clone(), &content_type, ranges).await?;
                let mut headers = self.show.describe(&meta, len);
                insert(&mut headers, CONTENT_TYPE, kind);
                Ok(respond(StatusCode::PARTIAL_CONTENT, headers, body))
            }
        }
    }

    fn refused(&self, meta: &Meta) -> Option<Response<FileBody>> {
        match self.conditions.judge(meta) {
            Verdict::Go => None,
            Verdict::NotModified => {
                Some(respond(StatusCode::NOT_MODIFIED, self.show.validators(meta), FileBody::empty()))
            }
            Verdict::Failed => Some(bare(StatusCode::PRECONDITION_FAILED)),
        }
    }

    fn whole(&self, object: Object) -> Response<FileBody> {
        let headers = self.show.describe(object.meta(), object.meta().len);
        respond(StatusCode::OK, headers, object.into())
    }

    fn part(&self, object: Object) -> Response<FileBody> {
        let (range, len) = (object.range().clone(), object.meta().len);
        let mut headers = self.show.describe(object.meta(), range.end - range.start);
        insert(&mut headers, CONTENT_RANGE, content_range(&range, len));
        respond(StatusCode::PARTIAL_CONTENT, headers, object.into())
    }

    fn nothing(&self, len: u64) -> Response<FileBody> {
        let mut response = bare(StatusCode::RANGE_NOT_SATISFIABLE);
        insert(response.headers_mut(), CONTENT_RANGE, format!("bytes */{len}"));
        response
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: FileBody) -> Response<FileBody> {
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

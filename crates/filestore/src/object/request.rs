//! Requests that `object_store` has no words for.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::connection::Native;
use super::encoding::{PATH, QUERY};
use super::error::{map_error, not_a_server};
use super::patience::timed_out;
use super::wire::{Answer, Terms, observe};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Native {
    /// Asks about the bucket: the answer's text, which is of this element or from no S3 server, and what time it is at the
    /// server. Sent again as `object_store` does it.
    pub(super) async fn get(&self, element: &str, query: &[(&str, &str)]) -> Result<(Bytes, Option<SystemTime>)> {
        self.get_until(None, element, query).await
    }

    /// The same, until then: it is sent again as long as there is time, and tells what was said last.
    pub(super) async fn get_until(
        &self,
        until: Option<Instant>,
        element: &str,
        query: &[(&str, &str)],
    ) -> Result<(Bytes, Option<SystemTime>)> {
        let request = self.request(Method::GET, "", query, &[])?;
        self.ask(request, (element, Answer::Text), until).await
    }

    /// Has the server copy a part of an object into an upload: what it calls that part.
    pub(super) async fn copy_part(
        &self,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&'static str, String)],
    ) -> Result<String> {
        let expected = ("CopyPartResult", Answer::Late);
        let path = format!("/{}", utf8_percent_encode(path, PATH));
        let request = self.request(Method::PUT, &path, query, headers)?;
        let (text, _) = self.ask(request, expected, None).await?;
        let copied: CopiedPart = quick_xml::de::from_reader(&*text)
            .map_err(|source| astray("the server's answer about a part is none").with_source(source))?;
        Ok(copied.e_tag)
    }

    /// An object of this bucket, as a request names it to copy from.
    pub(super) fn source(&self, path: &str) -> String {
        format!("{}/{}", self.server.bucket, utf8_percent_encode(path, PATH))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&'static str, String)],
    ) -> Result<HttpRequest> {
        let encode = |text| utf8_percent_encode(text, QUERY).to_string();
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        request(method, &format!("{}{path}?{}", self.url, query.join("&")), headers)
    }

    async fn ask(
        &self,
        request: HttpRequest,
        (element, answer): (&str, Answer),
        until: Option<Instant>,
    ) -> Result<(Bytes, Option<SystemTime>)> {
        let (result, log) = observe(Terms::new(answer), self.sent(request, until)).await;
        let text = result.map_err(|error| map_error(error, &log))?;
        // A page that a gateway shows instead would be a listing of nothing.
        if !String::from_utf8_lossy(&text).contains(&format!("<{element}")) {
            return Err(not_a_server(&self.server));
        }
        Ok((text, log.date))
    }

    /// Sends a request, and again as long as that may help and there is time.
    async fn sent(&self, request: HttpRequest, until: Option<Instant>) -> object_store::Result<Bytes> {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut left = self.retries;
        loop {
            let pause = pauses.pause();
            let has_time = until.is_none_or(|until| Instant::now() + pause < until);
            match self.once_until(request.clone(), until).await {
                Err((error, true)) if left > 0 && has_time => drop(error),
                Err((error, _)) => return Err(error),
                Ok(text) => return Ok(text),
            }
            left -= 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Removes an object, as part of an operation that is observed.
    #[cfg(feature = "azure")]
    pub(super) async fn delete(&self, path: &str) -> object_store::Result<()> {
        let url = format!("{}/{}", self.url, utf8_percent_encode(path, PATH));
        let refused = |source: Error| object_store::Error::Generic { store: "object store", source: source.into() };
        self.sent(request(Method::DELETE, &url, &[]).map_err(refused)?, None).await.map(drop)
    }

    async fn once_until(
        &self,
        request: HttpRequest,
        until: Option<Instant>,
    ) -> Result<Bytes, (object_store::Error, bool)> {
        let Some(until) = until else { return self.once(request).await };
        let late = |_| object_store::Error::Generic { store: "S3", source: timed_out().into() };
        tokio::time::timeout_at(until, self.once(request))
            .await
            .map_err(late)
            .unwrap_or_else(|error| Err((error, false)))
    }

    /// The answer, or an error and whether another try may help.
    async fn once(&self, request: HttpRequest) -> Result<Bytes, (object_store::Error, bool)> {
        use object_store::client::HttpErrorKind as Kind;
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source };
        let path = request.uri().path().to_owned();
        let answer = match self.http.execute(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let again = !matches!(error.kind(), Kind::Unknown | Kind::Decode);
                return Err((generic(error.into()), again));
            }
        };
        let status = answer.status();
        if !status.is_success() {
            let again = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
            let source = format!("the server answered {status}").into();
            let error =
                if status.as_u16() == 404 { object_store::Error::NotFound { path, source } } else { generic(source) };
            return Err((error, again));
        }
        answer.into_body().bytes().await.map_err(|error| (generic(error.into()), false))
    }
}

fn request(method: Method, url: &str, headers: &[(&'static str, String)]) -> Result<HttpRequest> {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().map_err(|_| Error::invalid_input("the server takes no such name"))?;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).map_err(|_| Error::invalid_input("the value of a header is none"))?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

/// What a server says of a part that it has copied.
#[derive(Debug, Deserialize)]
struct CopiedPart {
    #[serde(rename = "ETag")]
    e_tag: String,
}

/// For answers that are not about what was asked.
pub(super) fn astray(message: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, message)
}

//! Requests that `object_store` has no words for.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, ErrorKind, Result};

use super::connection::Native;
use super::error::{map_error, not_s3};
use super::wire::{Answer, Terms, observe};

/// RFC 3986's unreserved characters are left as they are, as signatures want it.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Native {
    /// Asks about the bucket: the answer's text, which is of this element or from no S3 server, and what time it is at the
    /// server. Sent again as `object_store` does it.
    pub(super) async fn get(&self, element: &str, query: &[(&str, &str)]) -> Result<(Bytes, Option<SystemTime>)> {
        let encode = |text| utf8_percent_encode(text, QUERY).to_string();
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let url = format!("{}?{}", self.url, query.join("&"));
        let ask = async {
            let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            let mut left = self.retries;
            loop {
                let result = self.once(&url).await;
                match result {
                    Err((error, true)) if left > 0 => drop(error),
                    Err((error, _)) => return Err(error),
                    Ok(text) => return Ok(text),
                }
                left -= 1;
                tokio::time::sleep(pauses.pause()).await;
            }
        };
        let (result, log) = observe(Terms::new(Answer::Text), ask).await;
        let text = result.map_err(|error| map_error(error, &log))?;
        // A page that a gateway shows instead would be a listing of nothing.
        if !String::from_utf8_lossy(&text).contains(&format!("<{element}")) {
            return Err(not_s3(&self.server));
        }
        Ok((text, log.date))
    }

    /// The answer, or an error and whether another try may help.
    async fn once(&self, url: &str) -> Result<Bytes, (object_store::Error, bool)> {
        use object_store::client::HttpErrorKind as Kind;
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.parse().map_err(|_| (generic("the URL is wrong".into()), false))?;
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
            return Err((generic(format!("the server answered {status}").into()), again));
        }
        answer.into_body().bytes().await.map_err(|error| (generic(error.into()), false))
    }
}

/// For answers that are not about what was asked.
pub(super) fn astray(message: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, message)
}

//! A file that is stored by a signed URL.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::{Response, StatusCode};
use http_body::Body as HttpBody;
use statehouse_core::{Error, ErrorKind, Result};

use super::body::FileBody;
use super::conditions::{is_strong, only};
use super::headers::etag;
use super::signed::Grant;
use super::status::bare;
use crate::body::Body;
use crate::files::Files;
use crate::meta::{ETag, Stored};
use crate::outcome::PutOutcome;

/// What must hold for a file to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
enum On {
    Nothing,
    Absent,
    Match(ETag),
}

pub(super) async fn store<B>(
    files: &Files,
    name: &str,
    grant: &Grant,
    max_upload: u64,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<FileBody>>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Some(status) = refused(headers, grant) {
        return Ok(bare(status));
    }
    let on = condition(headers, grant)?;
    let content_type = match &grant.content_type {
        Some(signed) => Some(signed.clone()),
        None => content_type(headers)?.map(ToOwned::to_owned),
    };
    let body = Body::from_stream(pieces(body));
    let body = match grant.len.or_else(|| length(headers)) {
        Some(len) => body.with_len(len),
        None => body,
    };
    let mut put = files.put(name, body).max_len(grant.max_len.or(grant.len).unwrap_or(max_upload));
    if let Some(content_type) = content_type {
        put = put.content_type(content_type);
    }
    if let Some(digest) = grant.sha256 {
        put = put.expect_sha256(digest);
    }
    let outcome = match on {
        On::Nothing => put.await.map(PutOutcome::Stored)?,
        On::Absent => put.if_absent().await?,
        On::Match(etag) => put.if_match(&etag).await?,
    };
    Ok(match outcome {
        PutOutcome::Stored(stored) => stored_as(&stored),
        PutOutcome::Conflict => bare(StatusCode::PRECONDITION_FAILED),
    })
}

fn stored_as(stored: &Stored) -> Response<FileBody> {
    let mut response = bare(StatusCode::OK);
    if let Some(etag) = etag(&stored.etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// The one type that the request says, if it says any. Who reads several takes the last one, or the first.
fn content_type(headers: &HeaderMap) -> Result<Option<&str>> {
    let one = only(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if one.is_none() && headers.contains_key(CONTENT_TYPE) {
        return Err(Error::invalid_input("a file has one content type, in visible ASCII characters"));
    }
    Ok(one)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
}

/// Refuses a request that is not what was signed, and one whose content would not be the file's.
fn refused(headers: &HeaderMap, grant: &Grant) -> Option<StatusCode> {
    let differs = |signed: Option<u64>, over: fn(u64, u64) -> bool| {
        signed.zip(length(headers)).is_some_and(|(signed, sent)| over(sent, signed))
    };
    let is_other = |signed: &str| content_type(headers).ok().flatten() != Some(signed);
    if grant.content_type.as_deref().is_some_and(is_other) || differs(grant.len, |sent, signed| sent != signed) {
        return Some(StatusCode::FORBIDDEN);
    }
    if differs(grant.max_len, |sent, most| sent > most) {
        return Some(StatusCode::PAYLOAD_TOO_LARGE);
    }
    // RFC 9110, 8.4 and 14.5
    if headers.contains_key(CONTENT_ENCODING) {
        return Some(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    headers.contains_key(CONTENT_RANGE).then_some(StatusCode::BAD_REQUEST)
}

/// What the request's preconditions ask of the store: one that it has, or it is refused, and never overlooked.
fn condition(headers: &HeaderMap, grant: &Grant) -> Result<On> {
    let unsupported =
        || Error::new(ErrorKind::Unsupported, "a put takes `If-None-Match: *` or `If-Match` with one etag");
    if [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE].iter().any(|name| headers.contains_key(name)) {
        return Err(unsupported());
    }
    let is_create = match headers.contains_key(IF_NONE_MATCH) {
        true if only(headers, &IF_NONE_MATCH).is_some_and(|value| value.as_bytes().trim_ascii() == b"*") => true,
        true => return Err(unsupported()),
        false => grant.create,
    };
    if !headers.contains_key(IF_MATCH) {
        return Ok(if is_create { On::Absent } else { On::Nothing });
    }
    let etag = only(headers, &IF_MATCH).and_then(|value| value.to_str().ok()).map(str::trim);
    match etag.filter(|etag| is_strong(etag.as_bytes()) && !is_create) {
        Some(etag) => Ok(On::Match(ETag::new(etag))),
        None => Err(unsupported()),
    }
}

/// A request's content in pieces.
fn pieces<B>(body: B) -> impl Stream<Item = Result<Bytes, B::Error>> + Send
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    let body: Pin<Box<B>> = Box::pin(body);
    futures_util::stream::unfold(body, |mut body| async move {
        loop {
            match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await? {
                Err(error) => return Some((Err(error), body)),
                Ok(frame) => {
                    if let Ok(piece) = frame.into_data() {
                        return Some((Ok(piece), body));
                    }
                }
            }
        }
    })
}

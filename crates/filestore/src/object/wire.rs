//! What lies between `object_store` and the network. It adds the preconditions that `object_store` has no words for and
//! then signs, so that nobody on the way can take them off; it bounds the server's silence and its answers; and it keeps
//! what happened, from which alone it can be told whether a failed write may have been applied.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use statehouse_core::policy::Backoff;
use statehouse_core::span;
use tracing::Instrument as _;

use super::missing::Missing;
use super::patience::{Receiving, Sending, Watch, timed_out, transport};
use super::server::Server;
use super::sign::Signer;
use super::tls::{is_wrong_language, untrusted};
use crate::digest::Digest;
use crate::options::Condition;

tokio::task_local! {
    static EXCHANGE: Exchange;
}

/// The most of an error's body that is read.
const MAX_ERROR: usize = 64 << 10;

/// The most of an answer that is read if it is text: a listing of 1,000 keys has less than 3 MiB.
const MAX_TEXT: usize = 8 << 20;

/// How slow the link is over which text comes that is waited for, in bytes a second.
const SLOWEST_TEXT: u64 = 512;

/// How many times longer a server may be silent that puts a file together.
const SLOW: u32 = 6;

/// How often it is asked again whether a file has no place, and with what pauses in between.
const NESTED_TRIES: u32 = 3;
const NESTED_PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(100)];

/// What one operation adds to its requests, and what it finds out about them.
#[derive(Clone, Debug, Default)]
struct Exchange {
    header: Option<(HeaderName, HeaderValue)>,
    answer: Answer,
    payload: Option<Digest>,
    log: Arc<Mutex<Log>>,
}

/// What the body of a successful answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing that matters.
    #[default]
    Nothing,
    /// A file's content, passed on as it comes.
    Content,
    /// Text.
    Text,
    /// Text that may say that all has failed, and may take long: those of completions and copies.
    Late,
}

/// On what terms an operation's requests are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) condition: &'a Condition,
    pub(super) answer: Answer,
    /// The SHA-256 of the request's body, if it is known already.
    pub(super) payload: Option<Digest>,
}

impl<'a> Terms<'a> {
    pub(super) const fn new(answer: Answer) -> Self {
        Self { condition: &Condition::Always, answer, payload: None }
    }

    pub(super) const fn condition(self, condition: &'a Condition) -> Self {
        Self { condition, ..self }
    }

    pub(super) const fn payload(self, digest: Digest) -> Self {
        Self { payload: Some(digest), ..self }
    }
}

/// What happened on the wire during one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// How many requests may have reached the server.
    pub(super) sent: u32,
    /// How many were sent before this one for the same.
    pub(super) resent: u32,
    /// Whether one of them may have been applied although it failed.
    pub(super) doubtful: bool,
    /// Whether one of them may still be on its way, and be applied later.
    pub(super) under_way: bool,
    /// The last answer that was an error.
    pub(super) reply: Option<Reply>,
    /// Why the last request had no answer.
    pub(super) broken: Option<HttpErrorKind>,
    /// Why there was nothing to sign with, if so.
    pub(super) unsigned: Option<Missing>,
    /// The server's clock at its last answer.
    pub(super) date: Option<std::time::SystemTime>,
    /// The server that was asked; none of a store that is brought along.
    pub(super) server: Option<Arc<Server>>,
    /// How long the server has kept us waiting for nothing.
    pub(super) waited: Duration,
}

/// An answer that is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// S3's code, for example `NoSuchBucket`; empty where the answer had no body.
    pub(super) code: String,
    /// The region that the bucket is in, where the server says so.
    pub(super) region: Option<String>,
    /// Whether it is none of an S3 server's: what a proxy or another program says that stands in its place.
    pub(super) stranger: bool,
}

/// What servers that keep plain files answer where a file would have to be a directory, or the other way round.
const NESTED: [&str; 5] = [
    "ExistingObjectIsDirectory",
    "ExistingObjectIsObject",
    "ObjectParentIsFile",
    "XMinioParentIsObject",
    "XMinioObjectExistsAsDirectory",
];

impl Reply {
    /// Whether the server has no place for a file below another's name; nothing was done then.
    pub(super) fn is_nested(&self) -> bool {
        NESTED.contains(&self.code.as_str())
    }
}

/// The header that makes a request conditional.
fn precondition(condition: &Condition) -> Option<(HeaderName, HeaderValue)> {
    match condition {
        Condition::Always => None,
        Condition::Absent => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
        // An etag that is no header's value is no server's: it matches nothing.
        Condition::Match(etag) => {
            let value = Some(etag.as_str()).filter(|text| text.is_ascii()).and_then(|text| text.parse().ok());
            Some((IF_MATCH, value.unwrap_or(HeaderValue::from_static("\"\""))))
        }
    }
}

/// Runs an operation with a precondition on its requests, and tells what happened on the wire.
pub(super) async fn observe<T>(terms: Terms<'_>, operation: impl Future<Output = T>) -> (T, Log) {
    let Terms { condition, answer, payload } = terms;
    let exchange = Exchange { header: precondition(condition), answer, payload, log: Arc::default() };
    let log = Arc::clone(&exchange.log);
    let result = EXCHANGE.scope(exchange, operation).await;
    let log = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (result, log)
}

/// Signs requests and sends them through `reqwest`.
pub(super) struct Wire {
    pub(super) client: reqwest::Client,
    pub(super) signer: Signer,
    /// How long the server may be silent.
    pub(super) timeout: Duration,
    /// Where requests go.
    pub(super) server: Arc<Server>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("server", &self.server).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // What object_store sends outside an operation goes on with a file's content where a connection broke.
        let exchange = EXCHANGE.try_with(Clone::clone);
        let exchange = exchange.unwrap_or_else(|_| {
            let log = Log { broken: Some(HttpErrorKind::Interrupted), ..Log::default() };
            Exchange { answer: Answer::Content, log: Arc::new(Mutex::new(log)), ..Exchange::default() }
        });
        if let Some((name, value)) = &exchange.header {
            request.headers_mut().insert(name, value.clone());
        }
        let log = || exchange.log.lock().unwrap_or_else(PoisonError::into_inner);
        log().server = Some(Arc::clone(&self.server));
        if let Err(error) = self.signer.sign(&mut request, exchange.payload, &self.server.region).await {
            log().unsigned = Some(Missing::of(&error));
            return Err(HttpError::new(HttpErrorKind::Unknown, error));
        }
        log().begin();
        let (start, method) = (Instant::now(), request.method().clone());
        let head = method == reqwest::Method::HEAD;
        let resent = log().resent;
        let result = self.exchange_settled(request, (exchange.answer, head), resent).await;
        let mut log = log();
        log.note(&result, start.elapsed());
        if let (Ok(_), Some(date)) = (&result, log.date) {
            self.server.clock.hear(date);
        }
        match result {
            Ok((response, _)) => Ok(response),
            // object_store would try again as often as it may, however long the server has been silent by then.
            Err(error) if log.waited >= self.timeout => Err(HttpError::new(HttpErrorKind::Unknown, error)),
            // Nor would another try find another certificate, or another protocol.
            Err(error) if is_wrong_language(&error) || untrusted(&error).is_some() => {
                Err(HttpError::new(HttpErrorKind::Unknown, error))
            }
            // It takes deletes for what must not be sent twice. Ours may be: their outcome is looked at.
            Err(error) if method == reqwest::Method::DELETE => Err(HttpError::new(HttpErrorKind::Request, error)),
            Err(error) => Err(error),
        }
    }
}

impl Wire {
    /// As [`exchange`](Self::exchange). A server that keeps plain files takes a directory away with the last file in it, and
    /// refuses who stores another there in the same moment as it refuses a file below another's name. So it is asked again.
    async fn exchange_settled(
        &self,
        request: HttpRequest,
        (answer, head): (Answer, bool),
        resent: u32,
    ) -> Result<(HttpResponse, Option<Reply>), HttpError> {
        let mut pauses = Backoff::new(NESTED_PAUSES[0], NESTED_PAUSES[1]);
        for tries in 0..NESTED_TRIES {
            let done = self.attempt(request.clone(), (answer, head), resent + tries).await;
            if !matches!(&done, Ok((_, Some(reply))) if reply.is_nested()) {
                return done;
            }
            tokio::time::sleep(pauses.pause()).await;
        }
        self.attempt(request, (answer, head), resent + NESTED_TRIES).await
    }

    /// One try, in a span of its own. Where the body of a success tells of an error, the status is that which it should have had.
    async fn attempt(
        &self,
        request: HttpRequest,
        (answer, head): (Answer, bool),
        resent: u32,
    ) -> Result<(HttpResponse, Option<Reply>), HttpError> {
        let span = self.server.span(request.method().as_str(), resent);
        let done = self.exchange(request, answer, head).instrument(span.clone()).await;
        let status = |(response, reply): &(HttpResponse, Option<Reply>)| {
            reply.as_ref().map_or(response.status().as_u16(), |reply| reply.status)
        };
        span::answered(&span, done.as_ref().map(status).map_err(|error| unanswered(error.kind())));
        done
    }

    async fn exchange(
        &self,
        request: HttpRequest,
        answer: Answer,
        head: bool,
    ) -> Result<(HttpResponse, Option<Reply>), HttpError> {
        let patience = if answer == Answer::Late { self.timeout * SLOW } else { self.timeout };
        let path = if answer == Answer::Content { String::new() } else { request.uri().path().to_owned() };
        let mut response = self.send(request, patience).await?;
        self.signer.read_names(response.headers_mut());
        // Text that is none would make the whole answer unreadable for what comes after us.
        let broken = |value: &HeaderValue| value.to_str().is_err();
        let broken: Vec<_> = response.headers().iter().filter(|(_, value)| broken(value)).collect();
        let broken: Vec<_> = broken.into_iter().map(|(name, _)| name.clone()).collect();
        for name in broken {
            response.headers_mut().remove(name);
        }
        let success = response.status().is_success();
        let passed = success && (head || answer == Answer::Content);
        if passed || response.status() == StatusCode::NOT_MODIFIED {
            return Ok((response, None));
        }
        let (parts, body) = response.into_parts();
        if success && answer == Answer::Nothing && http_body::Body::is_end_stream(&body) {
            return Ok((HttpResponse::from_parts(parts, body), None));
        }
        let most = if success { MAX_TEXT } else { MAX_ERROR };
        let body = Box::pin(collect(body, most, patience)).await?;
        if success && body.len() > most {
            return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other("the answer is too long")));
        }
        if success && answer != Answer::Nothing && is_astray(&body, &path) {
            let error = std::io::Error::other("the answer is about another object");
            return Err(HttpError::new(HttpErrorKind::Decode, error));
        }
        Ok(judge(parts, body, answer))
    }

    async fn send(&self, request: HttpRequest, patience: Duration) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse();
        let url = url.map_err(|_| HttpError::new(HttpErrorKind::Unknown, std::io::Error::other("the URL is wrong")))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        let watch = Watch::new(patience);
        *request.body_mut() = Some(match body.content_length() {
            0 => bytes::Bytes::new().into(),
            _ => reqwest::Body::wrap(Sending::new(body, Arc::clone(&watch))),
        });
        let answered = tokio::select! {
            answered = self.client.execute(request) => answered.map_err(transport)?,
            () = watch.silence() => return Err(timed_out()),
        };
        let (parts, body) = http::Response::from(answered).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(Receiving::new(body, self.timeout))))
    }
}

/// Whether the answer to the beginning or the end of an upload names another object than the one that was asked about.
fn is_astray(body: &[u8], path: &str) -> bool {
    let text = String::from_utf8_lossy(body);
    let about = text.contains("<InitiateMultipartUploadResult") || text.contains("<CompleteMultipartUploadResult");
    let key = text.split_once("<Key>").and_then(|(_, rest)| rest.split_once("</Key>")).filter(|_| about);
    let key = key.and_then(|(key, _)| quick_xml::escape::unescape(key).ok());
    key.is_some_and(|key| !percent_decode_str(path).decode_utf8_lossy().ends_with(&*key))
}

/// Text, which has more time the more of it has come: a slow link is not a silent server.
pub(super) async fn collect(
    body: HttpResponseBody,
    most: usize,
    patience: Duration,
) -> Result<bytes::Bytes, HttpError> {
    let (begun, mut pieces, mut all) = (tokio::time::Instant::now(), body.bytes_stream(), Vec::new());
    loop {
        let end = begun + patience + Duration::from_millis(all.len() as u64 * 1000 / SLOWEST_TEXT);
        let Some(piece) = tokio::time::timeout_at(end, pieces.next()).await.map_err(|_| timed_out())? else { break };
        all.extend_from_slice(&piece?);
        if all.len() > most {
            break;
        }
    }
    Ok(all.into())
}

/// Finds out what an answer says if it is an error, and gives it the status that it should have had.
fn judge(mut parts: http::response::Parts, body: bytes::Bytes, answer: Answer) -> (HttpResponse, Option<Reply>) {
    let text = String::from_utf8_lossy(&body);
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    };
    let header = |parts: &http::response::Parts, name: &str| {
        parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(ToOwned::to_owned)
    };
    // Azure says it in a header, too: the only place in an answer to a HEAD.
    let code = element("Code").or_else(|| header(&parts, "x-ms-error-code")).unwrap_or_default();
    if parts.status.is_success() {
        if answer != Answer::Late || !text.contains("<Error>") {
            return (HttpResponse::from_parts(parts, body.into()), None);
        }
        parts.status = match code.as_str() {
            "PreconditionFailed" => StatusCode::PRECONDITION_FAILED,
            "ConditionalRequestConflict" => StatusCode::CONFLICT,
            "NoSuchUpload" => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
    }
    let region = header(&parts, "x-amz-bucket-region").or_else(|| element("Region"));
    let reply = Reply { status: parts.status.as_u16(), stranger: is_strangers(&parts, &body, &code), code, region };
    (HttpResponse::from_parts(parts, body.into()), Some(reply))
}

/// Servers of files say by a code what went wrong, or nothing where there must be no body.
fn is_strangers(parts: &http::response::Parts, body: &[u8], code: &str) -> bool {
    let typed = parts.headers.get(reqwest::header::CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"text/"));
    let known = ["x-amz-", "x-ms-"];
    let known = parts.headers.keys().any(|name| known.iter().any(|begin| name.as_str().starts_with(begin)));
    code.is_empty() && !known && (typed || !body.is_empty())
}

/// Why a request has no answer, in a word for spans and metrics.
const fn unanswered(kind: HttpErrorKind) -> &'static str {
    match kind {
        HttpErrorKind::Connect => "not_sent",
        _ => "unanswered",
    }
}

impl Log {
    /// Counts a further request of the same operation that is one sent again.
    fn begin(&mut self) {
        let Some(reason) = self.failed() else {
            self.resent = 0;
            return;
        };
        crate::counters::retry(&reason);
        self.resent += 1;
    }

    /// Why a further request of the same operation is one that is sent again, if it is.
    fn failed(&self) -> Option<Cow<'static, str>> {
        match (self.broken, &self.reply) {
            (Some(kind), _) => Some(unanswered(kind).into()),
            (None, Some(reply)) => Some(reply.status.to_string().into()),
            (None, None) => None,
        }
    }

    fn note(&mut self, result: &Result<(HttpResponse, Option<Reply>), HttpError>, elapsed: Duration) {
        match result {
            Ok((response, reply)) => {
                self.sent += 1;
                self.doubtful |= reply.as_ref().is_some_and(|reply| matches!(reply.status, 500 | 502 | 504));
                // What stands before the server has given up waiting for it.
                self.under_way |= reply.as_ref().is_some_and(|reply| matches!(reply.status, 502 | 504));
                self.reply.clone_from(reply);
                self.broken = None;
                let date = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
                self.date = date.and_then(|date| httpdate::parse_http_date(date).ok());
            }
            Err(error) => {
                let connected = error.kind() != HttpErrorKind::Connect;
                self.sent += u32::from(connected);
                self.doubtful |= connected;
                self.under_way |= connected;
                self.reply = None;
                self.broken = Some(error.kind());
                self.waited += elapsed;
            }
        }
    }
}

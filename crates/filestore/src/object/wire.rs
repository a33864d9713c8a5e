//! What lies between `object_store` and the network: it adds the preconditions that `object_store` has no words for, and
//! keeps what happened on the wire, from which alone it can be told whether a failed write may have been applied.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

use crate::Condition;

tokio::task_local! {
    static EXCHANGE: Exchange;
}

/// What one operation adds to its requests, and what it finds out about them.
#[derive(Clone, Debug, Default)]
struct Exchange {
    header: Option<(HeaderName, HeaderValue)>,
    answer: Answer,
    log: Arc<Mutex<Log>>,
}

/// Whether an answer of 200 may hold an error in its body, as those of completions and copies may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    #[default]
    Status,
    Body,
}

/// What happened on the wire during one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// How many requests may have reached the server.
    pub(super) sent: u32,
    /// Whether one of them may have been applied although it failed.
    pub(super) doubtful: bool,
    /// The last answer that was an error.
    pub(super) reply: Option<Reply>,
    /// Why the last request had no answer.
    pub(super) broken: Option<HttpErrorKind>,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// S3's code, for example `NoSuchBucket`; empty where the answer had no body.
    pub(super) code: String,
}

/// The header that makes a request conditional.
pub(super) fn precondition(condition: &Condition) -> Option<(HeaderName, HeaderValue)> {
    match condition {
        Condition::None => None,
        Condition::IfAbsent => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
        // An etag that is no header's value is no server's: it matches nothing.
        Condition::IfMatch(etag) => {
            let value = HeaderValue::from_str(etag.as_str());
            Some((IF_MATCH, value.unwrap_or(HeaderValue::from_static("\"\""))))
        }
    }
}

/// Runs an operation with a precondition on its requests, and tells what happened on the wire.
///
/// The header is not among those that the signature covers: S3 asks that only for `host` and `x-amz-*`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
pub(super) async fn observe<T>(condition: &Condition, answer: Answer, operation: impl Future<Output = T>) -> (T, Log) {
    let exchange = Exchange { header: precondition(condition), answer, log: Arc::default() };
    let log = Arc::clone(&exchange.log);
    let result = EXCHANGE.scope(exchange, operation).await;
    let log = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (result, log)
}

/// Sends requests through `reqwest`.
#[derive(Debug)]
struct Wire(HttpClient);

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Requests outside an operation, for credentials, need neither.
        let Ok(exchange) = EXCHANGE.try_with(Clone::clone) else { return self.0.execute(request).await };
        if let Some((name, value)) = exchange.header {
            request.headers_mut().insert(name, value);
        }
        let result = match self.0.execute(request).await {
            Ok(response) if says_all(response.status(), exchange.answer) => Ok((response, None)),
            Ok(response) => Box::pin(inspect(response)).await,
            Err(error) => Err(error),
        };
        let mut log = exchange.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.note(&result);
        result.map(|(response, _)| response)
    }
}

impl Log {
    fn note(&mut self, result: &Result<(HttpResponse, Option<Reply>), HttpError>) {
        match result {
            Ok((_, reply)) => {
                self.sent += 1;
                self.doubtful |= reply.as_ref().is_some_and(|reply| matches!(reply.status, 500 | 502 | 504));
                self.reply.clone_from(reply);
                self.broken = None;
            }
            Err(error) => {
                let connected = error.kind() != HttpErrorKind::Connect;
                self.sent += u32::from(connected);
                self.doubtful |= connected;
                self.reply = None;
                self.broken = Some(error.kind());
            }
        }
    }
}

/// Whether there is no error in the answer's body.
fn says_all(status: StatusCode, answer: Answer) -> bool {
    status.is_success() && answer == Answer::Status || status == StatusCode::NOT_MODIFIED
}

/// Reads what an answer says if it is an error, and gives it the status that it should have had.
async fn inspect(response: HttpResponse) -> Result<(HttpResponse, Option<Reply>), HttpError> {
    let status = response.status();
    let (mut parts, body) = response.into_parts();
    let body = body.bytes().await?;
    let text = String::from_utf8_lossy(&body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    if status.is_success() {
        if !text.contains("<Error>") {
            return Ok((HttpResponse::from_parts(parts, body.into()), None));
        }
        parts.status = match code {
            "PreconditionFailed" => StatusCode::PRECONDITION_FAILED,
            "ConditionalRequestConflict" => StatusCode::CONFLICT,
            "NoSuchUpload" => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
    }
    let reply = Reply { status: parts.status.as_u16(), code: code.to_owned() };
    Ok((HttpResponse::from_parts(parts, body.into()), Some(reply)))
}

/// Makes the HTTP client: `rustls` with `ring`, whatever the process has as its default, and the system's roots.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) connect_timeout: std::time::Duration,
    pub(super) timeout: std::time::Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = self.client().map_err(|source| object_store::Error::Generic { store: "S3", source })?;
        Ok(HttpClient::new(Wire(HttpClient::new(client))))
    }
}

impl Connector {
    fn client(&self) -> Result<reqwest::Client, Box<dyn std::error::Error + Send + Sync>> {
        use rustls_platform_verifier::BuilderVerifierExt;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(client)
    }
}

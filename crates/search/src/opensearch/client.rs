use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, redirect};
use serde::de::DeserializeOwned;
use statehouse_core::policy::Backoff;
use statehouse_core::{Error, Result, Retry, span};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::body::{self, Body};
use super::config::{Credentials, OpenSearchConfig, Proxy, Timing};
use super::error::{self, Effect, Lost, Verdict};
use super::nodes::{Node, Nodes, RetryBudget};
use super::tls;
use crate::counters;
use crate::operation::Operations;

/// How long an answer may be to be read in place, in bytes: a fraction of a millisecond. So long may be what is written in place.
pub(super) const SHORT_ANSWER: usize = 64 << 10;

/// The operations, as errors, spans and metrics name them.
pub(super) const OPERATION: Operations = Operations::of(error::BACKEND);

/// Requests to one cluster: each goes to the next node in turn and, where that is safe, to another one if it fails.
pub(super) struct Client {
    http: Http,
    nodes: Nodes,
    credentials: Option<Credentials>,
    pub(super) timing: Timing,
    budget: RetryBudget,
    max_answer: u64,
    setting: String,
}

/// Where connections come from.
struct Http {
    /// Keeps connections for later requests.
    pooled: reqwest::Client,
    /// Opens one for each request. When a network or a load balancer drops connections it drops many: the pool may hold
    /// more dead ones than there are tries.
    fresh: reqwest::Client,
}

impl Http {
    fn new(config: &OpenSearchConfig) -> Result<Self> {
        if let Some(client) = &config.http {
            return Ok(Self { pooled: client.clone(), fresh: client.clone() });
        }
        let tls = tls::client_config(config)?;
        let build = |idle: usize| {
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .http1_only()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .connect_timeout(config.timing.connect)
                .pool_idle_timeout(MAX_IDLE)
                .pool_max_idle_per_host(idle)
                .tcp_nodelay(true);
            let client = match &config.proxy {
                Some(proxy) => client.proxy(proxy.forwarder(&config.setting)?),
                None => client,
            };
            client
                .build()
                .map_err(|error| Error::invalid_config(&config.setting, "no HTTP client for it").with_source(error))
        };
        Ok(Self { pooled: build(usize::MAX)?, fresh: build(0)? })
    }
}

/// Load balancers commonly drop a connection without a word after a minute.
const MAX_IDLE: Duration = Duration::from_secs(50);

/// A time so far off that it is never: what a duration that no clock can hold ends at.
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// When a time that begins now is up.
pub(super) fn deadline(time: Duration) -> Instant {
    Instant::now() + time.min(NEVER)
}

/// One request, and what it may do when it fails.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Bytes,
    content_type: HeaderValue,
    effect: Effect,
    timeout: Option<Duration>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

impl Call {
    fn new(method: Method, path: String, effect: Effect) -> Self {
        Self { method, path, body: Bytes::new(), content_type: JSON, effect, timeout: None }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), Effect::Reads)
    }

    /// What may be done twice and changes no document.
    pub(super) fn act(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into(), Effect::Reads)
    }

    /// A search or the like: a body, and no effect.
    pub(super) fn ask(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into(), ..Self::new(Method::POST, path.into(), Effect::Reads) }
    }

    /// The end of something on the server that holds no document. It may be told twice.
    pub(super) fn end(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into(), ..Self::new(Method::DELETE, path.into(), Effect::Reads) }
    }

    /// A change of settings that may be made twice.
    pub(super) fn put(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into(), ..Self::new(Method::PUT, path.into(), Effect::Repeatable) }
    }

    /// A change of what there is on the server, which may be asked for twice.
    pub(super) fn change(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { body: body.to_string().into(), ..Self::new(Method::POST, path.into(), Effect::Repeatable) }
    }

    pub(super) fn bulk(path: impl Into<String>, lines: Bytes, effect: Effect) -> Self {
        Self { body: lines, content_type: NDJSON, ..Self::new(Method::POST, path.into(), effect) }
    }

    /// Gives up after this long instead of the configured deadline.
    pub(super) const fn within(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What a path asks for, such as `search`: names of indices and documents are no part of it. None of a path that has only those.
fn endpoint(path: &str) -> Option<&str> {
    let path = path.split('?').next().unwrap_or_default();
    // No index begins so, and ids come after.
    path.split('/').find_map(|segment| segment.strip_prefix('_'))
}

/// What a node said, be it a success or not.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The beginning of it if it is no success.
    pub(super) body: Bytes,
    /// Whether an earlier try may have been applied.
    pub(super) in_doubt: bool,
    from: Arc<str>,
}

impl Answer {
    pub(super) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Whether it says that the state that was to be read is gone with its index or node.
    pub(super) fn lacks_state(&self) -> bool {
        !self.is_success() && error::lacks_state(&self.body)
    }

    /// The error that an answer is which is no success.
    pub(super) fn error(&self) -> Error {
        error::of_answer(self.status, &self.body, &self.from)
    }

    /// The body of a success.
    pub(super) fn into_body(self) -> Result<Bytes> {
        if self.is_success() { Ok(self.body) } else { Err(self.error()) }
    }
}

/// One try on one node.
enum Attempt {
    Answered(Answer, Verdict),
    Lost(Lost, Error),
    /// More than is read of an answer.
    Long(Error),
}

impl Attempt {
    /// The status of an answer, or why there is none, in a word for spans and metrics.
    const fn status(&self) -> Result<u16, &'static str> {
        match self {
            Self::Lost(Lost::Unreached | Lost::Untrusted, _) => Err("not_sent"),
            Self::Lost(..) | Self::Long(_) => Err("unanswered"),
            Self::Answered(answer, _) => Ok(answer.status),
        }
    }

    /// Why there is another, in a word for metrics.
    fn reason(&self) -> Cow<'static, str> {
        self.status().map_or_else(Into::into, |status| status.to_string().into())
    }
}

impl Client {
    pub(super) fn new(config: &OpenSearchConfig) -> Result<Self> {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        Ok(Self {
            http: Http::new(config)?,
            nodes: Nodes::new(scheme, &config.nodes, config.proxy.as_ref().map(Proxy::place)),
            credentials: config.credentials.clone(),
            timing: config.timing,
            budget: RetryBudget::new(),
            max_answer: config.max_answer,
            setting: config.setting.clone(),
        })
    }

    /// The body of a successful answer.
    pub(super) async fn send(&self, call: &Call) -> Result<Bytes> {
        self.exchange(call).await?.into_body().map_err(|error| self.name_setting(error))
    }

    /// A successful answer, read.
    pub(super) async fn read<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(error::of_broken_body)
    }

    /// Sends a request until a node answers in earnest, and gives its answer, be it a success or not.
    pub(super) async fn exchange(&self, call: &Call) -> Result<Answer> {
        let deadline = deadline(call.timeout.unwrap_or(self.timing.total));
        self.budget.earn();
        let route = self.nodes.route();
        let (mut doubt, mut http, mut pauses) = (false, &self.http.pooled, pauses());
        for tries in 1.. {
            let node = route[(tries - 1) % route.len()];
            let span = node.span(call.method.as_str(), endpoint(&call.path), tries - 1);
            let attempt = self.attempt(http, node, call, deadline).instrument(span.clone()).await;
            span::answered(&span, attempt.status());
            let pause = self.pause(&attempt, call.effect, tries, &mut pauses);
            let pause = pause.filter(|pause| Instant::now() + *pause < deadline);
            if let Some(pause) = pause {
                let reason = attempt.reason();
                match attempt {
                    Attempt::Lost(lost, _) => {
                        doubt |= !matches!(lost, Lost::Unreached | Lost::Untrusted);
                        http = &self.http.fresh;
                    }
                    Attempt::Answered(_, verdict) => doubt |= verdict == Verdict::Failed,
                    Attempt::Long(_) => {}
                }
                tracing::debug!(name: "search.retry", tries, "a request is sent again");
                counters::retry(&reason);
                sleep(pause).await;
                continue;
            }
            return self.conclude(attempt, call.effect, tries, doubt);
        }
        unreachable!("the loop ends by returning")
    }

    async fn attempt(&self, http: &reqwest::Client, node: &Node, call: &Call, deadline: Instant) -> Attempt {
        let limit = self.timing.attempt.min(deadline.saturating_duration_since(Instant::now()));
        match self.once(http, node, call, limit).await {
            Ok((status, Body::Whole(body))) => {
                Nodes::succeeded(node);
                let verdict = Verdict::of(status, &body);
                Attempt::Answered(Answer { status, body, in_doubt: false, from: node.place() }, verdict)
            }
            Ok((_, Body::Long)) => Attempt::Long(error::of_long_answer(call.effect, self.max_answer, node)),
            Err(error) => {
                self.nodes.failed(node);
                let lost = Lost::of(&error);
                Attempt::Lost(lost, error::of_lost(lost, call.effect, node, &error))
            }
        }
    }

    async fn once(
        &self,
        http: &reqwest::Client,
        node: &Node,
        call: &Call,
        limit: Duration,
    ) -> reqwest::Result<(u16, Body)> {
        let mut request = http
            .request(call.method.clone(), format!("{}{}", node.base(), call.path))
            .timeout(limit)
            .header(CONTENT_TYPE, &call.content_type);
        if let Some(Credentials { username, password }) = &self.credentials {
            request = request.basic_auth(username, Some(password.expose()));
        }
        if !call.body.is_empty() {
            request = request.body(call.body.clone());
        }
        node.traffic().sent.add(call.body.len() as u64);
        let response = request.send().await?;
        let status = response.status();
        let body = if status.is_success() {
            body::whole(response, self.max_answer).await?
        } else {
            body::beginning(response).await
        };
        if let Body::Whole(body) = &body {
            node.traffic().received.add(body.len() as u64);
        }
        Ok((status.as_u16(), body))
    }

    /// How long to wait before the next try, if there should be one.
    fn pause(&self, attempt: &Attempt, effect: Effect, tries: usize, pauses: &mut Backoff) -> Option<Duration> {
        let safe = match attempt {
            Attempt::Answered(_, Verdict::Final) | Attempt::Long(_) => return None,
            Attempt::Answered(_, Verdict::Refused) | Attempt::Lost(Lost::Unreached | Lost::Untrusted, _) => true,
            Attempt::Answered(_, Verdict::Failed) | Attempt::Lost(..) => effect != Effect::Once,
        };
        if !safe {
            return None;
        }
        // Another node may do at once what this one could not, and so may a new connection to the same one: the broken
        // one may have been dead for long.
        let at_once = match attempt {
            Attempt::Lost(Lost::Broken, _) => self.nodes.len().max(2),
            Attempt::Lost(..) => self.nodes.len(),
            Attempt::Answered(..) | Attempt::Long(_) => 0,
        };
        if tries < at_once {
            return Some(Duration::ZERO);
        }
        if matches!(attempt, Attempt::Lost(Lost::Untrusted, _)) {
            return None;
        }
        (tries < self.nodes.len() + MAX_RETRIES && self.budget.spend()).then(|| pauses.pause())
    }

    fn conclude(&self, attempt: Attempt, effect: Effect, tries: usize, doubt: bool) -> Result<Answer> {
        let failure = match attempt {
            Attempt::Answered(answer, Verdict::Final) => return Ok(Answer { in_doubt: doubt, ..answer }),
            Attempt::Answered(answer, _) => answer.error(),
            Attempt::Lost(_, error) | Attempt::Long(error) => error,
        };
        let failure = if tries > 1 { failure.with_retry(Retry::Exhausted) } else { failure };
        let failure = if doubt && effect != Effect::Reads { error::of_doubt(effect, failure) } else { failure };
        Err(self.name_setting(failure))
    }

    /// The error for a server that was addressed on the wrong side of TLS. It is asked without credentials.
    pub(super) async fn wrong_side(&self, config: &OpenSearchConfig) -> Option<Error> {
        let (asked, speaks, write) = match config.tls {
            None => ("https", "speaks TLS", "opensearch+https:// in place of opensearch+http://"),
            Some(_) => (
                "http",
                "does not speak TLS",
                "opensearch+http:// in place of opensearch+https://, or set up TLS there",
            ),
        };
        for host in &config.nodes {
            let limit = self.timing.connect.min(self.timing.attempt);
            let answer = self.http.fresh.get(format!("{asked}://{host}/")).timeout(limit).send().await;
            let meant = match (&answer, asked) {
                (Ok(_), _) => true,
                (Err(error), "https") => error::is_tls(error),
                (Err(_), _) => false,
            };
            if meant {
                let message = format!("OpenSearch at {host} {speaks}: write {write}");
                return Some(Error::invalid_config(&self.setting, message).with_backend(error::BACKEND));
            }
        }
        None
    }

    /// Says where to look when the credentials or the addresses are wrong.
    pub(super) fn name_setting(&self, error: Error) -> Error {
        use statehouse_core::ErrorKind::{InvalidConfig, PermissionDenied, Unauthenticated, Unavailable};
        match error.kind() {
            InvalidConfig | PermissionDenied | Unauthenticated | Unavailable if error.setting().is_none() => {
                error.with_setting(&self.setting)
            }
            _ => error,
        }
    }
}

/// How many tries there may be beyond one for each node.
const MAX_RETRIES: usize = 4;

/// The pauses between tries.
pub(super) const fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_millis(3_200))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.nodes).field("timing", &self.timing).finish_non_exhaustive()
    }
}

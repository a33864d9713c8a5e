//! The credentials of a role: of the host, of the container, or from the token service. `object_store` fetches them, and
//! anew minutes before they end. What is here tells whom it asked and what became of it, bounds what that costs, and goes
//! on with what is still good.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};
use statehouse_core::policy::Trouble;
use statehouse_core::{Clock as _, SystemClock, Unreached};

use super::missing::{Missing, PAUSE, Why};
use super::server::origin;
use super::time::parse_time;
use super::wire::collect;

/// The most of an answer that is read: a token and its keys have some 2 KiB.
const MAX_ANSWER: usize = 64 << 10;

/// The client has a time for all of an exchange.
const UNBOUNDED: Duration = Duration::from_secs(1 << 30);

/// What [`PAUSE`] is while there are credentials that have not ended.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// How long newer credentials are waited for while there are such.
const HURRY: Duration = Duration::from_secs(3);

/// Hands out the credentials of a role.
pub(super) struct Role<C> {
    /// Whose they are.
    of: &'static str,
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    seen: Arc<Seen>,
    /// The most that anybody waits for credentials.
    limit: Duration,
    held: Mutex<Held<C>>,
    trouble: Trouble,
}

struct Held<C> {
    credential: Option<Arc<C>>,
    /// When it ends, if that was said.
    ends: Option<Instant>,
    failed: Option<(Instant, Missing)>,
}

impl<C> Role<C> {
    pub(super) fn new(
        of: &'static str,
        inner: Arc<dyn CredentialProvider<Credential = C>>,
        seen: Arc<Seen>,
        limit: Duration,
    ) -> Self {
        let held = Mutex::new(Held { credential: None, ends: None, failed: None });
        Self { of, inner, seen, limit, held, trouble: Trouble::new(Duration::ZERO) }
    }

    fn held(&self) -> MutexGuard<'_, Held<C>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credentials that have not ended, and the failure that still counts.
    fn known(&self) -> (Option<Arc<C>>, Option<Missing>) {
        let held = self.held();
        let good = held.ends.is_some_and(|ends| ends > Instant::now());
        let kept = held.credential.clone().filter(|_| good);
        let pause = if kept.is_some() { LONG_PAUSE } else { PAUSE };
        let failed = held.failed.as_ref().filter(|(at, _)| at.elapsed() < pause);
        (kept, failed.map(|(_, missing)| missing.clone()))
    }

    fn found(&self, credential: &Arc<C>) {
        let mut held = self.held();
        if held.credential.as_ref().is_none_or(|known| !Arc::ptr_eq(known, credential)) {
            (held.credential, held.ends) = (Some(Arc::clone(credential)), self.seen.last().ends);
        }
        if held.failed.take().is_some() {
            let failures = self.trouble.is_over(&SystemClock::default()).unwrap_or(0);
            tracing::warn!(name: "filestore.credentials_renewed", failures, "there are new credentials for {}", self.of);
        }
    }

    fn failed(&self, missing: &Missing, kept: bool) {
        self.held().failed = Some((Instant::now(), missing.clone()));
        if self.trouble.failed(&SystemClock::default()) {
            tracing::warn!(name: "filestore.credentials_not_renewed", reason = %missing, kept, "no new credentials for {}", self.of);
        }
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Role<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let (kept, failed) = self.known();
        if let Some(missing) = failed {
            return kept.ok_or_else(|| generic(missing.into()));
        }
        let limit = if kept.is_some() { self.limit.min(HURRY) } else { self.limit };
        let error = match tokio::time::timeout(limit, self.inner.get_credential()).await {
            Ok(Ok(credential)) => {
                self.found(&credential);
                return Ok(credential);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let missing = self.seen.why(error.is_none());
        self.failed(&missing, kept.is_some());
        kept.ok_or_else(|| match error {
            Some(error) if missing.at.is_none() => error,
            _ => generic(missing.into()),
        })
    }
}

fn generic(source: Box<dyn StdError + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source }
}

impl<C> fmt::Debug for Role<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Role").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What became of the last request for credentials.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Last>);

#[derive(Clone, Debug, Default)]
struct Last {
    at: Option<String>,
    why: Option<Why>,
    ends: Option<Instant>,
}

impl Seen {
    fn last(&self) -> Last {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, at: String, why: Option<Why>, ends: Option<Instant>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last { at: Some(at), why, ends: ends.or(last.ends) };
    }

    fn why(&self, late: bool) -> Missing {
        let Last { at, why, .. } = self.last();
        // Whoever answered well and is no use anyhow.
        let why = if late { Why::TimedOut } else { why.unwrap_or(Why::Unreadable) };
        if at.is_some() { Missing { at, why } } else { Missing::NOT_ASKED }
    }
}

/// Asks for credentials, and tells what became of it.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) client: reqwest::Client,
    pub(super) seen: Arc<Seen>,
}

#[async_trait]
impl HttpService for Asking {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let at = origin(&request.uri().to_string());
        // Until there is an answer.
        self.seen.note(at.clone(), Some(Why::TimedOut), None);
        let answer = async {
            let (parts, body) = self.client.call(request).await?.into_parts();
            Ok::<_, HttpError>((parts, collect(body, MAX_ANSWER, UNBOUNDED).await?))
        };
        let answer = answer.await.inspect_err(|error| self.seen.note(at.clone(), Some(why(error)), None));
        let (parts, body) = answer?;
        let why = match parts.status.as_u16() {
            200..300 => None,
            status @ (408 | 429 | 500..) => Some(Why::Failed(status)),
            status => Some(Why::Refused(status)),
        };
        self.seen.note(at, why, end_of(&String::from_utf8_lossy(&body)));
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

fn why(error: &HttpError) -> Why {
    match error.kind() {
        HttpErrorKind::Timeout => Why::TimedOut,
        _ => Why::Unreached(Unreached::of(error)),
    }
}

/// When the credentials in an answer end, be it JSON or XML, by the clock here that counts on.
fn end_of(answer: &str) -> Option<Instant> {
    // A token says for how many seconds it is good: RFC 6749, 5.1, and some write the number as a text.
    if let Some((_, rest)) = answer.split_once("\"expires_in\"") {
        let digits = rest.trim_start_matches([':', ' ', '"']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        return Instant::now().checked_add(Duration::from_secs(digits[..end].parse().ok()?));
    }
    let (_, rest) = answer.split_once("Expiration")?;
    let begin = rest.char_indices().take(16).find(|(_, next)| next.is_ascii_digit())?.0;
    let time = parse_time(rest[begin..].split_inclusive('Z').next()?)?;
    Instant::now().checked_add(time.since(SystemClock::default().now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_credentials_is_read_from_either_kind_of_answer() {
        let now = SystemClock::default().now();
        for answer in [
            "{\"Code\":\"Success\",\"Expiration\" : \"2999-01-31T23:59:59Z\"}",
            "<Credentials><Expiration>2999-01-31T23:59:59.5Z</Expiration></Credentials>",
        ] {
            assert!(end_of(answer).unwrap() > Instant::now() + Duration::from_secs(900 * 365 * 86_400), "{now:?}");
        }
        for answer in ["{\"expires_in\": 3599,\"ext_expires_in\":1}", "{\"expires_in\":\"3599\"}"] {
            let left = end_of(answer).unwrap() - Instant::now();
            assert!(left > Duration::from_secs(3590) && left < Duration::from_secs(3600), "{answer}");
        }
        let past = end_of("\"Expiration\":\"2001-01-31T23:59:59Z\"").unwrap();
        assert!(past <= Instant::now(), "ended long ago");
        for answer in ["", "Expiration", "\"Expiration\": \"soon\"", "<Expiration>2026-13-01T00:00:00Z</Expiration>"] {
            assert!(end_of(answer).is_none(), "{answer}");
        }
    }
}

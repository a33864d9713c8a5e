//! Limits for tower services.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::check::RateLimiter;
use super::decision::{DecidedBy, Decision};
use crate::trouble::Said;

/// Limits the requests to a tower service, of each of many.
///
/// A request that is refused is answered with 429, without reaching the service; with 503 if it is refused because the store
/// is [away](super::WithoutStore::Closed), and 500 if the limit is misconfigured, which the log says, and
/// [`checked`](RateLimiter::checked) when the program starts. All answers have the [headers](Decision::headers) that are known.
///
/// ```
/// use std::time::Duration;
/// use http::request::Parts;
/// use statehouse_coord::{Rate, RateLimitLayer, WithoutStore};
/// # use statehouse_coord::{Coordination, MemoryCoordStore, MemorySignals};
/// # fn main() -> statehouse_core::Result<()> {
/// # let coord = Coordination::new(std::sync::Arc::new(MemoryCoordStore::new()))
/// #     .with_signals(std::sync::Arc::new(MemorySignals::new()));
/// let rate = Rate::new(100, Duration::from_secs(60))?;
/// // By what the proxy in front says; who has no such header is not limited.
/// let address = |parts: &Parts| Some(parts.headers.get("x-real-ip")?.to_str().ok()?.to_owned());
/// let layer = RateLimitLayer::new(coord.limiter("requests", rate, WithoutStore::Open), address);
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer<K> {
    limiter: RateLimiter,
    whom: K,
    /// One line in the log, and not one for each request.
    said: Arc<Said>,
}

impl<K: Fn(&Parts) -> Option<String>> RateLimitLayer<K> {
    /// Limits by what `whom` says of a request; one of which it says nothing is not limited.
    pub fn new(limiter: RateLimiter, whom: K) -> Self {
        Self { limiter, whom, said: Arc::default() }
    }
}

impl<S, K: Clone> Layer<S> for RateLimitLayer<K> {
    type Service = RateLimitService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService { inner, layer: self.clone() }
    }
}

/// What [`RateLimitLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct RateLimitService<S, K> {
    inner: S,
    layer: RateLimitLayer<K>,
}

impl<S, K, B, R> Service<Request<B>> for RateLimitService<S, K>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    K: Fn(&Parts) -> Option<String>,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let whom = (self.layer.whom)(&parts);
        let request = Request::from_parts(parts, body);
        // The one that was asked whether it is ready.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let Some(whom) = whom else { return Box::pin(inner.call(request)) };
        let (limiter, said) = (self.layer.limiter.clone(), Arc::clone(&self.layer.said));
        Box::pin(async move {
            let decision = match limiter.check(&whom).await {
                Ok(decision) => {
                    let _failures = said.is_over();
                    decision
                }
                Err(error) => {
                    if said.failed() {
                        tracing::error!(name: "coord.limit_undecided", %error, "a limit cannot be decided");
                    }
                    return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR));
                }
            };
            let mut response = match refusal(&decision) {
                None => inner.call(request).await?,
                Some(status) => answer(status),
            };
            for (name, value) in decision.headers() {
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().append(name, value);
                }
            }
            Ok(response)
        })
    }
}

fn refusal(decision: &Decision) -> Option<StatusCode> {
    match (decision.is_allowed(), decision.by) {
        (true, _) => None,
        (false, DecidedBy::Nobody) => Some(StatusCode::SERVICE_UNAVAILABLE),
        (false, _) => Some(StatusCode::TOO_MANY_REQUESTS),
    }
}

fn answer<R: Default>(status: StatusCode) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    response
}

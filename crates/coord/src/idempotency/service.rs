use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;
use tracing::Instrument as _;

use super::answer::Refusal;
use super::body::{Fit, IdempotencyBody};
use super::claim::Claim;
use super::config::{Config, fingerprint};

/// The service that [`IdempotencyLayer`](super::IdempotencyLayer) makes.
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> IdempotencyService<S> {
    pub(super) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for IdempotencyService<S>
where
    S: Service<Request<IdempotencyBody<RequestBody>>, Response = Response<ResponseBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    RequestBody: Body<Data = Bytes> + Send + 'static,
    RequestBody::Error: Send + 'static,
    ResponseBody: Body<Data = Bytes> + Send + 'static,
    ResponseBody::Error: Send + 'static,
{
    type Response = Response<IdempotencyBody<ResponseBody>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The clone is not ready; the one that was polled is.
        let ready_for_next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready_for_next);
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let (request, claim) = match admit(config, request).await {
                Ok(admitted) => admitted,
                Err(refused) => return Ok(*refused),
            };
            let call = async move { inner.call(request).await };
            match claim {
                None => Ok(call.await?.map(IdempotencyBody::unread)),
                Some(claim) => beyond_the_client(claim, call).await,
            }
        })
    }
}

type Admitted<B> = (Request<IdempotencyBody<B>>, Option<Claim>);

/// The request as it is passed on, and its claim if it has one; else the answer.
async fn admit<B, R>(config: Arc<Config>, request: Request<B>) -> Result<Admitted<B>, Box<Response<IdempotencyBody<R>>>>
where
    B: Body<Data = Bytes>,
    R: Body<Data = Bytes>,
{
    let (parts, body) = request.into_parts();
    let Some(key) = config.key_of(&parts).map_err(refused)? else {
        return Ok((Request::from_parts(parts, IdempotencyBody::unread(body)), None));
    };
    let (body, fit) = IdempotencyBody::read(body, config.max_request).await;
    let whole = match fit {
        Fit::Whole(whole) => whole,
        Fit::TooLarge => return Err(refused(Refusal::TooLarge)),
        Fit::Failed => return Err(refused(Refusal::Broken)),
    };
    let fingerprint = fingerprint(&parts, &whole);
    let claim = Claim::make(config, key, fingerprint).await.answer()?;
    Ok((Request::from_parts(parts, body), Some(claim)))
}

fn refused<B: Body<Data = Bytes>>(refusal: Refusal) -> Box<Response<IdempotencyBody<B>>> {
    Box::new(refusal.response())
}

/// A client that hangs up must not cut off what it will ask for again.
async fn beyond_the_client<B, E>(
    claim: Claim,
    call: impl Future<Output = Result<Response<B>, E>> + Send + 'static,
) -> Result<Response<IdempotencyBody<B>>, E>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
    E: Send + 'static,
{
    let running = tokio::spawn(claim.clone().run(call).in_current_span());
    match running.await {
        Ok(answered) => answered,
        Err(ended) => {
            claim.free().await;
            match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends.
                Err(_) => Ok(Refusal::Away.response()),
            }
        }
    }
}

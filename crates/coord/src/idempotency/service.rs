use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use http_body::Body;
use statehouse_core::UnderWay;
use tower_service::Service;
use tracing::Instrument as _;

use super::answer::{Refusal, replay};
use super::body::{Fit, IdempotencyBody};
use super::claim::{Claim, Claimed};
use super::config::{Asked, Config};
use super::format::Fingerprint;

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
        let mut inner = statehouse_core::take_polled(&mut self.inner);
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            let under_way = request.extensions().get::<UnderWay>().cloned();
            match read(&config, request).await {
                Ok((request, None)) => Ok(inner.call(request).await?.map(IdempotencyBody::unread)),
                Ok((request, Some((asked, fingerprint)))) => {
                    let claim = Claim::make(config, asked, fingerprint);
                    let answering = claimed(claim, async move { inner.call(request).await });
                    beyond_the_client(answering, under_way).await
                }
                Err(refused) => Ok(refused.response()),
            }
        })
    }
}

type Read<B> = (Request<IdempotencyBody<B>>, Option<(Asked, Fingerprint)>);

/// The request as it is passed on, and what it is known by if it is one to answer once.
async fn read<B: Body<Data = Bytes>>(config: &Config, request: Request<B>) -> Result<Read<B>, Refusal> {
    let (parts, body) = request.into_parts();
    let Some(asked) = config.key_of(&parts)? else {
        return Ok((Request::from_parts(parts, IdempotencyBody::unread(body)), None));
    };
    let (body, fit) = IdempotencyBody::read(body, config.max_request).await;
    let whole = match fit {
        Fit::Whole(whole) => whole,
        Fit::TooLarge => return Err(Refusal::TooLarge),
        Fit::Failed => return Err(Refusal::Broken),
    };
    let fingerprint = config.fingerprint(&parts, &whole).await;
    Ok((Request::from_parts(parts, body), Some((asked, fingerprint))))
}

type Answer<B, E> = Result<Response<IdempotencyBody<B>>, E>;

/// Claims the key and has the request answered; else tells what is there.
async fn claimed<B: Body<Data = Bytes>, E>(
    claim: impl Future<Output = Claimed>,
    call: impl Future<Output = Result<Response<B>, E>>,
) -> Answer<B, E> {
    let claim = match claim.await {
        Claimed::Now(claim) => claim,
        Claimed::Kept(kept) => return Ok(replay(kept)),
        Claimed::Refused(refusal) => return Ok(refusal.response()),
    };
    match AssertUnwindSafe(claim.clone().run(call)).catch_unwind().await {
        Ok(answered) => answered,
        Err(panic) => {
            claim.free().await;
            resume_unwind(panic)
        }
    }
}

/// A client that hangs up must not cut off what it will ask for again, from the claim on: one that is made and then dropped would
/// keep everybody out until its lease is over.
async fn beyond_the_client<B, E>(
    answering: impl Future<Output = Answer<B, E>> + Send + 'static,
    under_way: Option<UnderWay>,
) -> Answer<B, E>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
    E: Send + 'static,
{
    let answering = async move {
        let answered = answering.await;
        // A stop waits until now, whether or not the client does.
        drop(under_way);
        answered
    };
    match tokio::spawn(answering.in_current_span()).await {
        Ok(answered) => answered,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends.
            Err(_) => Ok(Refusal::Away.response()),
        },
    }
}

//! One client.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use statehouse_core::UnderWay;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;
use tower_service::Service;

use super::body::{EitherBody, ProbeBody};
use super::limits::Limits;
use super::lingering::Lingering;
use super::probes::{Probe, Probes};
use super::stall::{Stall, StallTimer, stalled};
use crate::lifecycle::Lifecycle;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Who sent a request, as far as the connection tells: behind a load balancer that is the load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is the address and nothing else")]
pub struct PeerAddress(pub SocketAddr);

/// The body of a request: an error once it has stood still for too long.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    timer: StallTimer,
    ended: bool,
    /// Told if nobody reads it to its end.
    unread: Arc<AtomicBool>,
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.store(true, Ordering::Relaxed);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer.moved();
                this.ended |= frame.is_none();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if this.timer.poll_stalled(cx) => Poll::Ready(Some(Err(stalled().into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What answers, and what it knows besides the request.
#[derive(Clone, Debug)]
pub(super) struct Front<S> {
    pub(super) app: S,
    /// They come before the application.
    pub(super) probes: Option<Probes>,
    pub(super) limits: Limits,
    pub(super) lifecycle: Arc<Lifecycle>,
}

/// How long a client that has connected may take to send its first request when everything else has ended. It may have done
/// so already, and would not know whether it was carried out.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// The head of a request, in bytes. There may be as many of them as connections, of clients that nobody knows.
const LONGEST_HEAD: usize = 64 << 10;

/// Serves the requests of one connection, one after another, until it ends; after `stopping` at most the one that is
/// under way.
pub(super) async fn serve<S, B>(
    stream: (TcpStream, OwnedSemaphorePermit),
    peer: SocketAddr,
    front: Front<S>,
    mut stopping: watch::Receiver<()>,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (limits, begun, unread) = (front.limits, Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (stream, place) = (stream.0, Arc::new(stream.1));
    let under_way = UnderWay::new((Arc::clone(&place), stopping.clone()));
    let io = TokioIo::new(Stall::new(Lingering::new(stream, Arc::clone(&unread), place), limits.stall));
    let begins = Arc::clone(&begun);
    let answer = service_fn(move |request| {
        begins.store(true, Ordering::Relaxed);
        respond(front.clone(), request, (PeerAddress(peer), under_way.clone()), Arc::clone(&unread))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_header_size(LONGEST_HEAD);
    let mut connection = pin!(builder.serve_connection(io, answer).with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        // An error if nobody serves any more.
        told = stopping.changed() => match told {
            Ok(()) => finish(connection, &begun, stopping).await,
            Err(_) => None,
        },
    };
    if let Some(Err(error)) = served {
        tracing::debug!(name: "serve.connection_failed", %error, "a connection ended early");
    }
}

/// Lets the request that is under way end, or is cut off when `stopping` ends.
async fn finish<I, S, B>(
    mut connection: Pin<&mut http1::UpgradeableConnection<I, S>>,
    begun: &AtomicBool,
    mut stopping: watch::Receiver<()>,
) -> Option<hyper::Result<()>>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    // hyper closes a connection of which it has read nothing, whatever the client has sent. Every answer says from now on
    // that it is the last, so that the first one ends the connection.
    if !begun.load(Ordering::Relaxed) {
        tokio::select! {
            served = connection.as_mut() => return Some(served),
            _ = stopping.changed() => return None,
            () = sleep(FIRST_WITHIN) => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        served = connection => Some(served),
        _ = stopping.changed() => None,
    }
}

async fn respond<S, B>(
    front: Front<S>,
    request: Request<Incoming>,
    told: (PeerAddress, UnderWay),
    unread: Arc<AtomicBool>,
) -> Result<Response<EitherBody<B>>, Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    let lifecycle = Arc::clone(&front.lifecycle);
    let mut response = answer(front, request, told, unread).await?;
    if lifecycle.draining().is_some() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Whoever keeps connections does not have this one any more when it ends.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn answer<S, B>(
    front: Front<S>,
    request: Request<Incoming>,
    (peer, under_way): (PeerAddress, UnderWay),
    unread: Arc<AtomicBool>,
) -> Result<Response<EitherBody<B>>, Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    let Front { mut app, probes, limits, .. } = front;
    if let Some(probes) = probes
        && let Some(probe) = Probe::of(&request)
    {
        let answer = probes.ask(probe).await;
        return Ok(answer.map(|text| EitherBody::Probe { body: ProbeBody::of(text) }));
    }
    let mut request =
        request.map(|body| RequestBody { body, timer: StallTimer::new(limits.stall), ended: false, unread });
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(under_way);
    poll_fn(|cx| app.poll_ready(cx)).await?;
    Ok(app.call(request).await?.map(|body| EitherBody::App { body }))
}

//! One client.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_service::Service;

use super::limits::Limits;
use super::stall::{Stall, StallTimer, stalled};

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
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer.moved();
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

/// Serves the requests of one connection, one after another, until it ends; after `stopping` at most the one that is
/// under way.
pub(super) async fn serve<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    app: S,
    limits: Limits,
    mut stopping: watch::Receiver<()>,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let io = TokioIo::new(Stall::new(stream, limits.stall));
    let answer = service_fn(move |request| respond(app.clone(), request, peer, limits.stall));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let mut connection = pin!(builder.serve_connection(io, answer).with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        // An error if nobody serves any more.
        told = stopping.changed() => match told {
            Ok(()) => finish(connection, stopping).await,
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
    mut stopping: watch::Receiver<()>,
) -> Option<hyper::Result<()>>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        served = connection => Some(served),
        _ = stopping.changed() => None,
    }
}

async fn respond<S, B>(
    mut app: S,
    request: Request<Incoming>,
    peer: SocketAddr,
    stall: Duration,
) -> Result<Response<B>, Infallible>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    let mut request = request.map(|body| RequestBody { body, timer: StallTimer::new(stall) });
    request.extensions_mut().insert(PeerAddress(peer));
    poll_fn(|cx| app.poll_ready(cx)).await?;
    app.call(request).await
}

//! A load balancer as small as one can be: round robin, not sticky, every request on a connection of its own.
//!
//! A request that has not been sent yet goes to the next replica. One that was sent is repeated only if that is
//! harmless (`GET`, `HEAD`, `PUT` with a body that is at hand), because a replica that died may have carried it out.

mod attempt;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use attempt::{Failed, Outgoing};

/// What a response of the balancer has as its body.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Answers the requests below `/_demo` itself.
pub(crate) type Control = Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// How often each replica is asked whether it is ready.
const CHECK_EVERY: Duration = Duration::from_millis(100);
const CHECK_WITHIN: Duration = Duration::from_secs(1);
/// How long a request goes on looking for a replica that takes it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(8);

/// Spreads requests over replicas; ends when dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    backends: Vec<Backend>,
    next: AtomicUsize,
    control: Option<Control>,
}

/// One replica, as the balancer sees it.
#[derive(Debug)]
pub(crate) struct Backend {
    address: SocketAddr,
    ready: AtomicBool,
    answered: AtomicU64,
    passed_on: AtomicU64,
    failed: AtomicU64,
}

/// What the balancer knows of one replica.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BackendState {
    /// Whether it says that requests can be sent to it.
    pub ready: bool,
    /// How many requests it has answered.
    pub answered: u64,
    /// How many requests it did not answer that were sent to another replica.
    pub passed_on: u64,
    /// How many requests it took and did not answer, and that might have been carried out.
    pub failed: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("backends", &self.backends).finish_non_exhaustive()
    }
}

impl Balancer {
    /// Listens at `listen`, for example `127.0.0.1:0`, before these replicas.
    ///
    /// # Errors
    /// If the address cannot be listened at.
    pub async fn start(listen: &str, replicas: &[SocketAddr]) -> std::io::Result<Self> {
        Self::with_control(listen, replicas, None).await
    }

    pub(crate) async fn with_control(
        listen: &str,
        replicas: &[SocketAddr],
        control: Option<Control>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            backends: replicas.iter().copied().map(Backend::new).collect(),
            next: AtomicUsize::new(0),
            control,
        });
        let mut tasks = JoinSet::new();
        for index in 0..shared.backends.len() {
            tasks.spawn(watch(Arc::clone(&shared), index));
        }
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it knows of each replica, in their order.
    #[must_use]
    pub fn states(&self) -> Vec<BackendState> {
        self.shared.backends.iter().map(Backend::state).collect()
    }
}

impl Backend {
    const fn new(address: SocketAddr) -> Self {
        let [answered, passed_on, failed] = [const { AtomicU64::new(0) }; 3];
        Self { address, ready: AtomicBool::new(false), answered, passed_on, failed }
    }

    fn state(&self) -> BackendState {
        BackendState {
            ready: self.ready.load(Ordering::Relaxed),
            answered: self.answered.load(Ordering::Relaxed),
            passed_on: self.passed_on.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// The next replica that is ready; any if none says so, because the check may be older than the truth.
    fn pick(&self) -> Option<&Backend> {
        let count = self.backends.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..count).map(|step| &self.backends[first.wrapping_add(step) % count]);
        in_turn().find(|backend| backend.ready.load(Ordering::Relaxed)).or_else(|| in_turn().next())
    }
}

/// Asks one replica again and again whether it is ready.
async fn watch(shared: Arc<Shared>, index: usize) {
    let backend = &shared.backends[index];
    loop {
        let check = tokio::time::timeout(CHECK_WITHIN, attempt::is_ready(backend.address)).await;
        backend.ready.store(matches!(check, Ok(Ok(true))), Ordering::Relaxed);
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, client)) = accepted else { continue };
                connections.spawn(serve(stream, client, Arc::clone(&shared)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, shared: Arc<Shared>) {
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        if let Ok(address) = HeaderValue::from_str(&client.ip().to_string()) {
            request.headers_mut().append("x-forwarded-for", address);
        }
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    // A client that goes away is its own business.
    drop(served);
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    if let Some(control) = &shared.control
        && request.uri().path().starts_with("/_demo")
    {
        return control(request).await;
    }
    let give_up = tokio::time::Instant::now() + GIVE_UP_AFTER;
    let Ok(mut outgoing) = Outgoing::new(request).await else {
        return text(StatusCode::BAD_REQUEST, "the request broke off");
    };
    while let Some(backend) = shared.pick() {
        match outgoing.send(backend.address).await {
            Ok(response) => {
                backend.answered.fetch_add(1, Ordering::Relaxed);
                return response;
            }
            Err(failed) => {
                backend.ready.store(false, Ordering::Relaxed);
                if failed == Failed::MayHaveBeenCarriedOut {
                    backend.failed.fetch_add(1, Ordering::Relaxed);
                    return text(StatusCode::BAD_GATEWAY, "the replica was lost while it answered");
                }
                backend.passed_on.fetch_add(1, Ordering::Relaxed);
            }
        }
        if tokio::time::Instant::now() > give_up {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "no replica takes requests");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// A short answer of the balancer itself.
pub(crate) fn text(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(message)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;

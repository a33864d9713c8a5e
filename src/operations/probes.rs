//! What load balancers and orchestrators ask a process.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tower_service::Service;

use super::body::ProbeBody;
use super::dependency::Dependency;
use super::readiness::{Need, Readiness, Started};
use crate::services::Services;

/// What load balancers and orchestrators ask a process, and the answers to it: made by
/// [`Operations::probes`](super::Operations::probes). [`Operations::serve`](super::Operations::serve) answers these paths
/// before the application; for any other server this is a `tower` service, and [`answer`](Self::answer) is for those that
/// know no `tower`.
///
/// | path | 200 while | else 503, with the reasons |
/// | --- | --- | --- |
/// | `/live` | the process runs. It says nothing of the services: restarting this process would not help them | |
/// | `/started` | all that was [begun with](super::Operations::startup) is finished | how far it is |
/// | `/ready` | it is started, is not told to stop, and has what it [cannot do without](super::Operations::hard) | each of these |
///
/// The answers are JSON: a `status` in a word, the `reasons` where it is no, and what is behind it: each startup task with its
/// progress, and each service that is used and each dependency with its health, its need (`hard` or `soft`) and for how many
/// seconds it has been so. They name services, servers and errors, and no secret: they are for those who run the application,
/// and a load balancer should not pass these paths on.
///
/// # Behavior
/// - `/ready` asks the services at most once a second, however many ask it, and answers within half a second with what is known
///   by then. A probe each second or two is right.
/// - What is down for 3 seconds is lost, and back when it has been up for one: one lost packet takes nobody out.
/// - Only a [hard](super::Operations::hard) dependency makes a process unready. A shared store that is away is away for all
///   replicas, and to take all of them out makes the outage of one service an outage of everything: where requests can be
///   answered without it, or with an error that says so, it is better soft, as everything is unless told.
/// - Where replicas know of each other (feature `coord`; see [`Operations`](super::Operations)), one that has lost something
///   hard is unready only while **others reach it**: they have said so after it was lost here, and answer requests. It tells
///   them first; at most half of them go out; and where no other one reaches it, or nothing is known of the others, it stays
///   ready, and `degraded` in the answer says why. What is not known of the others is a hint of some seconds (on S3 a
///   minute), so this is no promise that somebody answers. Members are best kept in another store than what is hard: where both are
///   lost at once, nothing is known.
/// - `fleet` in the answer has how many members there are, and a line for each of their `differences`: services that are
///   elsewhere, or that each has for itself; builds and [fingerprints](super::Operations::member); a clock that is off by
///   more than a second; and, where members are in Redis, other namespaces on that server in which replicas of the same
///   program are (the build without its version, or the name of the executable). Whoever comes looks for these, and who was
///   there before every ten minutes; deployments that share a server and are to be apart have builds of other names. What comes and goes of these is one line of the log each (`fleet.differs`, `fleet.agrees`). A build that
///   is [behind](crate::coord::Epoch) is not ready.
/// - From the signal to stop on `/ready` answers 503 and `/live` goes on to answer 200. After a
///   [`shutdown`](Services::shutdown) `/ready` says so.
///
/// In an application with another server:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use axum::routing::get;
/// use statehouse::{Config, Services};
///
/// let services = Services::open(Config::in_memory()).await?;
/// let operations = services.operations();
/// let app = Router::new().route("/", get(|| async { "hello" })).fallback_service(operations.probes());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let signal = async {};
/// let stop = async move {
///     signal.await;
///     operations.begin_drain(); // `/ready` says no: load balancers have the time to see it
///     tokio::time::sleep(std::time::Duration::from_millis(2)).await;
/// };
/// axum::serve(listener, app).with_graceful_shutdown(stop).await?;
/// services.shutdown().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Probes {
    services: Services,
    readiness: Arc<Readiness>,
}

#[derive(Serialize)]
struct Live {
    status: &'static str,
    uptime_seconds: u64,
}

impl Probes {
    pub(super) fn new(services: Services, dependencies: Vec<(Need, Dependency)>) -> Self {
        let readiness = Arc::new(Readiness::new(services.clone(), dependencies));
        Self { services, readiness }
    }

    #[cfg(feature = "coord")]
    pub(super) fn readiness(&self) -> Arc<Readiness> {
        Arc::clone(&self.readiness)
    }

    /// The answer to a probe at this path, `None` if it is none.
    ///
    /// ```
    /// use statehouse::{Config, Services};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> statehouse::Result<()> {
    /// let services = Services::open(Config::in_memory()).await?;
    /// let probes = services.operations().probes();
    /// services.shutdown().await?;
    /// let ready = probes.answer("/ready").await.expect("one of the probes");
    /// assert_eq!(ready.status(), 503);
    /// assert!(ready.body().contains("the services were shut down"));
    /// assert!(probes.answer("/patients").await.is_none());
    /// # Ok(()) }
    /// ```
    pub async fn answer(&self, path: &str) -> Option<Response<String>> {
        Some(self.ask(Probe::at(path)?).await)
    }

    pub(super) async fn ask(&self, probe: Probe) -> Response<String> {
        let lifecycle = &self.services.inner().lifecycle;
        match probe {
            Probe::Live => json(true, &Live { status: "live", uptime_seconds: lifecycle.uptime().as_secs() }),
            Probe::Started => {
                let started = Started::of(lifecycle);
                json(started.is_yes(), &started)
            }
            Probe::Ready => {
                let ready = self.readiness.ask().await;
                json(ready.is_yes(), &ready)
            }
        }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    Live,
    Started,
    Ready,
}

impl Probe {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/live" => Some(Self::Live),
            "/started" => Some(Self::Started),
            "/ready" => Some(Self::Ready),
            _ => None,
        }
    }

    /// Only a request that reads is a probe.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        Self::at(request.uri().path()).filter(|_| reads)
    }
}

fn json(is_yes: bool, answer: &impl Serialize) -> Response<String> {
    // Maps of texts and numbers: there is nothing that JSON cannot say.
    let mut response = Response::new(serde_json::to_string(answer).unwrap_or_default());
    *response.status_mut() = if is_yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Answers 404 to what is no probe.
impl<B> Service<Request<B>> for Probes {
    type Response = Response<ProbeBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ProbeBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (probes, probe) = (self.clone(), Probe::of(&request));
        Box::pin(async move {
            let answer = match probe {
                Some(probe) => probes.ask(probe).await,
                None => nothing(),
            };
            Ok(answer.map(ProbeBody::of))
        })
    }
}

fn nothing() -> Response<String> {
    let mut nothing = Response::new(String::new());
    *nothing.status_mut() = StatusCode::NOT_FOUND;
    nothing
}

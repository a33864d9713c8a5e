//! What Prometheus reads. The library's own durations of operations are among it: they come through the same facade.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// The upper bounds of the histograms, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];
/// What was recorded waits in memory to be put into its histogram.
const UPKEEP: Duration = Duration::from_secs(5);

/// How often a cache was asked for something, and how often that had to be loaded. A read that waited for somebody else's
/// load is a hit.
#[derive(Debug)]
pub(crate) struct Reads {
    cache: &'static str,
    reads: AtomicU64,
    loads: AtomicU64,
}

impl Reads {
    pub(crate) const fn of(cache: &'static str) -> Self {
        Self { cache, reads: AtomicU64::new(0), loads: AtomicU64::new(0) }
    }

    pub(crate) const fn cache(&self) -> &'static str {
        self.cache
    }

    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        counter!("clinic.cache.reads", "cache" => self.cache).increment(1);
    }

    pub(crate) fn load(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        counter!("clinic.cache.loads", "cache" => self.cache).increment(1);
    }

    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        let loads = self.loads.load(Ordering::Relaxed);
        (self.reads.load(Ordering::Relaxed).saturating_sub(loads), loads)
    }
}

/// Where everything is recorded; `None` if something else in this process was first.
pub(crate) fn recorded() -> Option<&'static PrometheusHandle> {
    static RECORDED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || PrometheusBuilder::new().set_buckets(&BOUNDS).ok()?.install_recorder().ok();
    RECORDED.get_or_init(install).as_ref()
}

pub(crate) async fn keep_up() {
    while let Some(recorded) = recorded() {
        tokio::time::sleep(UPKEEP).await;
        recorded.run_upkeep();
    }
}

/// Measures every request under the route that it matched, so that there are only so many series.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "_OTHER",
    };
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    // https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
    let labels =
        [("http.request.method", method.to_owned()), ("http.route", route), ("http.response.status_code", status)];
    histogram!("http.server.request.duration", &labels).record(start.elapsed().as_secs_f64());
    response
}

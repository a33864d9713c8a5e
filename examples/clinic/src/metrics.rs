//! Counts of requests, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

/// The upper bounds of the histogram, in milliseconds.
const BOUNDS: [u64; 8] = [1, 5, 25, 100, 250, 1_000, 2_500, 10_000];

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: Mutex<BTreeMap<(String, u16), Route>>,
}

#[derive(Debug, Default)]
struct Route {
    count: u64,
    time: Duration,
    /// How many took no longer than the bound of the same index.
    within: [u64; BOUNDS.len()],
}

/// How often a cache was asked for something, and how often that had to be loaded.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    reads: AtomicU64,
    loads: AtomicU64,
}

impl Reads {
    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn load(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    /// Hits and misses. A read that waited for somebody else's load is a hit.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        let loads = self.loads.load(Ordering::Relaxed);
        (self.reads.load(Ordering::Relaxed).saturating_sub(loads), loads)
    }
}

impl Metrics {
    fn record(&self, route: String, status: u16, took: Duration) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let route = routes.entry((route, status)).or_default();
        route.count += 1;
        route.time += took;
        for (within, bound) in route.within.iter_mut().zip(BOUNDS) {
            *within += u64::from(took <= Duration::from_millis(bound));
        }
    }

    pub(crate) fn render(&self) -> String {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from("# TYPE clinic_request_seconds histogram\n");
        for ((path, status), route) in &*routes {
            let labels = format!("route=\"{path}\",status=\"{status}\"");
            for (within, bound) in route.within.iter().zip(BOUNDS) {
                let bound = Duration::from_millis(bound).as_secs_f64();
                let _ = writeln!(text, "clinic_request_seconds_bucket{{{labels},le=\"{bound}\"}} {within}");
            }
            let (count, time) = (route.count, route.time.as_secs_f64());
            let _ = writeln!(text, "clinic_request_seconds_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(text, "clinic_request_seconds_sum{{{labels}}} {time}");
            let _ = writeln!(text, "clinic_request_seconds_count{{{labels}}} {count}");
        }
        text
    }
}

/// Measures every request under the route that it matched, so that there are only so many series.
pub(crate) async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    };
    let route = format!("{method} {path}");
    let response = next.run(request).await;
    app.metrics.record(route, response.status().as_u16(), start.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_request_in_every_bucket_that_it_fits() {
        let metrics = Metrics::default();
        metrics.record("GET /".into(), 200, Duration::from_millis(3));
        metrics.record("GET /".into(), 200, Duration::from_secs(60));
        let text = metrics.render();
        for line in [
            "clinic_request_seconds_bucket{route=\"GET /\",status=\"200\",le=\"0.001\"} 0",
            "clinic_request_seconds_bucket{route=\"GET /\",status=\"200\",le=\"0.005\"} 1",
            "clinic_request_seconds_bucket{route=\"GET /\",status=\"200\",le=\"10\"} 1",
            "clinic_request_seconds_bucket{route=\"GET /\",status=\"200\",le=\"+Inf\"} 2",
            "clinic_request_seconds_count{route=\"GET /\",status=\"200\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}

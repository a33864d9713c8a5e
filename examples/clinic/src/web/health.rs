//! What a load balancer, an orchestrator and Prometheus ask.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{csrf, peer, site};
use crate::app::App;
use crate::error::{AppError, Result};

/// The process runs. It says nothing of the services: restarting this process would not help them.
pub(crate) async fn live() -> &'static str {
    "live\n"
}

/// Requests can be sent here: the terminology is loaded, and this replica is not about to stop.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let state = app.concepts.state();
    let body =
        Json(json!({ "replica": super::replica(), "terminology": state.to_string(), "draining": app.is_draining() }));
    let status = if state.is_ready() && !app.is_draining() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, body).into_response()
}

/// For programs on this machine, and for those that show the token.
pub(crate) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    if !peer::is_this_machine(&parts) && !shows_token(&parts.headers) {
        let words = "The metrics are for programs on this machine, and for those that show CLINIC_METRICS_TOKEN.";
        return Err(AppError::new(StatusCode::FORBIDDEN, words));
    }
    let mut text = app.metrics.render();
    let reads = app.reads().map(|(name, reads)| (name, reads.hits_and_misses()));
    let health = app.health().await;
    let services = || health.iter().map(|(name, health, _)| (*name, health));
    write_all(&mut text, "clinic_cache_hits_total", "counter", "cache", reads.map(|(name, (hits, _))| (name, hits)));
    write_all(
        &mut text,
        "clinic_cache_misses_total",
        "counter",
        "cache",
        reads.map(|(name, (_, misses))| (name, misses)),
    );
    let up = services().map(|(name, health)| (name, u8::from(health.is_up())));
    write_all(&mut text, "clinic_service_up", "gauge", "service", up);
    let latency = services().map(|(name, health)| (name, health.latency.as_secs_f64()));
    write_all(&mut text, "clinic_service_latency_seconds", "gauge", "service", latency);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn shows_token(headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    site().metrics_token.as_deref().zip(shown).is_some_and(|(expected, shown)| csrf::same(expected, shown))
}

/// All samples of one metric stand together, as the format wants it.
fn write_all<V: Display>(
    text: &mut String,
    metric: &str,
    kind: &str,
    label: &str,
    samples: impl IntoIterator<Item = (&'static str, V)>,
) {
    let _ = writeln!(text, "# TYPE {metric} {kind}");
    for (name, value) in samples {
        let _ = writeln!(text, "{metric}{{{label}=\"{name}\"}} {value}");
    }
}

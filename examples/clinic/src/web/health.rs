//! What a load balancer, an orchestrator and Prometheus ask.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;

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

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = app.metrics.render();
    let (reads, loads) = app.count_reads.numbers();
    let _ = writeln!(text, "# TYPE clinic_counts_reads_total counter\nclinic_counts_reads_total {reads}");
    let _ = writeln!(text, "# TYPE clinic_counts_loads_total counter\nclinic_counts_loads_total {loads}");
    text.push_str("# TYPE clinic_service_up gauge\n# TYPE clinic_service_latency_seconds gauge\n");
    for (name, health, _) in app.health().await {
        let (up, latency) = (u8::from(health.is_up()), health.latency.as_secs_f64());
        let _ = writeln!(text, "clinic_service_up{{service=\"{name}\"}} {up}");
        let _ = writeln!(text, "clinic_service_latency_seconds{{service=\"{name}\"}} {latency}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

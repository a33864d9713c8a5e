//! What Prometheus asks. Load balancers and orchestrators have their answers from statehouse.

use std::sync::Arc;

use ::metrics::gauge;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{csrf, peer, site};
use crate::app::App;
use crate::error::{AppError, Result};
use crate::metrics;

/// For programs on this machine, and for those that show the token.
pub(crate) async fn for_prometheus(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    if !peer::is_this_machine(&parts) && !shows_token(&parts.headers) {
        let words = "The metrics are for programs on this machine, and for those that show CLINIC_METRICS_TOKEN.";
        return Err(AppError::new(StatusCode::FORBIDDEN, words));
    }
    let recorded = metrics::recorded().ok_or_else(|| AppError::internal(&"nothing is recorded"))?;
    for (name, health, _) in app.health().await {
        gauge!("clinic.service.up", "service" => name).set(f64::from(u8::from(health.is_up())));
        gauge!("clinic.service.latency", "service" => name).set(health.latency.as_secs_f64());
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, recorded.render()).into_response())
}

fn shows_token(headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    site().metrics_token.as_deref().zip(shown).is_some_and(|(expected, shown)| csrf::same(expected, shown))
}

//! How many requests of scripts each member of staff may send, counted for all replicas together.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use statehouse::session::Session;

use super::visit::STAFF;
use crate::app::App;
use crate::error::{AppError, Result};

/// Limits what is below `/api/`, if there is a limit. Whoever is not logged in is refused anyway.
pub(crate) async fn limit(
    State(app): State<Arc<App>>,
    session: Session,
    request: Request,
    next: Next,
) -> Result<Response> {
    let limiter = app.api_limit.as_ref().filter(|_| request.uri().path().starts_with("/api/"));
    let Some(limiter) = limiter else { return Ok(next.run(request).await) };
    let Some(staff) = session.get::<i64>(STAFF).await? else { return Ok(next.run(request).await) };
    let decision = limiter.check(&staff.to_string()).await?;
    let mut response = match decision.taken.retry_after {
        None => next.run(request).await,
        Some(wait) => AppError::too_many("Too many requests. Try again in a moment.", wait).into_response(),
    };
    for (name, value) in decision.headers() {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

//! Turns a refusal into a page for people, and into JSON for scripts.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;
use serde_json::json;

use super::page::{Here, Page};
use crate::error::AppError;

/// Gives every error its words: those of [`AppError`], or for an answer of the framework those of its status.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let wants_page = wants_page(request.headers());
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let error = response.extensions().get::<AppError>().cloned();
    let message = error.map_or_else(|| words(status).to_owned(), |error| error.message);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    let content = if wants_page {
        let content = html! {
            div.narrow.card {
                h1 { (status.canonical_reason().unwrap_or("Error")) }
                p { (message) }
                p { a href="/" { "Back to the dashboard" } }
            }
        };
        let page = Page { title: "Error", here: Here::Nowhere, staff: None, replica: super::replica() };
        page.render(&content).into_response()
    } else {
        Json(json!({ "error": message })).into_response()
    };
    let content_type = content.headers()[header::CONTENT_TYPE].clone();
    parts.headers.insert(header::CONTENT_TYPE, content_type);
    Response::from_parts(parts, content.into_body())
}

pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn words(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page.",
        StatusCode::METHOD_NOT_ALLOWED => "This address takes no such request.",
        StatusCode::PAYLOAD_TOO_LARGE => "That is too large.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "That is not the kind of content that is expected here.",
        StatusCode::UNPROCESSABLE_ENTITY => "A field is missing or is not what it should be.",
        StatusCode::SERVICE_UNAVAILABLE => "A service that this needs is out of reach. Try again in a moment.",
        _ if status.is_client_error() => "The request is not understood.",
        _ => "Something went wrong here. It has been recorded.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_scripts_get_json() {
        let accept = |value: &str| HeaderMap::from_iter([(header::ACCEPT, value.parse().unwrap())]);
        assert!(wants_page(&accept("text/html,application/xhtml+xml,*/*;q=0.8")));
        assert!(!wants_page(&accept("*/*")));
        assert!(!wants_page(&HeaderMap::new()));
    }
}

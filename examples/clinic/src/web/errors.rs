//! Turns a refusal into a page for people, and into JSON for scripts.
//!
//! A handler that can show its form again does so itself ([`in_place`]). What fails before or behind a handler is
//! caught here, and what was typed is shown again, so that nothing is lost.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::json;

use super::csrf::Fresh;
use super::form::Typed;
use super::login;
use super::page::{Here, Page, csrf_field, error_here};
use crate::error::{AppError, REFUSED};

/// The page on which a refusal stands in its place.
#[derive(Clone)]
struct InPlace(Markup);

/// A refusal whose words stand on this page: people see the page, and a script gets the words.
pub(super) fn in_place(error: AppError, page: Markup) -> Response {
    let mut response = error.into_response();
    response.extensions_mut().insert(InPlace(page));
    response
}

/// To the page that says what was done: a script is told where that is, and keeps its page until it is there.
pub(super) fn done(headers: &HeaderMap, to: &str) -> Response {
    let script = !wants_page(headers) && accepts(headers, "application/json");
    if script { Json(json!({ "to": to })).into_response() } else { Redirect::to(to).into_response() }
}

/// Gives every error its words: those of [`AppError`], or for an answer of the framework those of its status. An
/// answer that already has a content of another kind than plain text is left as it is.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let extensions = response.extensions_mut();
    let (error, page) = (extensions.remove::<AppError>(), extensions.remove::<InPlace>());
    let (typed, fresh) = (extensions.remove::<Typed>(), extensions.remove::<Fresh>());
    if error.is_none() && has_content(response.headers()) {
        return response;
    }
    let error = error.unwrap_or_else(|| AppError::new(status, words(status, response.headers())));
    let content = match page {
        _ if !wants_page(&headers) => json_of(&error),
        Some(InPlace(page)) => page.into_response(),
        None => page_of(&error, typed, fresh, &headers),
    };
    replace(response, content)
}

/// An answer of the framework has no content, or a line of plain text for developers.
fn has_content(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| !kind.as_bytes().starts_with(b"text/plain"))
}

fn json_of(error: &AppError) -> Response {
    let mut body = json!({ "error": error.message });
    for (name, value) in [("field", error.field), ("code", error.code)] {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    Json(body).into_response()
}

fn page_of(error: &AppError, typed: Option<Typed>, fresh: Option<Fresh>, headers: &HeaderMap) -> Response {
    match typed {
        Some(typed) if typed.action.split('?').next() == Some("/login") => {
            login::page_again(headers, &typed.sent, error)
        }
        Some(typed) if error.status == StatusCode::UNAUTHORIZED => login::page_before(headers, &typed, error),
        Some(typed) if fresh.is_some() || may_pass(error.status) => send_again(error, &typed, fresh).into_response(),
        _ => plain(error).into_response(),
    }
}

/// Whether the same request may be taken later.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn plain(error: &AppError) -> Markup {
    let (title, words) = (title(error.status), &error.message);
    let content = html! {
        div.narrow.card {
            h1 { (title) }
            p { (words) }
            p { a href="/" { "Go to the dashboard" } }
        }
    };
    Page { title, here: Here::Nowhere, staff: None, replica: super::replica() }.render(&content)
}

/// What was typed, ready to be sent again as soon as what failed is well.
fn send_again(error: &AppError, typed: &Typed, fresh: Option<Fresh>) -> Markup {
    let token = fresh.map_or_else(|| typed.sent.text("csrf").to_owned(), |Fresh(token)| token);
    let content = html! {
        div.narrow.card {
            h1 { "Not saved yet" }
            p.error role="alert" { (error.message) }
            (kept(typed, &token, "Send it again"))
            p { a href="/" { "Go to the dashboard" } }
        }
    };
    Page { title: "Not saved yet", here: Here::Nowhere, staff: None, replica: super::replica() }.render(&content)
}

/// A form with all that was typed in it.
pub(super) fn kept(typed: &Typed, token: &str, button: &str) -> Markup {
    html! {
        form method="post" action=(typed.action) {
            (csrf_field(token))
            @for (name, value) in typed.sent.fields().filter(|(name, _)| *name != "csrf") {
                @if name == "text" {
                    label for="kept" { "What you typed" }
                    textarea.field id="kept" name=(name) { (value) }
                } @else {
                    @if name == "concept" || name == "codes" { p { "What you typed: " strong { (value) } } }
                    input type="hidden" name=(name) value=(value);
                }
            }
            button autofocus { (button) }
            (error_here())
        }
    }
}

fn replace(response: Response, content: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    let (made, body) = content.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let content_type = made.headers.get(header::CONTENT_TYPE).cloned();
    parts.headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("text/plain")));
    for cookie in made.headers.get_all(header::SET_COOKIE) {
        parts.headers.append(header::SET_COOKIE, cookie.clone());
    }
    Response::from_parts(parts, body)
}

pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    accepts(headers, "text/html")
}

/// Whether the request names this type: a script of ours does, what takes anything does not.
pub(super) fn accepts(headers: &HeaderMap, content_type: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains(content_type))
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "Not now",
        _ if status.is_client_error() => "That does not work",
        _ => "Something went wrong",
    }
}

fn words(status: StatusCode, headers: &HeaderMap) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page.",
        StatusCode::METHOD_NOT_ALLOWED => "This address takes no such request.",
        StatusCode::PAYLOAD_TOO_LARGE => "That is too large.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "That is not the kind of content that is expected here.",
        StatusCode::RANGE_NOT_SATISFIABLE => "The document is shorter than that.",
        StatusCode::SERVICE_UNAVAILABLE if !headers.contains_key(header::RETRY_AFTER) => REFUSED,
        StatusCode::SERVICE_UNAVAILABLE => "A service that this needs is out of reach. Try again in a moment.",
        _ if status.is_client_error() => "The address or the request is not understood.",
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
        assert!(accepts(&accept("application/json"), "application/json"));
    }

    #[test]
    fn only_an_answer_without_content_of_its_own_is_given_words() {
        let of = |kind: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        assert!(has_content(&of("application/json")) && has_content(&of("text/html; charset=utf-8")));
        assert!(!has_content(&of("text/plain; charset=utf-8")) && !has_content(&HeaderMap::new()));
    }
}

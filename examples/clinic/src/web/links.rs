//! A link to a document: on the page of who gives it away, and for whoever comes with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use maud::{Markup, html};
use statehouse::files::FileServer;
use tower_service::Service as _;

use super::form::Asked;
use super::page::moment;
use super::visit::Visit;
use super::{documents, keep_no_page};
use crate::app::App;
use crate::db::Document;
use crate::error::{AppError, Result};
use crate::links::{AT, GOOD_FOR};
use crate::time::now;

/// What leads to the chart with a link in it.
pub(super) fn offer(document: &Document) -> Markup {
    html! {
        a href={ "/patients/" (document.patient) "?link=" (document.id) }
            aria-label={ "Link for " (minutes()) " minutes to " (document.name) } { "Link for " (minutes()) " minutes" }
    }
}

/// The link that was asked for, or why there is none. The chart is there all the same.
pub(super) async fn notice(app: &App, visit: &Visit, documents: &[Document], asked: &Asked) -> Markup {
    let id = asked.text("link");
    if id.is_empty() {
        return html! {};
    }
    let until = now() + i64::try_from(GOOD_FOR.as_millis()).unwrap_or_default();
    match sign(app, visit, documents, id).await {
        Ok((document, link)) => html! {
            div.notice data-said {
                p role="status" {
                    "Whoever has this link can download " (document.name) " without a log-in until " (moment(until))
                    ". Copy its address to give it away."
                }
                a href=(link) autofocus { (document.name) ", for " (minutes()) " minutes" }
            }
        },
        Err(error) => html! { p.error role="alert" tabindex="-1" autofocus { (error.message) } },
    }
}

async fn sign<'a>(app: &App, visit: &Visit, documents: &'a [Document], id: &str) -> Result<(&'a Document, String)> {
    let found = documents.iter().find(|document| document.id == id && document.removed_at.is_none());
    let document = found.ok_or_else(|| AppError::not_found("document"))?;
    let link = app.links.sign(document, documents::disposition(document)).await?;
    tracing::info!(target: "clinic::security", staff = visit.staff.id, document = id, "a link to a document was given out");
    Ok((document, link))
}

/// Gives a document to whoever has a link to it.
pub(crate) async fn open(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Result<Response> {
    let server = app.links.server().await?;
    let (asked, _) = request.into_parts();
    let answer = ask(&server, &asked).await?;
    if answer.status() == StatusCode::FORBIDDEN {
        let words = "This link has ended, or a part of it is missing. Ask whoever gave it to you for another one.";
        return Err(AppError::new(StatusCode::FORBIDDEN, words));
    }
    // Only now: who has no link is not told which documents there are.
    let document = documents::find(&app, &id).await?;
    if answer.status() == StatusCode::NOT_FOUND && documents::commit(&app, &document).await? {
        return ask(&server, &asked).await;
    }
    Ok(answer)
}

async fn ask(server: &FileServer, asked: &Parts) -> Result<Response> {
    let address = asked.uri.path_and_query().map_or("/", |address| address.as_str());
    let request = Request::builder().method(asked.method.clone()).uri(address.strip_prefix(AT).unwrap_or(address));
    let mut request = request.body(Body::empty()).map_err(|error| AppError::internal(&error))?;
    request.headers_mut().clone_from(&asked.headers);
    let Ok(answer) = server.clone().call(request).await;
    Ok(answer.map(Body::new))
}

/// The address is the key: no other site gets to know it, and what it gives is kept nowhere on the way.
pub(super) async fn guard(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.remove(header::CACHE_CONTROL);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    keep_no_page(answer).await
}

const fn minutes() -> u64 {
    GOOD_FOR.as_secs() / 60
}

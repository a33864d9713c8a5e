//! Problem sets: a page, and the same for scripts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::errors;
use super::form::{Asked, Sent};
use super::page::{Here, aria_error, csrf_field, error_beside};
use super::visit::Visit;
use crate::app::App;
use crate::error::{AppError, Result};
use crate::problem_sets::ProblemSet;

/// The most codes that are sent at once.
const MOST: usize = 50;

pub(crate) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Markup> {
    let set = app.problem_sets.get(&name).await?;
    Ok(render(&visit, &name, &set, &Said { added: !asked.text("added").is_empty(), refused: None }))
}

/// What the page says of the request before it.
struct Said<'a> {
    added: bool,
    refused: Option<(&'a AppError, &'a Sent)>,
}

/// `?since=N`: what came after that revision.
pub(crate) async fn json(
    State(app): State<Arc<App>>,
    _: Visit,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Json<Value>> {
    let since = match asked.text("since") {
        "" => 0,
        text => text.parse().map_err(|_| AppError::bad_request("A revision is a number."))?,
    };
    Ok(Json(told(&app.problem_sets.get(&name).await?, since)))
}

fn told(set: &ProblemSet, since: u64) -> Value {
    let codes: Vec<_> =
        set.since(since).map(|(code, revision)| json!({ "code": code, "revision": revision })).collect();
    json!({ "revision": set.revision, "codes": codes })
}

/// Adds the codes in the field `codes`, with spaces between.
pub(crate) async fn extend(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(name): Path<String>,
    headers: HeaderMap,
    sent: Sent,
) -> Response {
    let extended = async {
        let codes = known(&app, sent.text("codes")).await?;
        app.problem_sets.extend(&name, &codes).await
    };
    match extended.await {
        Ok(set) => {
            tracing::debug!(set = name, revision = set.revision, "a problem set has grown");
            let to = format!("/problem-sets/{name}?added=1");
            match errors::wants_page(&headers) {
                true => Redirect::to(&to).into_response(),
                false => Json(json!({ "revision": set.revision, "to": to })).into_response(),
            }
        }
        Err(error) => again(&app, &visit, &name, &sent, error.at("codes")).await,
    }
}

/// The page again with what was typed, and the words beside it. If the set cannot be read now, the words alone.
async fn again(app: &App, visit: &Visit, name: &str, sent: &Sent, error: AppError) -> Response {
    match app.problem_sets.get(name).await {
        Ok(set) => {
            let page = render(visit, name, &set, &Said { added: false, refused: Some((&error, sent)) });
            errors::in_place(error, page)
        }
        Err(_) => error.into_response(),
    }
}

async fn known(app: &App, typed: &str) -> Result<Vec<String>> {
    let typed: Vec<_> = typed.split_whitespace().collect();
    if !(1..=MOST).contains(&typed.len()) {
        return Err(AppError::invalid("codes", format!("Type 1 to {MOST} codes, with spaces between.")));
    }
    let mut codes = Vec::new();
    for code in typed {
        let found = app.concepts.find(&code.to_uppercase()).await?;
        let unknown = || AppError::invalid("codes", format!("There is no diagnosis with the code {code}."));
        codes.push(found.ok_or_else(unknown)?.code);
    }
    Ok(codes)
}

fn render(visit: &Visit, name: &str, set: &ProblemSet, said: &Said<'_>) -> Markup {
    let error = said.refused.map(|(error, _)| error);
    let typed = said.refused.map_or("", |(_, sent)| sent.text("codes"));
    let content = html! {
        header {
            h1 { "Problem set " code { (name) } }
            p.quiet { "Revision " (set.revision) ": " (set.codes.len()) " codes, extended by everybody." }
        }
        @if said.added { p.notice data-said role="status" { "The codes are in the set." } }
        form.card method="post" action={ "/problem-sets/" (name) } {
            (csrf_field(&visit.csrf))
            label for="codes" { "Codes to add, with spaces between" }
            div.row {
                input id="codes" name="codes" value=(typed) required autocomplete="off"
                    autofocus[said.added || error.is_some()] aria-invalid=[aria_error(error, "codes")] aria-describedby="codes-error";
                button { "Add" }
            }
            (error_beside(error, "codes"))
        }
        section.card aria-label="Codes" {
            @if set.codes.is_empty() { p.quiet { "No codes yet." } }
            ul.list {
                @for (code, revision) in &set.codes {
                    li { code.code { (code) } span.quiet.grow { "since revision " (revision) } }
                }
            }
        }
    };
    visit.page("Problem set", Here::Nowhere, &content)
}

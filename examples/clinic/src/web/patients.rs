use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::errors;
use super::form::Asked;
use super::page::{Here, aria_error, error_beside};
use super::visit::Visit;
use crate::app::App;
use crate::error::{AppError, Result};

/// The most patients that a page shows.
const MOST: usize = 50;

/// The longest text that is searched for, in the units that a browser counts.
const MAX_TYPED: usize = 200;

pub(crate) async fn page(State(app): State<Arc<App>>, visit: Visit, asked: Asked) -> Result<Response> {
    let q = asked.text("q");
    let too_long = q.encode_utf16().count() > MAX_TYPED;
    let error = too_long.then(|| AppError::invalid("q", format!("Type at most {MAX_TYPED} letters of a name.")));
    let mut patients = if too_long { Vec::new() } else { app.database.find_patients(q, MOST + 1).await? };
    let more = patients.len() > MOST;
    patients.truncate(MOST);
    let content = html! {
        header { h1 { "Patients" } }
        form.card method="get" action="/patients" role="search" {
            label for="q" { "The beginnings of names, in any order " kbd { "/" } }
            div.row {
                input id="q" name="q" type="search" value=(q) autocomplete="off" autofocus data-search
                    maxlength=(MAX_TYPED) aria-invalid=[aria_error(error.as_ref(), "q")] aria-describedby="q-error";
                button { "Find" }
            }
            (error_beside(error.as_ref(), "q"))
            p.quiet role="status" {}
        }
        section.card aria-label="Patients found" {
            @if patients.is_empty() && !too_long {
                p.quiet { "Nobody is called that. Type the beginning of a first or a last name." }
            }
            ul.list {
                @for patient in &patients {
                    li {
                        a.grow href={ "/patients/" (patient.id) } { (patient.name) }
                        span.quiet { "born " (patient.born) }
                        span.quiet { (patient.sex) }
                    }
                }
            }
            @if more { p.quiet { "There are more: type more of the name." } }
        }
    };
    let page = visit.page("Patients", Here::Patients, &content);
    Ok(match error {
        Some(error) => errors::in_place(error, page),
        None => page.into_response(),
    })
}

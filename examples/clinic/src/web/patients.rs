use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::Here;
use super::visit::Visit;
use crate::app::App;
use crate::error::Result;

/// The most patients that a page shows.
const MOST: usize = 50;

#[derive(Deserialize)]
pub(crate) struct Find {
    #[serde(default)]
    q: String,
}

pub(crate) async fn page(State(app): State<Arc<App>>, visit: Visit, Query(Find { q }): Query<Find>) -> Result<Markup> {
    let mut patients = app.database.find_patients(&q, MOST + 1).await?;
    let more = patients.len() > MOST;
    patients.truncate(MOST);
    let content = html! {
        header { h1 { "Patients" } }
        form.card method="get" action="/patients" role="search" {
            label for="q" { "The beginnings of names, in any order " kbd { "/" } }
            div.row {
                input id="q" name="q" type="search" value=(q) autocomplete="off" autofocus data-search;
                button { "Find" }
            }
        }
        section.card aria-label="Patients found" {
            @if patients.is_empty() { p.quiet { "Nobody is called that." } }
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
    Ok(visit.page("Patients", Here::Patients, &content))
}

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::page::{Here, error_beside};
use super::visit::Visit;
use crate::app::App;
use crate::error::Result;
use crate::terminology::chapters;

pub(crate) async fn page(State(app): State<Arc<App>>, visit: Visit) -> Result<Markup> {
    let counts = app.active_by_chapter().await?;
    let total: i64 = counts.values().sum();
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    let content = html! {
        header {
            h1 { "Dashboard" }
            p.quiet {
                "Active diagnoses of all patients, by chapter of ICD-10-CM. "
                a href="/problem-sets/common" { "Common problems" }
            }
        }
        div.tiles {
            div.card { strong { (total) } span.quiet { "active diagnoses" } }
            div.card {
                form method="get" action="/patients" role="search" {
                    label for="q" { "Find a patient " kbd { "/" } }
                    div.row {
                        input id="q" name="q" type="search" autocomplete="off" maxlength="200" data-search
                            aria-describedby="q-error";
                        button { "Find" }
                    }
                    (error_beside(None, "q"))
                    p.quiet role="status" {}
                }
            }
        }
        section.card {
            h2 { "By chapter" }
            table.chapters {
                thead { tr { th scope="col" { "Chapter" } td {} th.number scope="col" { "Active" } } }
                tbody {
                    @for (number, title) in chapters() {
                        @let count = counts.get(&number).copied().unwrap_or(0);
                        tr {
                            th scope="row" { (title) }
                            td { (bar(count, most)) }
                            td.number { (count) }
                        }
                    }
                }
            }
        }
    };
    Ok(visit.page("Dashboard", Here::Dashboard, &content))
}

/// The number beside it says the same in words.
fn bar(count: i64, most: i64) -> Markup {
    html! {
        svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect width=(count * 1000 / most) height="10" rx="3" {}
        }
    }
}

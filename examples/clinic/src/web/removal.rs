//! Documents that are removed, and restored for a month; after that the sweep deletes them ([`crate::sweep`]).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};

use super::chart;
use super::form::Asked;
use super::page::{csrf_field, error_here, moment};
use super::visit::Visit;
use crate::app::App;
use crate::db::Document;
use crate::error::{AppError, Result};
use crate::sweep::KEEP_REMOVED;

/// The button that removes a document, or restores it.
pub(super) fn button(document: &Document, csrf: &str) -> Markup {
    let (action, word) = if document.removed_at.is_none() { ("remove", "Remove") } else { ("restore", "Restore") };
    act(
        document,
        action,
        csrf,
        &html! {
            button.plain aria-label={ (word) " " (document.name) } { (word) }
        },
    )
}

fn act(document: &Document, action: &str, csrf: &str, button: &Markup) -> Markup {
    html! {
        form method="post" action={ "/patients/" (document.patient) "/documents/" (document.id) "/" (action) } {
            (csrf_field(csrf))
            (button)
            (error_here())
        }
    }
}

/// What was just done. After removing, the focus is on the way back.
pub(super) fn confirmation(documents: &[Document], csrf: &str, done: &Asked) -> Markup {
    let find = |what: &str, removed: bool| {
        let id = done.text(what);
        documents.iter().find(|found| found.id == id && found.removed_at.is_some() == removed)
    };
    html! {
        @if let Some(removed) = find("removed", true) {
            div.notice.row data-said {
                span.grow id="document-said" role="status" { (removed.name) " was removed." }
                (act(removed, "restore", csrf, &html! {
                    button.plain autofocus aria-describedby="document-said" { "Undo" }
                }))
            }
        } @else if let Some(restored) = find("restored", false) {
            div.notice.row data-said tabindex="-1" autofocus {
                span.grow role="status" { (restored.name) " is back among the documents." }
            }
        }
    }
}

/// Those that can be restored, folded up.
pub(super) fn list(removed: &[&Document], csrf: &str) -> Markup {
    html! {
        @if !removed.is_empty() {
            details id="removed-documents" {
                summary { "Removed" }
                p.quiet { "Deleted for good " (KEEP_REMOVED.as_secs() / (24 * 60 * 60)) " days after that." }
                ul.list {
                    @for document in removed {
                        li {
                            div.grow {
                                (document.name) br;
                                @if let (Some(at), Some(by)) = (document.removed_at, &document.removed_by) {
                                    small { "Removed " (moment(at)) " by " (by) }
                                }
                            }
                            (button(document, csrf))
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((patient, id)): Path<(i64, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    if app.database.remove_document(patient, &id, &visit.staff.name).await? {
        return Ok(chart::done(&headers, patient, "removed", &id));
    }
    let words = "This document is not there to be removed: somebody has removed it already.";
    Ok(chart::again(&app, &visit, patient, None, AppError::conflict(words)).await)
}

pub(crate) async fn restore(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((patient, id)): Path<(i64, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    if app.database.restore_document(patient, &id).await? {
        return Ok(chart::done(&headers, patient, "restored", &id));
    }
    let words = "This document cannot be restored: somebody has restored it already, or it was deleted for good.";
    Ok(chart::again(&app, &visit, patient, None, AppError::conflict(words)).await)
}

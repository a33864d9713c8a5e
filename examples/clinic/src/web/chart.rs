//! The chart of a patient: diagnoses, notes and documents.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::{Form, Json};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::documents;
use super::page::{Here, csrf_field, moment};
use super::visit::Visit;
use crate::app::App;
use crate::db::{Added, Diagnosis, Document, Note, Patient};
use crate::error::{AppError, Result};
use crate::id::{is_id, new_id};

/// The longest note, in bytes.
const MAX_NOTE: usize = 16 << 10;

#[derive(Serialize)]
pub(crate) struct Chart {
    patient: Patient,
    diagnoses: Vec<Diagnosis>,
    notes: Vec<Note>,
    documents: Vec<Document>,
}

impl Chart {
    async fn read(app: &App, id: i64) -> Result<Self> {
        let patient = find(app, id).await?;
        Ok(Self {
            patient,
            diagnoses: app.database.diagnoses(id).await?,
            notes: app.database.notes(id).await?,
            documents: app.database.documents(id).await?,
        })
    }
}

pub(crate) async fn find(app: &App, id: i64) -> Result<Patient> {
    app.database.patient(id).await?.ok_or_else(|| AppError::not_found("patient"))
}

pub(crate) async fn json(State(app): State<Arc<App>>, _: Visit, Path(id): Path<i64>) -> Result<Json<Chart>> {
    Chart::read(&app, id).await.map(Json)
}

pub(crate) async fn page(State(app): State<Arc<App>>, visit: Visit, Path(id): Path<i64>) -> Result<Markup> {
    let chart = Chart::read(&app, id).await?;
    let draft = Draft::of(&visit, id).await?;
    let patient = &chart.patient;
    let content = html! {
        header {
            h1 { (patient.name) }
            p.quiet { "Born " (patient.born) " · " (patient.sex) " · record " (patient.id) }
        }
        div.columns {
            div { (diagnoses(patient.id, &chart.diagnoses, &visit.csrf)) }
            div {
                (notes(patient.id, &chart.notes, &draft, &visit.csrf))
                (documents::section(patient.id, &chart.documents))
            }
        }
    };
    Ok(visit.page(&patient.name, Here::Patients, &content))
}

fn diagnoses(patient: i64, all: &[Diagnosis], csrf: &str) -> Markup {
    let (active, resolved): (Vec<_>, Vec<_>) = all.iter().partition(|diagnosis| diagnosis.resolved_at.is_none());
    html! {
        section.card id="diagnoses" {
            h2 { "Diagnoses" }
            (picker(patient, csrf))
            h3 { "Active" }
            @if active.is_empty() { p.quiet { "None." } }
            ul.list {
                @for diagnosis in active {
                    li {
                        code.code { (diagnosis.code) }
                        span.grow {
                            (diagnosis.title) br;
                            small { (moment(diagnosis.added_at)) " · " (diagnosis.added_by) }
                        }
                        form method="post" action={ "/patients/" (patient) "/diagnoses/" (diagnosis.id) "/resolve" } {
                            (csrf_field(csrf))
                            button.plain aria-label={ "Resolve " (diagnosis.code) } { "Resolve" }
                        }
                    }
                }
            }
            @if !resolved.is_empty() {
                h3 { "History" }
                ul.list { @for diagnosis in resolved { (past(diagnosis)) } }
            }
        }
    }
}

fn past(diagnosis: &Diagnosis) -> Markup {
    html! {
        li {
            code.code { (diagnosis.code) }
            span.grow {
                (diagnosis.title) br;
                small {
                    "Added " (moment(diagnosis.added_at)) " by " (diagnosis.added_by)
                    @if let (Some(at), Some(by)) = (diagnosis.resolved_at, &diagnosis.resolved_by) {
                        ", resolved " (moment(at)) " by " (by)
                    }
                }
            }
        }
    }
}

/// Without its script it takes a code as it is.
fn picker(patient: i64, csrf: &str) -> Markup {
    html! {
        form.picker method="post" action={ "/patients/" (patient) "/diagnoses" } {
            (csrf_field(csrf))
            label for="concept" { "Add a diagnosis: a code, or words in any order " kbd { "/" } }
            div.row {
                input id="concept" name="concept" role="combobox" autocomplete="off" spellcheck="false" required
                    aria-expanded="false" aria-autocomplete="list" aria-controls="options" data-search;
                button { "Add" }
            }
            div.chips role="group" aria-label="Chapters" hidden {}
            ul.options id="options" role="listbox" aria-label="Diagnoses found" hidden {}
            p.quiet role="status" {}
        }
    }
}

fn notes(patient: i64, all: &[Note], draft: &Draft, csrf: &str) -> Markup {
    html! {
        section.card id="notes" {
            h2 { "Notes" }
            form.note-form method="post" action={ "/patients/" (patient) "/notes" }
                data-draft={ "/patients/" (patient) "/draft" } {
                (csrf_field(csrf))
                input type="hidden" name="id" value=(draft.id);
                label for="note" { "A new note" }
                textarea.field id="note" name="text" maxlength=(MAX_NOTE) required { (draft.text) }
                div.row { button { "Save the note" } span.quiet role="status" {} }
            }
            ul.list {
                @for note in all {
                    li {
                        div.grow {
                            p.note { (note.text) }
                            small { (moment(note.written_at)) " · " (note.written_by) }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct AddDiagnosis {
    /// A code, perhaps with its title behind it.
    concept: String,
}

pub(crate) async fn add_diagnosis(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    Form(form): Form<AddDiagnosis>,
) -> Result<Redirect> {
    find(&app, id).await?;
    let code = form.concept.split_whitespace().next().unwrap_or_default().to_uppercase();
    let unknown = || AppError::new(StatusCode::UNPROCESSABLE_ENTITY, "There is no diagnosis with this code.");
    let concept = app.concepts.find(&code).await?.ok_or_else(unknown)?;
    match app.database.add_diagnosis(id, &concept, &visit.staff.name).await? {
        Added::New => app.diagnoses_changed().await,
        Added::AlreadyThere => return Err(AppError::conflict("This diagnosis is active already.")),
    }
    Ok(Redirect::to(&format!("/patients/{id}#diagnoses")))
}

pub(crate) async fn resolve_diagnosis(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((id, diagnosis)): Path<(i64, String)>,
) -> Result<Redirect> {
    if !app.database.resolve_diagnosis(id, &diagnosis, &visit.staff.name).await? {
        return Err(AppError::conflict("This diagnosis is not active: somebody may have resolved it."));
    }
    app.diagnoses_changed().await;
    Ok(Redirect::to(&format!("/patients/{id}#diagnoses")))
}

/// A half-filled form: the text, and the id that the note will have.
#[derive(Deserialize, Serialize)]
struct Draft {
    id: String,
    text: String,
}

impl Draft {
    fn attribute(patient: i64) -> String {
        format!("draft.{patient}")
    }

    async fn of(visit: &Visit, patient: i64) -> Result<Self> {
        let kept = visit.session.get(&Self::attribute(patient)).await?;
        Ok(kept.unwrap_or_else(|| Self { id: new_id(), text: String::new() }))
    }
}

#[derive(Deserialize)]
pub(crate) struct KeepDraft {
    /// That of the form, so that a note is saved once, also from a page that was loaded again.
    #[serde(default)]
    id: String,
    text: String,
}

/// Keeps the text in the session, which outlives this replica.
pub(crate) async fn keep_draft(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    Form(KeepDraft { id: note, text }): Form<KeepDraft>,
) -> Result<StatusCode> {
    find(&app, id).await?;
    check_note(&text)?;
    let attribute = Draft::attribute(id);
    if text.is_empty() {
        visit.session.remove(&attribute)?;
    } else {
        let note = if is_id(&note) { note } else { Draft::of(&visit, id).await?.id };
        let draft = Draft { id: note, text };
        visit.session.insert(&attribute, &draft)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(crate) struct AddNote {
    id: String,
    text: String,
}

pub(crate) async fn add_note(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    Form(form): Form<AddNote>,
) -> Result<Redirect> {
    find(&app, id).await?;
    check_note(&form.text)?;
    if form.text.trim().is_empty() || !is_id(&form.id) {
        return Err(AppError::new(StatusCode::UNPROCESSABLE_ENTITY, "The note is empty."));
    }
    if app.database.add_note(id, &form.id, form.text.trim(), &visit.staff.name).await? == Added::AlreadyThere {
        return Err(AppError::conflict("This note was saved already. Load the page again to write another."));
    }
    visit.session.remove(&Draft::attribute(id))?;
    Ok(Redirect::to(&format!("/patients/{id}#notes")))
}

fn check_note(text: &str) -> Result<()> {
    if text.len() > MAX_NOTE {
        return Err(AppError::new(StatusCode::PAYLOAD_TOO_LARGE, "A note must not be longer than 16 KiB."));
    }
    Ok(())
}

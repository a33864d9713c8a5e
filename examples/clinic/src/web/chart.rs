//! The chart of a patient: diagnoses, notes and documents.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Serialize;

use super::form::{Asked, Sent};
use super::page::{Here, aria_error, csrf_field, error_beside, error_here, moment};
use super::visit::Visit;
use super::{documents, errors, links};
use crate::app::App;
use crate::db::{Diagnosis, Document, Draft, DraftKept, Note, NoteAdded, Patient, Window};
use crate::error::{AppError, Result};
use crate::id::{is_id, new_id};
use crate::time::now;

/// The longest note, in the units that a browser counts: those of UTF-16.
const MAX_NOTE: usize = 16 << 10;
/// How long somebody can take back the diagnosis that they added.
const TAKE_BACK_WITHIN: Duration = Duration::from_secs(15 * 60);
const SAVED_BEFORE: &str = "Another note was saved from this form already. Save this one as a note of its own.";

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

pub(crate) async fn page(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    asked: Asked,
) -> Result<Markup> {
    render(&app, &visit, id, &Said { done: &asked, error: None, sent: None }).await
}

/// What the page says of the request before it.
struct Said<'a> {
    /// What was done: the address names it.
    done: &'a Asked,
    error: Option<&'a AppError>,
    sent: Option<&'a Sent>,
}

impl Said<'_> {
    /// What was typed in this field, if it was refused.
    fn typed(&self, field: &str) -> Option<&str> {
        let name = if field == "note" { "text" } else { field };
        self.error.filter(|error| error.field == Some(field)).and(self.sent).map(|sent| sent.text(name))
    }
}

async fn render(app: &App, visit: &Visit, id: i64, said: &Said<'_>) -> Result<Markup> {
    let chart = Chart::read(app, id).await?;
    let draft = draft(app, visit, id, said).await?;
    let link = links::notice(app, visit, &chart.documents, said.done).await;
    let patient = &chart.patient;
    let content = html! {
        header {
            h1 { (patient.name) }
            p.quiet { "Born " (patient.born) " · " (patient.sex) " · record " (patient.id) }
        }
        @if let Some(error) = said.error.filter(|error| error.field.is_none()) {
            p.error role="alert" tabindex="-1" autofocus { (error.message) }
        }
        div.columns {
            div { (diagnoses(patient.id, &chart.diagnoses, &visit.csrf, said)) }
            div {
                (notes(patient.id, &chart.notes, &draft, &visit.csrf, said))
                (documents::section(patient.id, &chart.documents, &visit.csrf, said.done, &link))
            }
        }
    };
    Ok(visit.page(&patient.name, Here::Patients, &content))
}

/// The chart again with what was typed, and the words in their place. If it cannot be read now, the words alone.
pub(super) async fn again(app: &App, visit: &Visit, id: i64, sent: Option<&Sent>, error: AppError) -> Response {
    let nothing = Asked::nothing();
    let said = Said { done: &nothing, error: Some(&error), sent };
    match render(app, visit, id, &said).await {
        Ok(page) => errors::in_place(error, page),
        Err(_) => error.into_response(),
    }
}

/// To the chart, saying what was done.
pub(super) fn done(headers: &HeaderMap, patient: i64, what: &str, id: &str) -> Response {
    errors::done(headers, &format!("/patients/{patient}?{what}={id}"))
}

fn diagnoses(patient: i64, all: &[Diagnosis], csrf: &str, said: &Said<'_>) -> Markup {
    let (active, resolved): (Vec<_>, Vec<_>) = all.iter().partition(|diagnosis| diagnosis.resolved_at.is_none());
    html! {
        section.card id="diagnoses" {
            h2 { "Diagnoses" }
            (confirmation(patient, all, csrf, said.done))
            (picker(patient, csrf, said))
            h3 { "Active" }
            @if active.is_empty() { p.quiet { "No active diagnoses." } }
            ul.list {
                @for diagnosis in active {
                    li {
                        code.code { (diagnosis.code) }
                        span.grow {
                            (diagnosis.title) br;
                            small { (moment(diagnosis.added_at)) " · " (diagnosis.added_by) }
                        }
                        (act(patient, diagnosis, "resolve", csrf, &html! {
                            button.plain aria-label={ "Resolve " (diagnosis.code) } { "Resolve" }
                        }))
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

fn act(patient: i64, diagnosis: &Diagnosis, action: &str, csrf: &str, button: &Markup) -> Markup {
    html! {
        form method="post" action={ "/patients/" (patient) "/diagnoses/" (diagnosis.id) "/" (action) } {
            (csrf_field(csrf))
            (button)
            (error_here())
        }
    }
}

/// What was just done, with the way back. After adding, the focus is in the picker, for the next one.
fn confirmation(patient: i64, all: &[Diagnosis], csrf: &str, done: &Asked) -> Markup {
    let find = |what: &str, resolved: bool| {
        let id = done.text(what);
        all.iter().find(|found| found.id == id && found.resolved_at.is_some() == resolved)
    };
    let undo = |diagnosis, action, focus: bool| {
        act(
            patient,
            diagnosis,
            action,
            csrf,
            &html! {
                button.plain autofocus[focus] aria-describedby="diagnosis-said" { "Undo" }
            },
        )
    };
    let words = |diagnosis: &Diagnosis, what: &str| {
        html! { span.grow id="diagnosis-said" role="status" { (diagnosis.code) " " (diagnosis.title) " " (what) } }
    };
    html! {
        @if let Some(added) = find("added", false) {
            div.notice.row data-said { (words(added, "added.")) (undo(added, "take-back", false)) }
        } @else if let Some(resolved) = find("resolved", true) {
            div.notice.row data-said { (words(resolved, "resolved.")) (undo(resolved, "reopen", true)) }
        } @else if let Some(reopened) = find("reopened", false) {
            div.notice.row data-said tabindex="-1" autofocus { (words(reopened, "is active again.")) }
        } @else if !done.text("taken-back").is_empty() {
            div.notice.row data-said { span id="diagnosis-said" role="status" { "The diagnosis was taken back." } }
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
fn picker(patient: i64, csrf: &str, said: &Said<'_>) -> Markup {
    let typed = said.typed("concept");
    let next = !said.done.text("added").is_empty() || !said.done.text("taken-back").is_empty();
    html! {
        form.picker method="post" action={ "/patients/" (patient) "/diagnoses" } {
            (csrf_field(csrf))
            label for="concept" { "Add a diagnosis: a code, or words in any order " kbd { "/" } }
            div.row {
                input id="concept" name="concept" role="combobox" autocomplete="off" spellcheck="false" required
                    value=[typed] maxlength="400" autofocus[typed.is_some() || next]
                    aria-invalid=[aria_error(said.error, "concept")]
                    aria-expanded="false" aria-autocomplete="list" aria-controls="options"
                    aria-describedby="concept-error picker-status diagnosis-said" data-search;
                button { "Add" }
            }
            (error_beside(said.error, "concept"))
            div.chips role="group" aria-label="Chapters" hidden {}
            ul.options id="options" role="listbox" aria-label="Diagnoses found" hidden {}
            p.quiet id="picker-status" role="status" {}
        }
    }
}

fn notes(patient: i64, all: &[Note], draft: &Draft, csrf: &str, said: &Said<'_>) -> Markup {
    html! {
        section.card id="notes" {
            h2 { "Notes" }
            @if !said.done.text("saved").is_empty() {
                p.notice data-said role="status" tabindex="-1" autofocus { "The note is saved." }
            }
            form.note-form method="post" action={ "/patients/" (patient) "/notes" }
                data-draft={ "/patients/" (patient) "/draft" } {
                (csrf_field(csrf))
                input type="hidden" name="id" value=(draft.id);
                input type="hidden" name="seen" value=(draft.mark);
                input type="hidden" name="page" value="";
                label for="note" { "A new note" }
                textarea.field id="note" name="text" maxlength=(MAX_NOTE) required
                    autofocus[said.typed("note").is_some()] aria-invalid=[aria_error(said.error, "note")]
                    aria-describedby="note-error draft-status" { (draft.text) }
                (error_beside(said.error, "note"))
                div.row { button { "Save the note" } span.quiet id="draft-status" role="status" {} }
            }
            @if all.is_empty() { p.quiet { "No notes yet." } }
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

pub(crate) async fn add_diagnosis(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    headers: HeaderMap,
    sent: Sent,
) -> Response {
    match try_add_diagnosis(&app, &visit, id, sent.text("concept")).await {
        Ok(added) => done(&headers, id, "added", &added),
        Err(error) => again(&app, &visit, id, Some(&sent), error.at("concept")).await,
    }
}

/// A code, perhaps with its title behind it.
async fn try_add_diagnosis(app: &App, visit: &Visit, patient: i64, typed: &str) -> Result<String> {
    find(app, patient).await?;
    let code = typed.split_whitespace().next().unwrap_or_default().to_uppercase();
    if code.is_empty() {
        return Err(AppError::invalid("concept", "Type a code, or choose a diagnosis from the list."));
    }
    let unknown = || AppError::invalid("concept", "There is no diagnosis with this code. Choose one from the list.");
    let concept = app.concepts.find(&code).await?.ok_or_else(unknown)?;
    if !concept.billable {
        let words = format!("{code} is a category and no diagnosis by itself. Choose one of the codes below it.");
        return Err(AppError::invalid("concept", words));
    }
    let added = app.database.add_diagnosis(patient, &concept, &visit.staff).await?;
    let added = added.ok_or_else(|| AppError::conflict(format!("{code} is active already for this patient.")))?;
    app.diagnoses_changed().await;
    Ok(added)
}

pub(crate) async fn resolve_diagnosis(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((id, diagnosis)): Path<(i64, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let resolved = app.database.resolve_diagnosis(id, &diagnosis, &visit.staff.name).await?;
    let stale = "This diagnosis is not active any more: somebody has resolved it already.";
    Ok(changed(&app, &visit, id, resolved, stale).await.unwrap_or_else(|| done(&headers, id, "resolved", &diagnosis)))
}

pub(crate) async fn reopen_diagnosis(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((id, diagnosis)): Path<(i64, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let reopened = app.database.reopen_diagnosis(id, &diagnosis).await?;
    let stale = "This diagnosis cannot be made active again: it is, or the same code is.";
    Ok(changed(&app, &visit, id, reopened, stale).await.unwrap_or_else(|| done(&headers, id, "reopened", &diagnosis)))
}

pub(crate) async fn take_back_diagnosis(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path((id, diagnosis)): Path<(i64, String)>,
    headers: HeaderMap,
) -> Result<Response> {
    let since = now() - i64::try_from(TAKE_BACK_WITHIN.as_millis()).unwrap_or_default();
    let taken = app.database.take_back_diagnosis(id, &diagnosis, visit.staff.id, since).await?;
    let stale =
        "This diagnosis cannot be taken back: it was added some time ago, or somebody has changed it. Resolve it.";
    Ok(changed(&app, &visit, id, taken, stale).await.unwrap_or_else(|| done(&headers, id, "taken-back", "1")))
}

/// If nothing was changed, because somebody else was faster: the chart as it is now, with these words.
async fn changed(app: &App, visit: &Visit, patient: i64, changed: bool, stale: &str) -> Option<Response> {
    if changed {
        app.diagnoses_changed().await;
        return None;
    }
    Some(again(app, visit, patient, None, AppError::conflict(stale)).await)
}

/// The draft that was kept, or what was typed in the form that was refused.
async fn draft(app: &App, visit: &Visit, patient: i64, said: &Said<'_>) -> Result<Draft> {
    let fresh = || Draft { id: new_id(), text: String::new(), mark: String::new() };
    if let (Some(text), Some(sent)) = (said.typed("note"), said.sent) {
        // The text that was saved from this form is another one: this one is a note of its own.
        let saved_before = said.error.is_some_and(|error| error.status == StatusCode::CONFLICT);
        let id = Some(sent.text("id")).filter(|id| is_id(id) && !saved_before).map_or_else(new_id, str::to_owned);
        return Ok(Draft { id, text: text.to_owned(), mark: sent.text("seen").to_owned() });
    }
    Ok(app.database.draft(visit.staff.id, patient).await?.unwrap_or_else(fresh))
}

/// Keeps the text, which outlives the page, the session and this replica.
pub(crate) async fn keep_draft(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    sent: Sent,
) -> Result<StatusCode> {
    find(&app, id).await?;
    let (text, staff) = (lines(sent.text("text")), &visit.staff);
    check_note(&text)?;
    let note = match sent.text("id") {
        note if is_id(note) => note.to_owned(),
        _ => app.database.draft(staff.id, id).await?.map_or_else(new_id, |draft| draft.id),
    };
    let window = window(&sent);
    let kept = if !text.is_empty() {
        app.database.keep_draft(staff, id, (&note, &text), window).await?
    } else if app.database.remove_draft(staff.id, id, &note, window).await? {
        DraftKept::Kept
    } else {
        DraftKept::Elsewhere
    };
    let refused = match kept {
        DraftKept::Kept | DraftKept::Saved => return Ok(StatusCode::NO_CONTENT),
        DraftKept::AnotherSaved => AppError { code: Some("saved"), ..AppError::conflict(SAVED_BEFORE) },
        DraftKept::Elsewhere => {
            AppError::conflict("Another note for this patient is half written, in another window. Save that one first.")
        }
    };
    Err(refused)
}

fn window(sent: &Sent) -> Window<'_> {
    Window { page: Some(sent.text("page")).filter(|page| is_id(page)).unwrap_or_default(), seen: sent.text("seen") }
}

pub(crate) async fn add_note(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<i64>,
    headers: HeaderMap,
    sent: Sent,
) -> Response {
    match try_add_note(&app, &visit, id, &sent).await {
        Ok(()) => done(&headers, id, "saved", "1"),
        Err(error) => again(&app, &visit, id, Some(&sent), error.at("note")).await,
    }
}

async fn try_add_note(app: &App, visit: &Visit, patient: i64, sent: &Sent) -> Result<()> {
    find(app, patient).await?;
    let text = lines(sent.text("text"));
    check_note(&text)?;
    if text.trim().is_empty() {
        return Err(AppError::invalid("note", "The note is empty. Type something."));
    }
    if !is_id(sent.text("id")) {
        return Err(AppError::invalid("note", "The form is incomplete. Save the note again."));
    }
    let added = app.database.add_note(patient, sent.text("id"), text.trim(), &visit.staff).await?;
    if added == NoteAdded::AnotherBefore {
        return Err(AppError::conflict(SAVED_BEFORE));
    }
    // A page of the release before does not say what it was opened with.
    let window = sent.fields().any(|(name, _)| name == "seen").then(|| window(sent));
    Ok(app.database.settle_draft(visit.staff.id, patient, sent.text("id"), window).await?)
}

/// A form ends its lines otherwise than the page that it was typed in.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn check_note(text: &str) -> Result<()> {
    if text.encode_utf16().count() > MAX_NOTE {
        let words = format!("A note has at most {MAX_NOTE} letters. Make it shorter, or save it as two.");
        return Err(AppError::new(StatusCode::PAYLOAD_TOO_LARGE, words).at("note"));
    }
    Ok(())
}

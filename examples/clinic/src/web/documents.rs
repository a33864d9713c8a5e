//! Documents: the file in the file store, its row in the database.
//!
//! The file is staged first, out of sight; then the row is written, and with it what the file is staged as; then it is committed. Whatever dies in
//! between, a row has its file: who finds the row and not the file commits it, and so does the sweep ([`crate::sweep`]),
//! which discards what has no row.

use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use maud::{Markup, html};
use statehouse::ErrorKind;
use statehouse::files::{CommitOutcome, Disposition, UnsupportedType, UploadLimits};

use super::chart;
use super::content_type::{self, ContentType};
use super::csrf::SentBy;
use super::errors;
use super::form::Asked;
use super::page::{error_beside, moment, size};
use super::visit::Visit;
use super::{links, removal};
use crate::app::App;
use crate::db::Document;
use crate::error::{AppError, Result};
use crate::id::new_id;
use crate::time::now;

/// The largest document, in bytes: 2 GiB.
const MAX_DOCUMENT: u64 = 2 << 30;
const TOO_LARGE: &str = "A document has at most 2 GiB.";
/// The largest document, in bytes, that is sent with a key: it is held in memory until all of it is there.
const MAX_KEYED: usize = 4 << 20;

pub(crate) fn section(patient: i64, documents: &[Document], csrf: &str, done: &Asked, link: &Markup) -> Markup {
    let (there, removed): (Vec<_>, Vec<_>) = documents.iter().partition(|document| document.removed_at.is_none());
    html! {
        section.card id="documents" {
            h2 { "Documents" }
            (removal::confirmation(documents, csrf, done))
            (link)
            noscript { p.error { "Documents can be attached only with JavaScript." } }
            form.upload method="post" action={ "/patients/" (patient) "/documents" } {
                label for="file" { "Attach a photo, a PDF or any other file" }
                div.row {
                    input id="file" type="file" required aria-describedby="file-error upload-status"
                        data-most=(MAX_DOCUMENT) data-too-large=(TOO_LARGE) data-most-keyed=(MAX_KEYED);
                    // Its script lets it be pressed.
                    button disabled { "Attach" }
                }
                (error_beside(None, "file"))
                progress max="1" value="0" aria-label="Uploaded" hidden {}
                p.quiet id="upload-status" role="status" {}
            }
            @if there.is_empty() { p.quiet { @if removed.is_empty() { "No documents yet." } @else { "No documents." } } }
            ul.list { @for document in there { li { (entry(document)) (removal::button(document, csrf)) } } }
            (removal::list(&removed, csrf))
        }
    }
}

fn entry(document: &Document) -> Markup {
    html! {
        @if content_type::is_photo(&document.content_type) {
            a href={ "/documents/" (document.id) } {
                img.thumb src={ "/documents/" (document.id) } alt={ "Preview of " (document.name) } loading="lazy";
            }
        }
        div.grow {
            a href={ "/documents/" (document.id) } { (document.name) } br;
            small { (size(document.size)) " · " (moment(document.added_at)) " · " (document.added_by) } br;
            (links::offer(document))
        }
    }
}

/// [`attach`]; with an `Idempotency-Key` it is done once, however often a browser sends it because no answer came.
pub(super) fn attach_once(app: &App) -> MethodRouter<Arc<App>> {
    let sender = |request: &Parts| request.extensions.get().map(|SentBy(staff)| staff.to_string());
    let once = app.coord.idempotency("documents", sender).max_request(MAX_KEYED);
    // What is remembered is the answer as it is given, in words.
    let attach: MethodRouter<_> = post(attach).layer(DefaultBodyLimit::disable());
    let attach: MethodRouter<_> = attach.layer(from_fn(errors::render));
    attach.layer(once)
}

async fn attach(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(patient): Path<i64>,
    asked: Asked,
    request: Request,
) -> Result<(StatusCode, Json<Document>)> {
    chart::find(&app, patient).await?;
    let name = asked.text("name").to_owned();
    check_name(&name)?;
    let content_type = ContentType::of(request.headers()).map_err(|error| error.at("file"))?;
    let content = request.into_body().into_data_stream();
    let id = new_id();
    let upload = app.documents.upload(&id, Some(content_type.as_str()), content, &UploadLimits::new(MAX_DOCUMENT));
    let staged = upload.stage().await.map_err(|error| not_stored(error, &content_type))?;
    let document = Document {
        id,
        patient,
        name,
        content_type: content_type.as_str().to_owned(),
        size: i64::try_from(staged.len()).unwrap_or(i64::MAX),
        added_at: now(),
        added_by: visit.staff.name,
        stage: Some(staged.id().to_string()),
        removed_at: None,
        removed_by: None,
    };
    // If this fails it may have been done all the same: the sweep asks the database.
    app.database.add_document(&document).await?;
    // The row is there: what is left to do others do, too.
    match staged.commit().await {
        Ok(CommitOutcome::Committed(_)) => {}
        // What has lost its file, or may have, is not acknowledged.
        Ok(outcome) => return Err(AppError::internal(&outcome)),
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => return Err(error.into()),
        Err(error) => tracing::warn!(%error, "a document is committed when it is first asked for"),
    }
    Ok((StatusCode::CREATED, Json(document)))
}

fn not_stored(error: statehouse::Error, content_type: &ContentType) -> AppError {
    if UnsupportedType::of(&error).is_some() {
        let words = format!("The content of the file is not {}.", content_type.as_str());
        return AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words).at("file");
    }
    let too_large = error.kind() == ErrorKind::TooLarge;
    if too_large { AppError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE).at("file") } else { error.into() }
}

/// A name is kept as it is and never becomes a path; one that looks like a path is not what a browser sends.
fn check_name(name: &str) -> Result<()> {
    let plain = !name.trim().is_empty() && !name.contains(['/', '\\']);
    let plain = plain && !name.chars().any(|letter| letter.is_control() || turns(letter));
    if plain && name.len() <= 200 && name != "." && name != ".." {
        return Ok(());
    }
    let words = "A file name is 1 to 200 bytes without slashes, control characters and characters that turn the direction of \
                 letters.";
    Err(AppError::bad_request(words).at("file"))
}

/// Whether the letters behind this one are shown in another order than they are in, so that the end of a name is not shown at its
/// end: Unicode's marks of direction, embeddings, overrides and isolates. Letters of a script that is written from the right need none.
const fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A document that is there and not removed.
pub(super) async fn find(app: &App, id: &str) -> Result<Document> {
    let document = app.database.document(id).await?.ok_or_else(|| AppError::not_found("document"))?;
    if document.removed_at.is_some() {
        return Err(AppError::new(StatusCode::NOT_FOUND, "This document was removed."));
    }
    Ok(document)
}

/// Only a photo is shown in place.
pub(super) fn disposition(document: &Document) -> Disposition {
    let is_photo = content_type::is_photo(&document.content_type);
    if is_photo { Disposition::Safe } else { Disposition::Attachment }
}

/// Makes the file of a document that has a row, if that was not done; false if nothing can be done about it.
pub(super) async fn commit(app: &App, document: &Document) -> Result<bool> {
    let Some(stage) = &document.stage else { return Ok(false) };
    let _now_or_before = app.documents.commit(&document.id, stage.parse()?).await?;
    Ok(true)
}

pub(crate) async fn download(
    State(app): State<Arc<App>>,
    _: Visit,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let document = find(&app, &id).await?;
    let how = disposition(&document);
    let answer = async || {
        let answer = app.documents.get(&id).respond(&method, &headers).disposition(how).file_name(&document.name);
        // Who comes next to this browser must not go back to it.
        answer.content_type(&document.content_type).cache_control(HeaderValue::from_static("private, no-store")).await
    };
    let answered = match answer().await {
        Err(error) if error.kind() == ErrorKind::NotFound && commit(&app, &document).await? => answer().await,
        answered => answered,
    };
    let mut response = answered?.into_response();
    response.headers_mut().insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_like_paths_are_refused() {
        for name in ["scan.pdf", "Röntgen 2.png", "a..b", "...", "צילום.pdf", "أشعة.png"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            " ",
            ".",
            "..",
            "../passwd",
            "a/b",
            "a\\b",
            "a\nb",
            "a\0",
            "\u{202e}fdp.exe",
            "a\u{2067}b",
            "a\u{61c}1.exe",
            "a\u{200e}b",
            "a\u{200f}1.exe",
            &"x".repeat(201),
        ] {
            assert_eq!(check_name(name).unwrap_err().status, StatusCode::BAD_REQUEST, "{name}");
        }
    }
}

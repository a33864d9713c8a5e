//! "My sessions": where somebody is logged in, and how to end it.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use statehouse::core::Timestamp;
use statehouse::session::{ListedSession, SessionKey};

use super::errors;
use super::form::{Asked, Sent};
use super::page::{Here, csrf_field, error_here, moment};
use super::visit::Visit;
use crate::error::{AppError, Result};

pub(crate) async fn page(visit: Visit, asked: Asked) -> Result<Markup> {
    let said = match asked.text("ended") {
        "" => None,
        "1" => Some("The session has ended."),
        _ => Some("All your other sessions have ended."),
    };
    render(&visit, said, None).await
}

async fn render(visit: &Visit, said: Option<&str>, error: Option<&AppError>) -> Result<Markup> {
    let live = visit.session.list().await?;
    let others = live.iter().any(|listed| !listed.is_current);
    let content = html! {
        header {
            h1 { "My sessions" }
            p.quiet { "Where you are logged in. An ended session must log in again, whichever replica it asks." }
        }
        @if let Some(said) = said { p.notice data-said role="status" tabindex="-1" autofocus { (said) } }
        @if let Some(error) = error { p.error role="alert" tabindex="-1" autofocus { (error.message) } }
        section.card {
            ul.list {
                @for listed in &live { (one(visit, listed)) }
            }
            @if !others { p.quiet { "You are logged in nowhere else." } }
            @if others {
                form method="post" action="/sessions/end-others" {
                    (csrf_field(&visit.csrf))
                    button { "End all others" }
                    (error_here())
                }
            }
        }
    };
    Ok(visit.page("My sessions", Here::Sessions, &content))
}

fn one(visit: &Visit, listed: &ListedSession) -> Markup {
    let device = listed.device.as_deref().unwrap_or("Another program");
    html! {
        li {
            div.grow {
                strong { (device) }
                @if listed.is_current { " " span.badge { "this one" } }
                br;
                small { "Began " (at(listed.authenticated)) ", last used " (at(listed.last_seen)) }
            }
            form method="post" action="/sessions/end" {
                (csrf_field(&visit.csrf))
                input type="hidden" name="session" value=(listed.key);
                button.plain aria-label={ "End the session on " (device) } { "End" }
                (error_here())
            }
        }
    }
}

fn at(time: Timestamp) -> Markup {
    moment(i64::try_from(time.as_micros() / 1_000).unwrap_or(i64::MAX))
}

pub(crate) async fn end(visit: Visit, headers: HeaderMap, sent: Sent) -> Result<Response> {
    let wanted = sent.text("session").parse::<SessionKey>().ok();
    let mine = visit.session.list().await?;
    let Some(listed) = mine.iter().find(|listed| Some(listed.key) == wanted) else {
        let words = "This is no session of yours, or it has ended already.";
        let error = AppError::new(StatusCode::NOT_FOUND, words);
        let page = render(&visit, None, Some(&error)).await?;
        return Ok(errors::in_place(error, page));
    };
    visit.session.revoke(&listed.key).await?;
    tracing::info!(target: "clinic::security", staff = visit.staff.id, "ended a session");
    Ok(errors::done(&headers, "/sessions?ended=1"))
}

/// Also those that somebody is logging in to at this moment.
pub(crate) async fn end_others(visit: Visit, headers: HeaderMap) -> Result<Response> {
    visit.session.revoke_others().await?;
    tracing::info!(target: "clinic::security", staff = visit.staff.id, "ended all other sessions");
    Ok(errors::done(&headers, "/sessions?ended=others"))
}

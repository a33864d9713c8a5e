//! "My sessions": where somebody is logged in, and how to end it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::errors;
use super::form::{Asked, Sent};
use super::page::{Here, csrf_field, moment};
use super::visit::Visit;
use crate::app::{App, key_of};
use crate::error::{AppError, Result};

pub(crate) async fn page(State(app): State<Arc<App>>, visit: Visit, asked: Asked) -> Result<Markup> {
    let said = match asked.text("ended") {
        "" => None,
        "1" => Some("The session has ended."),
        _ => Some("All your other sessions have ended."),
    };
    render(&app, &visit, said, None).await
}

async fn render(app: &App, visit: &Visit, said: Option<&str>, error: Option<&AppError>) -> Result<Markup> {
    let live = app.live_logins(visit.staff.id).await?;
    let this = key_of(&visit.session).await?;
    let others = live.iter().any(|live| live.login.session_key != this);
    let content = html! {
        header {
            h1 { "My sessions" }
            p.quiet { "Where you are logged in. An ended session must log in again, whichever replica it asks." }
        }
        @if let Some(said) = said { p.notice data-said role="status" tabindex="-1" autofocus { (said) } }
        @if let Some(error) = error { p.error role="alert" tabindex="-1" autofocus { (error.message) } }
        section.card {
            ul.list {
                @for live in &live {
                    li {
                        div.grow {
                            strong { (live.login.device) }
                            @if live.login.session_key == this { " " span.badge { "this one" } }
                            br;
                            small { "Began " (moment(live.login.started_at)) ", last used " (moment(live.last_used)) }
                        }
                        form method="post" action="/sessions/end" {
                            (csrf_field(&visit.csrf))
                            input type="hidden" name="session" value=(live.login.session_key);
                            button.plain aria-label={ "End the session on " (live.login.device) } { "End" }
                        }
                    }
                }
            }
            @if !others { p.quiet { "You are logged in nowhere else." } }
            @if others {
                form method="post" action="/sessions/end-others" {
                    (csrf_field(&visit.csrf))
                    button { "End all others" }
                }
            }
        }
    };
    Ok(visit.page("My sessions", Here::Sessions, &content))
}

pub(crate) async fn end(State(app): State<Arc<App>>, visit: Visit, sent: Sent) -> Result<Response> {
    let mine = app.database.logins(visit.staff.id).await?;
    if !mine.iter().any(|login| login.session_key == sent.text("session")) {
        let words = "This is no session of yours, or it has ended already.";
        let error = AppError::new(StatusCode::NOT_FOUND, words);
        let page = render(&app, &visit, None, Some(&error)).await?;
        return Ok(errors::in_place(error, page));
    }
    app.end_login(visit.staff.id, sent.text("session")).await?;
    tracing::info!(target: "clinic::security", staff = visit.staff.id, "ended a session");
    Ok(Redirect::to("/sessions?ended=1").into_response())
}

pub(crate) async fn end_others(State(app): State<Arc<App>>, visit: Visit) -> Result<Redirect> {
    let this = key_of(&visit.session).await?;
    let mut ended = 0;
    for login in app.database.logins(visit.staff.id).await? {
        if login.session_key != this {
            app.end_login(visit.staff.id, &login.session_key).await?;
            ended += 1;
        }
    }
    tracing::info!(target: "clinic::security", staff = visit.staff.id, ended, "ended all other sessions");
    Ok(Redirect::to("/sessions?ended=others"))
}

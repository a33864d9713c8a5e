//! "My sessions": where somebody is logged in, and how to end it.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{Here, csrf_field, moment};
use super::visit::Visit;
use crate::app::{App, key_of};
use crate::error::{AppError, Result};

pub(crate) async fn page(State(app): State<Arc<App>>, visit: Visit) -> Result<Markup> {
    let live = app.live_logins(visit.staff.id).await?;
    let this = key_of(&visit.session).await?;
    let others = live.iter().any(|live| live.login.session_key != this);
    let content = html! {
        header {
            h1 { "My sessions" }
            p.quiet { "Where you are logged in. An ended session must log in again, whichever replica it asks." }
        }
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
                            button.plain { "End" }
                        }
                    }
                }
            }
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

#[derive(Deserialize)]
pub(crate) struct End {
    session: String,
}

pub(crate) async fn end(
    State(app): State<Arc<App>>,
    visit: Visit,
    Form(End { session }): Form<End>,
) -> Result<Redirect> {
    let mine = app.database.logins(visit.staff.id).await?;
    if !mine.iter().any(|login| login.session_key == session) {
        return Err(AppError::not_found("session of yours"));
    }
    app.end_login(visit.staff.id, &session).await?;
    Ok(Redirect::to("/sessions"))
}

pub(crate) async fn end_others(State(app): State<Arc<App>>, visit: Visit) -> Result<Redirect> {
    let this = key_of(&visit.session).await?;
    for login in app.database.logins(visit.staff.id).await? {
        if login.session_key != this {
            app.end_login(visit.staff.id, &login.session_key).await?;
        }
    }
    Ok(Redirect::to("/sessions"))
}

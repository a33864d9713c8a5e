use std::sync::Arc;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use statehouse::session::Session;

use super::csrf;
use super::device::device;
use super::page::{Here, Page, csrf_field, logo};
use super::visit::{STAFF, Visit};
use crate::app::{App, key_of};
use crate::error::Result;

#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

pub(crate) async fn form(session: Session, Query(Next { next }): Query<Next>) -> Result<Markup> {
    Ok(render(&csrf::token(&session).await?, &next, None))
}

#[derive(Deserialize)]
pub(crate) struct LogIn {
    login: String,
    password: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    session: Session,
    headers: HeaderMap,
    Form(form): Form<LogIn>,
) -> Result<Response> {
    let Some(staff) = app.database.log_in(form.login.trim(), &form.password).await? else {
        let page = render(&csrf::token(&session).await?, &form.next, Some("No such login, or another password."));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    };
    // A new token: whoever knew the old one is not logged in.
    session.login(staff.id).await?;
    session.clear()?;
    session.insert(STAFF, &staff)?;
    csrf::renew(&session)?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    app.database.add_login(staff.id, &key_of(&session).await?, &device(agent)).await?;
    tracing::info!(staff = staff.id, "logged in");
    Ok(Redirect::to(local(&form.next)).into_response())
}

pub(crate) async fn log_out(State(app): State<Arc<App>>, visit: Visit) -> Result<Redirect> {
    let key = key_of(&visit.session).await?;
    visit.session.logout().await?;
    app.database.remove_login(visit.staff.id, &key).await?;
    Ok(Redirect::to("/login"))
}

/// Where to go after the log-in: a path of this site, whatever the link said.
fn local(next: &str) -> &str {
    let second = next.as_bytes().get(1);
    let ours = next.starts_with('/') && !matches!(second, Some(b'/' | b'\\')) && !next.chars().any(char::is_control);
    if ours { next } else { "/" }
}

fn render(csrf: &str, next: &str, refusal: Option<&str>) -> Markup {
    let content = html! {
        div.narrow.card {
            p.brand { (logo()) "Clinic" }
            h1 { "Log in" }
            @if let Some(refusal) = refusal { p.error role="alert" { (refusal) } }
            form method="post" action="/login" {
                (csrf_field(csrf))
                input type="hidden" name="next" value=(next);
                div.field {
                    label for="login" { "Login" }
                    input id="login" name="login" autocomplete="username" autocapitalize="none" required autofocus;
                }
                div.field {
                    label for="password" { "Password" }
                    input id="password" name="password" type="password" autocomplete="current-password" required;
                }
                button { "Log in" }
            }
            h3 { "Try it as" }
            p.quiet {
                code { "ada" } " (operator), " code { "grace" } " or " code { "florence" } ", each with the password "
                code { "statehouse" } "."
            }
        }
    };
    Page { title: "Log in", here: Here::Nowhere, staff: None, replica: super::replica() }.render(&content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_leads_only_to_this_site() {
        for path in ["/", "/patients/5?x=1"] {
            assert_eq!(local(path), path);
        }
        for path in ["", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\r\nb"]
        {
            assert_eq!(local(path), "/", "{path}");
        }
    }
}

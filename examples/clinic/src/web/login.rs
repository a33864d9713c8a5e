//! Logging in, also in the middle of something, and logging out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use statehouse::session::Session;

use super::csrf;
use super::device::device;
use super::errors;
use super::form::{Asked, Sent, Typed};
use super::gate::Gate;
use super::page::{Here, Page, aria_error, csrf_field, error_beside, error_here, logo};
use super::peer::Peer;
use super::visit::{STAFF, me};
use crate::app::App;
use crate::db::Staff;
use crate::error::{AppError, Result};

/// The longest login and the longest password, in bytes.
const MAX_LOGIN: usize = 100;
const MAX_PASSWORD: usize = 1_000;
/// The longest path that a log-in leads to, in bytes: none of this site's is longer, and proxies refuse longer headers.
const MAX_NEXT: usize = 2_000;

/// What the page shows.
#[derive(Default)]
struct LogIn<'a> {
    /// Where to go then.
    next: &'a str,
    login: &'a str,
    /// A form that waits for the log-in: where it goes, and its fields as they were sent.
    waiting: Option<(&'a str, &'a str)>,
    error: Option<&'a AppError>,
}

pub(crate) async fn form(headers: HeaderMap, asked: Asked) -> Response {
    LogIn { next: asked.text("next"), ..LogIn::default() }.answer(&headers)
}

pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    session: Session,
    Peer(peer): Peer,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response> {
    let checked = async {
        Gate::check(&headers, sent.text("csrf"))?;
        let (login, password) = credentials(&sent)?;
        app.admit(login, password, peer).await
    };
    match checked.await {
        Ok(staff) => begin(&session, &headers, &sent, &staff).await,
        Err(error) => {
            let (gate, page) = LogIn::again(&sent, &error).render(&headers);
            Ok(gate.keep(errors::in_place(error, page)))
        }
    }
}

fn credentials(sent: &Sent) -> Result<(&str, &str)> {
    let (login, password) = (sent.text("login").trim(), sent.text("password"));
    if login.is_empty() {
        return Err(AppError::invalid("login", "Type your login."));
    }
    if login.len() > MAX_LOGIN {
        return Err(AppError::invalid("login", format!("A login has at most {MAX_LOGIN} letters.")));
    }
    if password.is_empty() {
        return Err(AppError::invalid("password", "Type your password."));
    }
    if password.len() > MAX_PASSWORD {
        return Err(AppError::invalid("password", format!("A password has at most {MAX_PASSWORD} letters.")));
    }
    Ok((login, password))
}

async fn begin(session: &Session, headers: &HeaderMap, sent: &Sent, staff: &Staff) -> Result<Response> {
    // A new token: whoever knew the old one is not logged in.
    session.login(staff.id).await?;
    session.clear()?;
    session.insert(STAFF, &staff.id)?;
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    session.name_device(&device(agent))?;
    let token = csrf::token(session).await?;
    // Here, where a failure is answered with a page.
    session.commit().await?;
    tracing::info!(target: "clinic::security", staff = staff.id, "logged in");
    let waiting = local(sent.text("waiting-at")).filter(|to| has_words(to));
    let answer = match waiting {
        _ if !errors::wants_page(headers) && errors::accepts(headers, "application/json") => {
            let mut answer = me(staff, &token);
            answer["to"] = local(sent.text("next")).unwrap_or("/").into();
            Json(answer).into_response()
        }
        Some(to) => resume(to, Sent::parse(sent.text("waiting").as_bytes())?, staff, &token).into_response(),
        None => Redirect::to(local(sent.text("next")).unwrap_or("/")).into_response(),
    };
    Ok(Gate::open(answer))
}

/// Whether what somebody has typed is sent there: nothing else waits for a log-in.
fn has_words(to: &str) -> bool {
    ["/patients/", "/problem-sets/"].iter().any(|below| to.starts_with(below))
}

/// The form that waited, to be sent by whoever has logged in.
fn resume(to: &str, sent: Sent, staff: &Staff, token: &str) -> Markup {
    let typed = Typed { action: to.to_owned(), sent };
    let content = html! {
        div.narrow.card {
            h1 { "You are logged in again" }
            p { "This was not saved yet, because your session had ended." }
            (errors::kept(&typed, token, "Save it now"))
        }
    };
    let page =
        Page { title: "Logged in again", here: Here::Nowhere, staff: Some((staff, token)), replica: super::replica() };
    page.render(&content)
}

/// Also for somebody whose session has ended already: they have what they want.
pub(crate) async fn log_out(session: Session) -> Result<Redirect> {
    if let Some(staff) = session.get::<i64>(STAFF).await? {
        session.logout().await?;
        tracing::info!(target: "clinic::security", staff, "logged out");
    }
    Ok(Redirect::to("/login"))
}

/// The log-in once more, when something behind it failed.
pub(super) fn page_again(headers: &HeaderMap, sent: &Sent, error: &AppError) -> Response {
    LogIn::again(sent, error).answer(headers)
}

/// The log-in that a form has to wait for.
pub(super) fn page_before(headers: &HeaderMap, typed: &Typed, error: &AppError) -> Response {
    let fields = typed.sent.fields().filter(|(name, _)| *name != "csrf");
    let waiting = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let waiting = has_words(&typed.action).then_some((&*typed.action, &*waiting));
    // To where the other forms are.
    let next = if typed.action.starts_with("/sessions/") { "/sessions" } else { "" };
    LogIn { next, waiting, error: Some(error), ..LogIn::default() }.answer(headers)
}

/// A path of this site, whatever the link said.
fn local(next: &str) -> Option<&str> {
    let second = next.as_bytes().get(1);
    let ours = next.starts_with('/') && !matches!(second, Some(b'/' | b'\\')) && !next.chars().any(char::is_control);
    (ours && next.len() <= MAX_NEXT).then_some(next)
}

impl<'a> LogIn<'a> {
    fn again(sent: &'a Sent, error: &'a AppError) -> Self {
        let waiting = Some((sent.text("waiting-at"), sent.text("waiting"))).filter(|(to, _)| !to.is_empty());
        Self { next: sent.text("next"), login: sent.text("login"), waiting, error: Some(error) }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let (gate, page) = self.render(headers);
        gate.keep(page.into_response())
    }

    fn render(&self, headers: &HeaderMap) -> (Gate, Markup) {
        let gate = Gate::of(headers);
        let content = html! {
            div.narrow.card {
                p.brand { (logo()) "Clinic" }
                h1 { "Log in" }
                @if let Some(error) = self.error.filter(|error| error.field.is_none()) {
                    p.error role="alert" { (error.message) }
                }
                form.log-in method="post" action="/login" { (self.fields(gate.token())) button { "Log in" } }
                h2.small { "Try it as" }
                p.quiet {
                    code { "ada" } " (operator), " code { "grace" } " or " code { "florence" }
                    ", each with the password " code { "statehouse" } "."
                }
            }
        };
        let page = Page { title: "Log in", here: Here::Nowhere, staff: None, replica: super::replica() };
        (gate, page.render(&content))
    }

    fn fields(&self, token: &str) -> Markup {
        let to_password = !self.login.is_empty() && self.error.is_none_or(|error| error.field != Some("login"));
        html! {
            (error_here())
            (csrf_field(token))
            input type="hidden" name="next" value=(self.next);
            @if let Some((to, waiting)) = self.waiting {
                input type="hidden" name="waiting-at" value=(to);
                input type="hidden" name="waiting" value=(waiting);
            }
            div.field {
                label for="login" { "Login" }
                input id="login" name="login" value=(self.login) autocomplete="username" autocapitalize="none" required
                    maxlength=(MAX_LOGIN) autofocus[!to_password]
                    aria-invalid=[aria_error(self.error, "login")] aria-describedby="login-error";
                (error_beside(self.error, "login"))
            }
            div.field {
                label for="password" { "Password" }
                input id="password" name="password" type="password" autocomplete="current-password" required
                    maxlength=(MAX_PASSWORD) autofocus[to_password]
                    aria-invalid=[aria_error(self.error, "password")] aria-describedby="password-error";
                (error_beside(self.error, "password"))
            }
        }
    }
}

/// What somebody without a right is told, in the same words whether the login or the password is wrong.
impl AppError {
    pub(crate) fn wrong_password() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "There is no such login, or the password is another one.")
            .at("password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_leads_only_to_this_site() {
        for path in ["/", "/patients/5?x=1"] {
            assert_eq!(local(path), Some(path));
        }
        for path in ["", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a\r\nb"]
        {
            assert_eq!(local(path), None, "{path}");
        }
        assert_eq!(local(&format!("/{}", "a".repeat(MAX_NEXT))), None);
    }

    #[test]
    fn a_field_that_is_missing_or_too_long_is_named() {
        for (form, field) in [
            ("", "login"),
            ("login=+&password=x", "login"),
            ("login=ada", "password"),
            (&*format!("login={}&password=x", "a".repeat(101)), "login"),
            (&*format!("login=ada&password={}", "a".repeat(1_001)), "password"),
        ] {
            let error = credentials(&Sent::parse(form.as_bytes()).unwrap()).unwrap_err();
            assert_eq!((error.field, error.status), (Some(field), StatusCode::UNPROCESSABLE_ENTITY), "{form}");
        }
        assert_eq!(credentials(&Sent::parse(b"login=+ada+&password=+x").unwrap()).unwrap(), ("ada", " x"));
    }
}

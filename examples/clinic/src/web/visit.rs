//! Who is asking.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use serde_json::{Value, json};
use statehouse::session::Session;

use super::csrf;
use super::page::{Here, Page};
use crate::app::App;
use crate::db::{Role, Staff};
use crate::error::AppError;

/// The attribute of the session that says whose it is: a number. What they may do is asked for each time.
pub(crate) const STAFF: &str = "staff-id";

/// A request of somebody who is logged in. A handler that takes this runs for nobody else.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) session: Session,
    pub(crate) staff: Staff,
    pub(crate) csrf: String,
}

impl Visit {
    pub(crate) fn page(&self, title: &str, here: Here, content: &Markup) -> Markup {
        let page = Page { title, here, staff: Some((&self.staff, &self.csrf)), replica: super::replica() };
        page.render(content)
    }
}

/// Why there is no visit.
pub(crate) enum NoVisit {
    /// Nobody is logged in: a page leads to the log-in, a script is told.
    LogIn {
        back_to: Option<String>,
    },
    Failed(AppError),
}

impl<E: Into<AppError>> From<E> for NoVisit {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for NoVisit {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn { back_to: Some(path) } => {
                let query = path.replace('%', "%25").replace('&', "%26").replace('#', "%23").replace('+', "%2B");
                Redirect::to(&format!("/login?next={query}")).into_response()
            }
            Self::LogIn { back_to: None } => AppError::logged_out().into_response(),
            Self::Failed(error) => error.into_response(),
        }
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = NoVisit;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, NoVisit> {
        let session = Session::from_request_parts(parts, app).await.map_err(|missing| AppError::internal(&missing))?;
        let Some(staff) = of_session(&session, app).await? else {
            let page = parts.method == axum::http::Method::GET && super::errors::wants_page(&parts.headers);
            let OriginalUri(uri) =
                OriginalUri::from_request_parts(parts, app).await.unwrap_or_else(|never| match never {});
            return Err(NoVisit::LogIn { back_to: page.then(|| uri.to_string()) });
        };
        let csrf = csrf::token(&session).await?;
        Ok(Self { session, staff, csrf })
    }
}

/// Whose session it is. It ends when they are no longer of the staff.
async fn of_session(session: &Session, app: &App) -> Result<Option<Staff>, AppError> {
    let Some(id) = session.get::<i64>(STAFF).await? else { return Ok(None) };
    let staff = app.staff(id).await?;
    if staff.is_none() {
        session.logout().await?;
        tracing::warn!(target: "clinic::security", staff = id, "the session of somebody who was dismissed has ended");
    }
    Ok(staff)
}

/// Who is logged in, for scripts.
pub(crate) fn me(staff: &Staff, csrf: &str) -> Value {
    json!({ "login": staff.login, "name": staff.name, "csrf": csrf })
}

/// A request of an operator.
#[derive(Debug)]
pub(crate) struct OperatorVisit(pub(crate) Visit);

impl FromRequestParts<Arc<App>> for OperatorVisit {
    type Rejection = NoVisit;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, NoVisit> {
        let visit = Visit::from_request_parts(parts, app).await?;
        if visit.staff.role != Role::Operator {
            tracing::warn!(target: "clinic::security", staff = visit.staff.id, "a page for operators was refused");
            return Err(AppError::new(StatusCode::FORBIDDEN, "This page is for operators.").into());
        }
        Ok(Self(visit))
    }
}

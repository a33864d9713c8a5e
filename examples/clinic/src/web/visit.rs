//! Who is asking.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use statehouse::session::Session;

use super::csrf;
use super::page::{Here, Page};
use crate::app::App;
use crate::db::{Role, Staff};
use crate::error::AppError;

/// The attribute of the session that says who it belongs to.
pub(crate) const STAFF: &str = "staff";

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
            Self::LogIn { back_to: None } => AppError::new(StatusCode::UNAUTHORIZED, "Log in first.").into_response(),
            Self::Failed(error) => error.into_response(),
        }
    }
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = NoVisit;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, NoVisit> {
        let session = Session::from_request_parts(parts, app).await.map_err(|missing| AppError::internal(&missing))?;
        let Some(staff) = session.get::<Staff>(STAFF).await? else {
            let page = parts.method == axum::http::Method::GET && super::errors::wants_page(&parts.headers);
            let OriginalUri(uri) =
                OriginalUri::from_request_parts(parts, app).await.unwrap_or_else(|never| match never {});
            return Err(NoVisit::LogIn { back_to: page.then(|| uri.to_string()) });
        };
        let csrf = csrf::token(&session).await?;
        Ok(Self { session, staff, csrf })
    }
}

/// A request of an operator.
#[derive(Debug)]
pub(crate) struct OperatorVisit(pub(crate) Visit);

impl FromRequestParts<Arc<App>> for OperatorVisit {
    type Rejection = NoVisit;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, NoVisit> {
        let visit = Visit::from_request_parts(parts, app).await?;
        if visit.staff.role != Role::Operator {
            return Err(AppError::new(StatusCode::FORBIDDEN, "This page is for operators.").into());
        }
        Ok(Self(visit))
    }
}

//! Extractors for axum.

use std::fmt;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use statehouse_core::{Error, ErrorKind};

use super::answer::{MissingSessionLayer, error_response};
use super::which::SessionOf;
use crate::record::Principal;
use crate::session::Session;

impl IntoResponse for MissingSessionLayer {
    fn into_response(self) -> Response {
        self.response().map(|()| Body::empty())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = MissingSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(MissingSessionLayer)
    }
}

/// None where no layer is around.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

impl<S: Send + Sync, M: 'static> FromRequestParts<S> for SessionOf<M> {
    type Rejection = MissingSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(MissingSessionLayer)
    }
}

/// None where no layer with this mark is around.
impl<S: Send + Sync, M: 'static> OptionalFromRequestParts<S> for SessionOf<M> {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

/// An error of a session, as the answer of a handler: see [`error_response`].
///
/// ```
/// use statehouse_session::{Session, SessionError};
///
/// async fn theme(session: Session) -> Result<String, SessionError> {
///     session.require_fresh(std::time::Duration::from_secs(300)).await?; // 401
///     Ok(session.get("theme").await?.unwrap_or_default()) // 503 if the store is away
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SessionError(Error);

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        error.0
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        error_response(&self.0).map(|()| Body::empty())
    }
}

/// Why there is no [`Principal`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PrincipalRejection {
    /// 500.
    MissingLayer(MissingSessionLayer),
    /// Nobody is logged in or not recently enough (401), or the store could not say.
    Session(SessionError),
}

impl IntoResponse for PrincipalRejection {
    fn into_response(self) -> Response {
        match self {
            Self::MissingLayer(missing) => missing.into_response(),
            Self::Session(error) => error.into_response(),
        }
    }
}

impl fmt::Display for PrincipalRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingLayer(missing) => missing.fmt(f),
            Self::Session(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PrincipalRejection {}

impl From<Error> for PrincipalRejection {
    fn from(error: Error) -> Self {
        Self::Session(error.into())
    }
}

fn session(parts: &Parts) -> Result<&Session, PrincipalRejection> {
    parts.extensions.get().ok_or(PrincipalRejection::MissingLayer(MissingSessionLayer))
}

/// Whoever is logged in; for nobody it is 401. `Option<Principal>` is for pages that nobody need be logged in to.
impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let nobody = || Error::new(ErrorKind::Unauthenticated, "nobody is logged in").into();
        session(parts)?.known_principal().await?.ok_or_else(nobody)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(session(parts)?.principal().await?)
    }
}

/// Whoever has logged in not longer than so many seconds ago; for everybody else it is 401: see
/// [`require_fresh`](Session::require_fresh).
///
/// ```
/// use statehouse_session::Fresh;
///
/// async fn change_password(Fresh(user): Fresh<300>) -> String {
///     format!("of {user}")
/// }
/// ```
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a handler takes it apart in its arguments")]
pub struct Fresh<const SECONDS: u64>(pub Principal);

impl<S: Send + Sync, const SECONDS: u64> FromRequestParts<S> for Fresh<SECONDS> {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        session(parts)?.require_fresh(Duration::from_secs(SECONDS)).await?;
        <Principal as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Self)
    }
}

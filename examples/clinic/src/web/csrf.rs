//! Every request that changes something must show the token of the session that it is made in. The library sees to that;
//! here is what this site says of it.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use statehouse::session::{CsrfLayer, CsrfRefused, Session};
use subtle::ConstantTimeEq;

use super::visit::STAFF;
use crate::error::{AppError, Result};

/// The log-in has a token of its own.
const LOG_IN: &str = "/login";

/// The session's token, left with a refusal of somebody who came from this site with an older one: the page on which
/// they see their form again has this one in it.
#[derive(Clone, Debug)]
pub(crate) struct Fresh(pub(crate) String);

/// Who sends a request that was let through, for layers that do not ask the session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentBy(pub(super) i64);

pub(super) fn layer() -> CsrfLayer {
    CsrfLayer::new().exempt(|request| request.uri.path() == LOG_IN)
}

/// The token for the forms of a page.
pub(crate) async fn token(session: &Session) -> Result<String> {
    Ok(session.csrf_token().await?.expose().to_owned())
}

/// Around the layer. Somebody whose session has ended is told that first: no token would help.
pub(crate) async fn explain(session: Session, mut request: Request, next: Next) -> Result<Response> {
    if matches!(*request.method(), Method::GET | Method::HEAD) || request.uri().path() == LOG_IN {
        return Ok(next.run(request).await);
    }
    let Some(staff) = session.get::<i64>(STAFF).await? else { return Err(AppError::logged_out()) };
    request.extensions_mut().insert(SentBy(staff));
    let (path, same_origin) = (request.uri().path().to_owned(), is_same_origin(request.headers()));
    let answer = next.run(request).await;
    if answer.extensions().get::<CsrfRefused>().is_none() {
        return Ok(answer);
    }
    tracing::warn!(target: "clinic::security", path, same_origin, "a request without its token was refused");
    let mut response = AppError::stale().into_response();
    if same_origin {
        response.extensions_mut().insert(Fresh(token(&session).await?));
    }
    Ok(response)
}

/// Compares two secrets in a time that says nothing of where they differ.
pub(super) fn same(expected: &str, shown: &str) -> bool {
    expected.as_bytes().ct_eq(shown.as_bytes()).into()
}

/// Whether a browser says that one of this site's pages made the request. Over plain HTTP browsers send no
/// `Sec-Fetch-Site`, but with every form an `Origin`.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text(header::ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text(header::HOST.as_str()),
        (None, None) => false,
    }
}

/// Whether a browser says that another site's page made the request.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// Whether a browser says that the request is not of one of this site's pages. What is no browser says nothing.
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let is_said = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    is_said && !is_same_origin(headers)
}

impl AppError {
    /// Nobody is logged in here, or nobody any more.
    pub(crate) fn logged_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Your session has ended. Log in again; what you typed is kept.")
    }

    /// The form has the token of an earlier session.
    fn stale() -> Self {
        let words = "This form is out of date, or it did not come from this site. Load the page again.";
        Self { code: Some("stale"), ..Self::new(StatusCode::FORBIDDEN, words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_says_where_a_request_comes_from() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        for (pairs, same, cross) in [
            (&[("sec-fetch-site", "same-origin")][..], true, false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://evil.example"), ("host", "c")], false, true),
            (&[("sec-fetch-site", "same-site")], false, true),
            (&[("sec-fetch-site", "none")], false, false),
            (&[("origin", "http://c:80"), ("host", "c:80")], true, false),
            (&[("origin", "null"), ("host", "c")], false, false),
            (&[("origin", "http://c.evil"), ("host", "c")], false, false),
            (&[("host", "c")], false, false),
        ] {
            let headers = headers(pairs);
            assert_eq!((is_same_origin(&headers), is_cross_site(&headers)), (same, cross), "{pairs:?}");
            assert_eq!(is_foreign(&headers), !same && pairs.iter().any(|(name, _)| *name != "host"), "{pairs:?}");
        }
    }
}

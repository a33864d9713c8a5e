//! Every request that changes something must show the token of the session that it is made in.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use statehouse::session::Session;
use subtle::ConstantTimeEq;

use super::form::Sent;
use super::visit::STAFF;
use crate::error::{AppError, Result};
use crate::id::new_id;

const HEADER: &str = "x-csrf-token";
const ATTRIBUTE: &str = "csrf";

/// The session's token, left with a refusal of somebody who came from this site with an older one: the page on which
/// they see their form again has this one in it.
#[derive(Clone, Debug)]
pub(crate) struct Fresh(pub(crate) String);

/// The token of this session, which gets one if it has none.
pub(crate) async fn token(session: &Session) -> Result<String> {
    if let Some(token) = session.get(ATTRIBUTE).await? {
        return Ok(token);
    }
    renew(session)
}

/// Gives the session a new token, as after a log-in.
pub(crate) fn renew(session: &Session) -> Result<String> {
    let token = new_id();
    session.insert(ATTRIBUTE, &token)?;
    Ok(token)
}

/// Who sends a request that was let through, for layers that do not ask the session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentBy(pub(super) i64);

/// Lets through what only reads, and what shows the token in the header `X-CSRF-Token` or in the field `csrf`.
/// Somebody whose session has ended is told that first: no token would help. The log-in has a token of its own.
pub(crate) async fn protect(session: Session, mut request: Request, next: Next) -> Result<Response> {
    if matches!(*request.method(), Method::GET | Method::HEAD) || request.uri().path() == "/login" {
        return Ok(next.run(request).await);
    }
    let Some(staff) = session.get::<i64>(STAFF).await? else { return Err(AppError::logged_out()) };
    let expected: Option<String> = session.get(ATTRIBUTE).await?;
    let shown = shown(&request);
    if expected.as_ref().zip(shown).is_some_and(|(expected, shown)| same(expected, &shown)) {
        request.extensions_mut().insert(SentBy(staff));
        return Ok(next.run(request).await);
    }
    let same_origin = is_same_origin(request.headers());
    tracing::warn!(target: "clinic::security", path = request.uri().path(), same_origin, "a request without its token was refused");
    let mut response = AppError::stale().into_response();
    if let Some(token) = expected.filter(|_| same_origin) {
        response.extensions_mut().insert(Fresh(token));
    }
    Ok(response)
}

/// Compares two secrets in a time that says nothing of where they differ.
pub(super) fn same(expected: &str, shown: &str) -> bool {
    expected.as_bytes().ct_eq(shown.as_bytes()).into()
}

fn shown(request: &Request) -> Option<String> {
    match request.headers().get(HEADER) {
        Some(token) => token.to_str().ok().map(str::to_owned),
        None => request.extensions().get::<Sent>().map(|sent| sent.text(ATTRIBUTE).to_owned()),
    }
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
    use axum::body::Body;

    use super::*;

    fn request(token: Option<&str>, form: &str) -> Request {
        let mut request = axum::http::Request::post("/");
        if let Some(token) = token {
            request = request.header(HEADER, token);
        }
        request.extension(Sent::parse(form.as_bytes())).body(Body::empty()).unwrap()
    }

    #[test]
    fn the_token_is_taken_from_the_header_or_from_the_form() {
        for (request, expected) in [
            (request(Some("t1"), ""), "t1"),
            (request(None, "text=a%20b&csrf=t2"), "t2"),
            (request(Some("t1"), "csrf=t2"), "t1"),
            (request(None, "xcsrf=t2&csrfx=t3"), ""),
        ] {
            assert_eq!(shown(&request).as_deref(), Some(expected));
        }
        let (parts, body) = request(None, "").into_parts();
        let mut json = Request::from_parts(parts, body);
        json.extensions_mut().clear();
        assert_eq!(shown(&json), None);
    }

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
        }
    }
}

//! Every request that changes something must show the token of the session that it is made in.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use statehouse::session::Session;
use subtle::ConstantTimeEq;

use crate::error::{AppError, Result};
use crate::id::new_id;

/// The most bytes of a form.
const MAX_FORM: usize = 64 << 10;
/// A browser that has sent no more than this is let finish, because it looks at the answer only then.
const MAX_REFUSED: usize = 16 << 20;
const HEADER: &str = "x-csrf-token";
const ATTRIBUTE: &str = "csrf";

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

/// Lets through what only reads, and what shows the token in the header `X-CSRF-Token` or in the field `csrf`.
pub(crate) async fn protect(session: Session, request: Request, next: Next) -> Result<Response> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(next.run(request).await);
    }
    let expected: Option<String> = session.get(ATTRIBUTE).await?;
    let (shown, request) = shown(request).await?;
    match (expected, shown) {
        (Some(expected), Some(shown)) if expected.as_bytes().ct_eq(shown.as_bytes()).into() => {
            Ok(next.run(request).await)
        }
        _ => Err(AppError::new(
            StatusCode::FORBIDDEN,
            "This form is out of date, or it did not come from this site. Load the page again.",
        )),
    }
}

async fn shown(request: Request) -> Result<(Option<String>, Request)> {
    if let Some(token) = request.headers().get(HEADER) {
        let token = token.to_str().ok().map(str::to_owned);
        return Ok((token, request));
    }
    if !is_form(request.headers()) {
        return Ok((None, request));
    }
    let (parts, body) = request.into_parts();
    let bytes = form(body).await?;
    let token = field(&bytes, ATTRIBUTE);
    Ok((token, Request::from_parts(parts, Body::from(bytes))))
}

async fn form(body: Body) -> Result<Bytes> {
    let mut pieces = body.into_data_stream();
    let (mut form, mut length) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| AppError::bad_request("The form broke off."))?;
        length += piece.len();
        if length <= MAX_FORM {
            form.extend_from_slice(&piece);
        } else if length > MAX_REFUSED {
            break;
        }
    }
    if length > MAX_FORM {
        return Err(AppError::new(StatusCode::PAYLOAD_TOO_LARGE, "A form must not be larger than 64 KiB."));
    }
    Ok(form.into())
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

/// The field of a form, if its value is plain: a token needs no decoding.
fn field(form: &[u8], name: &str) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn request(content_type: &str, token: Option<&str>, body: &str) -> Request {
        let mut request = axum::http::Request::post("/").header(header::CONTENT_TYPE, content_type);
        if let Some(token) = token {
            request = request.header(HEADER, token);
        }
        request.body(Body::from(body.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn the_token_is_taken_from_the_header_or_from_the_form_and_the_form_stays_whole() {
        let form = "application/x-www-form-urlencoded";
        let cases = [
            (request("image/png", Some("t1"), "pixels"), Some("t1")),
            (request(form, None, "text=a%20b&csrf=t2"), Some("t2")),
            (request(form, None, "xcsrf=t2&csrfx=t3"), None),
            (request("text/plain", None, "csrf=t2"), None),
            (request("application/json", None, "{\"csrf\":\"t2\"}"), None),
        ];
        for (request, expected) in cases {
            assert_eq!(shown(request).await.unwrap().0.as_deref(), expected);
        }
        let (_, left) = shown(request(form, None, "csrf=t&text=kept")).await.unwrap();
        assert_eq!(to_bytes(left.into_body(), 99).await.unwrap(), "csrf=t&text=kept");
    }

    #[tokio::test]
    async fn a_form_that_is_too_large_is_refused() {
        let body = "a".repeat(MAX_FORM + 1);
        let error = shown(request("application/x-www-form-urlencoded", None, &body)).await.unwrap_err();
        assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}

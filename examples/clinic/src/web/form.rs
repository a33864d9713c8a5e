//! What people typed: read before anything can fail, so that no refusal and no outage loses it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::csrf;
use crate::error::{AppError, Result};

/// The most bytes of a form: a note of the longest kind in a script that takes nine bytes for a letter here.
const MAX_FORM: usize = 256 << 10;
/// No form of this site has so many fields: of nothing but fields one would take thirty times its length.
const MOST_FIELDS: usize = 64;
/// A browser that has sent no more than this is let finish, because it looks at the answer only then.
const MAX_REFUSED: usize = 16 << 20;
/// How long a form may be under way.
const WITHIN: Duration = Duration::from_secs(20);

/// The fields of a form. A field that is missing is empty: its handler says beside it what is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<Fields>);

/// The fields of an address, behind its `?`.
#[derive(Debug)]
pub(crate) struct Asked(Fields);

#[derive(Debug, Default)]
struct Fields(Vec<(String, String)>);

/// A form that was not accepted, for whoever shows it again.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// Where it was sent.
    pub(crate) action: String,
    pub(crate) sent: Sent,
}

impl Fields {
    /// PostgreSQL keeps no NUL in a text, and no keyboard has one.
    fn parse(encoded: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(encoded).take(MOST_FIELDS);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.replace('\0', ""))).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl Sent {
    pub(crate) fn parse(encoded: &[u8]) -> Result<Self> {
        if form_urlencoded::parse(encoded).nth(MOST_FIELDS).is_some() {
            return Err(AppError::bad_request(format!(
                "A form of more than {MOST_FIELDS} fields is none of this site's."
            )));
        }
        Ok(Self(Arc::new(Fields::parse(encoded))))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.text(name)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Asked {
    pub(crate) fn nothing() -> Self {
        Self(Fields::default())
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.text(name)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Sent {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let unexpected = "A form is expected here, and that is not one.";
        let sent = parts.extensions.get().cloned();
        sent.ok_or_else(|| AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, unexpected))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// Reads a form whole, hands it on as [`Sent`], and leaves it with an answer that refuses it: but not what another site's page
/// has sent, which nobody has typed here.
pub(crate) async fn read(request: Request, next: Next) -> Response {
    if !is_form(request.headers()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let late = || Err(AppError::new(StatusCode::REQUEST_TIMEOUT, "The form did not arrive in time. Send it again."));
    let encoded = tokio::time::timeout(WITHIN, whole(body)).await.unwrap_or_else(|_| late());
    let (encoded, sent) = match encoded.and_then(|encoded| Sent::parse(&encoded).map(|sent| (encoded, sent))) {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    let (typed, is_foreign) = (Typed { action: parts.uri.to_string(), sent }, csrf::is_foreign(&parts.headers));
    parts.extensions.insert(typed.sent.clone());
    let mut response = next.run(Request::from_parts(parts, Body::from(encoded))).await;
    if is_foreign {
        return response;
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        response.extensions_mut().insert(typed);
    }
    response
}

async fn whole(body: Body) -> Result<Bytes> {
    let mut pieces = body.into_data_stream();
    let (mut form, mut length) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| AppError::bad_request("The form broke off. Send it again."))?;
        length += piece.len();
        if length <= MAX_FORM {
            form.extend_from_slice(&piece);
        } else if length > MAX_REFUSED {
            break;
        }
    }
    if length > MAX_FORM {
        return Err(AppError::new(StatusCode::PAYLOAD_TOO_LARGE, "A form must not be larger than 256 KiB."));
    }
    Ok(form.into())
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_what_was_typed_and_a_missing_one_is_empty() {
        let sent = Sent::parse(b"text=a%20b%00+c&csrf=t&text=later&broken=%zz&bytes=%ff").unwrap();
        assert_eq!((sent.text("text"), sent.text("csrf"), sent.text("none")), ("a b c", "t", ""));
        assert_eq!((sent.text("broken"), sent.text("bytes")), ("%zz", "\u{fffd}"));
        assert_eq!(sent.fields().count(), 5);
    }

    #[test]
    fn a_form_of_too_many_fields_is_refused() {
        assert_eq!(Sent::parse(&b"a&".repeat(MOST_FIELDS)).unwrap().fields().count(), MOST_FIELDS);
        assert_eq!(Sent::parse(&b"a&".repeat(131_072)).unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_form_that_is_too_large_is_refused() {
        assert_eq!(whole(Body::from("a".repeat(MAX_FORM))).await.unwrap().len(), MAX_FORM);
        let error = whole(Body::from("a".repeat(MAX_FORM + 1))).await.unwrap_err();
        assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}

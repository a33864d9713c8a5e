use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{Stream, StreamExt, stream};

use crate::error::{AppError, Result};

/// What the browser says that a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentType(String);

/// The types that are shown in the page, and those whose content is looked at: each with how its files begin. `?` is any byte.
const KNOWN: [(&str, &[u8]); 5] = [
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
    ("image/webp", b"RIFF????WEBP"),
    ("application/pdf", b"%PDF-"),
];
const LONGEST: usize = 12;

/// Whether a document of this type can be shown as a picture. It has been looked at when it was stored.
pub(crate) fn is_photo(content_type: &str) -> bool {
    content_type.starts_with("image/") && KNOWN.iter().any(|(known, _)| *known == content_type)
}

/// The type under which a document is handed out. Whatever is no photo is handed out as bytes: whatever its sender
/// called it, no browser takes it for a script, a style or a page.
pub(crate) fn handed_out_as(content_type: &str) -> &str {
    if is_photo(content_type) { content_type } else { "application/octet-stream" }
}

impl ContentType {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        let unclear =
            || AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The type of the file is missing or unclear.");
        let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).ok_or_else(unclear)?;
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let token = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed)
        };
        match essence.split_once('/') {
            Some((kind, sub)) if token(kind) && token(sub) && essence.len() <= 100 => Ok(Self(essence)),
            _ => Err(unclear()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The same content, if it begins as content of this type does.
    pub(crate) async fn check<S, E>(&self, mut content: S) -> Result<impl Stream<Item = Result<Bytes, E>> + use<S, E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: Send + 'static,
    {
        let (mut pieces, mut start) = (Vec::new(), Vec::new());
        while start.len() < LONGEST {
            let Some(piece) = content.next().await else { break };
            if let Ok(bytes) = &piece {
                start.extend(bytes.iter().take(LONGEST - start.len()));
            }
            let failed = piece.is_err();
            pieces.push(piece);
            if failed {
                break;
            }
        }
        match KNOWN.iter().find(|(known, _)| *known == self.0) {
            Some((_, expected)) if !begins_with(&start, expected) => Err(AppError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("The content of the file is not {}.", self.0),
            )),
            _ => Ok(stream::iter(pieces).chain(content)),
        }
    }
}

fn begins_with(content: &[u8], expected: &[u8]) -> bool {
    content.len() >= expected.len() && content.iter().zip(expected).all(|(byte, like)| *like == b'?' || byte == like)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn content_type(text: &str) -> Result<ContentType> {
        ContentType::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, text.parse().unwrap())]))
    }

    #[test]
    fn a_type_is_two_tokens() {
        assert_eq!(content_type("Image/PNG; charset=x").unwrap().as_str(), "image/png");
        for text in ["", "png", "image/", "/png", "image/p ng", "text/html\"<"] {
            assert_eq!(content_type(text).unwrap_err().status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{text}");
        }
        assert!(ContentType::of(&HeaderMap::new()).is_err());
    }

    #[tokio::test]
    async fn content_must_begin_as_its_type_says_however_it_is_cut() {
        let png = b"\x89PNG\r\n\x1a\n and more pixels";
        for (content, declared, fits) in [
            (&png[..], "image/png", true),
            (b"<html>", "image/png", false),
            (b"", "image/png", false),
            (b"RIFFabcdWEBPVP8 ", "image/webp", true),
            (b"RIFFabcdWAVE", "image/webp", false),
            (b"anything", "application/octet-stream", true),
            (b"", "text/plain", true),
        ] {
            for piece in [1, 3, 100] {
                let pieces: Vec<_> =
                    content.chunks(piece).map(|bytes| Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))).collect();
                let checked = content_type(declared).unwrap().check(stream::iter(pieces)).await;
                assert_eq!(checked.is_ok(), fits, "{declared} {content:?}");
                if let Ok(checked) = checked {
                    let whole: Vec<_> = checked.map(Result::unwrap).collect().await;
                    assert_eq!(whole.concat(), content);
                }
            }
        }
    }

    #[test]
    fn only_types_that_were_looked_at_are_shown() {
        assert!(is_photo("image/png") && is_photo("image/webp"));
        for kind in ["text/javascript", "text/html", "image/svg+xml", "application/pdf", "text/css", "application/wasm"]
        {
            assert_eq!(handed_out_as(kind), "application/octet-stream");
        }
        assert_eq!(handed_out_as("image/png"), "image/png");
        assert!(!is_photo("image/svg+xml") && !is_photo("application/pdf") && !is_photo("text/html"));
    }
}

use axum::http::{HeaderMap, StatusCode, header};

use crate::error::{AppError, Result};

/// What the browser says that a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentType(String);

/// The types that are shown in the page. Their content was looked at when it was stored.
const PHOTOS: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

/// Whether a document of this type can be shown as a picture.
pub(crate) fn is_photo(content_type: &str) -> bool {
    PHOTOS.contains(&content_type)
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
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn only_types_that_were_looked_at_are_shown() {
        assert!(is_photo("image/png") && is_photo("image/webp"));
        for kind in ["text/javascript", "text/html", "image/svg+xml", "application/pdf", "text/css", "application/wasm"]
        {
            assert!(!is_photo(kind), "{kind}");
        }
    }
}

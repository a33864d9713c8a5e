//! Which texts are a media type, as the header `Content-Type` has one
//! ([RFC 9110, 8.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1)).
//!
//! It is looked at strictly, because those who read the header do not agree on anything else: browsers split it at commas that are
//! not in quotes and take the last type, so that `audio/mpeg;a, text/html` is a page.

/// Whether a text is a type, a slash, a subtype and parameters, and nothing besides.
pub(crate) fn is_media_type(text: &str) -> bool {
    let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let is_type =
        essence.trim_end_matches(' ').split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    while let Some(more) = rest.strip_prefix(';') {
        match behind_parameter(more.trim_start_matches(' ')) {
            Some(behind) => rest = behind.trim_start_matches(' '),
            None => return false,
        }
    }
    is_type && rest.is_empty()
}

/// What stands behind a parameter; there may be none.
fn behind_parameter(text: &str) -> Option<&str> {
    if text.is_empty() || text.starts_with(';') {
        return Some(text);
    }
    let (_, value) = text.split_once('=').filter(|(name, _)| is_token(name))?;
    match value.strip_prefix('"') {
        Some(quoted) => behind_quotes(quoted),
        None => {
            let (value, behind) = value.split_at(value.find([';', ' ']).unwrap_or(value.len()));
            is_token(value).then_some(behind)
        }
    }
}

/// What stands behind the quotation mark that ends it.
fn behind_quotes(quoted: &str) -> Option<&str> {
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = !escaped && byte == b'"';
        escaped = !escaped && byte == b'\\';
        ends
    })?;
    quoted.get(end + 1..)
}

/// [RFC 9110, 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_two_tokens_and_whole_parameters() {
        for good in [
            "a/b",
            "image/svg+xml",
            "text/plain;charset=utf-8",
            "text/plain ; charset=utf-8",
            "text/plain;",
            "text/plain; ;a=b",
            "video/mp4; codecs=\"avc1.42E01E, mp4a.40.2\"",
            "a/b;c=\"\";d=\"\\\"\\\\\" ; e=f",
        ] {
            assert!(is_media_type(good), "{good:?}");
        }
    }

    #[test]
    fn whatever_else_could_be_read_in_two_ways_is_none() {
        for bad in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b/c",
            "a /b",
            "a/b c",
            "a/b, text/html",
            "audio/mpeg;a, text/html",
            "audio/mpeg;a=b, text/html",
            "audio/mpeg;a=\"b\", text/html",
            "audio/mpeg;a=\"\\\\\", text/html",
            "audio/mpeg;a=\"b, text/html",
            "audio/mpeg;a=\"b\\\"",
            "a/b;c",
            "a/b;c=",
            "a/b;=d",
            "a/b;c =d",
            "a/b;c= d",
            "a/b;c=d e",
            "a/b;c=\"d\"e",
            "a/b;c=d=e",
            "é/b",
        ] {
            assert!(!is_media_type(bad), "{bad:?}");
        }
    }
}

//! What a file says of itself besides its content, and what of that there may be.

use std::collections::BTreeMap;

use statehouse_core::{Error, Result};

use crate::media_type::is_media_type;
use crate::meta::Meta;

/// The most bytes of user metadata, names and encoded values, the disposition and the cache control together: what S3's
/// 2 KiB leave beside our own.
const MAX_BYTES: usize = 1536;

/// The most pairs of user metadata: HTTP clients, ours among them, take no answer of more than a hundred headers.
const MAX_PAIRS: usize = 64;

const MAX_TYPE: usize = 255;
const MAX_DISPOSITION: usize = 1024;
const MAX_CACHE_CONTROL: usize = 255;

/// What is kept with a file for who reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) content_type: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) user: BTreeMap<String, String>,
}

impl Described {
    /// What of it could have been stored by us. Something else may have written the rest, and whoever hands it on as headers
    /// would hand on headers that somebody else has chosen.
    pub(crate) fn sound(mut self) -> Self {
        self.user.retain(|name, value| is_name(name) && is_value(value));
        Self {
            content_type: self.content_type.filter(|text| is_type(text)),
            content_disposition: self.content_disposition.filter(|text| is_disposition(text)),
            cache_control: self.cache_control.filter(|text| is_cache_control(text)),
            user: self.user,
        }
    }
}

impl Meta {
    pub(crate) fn with_described(self, described: Described) -> Self {
        let Described { content_type, content_disposition, cache_control, user } = described;
        self.with_content_type(content_type)
            .with_content_disposition(content_disposition)
            .with_cache_control(cache_control)
            .with_user(user)
    }
}

/// Whether a text can be a header's value, of so many bytes at most.
fn is_header(text: &str, most: usize) -> bool {
    let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim() == text;
    visible && (1..=most).contains(&text.len())
}

/// Whether a text can be a content type.
fn is_type(text: &str) -> bool {
    is_header(text, MAX_TYPE) && is_media_type(text)
}

/// Whether a text can be a disposition: a word, and then what stands behind semicolons
/// ([RFC 6266, 4.1](https://www.rfc-editor.org/rfc/rfc6266#section-4.1)).
fn is_disposition(text: &str) -> bool {
    let word = text.split(';').next().unwrap_or_default().trim_end();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_header(text, MAX_DISPOSITION) && is_word(word)
}

fn is_cache_control(text: &str) -> bool {
    is_header(text, MAX_CACHE_CONTROL)
}

/// Whether a text can be the name of a pair of metadata.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with("statehouse-")
}

/// Whether a text can be the value of one.
fn is_value(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Refuses a content type that some backend could not keep.
pub(crate) fn check_type(content_type: Option<&str>) -> Result<()> {
    if content_type.is_some_and(|text| !is_type(text)) {
        let rule =
            "a content type is a type, a slash, a subtype and parameters (RFC 9110, 8.3.1), at most 255 characters";
        return Err(Error::invalid_input(rule));
    }
    Ok(())
}

/// Refuses a disposition or cache control that is another header besides, or too long; of how many bytes both are.
pub(crate) fn check_headers(content_disposition: Option<&str>, cache_control: Option<&str>) -> Result<usize> {
    if content_disposition.is_some_and(|text| !is_disposition(text)) {
        let rule = "a content disposition is a word with parameters, 1 to 1024 visible ASCII characters";
        return Err(Error::invalid_input(rule));
    }
    if cache_control.is_some_and(|text| !is_cache_control(text)) {
        return Err(Error::invalid_input("a cache control is 1 to 255 visible ASCII characters"));
    }
    Ok(content_disposition.map_or(0, str::len) + cache_control.map_or(0, str::len))
}

/// Refuses user metadata that some backend could not keep beside so many bytes.
pub(crate) fn check_user(user: &BTreeMap<String, String>, beside: usize) -> Result<()> {
    if user.len() > MAX_PAIRS {
        return Err(Error::invalid_input("a file has at most 64 pairs of metadata"));
    }
    if !user.keys().all(|name| is_name(name)) {
        let rule = "a metadata name is 1 to 64 of a-z, 0-9 and -, and does not begin with statehouse-";
        return Err(Error::invalid_input(rule));
    }
    if !user.values().all(|value| is_value(value)) {
        return Err(Error::invalid_input("a metadata value must not contain control characters"));
    }
    // Backends that send metadata as headers write a byte outside visible ASCII as three.
    let cost = |b| if (b'!'..=b'~').contains(&b) && b != b'%' { 1 } else { 3 };
    let size: usize = user.iter().map(|(name, value)| name.len() + value.bytes().map(cost).sum::<usize>()).sum();
    if size + beside > MAX_BYTES {
        let message = "the metadata, content disposition and cache control are longer than 1536 bytes together, counting \
                       three for each byte of metadata outside visible ASCII";
        return Err(Error::invalid_input(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_that_fits_into_headers_is_taken() {
        let fits = "x".repeat(1535);
        assert!(check_type(Some("application/dicom")).is_ok());
        assert!(check_user(&user(&[("patient-id", "Zoë 100 %")]), 0).is_ok());
        assert!(check_user(&user(&[("a", &fits)]), 0).is_ok());
        assert!(check_user(&user(&[("a", &fits[100..])]), 100).is_ok());
    }

    #[test]
    fn other_metadata_is_refused() {
        for content_type in
            ["", " text/plain", "text/plain\r\nx: y", "tëxt", &"x".repeat(256), "audio/mpeg;a, text/html"]
        {
            assert!(check_type(Some(content_type)).is_err(), "{content_type:?}");
        }
        let (long, wide) = ("x".repeat(1536), "é".repeat(257));
        let bad =
            [("", "x"), ("A", "x"), ("a_b", "x"), ("statehouse-x", "x"), ("a", "x\n"), ("a", &long), ("a", &wide)];
        for (name, value) in bad {
            assert!(check_user(&user(&[(name, value)]), 0).is_err(), "{name:?}");
        }
        assert!(check_user(&user(&[("a", &long[101..])]), 101).is_err());
    }

    #[test]
    fn a_disposition_is_a_word_with_parameters_and_no_other_header() {
        let longest = format!("inline; filename={}", "x".repeat(1024 - 17));
        for good in ["inline", "attachment", "ATTACHMENT ; filename=a", "form-data; name=\"a;b\"", &longest] {
            assert!(check_headers(Some(good), None).is_ok(), "{good:?}");
        }
        let long = format!("{longest}x");
        let split = ["inline\r\nset-cookie: a=b", "inline\n", "inline; filename=\"R\u{f6}ntgen\"", "inline\0", "a\tb"];
        for bad in
            ["", " inline", "; filename=a", "filename=a", "in line", "\"inline\"", &long].into_iter().chain(split)
        {
            assert!(check_headers(Some(bad), None).is_err(), "{bad:?}");
        }
        assert_eq!(check_headers(Some("inline"), Some("no-store")).unwrap(), 14);
        for bad in ["", "no-store\r\nx: y", "no-store ", &"x".repeat(256)] {
            assert!(check_headers(None, Some(bad)).is_err(), "{bad:?}");
        }
    }
}

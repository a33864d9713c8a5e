//! What an answer says of the file that it is about.

use std::time::SystemTime;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};

use super::conditions::is_strong;
use super::disposition::Disposition;
use crate::meta::{ETag, Meta};

/// How files are handed out.
#[derive(Clone, Debug)]
pub(super) struct Show {
    pub(super) disposition: Disposition,
    /// In place of the stored one.
    pub(super) cache_control: Option<HeaderValue>,
    pub(super) max_ranges: usize,
    /// In place of the stored one.
    pub(super) content_type: Option<String>,
    /// In place of what is stored, and of what the key ends with.
    pub(super) file_name: Option<String>,
}

impl Default for Show {
    fn default() -> Self {
        Self {
            disposition: Disposition::Safe,
            cache_control: None,
            max_ranges: 16,
            content_type: None,
            file_name: None,
        }
    }
}

impl Show {
    fn type_of<'m>(&'m self, meta: &'m Meta) -> Option<&'m str> {
        self.content_type.as_deref().or(meta.content_type.as_deref())
    }

    fn disposition_of(&self, meta: &Meta) -> Disposition {
        self.disposition.of_stored(meta.content_disposition.as_deref())
    }

    pub(super) fn content_type(&self, meta: &Meta) -> HeaderValue {
        self.disposition_of(meta).content_type(self.type_of(meta))
    }

    fn cache_control(&self, meta: &Meta) -> HeaderValue {
        let stored = || meta.cache_control.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        self.cache_control.clone().or_else(stored).unwrap_or(HeaderValue::from_static("private, no-cache"))
    }

    fn content_disposition(&self, meta: &Meta) -> HeaderValue {
        let (disposition, content_type) = (self.disposition_of(meta), self.type_of(meta));
        let stored = meta.content_disposition.as_deref().filter(|stored| stored.contains(';'));
        match (&self.file_name, stored) {
            (Some(file_name), _) => disposition.header(content_type, file_name),
            (None, Some(stored)) => disposition.header_like(content_type, stored),
            (None, None) => disposition.header(content_type, meta.key.rsplit('/').next().unwrap_or_default()),
        }
    }

    /// What every answer about a state of the file has, also one that sends none of it.
    pub(super) fn validators(&self, meta: &Meta) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, self.cache_control(meta));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(etag) = etag(&meta.etag) {
            headers.insert(ETAG, etag);
        }
        // No later than the answer itself (RFC 9110, 8.8.2.1), whatever the store's clock.
        let modified = SystemTime::from(meta.modified).min(SystemTime::now());
        insert(&mut headers, LAST_MODIFIED, httpdate::fmt_http_date(modified));
        headers
    }

    /// What an answer with content has, of so many bytes.
    pub(super) fn describe(&self, meta: &Meta, len: u64) -> HeaderMap {
        let mut headers = self.validators(meta);
        let content_type = self.type_of(meta);
        headers.insert(CONTENT_TYPE, self.content_type(meta));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        headers.insert(CONTENT_DISPOSITION, self.content_disposition(meta));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.disposition_of(meta).is_confined(content_type) {
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
        }
        headers
    }
}

/// The etag as HTTP has it; none for one that no header can hold.
pub(super) fn etag(etag: &ETag) -> Option<HeaderValue> {
    let text = etag.as_str();
    let is_tag = is_strong(text.strip_prefix("W/").unwrap_or(text).as_bytes());
    HeaderValue::from_str(text).ok().filter(|_| is_tag)
}

/// Which bytes of a file an answer has.
pub(super) fn content_range(range: &std::ops::Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end.saturating_sub(1))
}

/// Sets a header to a text that was made here.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

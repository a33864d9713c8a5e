//! Whether a request is about what there is now
//! ([RFC 9110, 13](https://www.rfc-editor.org/rfc/rfc9110#section-13)).

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::meta::Meta;

/// What a request's preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They hold.
    Go,
    /// The client has this state of the file already.
    NotModified,
    /// The client wants another state of the file.
    Failed,
}

/// The preconditions of a request to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    if_match: Vec<HeaderValue>,
    if_none_match: Vec<HeaderValue>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<HeaderValue>,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let all = |name: HeaderName| headers.get_all(name).iter().cloned().collect();
        // What is no date is ignored (13.1.3 and 13.1.4), and so is one that is there twice.
        let date = |name: HeaderName| {
            let text = only(headers, &name)?.to_str().ok()?;
            httpdate::parse_http_date(text).ok()
        };
        Self {
            if_match: all(IF_MATCH),
            if_none_match: all(IF_NONE_MATCH),
            if_modified_since: date(IF_MODIFIED_SINCE),
            if_unmodified_since: date(IF_UNMODIFIED_SINCE),
            // Two of them are none that can hold.
            if_range: headers.get(IF_RANGE).map(|value| only(headers, &IF_RANGE).unwrap_or(value).clone()),
        }
    }

    /// Whether there are none.
    pub(super) const fn is_none(&self) -> bool {
        self.if_match.is_empty()
            && self.if_none_match.is_empty()
            && self.if_modified_since.is_none()
            && self.if_unmodified_since.is_none()
            && self.if_range.is_none()
    }

    /// In the order of section 13.2.2.
    pub(super) fn judge(&self, meta: &Meta) -> Verdict {
        let (etag, modified) = (meta.etag.as_str().as_bytes(), seconds(meta.modified.into()));
        let since = |date: SystemTime| modified > seconds(date);
        if !self.if_match.is_empty() {
            if !self.if_match.iter().any(|list| lists(list.as_bytes(), etag, Compare::Strong)) {
                return Verdict::Failed;
            }
        } else if self.if_unmodified_since.is_some_and(since) {
            return Verdict::Failed;
        }
        if !self.if_none_match.is_empty() {
            if self.if_none_match.iter().any(|list| lists(list.as_bytes(), etag, Compare::Weak)) {
                return Verdict::NotModified;
            }
        } else if self.if_modified_since.is_some_and(|date| !since(date)) {
            return Verdict::NotModified;
        }
        Verdict::Go
    }

    /// Whether ranges are of the state that the client has a part of. A date never says so: a file may be replaced twice within
    /// the second that it names (13.1.5 wants a strong validator). The whole file is then the answer.
    pub(super) fn allow_ranges(&self, meta: &Meta) -> bool {
        let etag = meta.etag.as_str().as_bytes();
        self.if_range.as_ref().is_none_or(|known| is_strong(etag) && known.as_bytes().trim_ascii() == etag)
    }
}

/// The value of a header that is there once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// HTTP's dates have seconds.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether a text is a strong entity tag, as [RFC 9110, 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3) writes it.
pub(super) fn is_strong(tag: &[u8]) -> bool {
    let inner = tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\""));
    inner.is_some_and(|inner| inner.iter().all(|byte| *byte == b'!' || (b'#'..=b'~').contains(byte) || *byte >= 0x80))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Strong,
    Weak,
}

/// Whether this is `*`, or a list of entity tags with this one in it. What is behind the first that is none is not read.
fn lists(list: &[u8], etag: &[u8], compare: Compare) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let weak = |tag: &[u8]| tag.starts_with(b"W/");
    let opaque = |tag| <[u8]>::strip_prefix(tag, b"W/").unwrap_or(tag).to_owned();
    let mut rest = list;
    loop {
        while let [b' ' | b'\t' | b',', behind @ ..] = rest {
            rest = behind;
        }
        let start = if weak(rest) { 2 } else { 0 };
        let Some(end) = rest.iter().skip(start + 1).position(|byte| *byte == b'"') else { return false };
        let (tag, behind) = rest.split_at(start + end + 2);
        let comparable = compare == Compare::Weak || !weak(tag) && !weak(etag);
        if tag[start] != b'"' {
            return false;
        }
        if comparable && opaque(tag) == opaque(etag) {
            return true;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use statehouse_core::Timestamp;

    use super::*;
    use crate::key::FileKey;
    use crate::meta::ETag;

    /// 06 Nov 1994 08:49:37 GMT and a half.
    fn meta(etag: &str) -> Meta {
        let modified = Timestamp::from_micros(784_111_777_500_000);
        Meta::new(FileKey::new("k").unwrap(), 10, ETag::new(etag), modified)
    }

    fn judged(lines: &[(HeaderName, &str)], etag: &str) -> Verdict {
        let headers: HeaderMap = lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Conditions::of(&headers).judge(&meta(etag))
    }

    #[test]
    fn an_etag_is_found_in_a_list_and_a_weak_one_counts_for_what_is_only_compared() {
        for (lines, has_it, names_it) in [
            (&["\"e\""][..], true, true),
            (&["W/\"e\""], true, false),
            (&["*"], true, true),
            (&[" * "], true, true),
            (&["\"a\", \"e\""], true, true),
            (&["\"a\",W/\"b\" , ,W/\"e\""], true, false),
            (&["\"a\"", "\"e\""], true, true),
            (&["\"a,\"e\""], false, false),
            (&["\"a\""], false, false),
            (&["w/\"e\""], false, false),
            (&["e"], false, false),
            (&["\"e"], false, false),
            (&["\""], false, false),
            (&["W/"], false, false),
            (&[""], false, false),
            (&["\"ee\""], false, false),
        ] {
            let of = |name: HeaderName| lines.iter().map(|line| (name.clone(), *line)).collect::<Vec<_>>();
            let expected = if has_it { Verdict::NotModified } else { Verdict::Go };
            assert_eq!(judged(&of(IF_NONE_MATCH), "\"e\""), expected, "{lines:?}");
            let expected = if names_it { Verdict::Go } else { Verdict::Failed };
            assert_eq!(judged(&of(IF_MATCH), "\"e\""), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_weak_etag_of_the_store_is_the_same_weakly_and_never_strongly() {
        assert_eq!(judged(&[(IF_NONE_MATCH, "\"e\"")], "W/\"e\""), Verdict::NotModified);
        assert_eq!(judged(&[(IF_MATCH, "W/\"e\"")], "W/\"e\""), Verdict::Failed);
        assert_eq!(judged(&[(IF_MATCH, "\"e\"")], "W/\"e\""), Verdict::Failed);
    }

    #[test]
    fn dates_count_in_seconds_and_only_where_no_etag_does() {
        let (before, at, after) =
            ("Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:38 GMT");
        for (lines, verdict) in [
            (&[(IF_MODIFIED_SINCE, before)][..], Verdict::Go),
            (&[(IF_MODIFIED_SINCE, at)], Verdict::NotModified),
            (&[(IF_MODIFIED_SINCE, after)], Verdict::NotModified),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Verdict::Go),
            (&[(IF_MODIFIED_SINCE, at), (IF_MODIFIED_SINCE, at)], Verdict::Go),
            (&[(IF_UNMODIFIED_SINCE, before)], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, at)], Verdict::Go),
            (&[(IF_UNMODIFIED_SINCE, "yesterday")], Verdict::Go),
            (&[(IF_MATCH, "\"e\""), (IF_UNMODIFIED_SINCE, before)], Verdict::Go),
            (&[(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, at)], Verdict::Go),
            (&[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"e\"")], Verdict::Failed),
        ] {
            assert_eq!(judged(lines, "\"e\""), verdict, "{lines:?}");
        }
    }

    #[test]
    fn a_range_is_of_the_state_that_the_client_names_by_a_strong_etag() {
        for (known, etag, allowed) in [
            (None, "\"e\"", true),
            (Some("\"e\""), "\"e\"", true),
            (Some("W/\"e\""), "\"e\"", false),
            (Some("W/\"e\""), "W/\"e\"", false),
            (Some("\"old\""), "\"e\"", false),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), "\"e\"", false),
            (Some("*"), "\"e\"", false),
        ] {
            let headers: HeaderMap = known.map(|known| (IF_RANGE, known.parse().unwrap())).into_iter().collect();
            assert_eq!(Conditions::of(&headers).allow_ranges(&meta(etag)), allowed, "{known:?} {etag}");
        }
    }
}

use axum::http::{HeaderMap, header};
use statehouse::files::ByteRange;

/// The one range of bytes that a request asks for (RFC 9110, 14.2). A request for several ranges, in another unit, or
/// about another state of the file gets all of it, as a request without a range does.
pub(crate) fn requested_range(headers: &HeaderMap, etag: &str) -> Option<ByteRange> {
    if headers.get(header::IF_RANGE).is_some_and(|known| known != etag) {
        return None;
    }
    let (first, last) = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.trim().split_once('-')?;
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Some((first..=last).into()),
        (Some(first), None) if last.is_empty() => Some((first..).into()),
        (None, Some(length)) if first.is_empty() => Some(ByteRange::last(length)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_taken_and_anything_else_means_the_whole() {
        for (asked, range) in [
            ("bytes=0-3", Some((0..=3).into())),
            ("bytes=7-", Some((7..).into())),
            ("bytes=-5", Some(ByteRange::last(5))),
            ("bytes=5-2", None),
            ("bytes=0-1,4-5", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("lines=0-3", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RANGE, asked.parse().unwrap())]);
            assert_eq!(requested_range(&headers, "\"e\""), range, "{asked}");
        }
        let mut headers = HeaderMap::from_iter([(header::RANGE, "bytes=0-3".parse().unwrap())]);
        headers.insert(header::IF_RANGE, "\"old\"".parse().unwrap());
        assert_eq!(requested_range(&headers, "\"e\""), None);
        headers.insert(header::IF_RANGE, "\"e\"".parse().unwrap());
        assert_eq!(requested_range(&headers, "\"e\""), Some((0..=3).into()));
    }
}

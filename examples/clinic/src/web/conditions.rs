//! Whether a request is about what there is now, by its etag ([RFC 9110, 13.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1)).

use axum::http::{HeaderMap, header};

/// Whether the browser has this content already: `If-None-Match` names it, however weakly, or anything.
pub(crate) fn has_it(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|list| lists_it(list.as_bytes(), etag))
}

/// Whether this is `*`, or a list of etags with this one in it. What is behind the first that is none is not read.
fn lists_it(list: &[u8], etag: &str) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    loop {
        while let [b' ' | b'\t' | b',', behind @ ..] = rest {
            rest = behind;
        }
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let end = tag.iter().skip(1).position(|byte| *byte == b'"');
        let Some((tag, behind)) = end.and_then(|end| tag.split_at_checked(end + 2)) else { return false };
        if tag == etag.as_bytes() {
            return true;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::IF_NONE_MATCH, line.parse().unwrap())).collect()
    }

    #[test]
    fn an_etag_is_found_in_a_list_also_as_a_weak_one() {
        for (lines, has_it_) in [
            (&["\"e\""][..], true),
            (&["W/\"e\""], true),
            (&["*"], true),
            (&[" * "], true),
            (&["\"a\", \"e\""], true),
            (&["\"a\",W/\"b\" , ,W/\"e\""], true),
            (&["\"a\"", "\"e\""], true),
            (&["\"a,\"e\""], false),
            (&["\"a\""], false),
            (&["w/\"e\""], false),
            (&["e"], false),
            (&["\"e"], false),
            (&["\""], false),
            (&[""], false),
            (&["\"e\"x"], true),
            (&["\"ee\""], false),
            (&[], false),
        ] {
            assert_eq!(has_it(&headers(lines), "\"e\""), has_it_, "{lines:?}");
        }
    }
}

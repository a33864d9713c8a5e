//! Whether a request is about what there is now, by its etag ([RFC 9110, 13.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1)).

use axum::http::{HeaderMap, HeaderName, header};

/// Whether the browser has this content already: `If-None-Match` names it, however weakly, or anything.
pub(crate) fn has_it(headers: &HeaderMap, etag: &str) -> bool {
    names(headers, header::IF_NONE_MATCH, etag, true) == Some(true)
}

/// Whether the browser wants another content than this: `If-Match` does not name it.
pub(crate) fn wants_another(headers: &HeaderMap, etag: &str) -> bool {
    names(headers, header::IF_MATCH, etag, false) == Some(false)
}

fn names(headers: &HeaderMap, header: HeaderName, etag: &str, weak_counts: bool) -> Option<bool> {
    let mut lists = headers.get_all(header).iter().peekable();
    lists.peek()?;
    Some(lists.any(|list| lists_it(list.as_bytes(), etag, weak_counts)))
}

/// Whether this is `*`, or a list of etags with this one in it. What is behind the first that is none is not read.
fn lists_it(list: &[u8], etag: &str, weak_counts: bool) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    loop {
        while let [b' ' | b'\t' | b',', behind @ ..] = rest {
            rest = behind;
        }
        let (is_weak, tag) = rest.strip_prefix(b"W/").map_or((false, rest), |tag| (true, tag));
        let end = tag.iter().skip(1).position(|byte| *byte == b'"');
        let Some((tag, behind)) = end.and_then(|end| tag.split_at_checked(end + 2)) else { return false };
        if tag == etag.as_bytes() && (weak_counts || !is_weak) {
            return true;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), line.parse().unwrap())).collect()
    }

    #[test]
    fn an_etag_is_found_in_a_list_and_a_weak_one_counts_for_what_is_only_read() {
        for (lines, has_it_, names_it) in [
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
            (&[""], false, false),
            (&["\"e\"x"], true, true),
            (&["\"ee\""], false, false),
        ] {
            assert_eq!(has_it(&headers(&header::IF_NONE_MATCH, lines), "\"e\""), has_it_, "{lines:?}");
            assert_eq!(wants_another(&headers(&header::IF_MATCH, lines), "\"e\""), !names_it, "{lines:?}");
        }
        assert!(!has_it(&HeaderMap::new(), "\"e\"") && !wants_another(&HeaderMap::new(), "\"e\""));
    }
}

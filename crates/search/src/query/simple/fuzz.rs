//! Texts that anybody may type.

use std::path::Path;

use statehouse_core::conformance::fuzz::Target;

use super::SimpleQueryString;
use super::tests::schema;
use crate::{FieldBoost, MAX_CLAUSES, Operator, Query, SearchRequest, Value};

/// Whatever the text is, with room for as many clauses again.
#[test]
fn fuzz_simple_query_strings() {
    let schema = schema();
    let fields = || [FieldBoost::new("title", 2.0), "title.plain".into(), "code".into()];
    let all = |options: SimpleQueryString| {
        options.field("code").field("rank").field("uses").field("ratio").field("leaf").field_as("t", "title")
    };
    let wide = all(Query::simple_query_string(fields()).max_len(10_000).max_clauses(256).operator(Operator::And));
    let narrow = all(Query::simple_query_string(["title"]).max_clauses(3));
    let others =
        (0..MAX_CLAUSES / 2 - 2).fold(Query::bool(), |q, n| q.should(Query::term("rank", Value::from(n as i64))));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/simple_query_strings");
    let words =
        ["\"", " OR ", "|", " -", " +", "*", "~2", "code:", "rank:", "t:", "\\", "\u{201C}", "\u{4e2d}\u{6587}"];
    Target::new(corpus).with_words(&words).run(
        |_| {},
        |input| {
            let text = String::from_utf8_lossy(input);
            let mut said = String::new();
            for options in [&wide, &narrow] {
                let parsed = options.parse(&schema, &text).expect("any text is a query");
                for warning in &parsed.warnings {
                    assert!(text.get(warning.position.clone()).is_some_and(|told| !told.is_empty()), "{warning:?}");
                }
                let request = SearchRequest::new(parsed.query.clone()).with_filter(others.clone());
                schema.check_request(&request).expect("it leaves room for others");
                let kinds: Vec<_> = parsed.warnings.iter().take(4).map(|warning| warning.kind).collect();
                said += &format!("{:?} {kinds:?} ", std::mem::discriminant(&parsed.query));
            }
            said
        },
    );
}

//! Answers that whatever listens at a node's address may give.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use statehouse_core::conformance::fuzz::Target;

use crate::opensearch::onward::Onward;
use crate::opensearch::{bulk, error, search, source};
use crate::work::Stop;
use crate::{DocumentId, Facet, Field, Highlight, Operation, Query, Record, Schema, SearchRequest, Sort};

const INDEX: &str = "clinic-000001";

const WORDS: [&str; 16] = [
    "null",
    "{}",
    "[]",
    "-1",
    "1e999",
    "18446744073709551615",
    "\"_id\":\"a\",",
    "\"_sid\":\"b\",",
    "\"found\":true,",
    "\"failed\":1,",
    "\"timed_out\":true,",
    "\"relation\":\"gte\",",
    "\"sort\":[],",
    "\"error\":{\"type\":\"cluster_block_exception\",\"reason\":\"blocked by: [a/b/c];\"},",
    "\"\\ud800\"",
    "\"status\":503,",
];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/opensearch_answers")
}

fn schema() -> Schema {
    Schema::builder()
        .field(Field::text("note"))
        .field(Field::keyword("chapter").sortable())
        .field(Field::u64("uses").sortable())
        .field(Field::date("day"))
        .build()
        .unwrap()
}

fn request() -> SearchRequest {
    SearchRequest::new(Query::matches("note", "fever"))
        .with_size(3)
        .with_sort(Sort::by("uses").missing_first())
        .with_highlight(Highlight::field("note"))
        .with_facet(Facet::field("chapter").with_size(2))
}

fn operations() -> Vec<Operation> {
    let record = |id: &str| Record::new(id).unwrap().with("note", "Fever");
    vec![
        Operation::Upsert(record("a").with_version(4)),
        Operation::Upsert(record("b")),
        Operation::Delete { id: DocumentId::new("c").unwrap(), version: Some(7) },
    ]
}

/// What came of an answer, in a word.
fn said<T>(result: statehouse_core::Result<T>, good: impl Fn(T) -> String) -> String {
    result.map_or_else(|error| format!("{} {}", error.kind(), error.message()), good)
}

fn searched(schema: &Schema, input: &[u8]) -> String {
    let request = request();
    let asked = (&request, &mut Onward::new(None, request.size));
    said(search::response((schema, 0), INDEX, asked, input, &Stop::default()), |found| {
        let found = found.expect("it begins behind no cursor");
        let distinct: HashSet<_> = found.ids().into_iter().collect();
        assert_eq!(distinct.len(), found.hits.len(), "each document once");
        assert!(found.hits.len() as u64 + found.skipped <= request.size.min(found.total), "no more than there can be");
        assert!(found.facet("chapter").len() <= 2);
        format!("{} hits, {} skipped", found.hits.len(), found.skipped)
    })
}

/// The same as a page of all hits.
fn paged(schema: &Schema, input: &[u8]) -> String {
    let request = SearchRequest { facets: Vec::new(), ..request() };
    let mut onward = Onward::new(None, request.size);
    let found = search::found((schema, 0), INDEX, (&request, &mut onward), input, &Stop::default());
    said(found, |found| {
        let Some(page) = found.page else { return "none of ours".to_owned() };
        let all = page.hits.len() as u64 + page.skipped;
        assert!(all <= request.size.min(found.total), "no more than there can be");
        format!("a page of {}, {:?}", page.hits.len(), page.end)
    })
}

fn got(schema: &Schema, input: &[u8]) -> String {
    let id = DocumentId::new("a").unwrap();
    said(source::found(schema, INDEX, &id, input), |found| {
        let Some(record) = found else { return "absent".to_owned() };
        assert_eq!(*record.id(), id, "the one that was asked for");
        assert!(record.iter().all(|(name, _)| schema.field(name).is_some()), "{record:?}");
        format!("{} values", record.iter().count())
    })
}

/// Closes what is open, so that an answer that breaks off is read to its end.
fn close(input: &mut Vec<u8>) {
    let (mut open, mut text, mut escaped) = (Vec::new(), false, false);
    for byte in input.iter() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' if !text => open.push(b'}'),
            b'[' if !text => open.push(b']'),
            b'}' | b']' if !text => drop(open.pop()),
            _ => {}
        }
    }
    if text {
        input.push(b'"');
    }
    while matches!(input.last(), Some(b',' | b':')) {
        input.pop();
    }
    input.extend(open.into_iter().rev());
}

#[test]
fn fuzz_opensearch_answers() {
    let (schema, operations) = (schema(), operations());
    Target::new(corpus()).with_words(&WORDS).run(close, |input| {
        let written = said(bulk::read(&operations, input), |outcomes| {
            assert_eq!(outcomes.len(), operations.len());
            outcomes.join(", ")
        });
        // An error, whatever it says.
        let status = 200 + 16 * u16::from(input.first().copied().unwrap_or_default());
        let failed = error::of_answer(status, input, &"127.0.0.1:9200");
        assert!(!failed.to_string().is_empty());
        let verdict = error::Verdict::of(status, input);
        let read = format!("{}|{}|{}", searched(&schema, input), paged(&schema, input), got(&schema, input));
        format!("{read}|{written}|{} {verdict:?}", failed.kind())
    });
}

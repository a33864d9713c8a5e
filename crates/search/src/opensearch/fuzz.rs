//! Answers that whatever listens at a node's address may give, and requests that nobody would write.

use std::collections::HashSet;
use std::path::Path;

use statehouse_core::conformance::fuzz::{Target, close_json};

#[cfg(feature = "tantivy")]
use super::tests::requests;
use crate::opensearch::onward::Onward;
use crate::opensearch::{bulk, error, search, source};
#[cfg(feature = "tantivy")]
use crate::size::Size;
use crate::work::Stop;
use crate::{DocumentId, Facet, Field, Highlight, Operation, Projection, Query, Record, Schema, SearchRequest, Sort};
#[cfg(feature = "tantivy")]
use crate::{SearchIndexExt as _, TantivyConfig, TotalRelation};

const INDEX: &str = "clinic-000001";

/// What servers and proxies answer with.
const STATUSES: [u16; 20] =
    [200, 201, 400, 401, 403, 404, 406, 408, 409, 413, 415, 418, 429, 500, 502, 503, 504, 507, 301, 999];

/// What a server calls a failure that is told apart from others.
const EXCEPTIONS: [&str; 16] = [
    "too_many_buckets_exception",
    "version_conflict_engine_exception",
    "search_context_missing_exception",
    "index_not_found_exception",
    "invalid_index_name_exception",
    "index_closed_exception",
    "index_create_block_exception",
    "node_closed_exception",
    "index_shard_closed_exception",
    "resource_already_exists_exception",
    "circuit_breaking_exception",
    "illegal_argument_exception",
    "mapper_parsing_exception",
    "strict_dynamic_mapping_exception",
    "illegal_state_exception",
    "remote_transport_exception",
];

const WORDS: [&str; 24] = [
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
    "\"status\":400,",
    "\"status\":409,",
    "\"rate\":0.5,",
    "\"open\":true,",
    "\"_index\":\"clinic-000002\",",
    "\"caused_by\":{\"type\":\"already_closed_exception\"},",
    "\"reason\":\"no node found for it\",",
    "\"reason\":\"the collapse field must be single valued\",",
];

fn schema() -> Schema {
    Schema::builder()
        .field(Field::text("note"))
        .field(Field::keyword("chapter").sortable())
        .field(Field::u64("uses").sortable())
        .field(Field::date("day"))
        .field(Field::f64("rate"))
        .field(Field::bool("open"))
        .field(Field::i64("left"))
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
        let record = source::project(record, schema, &Projection::Fields(vec!["uses".into(), "day".into()]));
        assert!(record.iter().all(|(name, _)| ["uses", "day"].contains(&name)), "{record:?}");
        format!("{} values", record.iter().count())
    })
}

/// The status that an answer says it has, as those of errors do; of others one or the other.
fn status(input: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(input);
    let said = text.rsplit("\"status\":").next().filter(|rest| rest.len() < text.len());
    let digits = said.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let other = STATUSES[input.len() % STATUSES.len()];
    digits.and_then(|digits| digits.parse().ok()).filter(|status| (100..1_000).contains(status)).unwrap_or(other)
}

/// The failure that an answer says, by every name that is told apart.
fn renamed(input: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let name = EXCEPTIONS[input.iter().map(|byte| usize::from(*byte)).sum::<usize>() % EXCEPTIONS.len()];
    text.replacen("cluster_block_exception", name, 1).into_bytes()
}

#[test]
fn fuzz_opensearch_answers() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/opensearch_answers");
    let (schema, operations) = (schema(), operations());
    Target::new(corpus).with_words(&WORDS).run(close_json, |input| {
        let written = said(bulk::read(&operations, input), |outcomes| {
            assert_eq!(outcomes.len(), operations.len());
            outcomes.join(", ")
        });
        let read = format!("{}|{}|{}", searched(&schema, input), paged(&schema, input), got(&schema, input));
        format!("{read}|{written}|{}|{}", failed(input), failed(&renamed(input)))
    });
}

/// What it is as an error, whatever it says.
fn failed(input: &[u8]) -> String {
    let status = status(input);
    let failed = error::of_answer(status, input, &"127.0.0.1:9200");
    assert!(!failed.to_string().is_empty());
    let (verdict, lost) = (error::Verdict::of(status, input), error::lacks_state(input));
    if (200..300).contains(&status) {
        assert_eq!(verdict, error::Verdict::Final, "it was done");
    }
    format!("{} {verdict:?} {lost}", failed.kind())
}

/// Against both backends: what one refuses the other refuses in the same way.
#[cfg(feature = "tantivy")]
#[test]
fn fuzz_search_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let embedded = runtime.block_on(async {
        let index = TantivyConfig::memory().open(requests::schema()).await.unwrap();
        index.bulk(requests::records().collect()).await.unwrap().check().unwrap();
        index.refresh().await.unwrap();
        index
    });
    let schema = requests::schema();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/search_requests");
    Target::new(corpus).run(
        |_| {},
        |input| {
            let request = requests::Choices(input).request();
            let compiled =
                Size::of_request(&request).and_then(|size| search::call(&schema, "/x/_search", &request, size));
            let searched = runtime.block_on(embedded.search(&request));
            match (compiled, searched) {
                (Ok(_), Ok(found)) => {
                    let is_all = found.relation == TotalRelation::Exact;
                    assert!(found.hits.len() as u64 <= found.total || !is_all, "{request:?}");
                    assert!(found.total <= 40, "{request:?}");
                    format!("found {}", found.total)
                }
                (Err(compiled), Err(searched)) => {
                    assert_eq!(
                        (compiled.kind(), compiled.message(), compiled.key()),
                        (searched.kind(), searched.message(), searched.key()),
                        "{request:?}"
                    );
                    format!("refused {} {}", searched.kind(), searched.message())
                }
                (compiled, searched) => panic!("OpenSearch: {compiled:?}\ntantivy: {searched:?}\n{request:?}"),
            }
        },
    );
}

//! What a server says of documents while generations are filled and compared, and what it calls its aliases.

use std::path::Path;

use statehouse_core::Result;
use statehouse_core::conformance::fuzz::{Target, close_json};

use super::super::versions;
use super::set::{self, Set};
use super::{copy, scan};
use crate::{DocumentId, Field, Schema};

const ALIAS: &str = "clinic";

const WORDS: [&str; 18] = [
    "null",
    "[]",
    "18446744073709551615",
    "\"_id\":\"a\",",
    "\"_sid\":\"b\",",
    "\"found\":true,",
    "\"found\":false,",
    "\"failed\":1,",
    "\"sort\":[null],",
    "\"_version\":7,",
    "\"error\":{\"type\":\"index_not_found_exception\"},",
    "clinic@Write.",
    "clinic@Frozen.",
    ".kept",
    ".rows",
    "+1",
    "00",
    "clinic-000001",
];

/// What came of an answer, in a word.
fn said<T>(result: Result<T>, good: impl Fn(T) -> String) -> String {
    result.map_or_else(|error| format!("{} {}", error.kind(), error.message()), good)
}

fn listed(input: &[u8]) -> String {
    said(scan::read(input, 2), |page| format!("{} of them, {}", page.found.len(), page.next.is_some()))
}

fn copied(schema: &Schema, ids: &[DocumentId], input: &[u8]) -> String {
    said(copy::read(schema, ids, input), |records| {
        assert_eq!(records.len(), ids.len());
        for (record, id) in records.iter().zip(ids).filter_map(|(record, id)| Some((record.as_ref()?, id))) {
            assert_eq!(record.id(), id, "the one that was asked for");
            assert!(record.iter().all(|(name, _)| schema.field(name).is_some()), "{record:?}");
        }
        format!("{} there", records.iter().flatten().count())
    })
}

fn told(ids: &[DocumentId], input: &[u8]) -> String {
    said(versions::read(ids, input), |told| {
        assert_eq!(told.len(), ids.len());
        let words = told.into_iter().map(|told| {
            let lacks_index = told.lacks_index();
            said(told.version(), |version| format!("{}", version.is_some()))
                + if lacks_index { " without an index" } else { "" }
        });
        words.collect::<Vec<_>>().join(", ")
    })
}

/// Aliases and indexes say what they are called like, and nothing is read that is called in another way.
fn called(input: &[u8]) -> String {
    let name = String::from_utf8_lossy(input);
    let name = name.trim_end_matches('\n');
    if let Some(set) = Set::parse(ALIAS, name) {
        assert_eq!(set.name(ALIAS), name);
        assert_eq!(Set::parse(ALIAS, &set.frozen().name(ALIAS)), Some(set.frozen()));
        return format!("{:?} {} {}", set.beside.map(|(_, beside)| beside), set.frozen, set.elder() == set.live);
    }
    set::number(ALIAS, name).map_or_else(String::new, |number| {
        assert_eq!(set::index(ALIAS, number), name);
        "a number".to_owned()
    })
}

#[test]
fn fuzz_opensearch_generations() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/opensearch_generations");
    let schema = Schema::builder().field(Field::text("note")).field(Field::u64("uses")).build().unwrap();
    let ids = ["a", "b"].map(|id| DocumentId::new(id).unwrap());
    Target::new(corpus).with_words(&WORDS).run(close_json, |input| {
        let read = [listed(input), copied(&schema, &ids, input), told(&ids, input)].join("|");
        format!("{read}|{}", called(input))
    });
}

use std::path::Path;

use statehouse_core::ErrorKind;
use statehouse_core::conformance::fuzz::Target;

use super::*;
use crate::analysis::Analyzer;
use crate::print::print;
use crate::{Field, FieldBoost, MAX_SORTS, MAX_TERM_LEN, Operator, Query, Schema, SearchRequest, Sort};

fn schema() -> Schema {
    let more = [Field::u64("uses").sortable(), Field::f64("share").sortable(), Field::bool("leaf").sortable()];
    let builder = Schema::builder().analyzer("whole", Analyzer::whole()).field(Field::text("title"));
    let builder = builder.field(Field::keyword("code").sortable()).field(Field::i64("rank").sortable());
    let builder = more.into_iter().fold(builder, crate::SchemaBuilder::field);
    builder.field(Field::date("day").sortable()).build().unwrap()
}

fn request() -> SearchRequest {
    let by = ["code", "rank", "uses", "share", "leaf", "day", "day"];
    let request = SearchRequest::new(Query::matches("title", "fever")).with_sort(Sort::by_score());
    by.into_iter().fold(request, |request, field| request.with_sort(Sort::by(field)))
}

fn cursor() -> Cursor {
    let sort = [
        None,
        Some(Value::from("é")),
        Some(Value::I64(-2)),
        Some(Value::U64(u64::MAX)),
        Some(Value::F64(-0.0)),
        Some(Value::Bool(true)),
        Some(Value::Date(7)),
        None,
    ];
    Cursor::new(print(&schema(), &request()), Some(0.1), sort.to_vec(), DocumentId::new("A00").unwrap())
}

#[test]
fn the_golden_bytes_are_what_the_table_says() {
    let golden = concat!(
        "01",
        "0807060504030201",
        "01cdcccc3d",
        "08",
        "00",
        "010200c3a9",
        "02feffffffffffffff",
        "03ffffffffffffffff",
        "040000000000000080",
        "0501",
        "060700000000000000",
        "00",
        "0300413030",
        "3ba707cf"
    );
    let cursor = Cursor { of: 0x0102_0304_0506_0708, ..cursor() };
    assert_eq!(cursor.to_string(), golden);
    assert_eq!(golden.parse::<Cursor>().unwrap(), cursor);
}

#[test]
fn the_longest_cursor_is_read_back() {
    assert_eq!(format::MOST_KEYS, MAX_SORTS);
    let sort = vec![Some(Value::Text("x".repeat(MAX_TERM_LEN))); MAX_SORTS];
    let longest = Cursor::new(0, Some(1.0), sort, DocumentId::new("x".repeat(DocumentId::MAX_LEN)).unwrap());
    let text = longest.to_string();
    assert!(text.len() <= Cursor::MAX_LEN, "{}", text.len());
    assert!(text.parse::<Cursor>().unwrap() == longest);
}

#[test]
fn what_is_no_cursor_or_not_all_of_one_is_refused() {
    let text = cursor().to_string();
    let (long, other) = ("0".repeat(Cursor::MAX_LEN + 2), text.to_uppercase());
    let others = ["", "0", "00", "zz", "é", &long, &other, &text[..text.len() - 2], &text[2..]];
    for wrong in others {
        let error = wrong.parse::<Cursor>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    for at in 0..text.len() {
        let changed = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        let mut changed_text = text.clone();
        changed_text.replace_range(at..=at, changed);
        assert!(changed_text.parse::<Cursor>().is_err(), "{at}");
    }
    assert_eq!(format!("{:?}", cursor()), "Cursor(..)");
}

/// Whatever changes the order or what is found. What a page returns of a hit does not.
#[test]
fn every_request_has_a_print_of_its_own() {
    let title = |query: Query| SearchRequest::new(query);
    let matches = || Query::matches("title", "fever");
    let all = [
        title(matches().into()),
        title(matches().operator(Operator::And).into()),
        title(matches().fuzzy().into()),
        title(matches().boost(2.0).into()),
        title(Query::matches("title", "fevers").into()),
        title(Query::phrase("title", "fever").into()),
        title(Query::phrase("title", "fever").slop(1).into()),
        title(Query::prefix("title", "fever").into()),
        title(Query::multi_match([FieldBoost::new("title", 1.0)], "fever").into()),
        title(Query::multi_match([FieldBoost::new("title", 1.5)], "fever").into()),
        title(Query::term("rank", 1_i64).into()),
        title(Query::terms("rank", [1_i64, 2]).into()),
        title(Query::terms("rank", [1_i64]).into()),
        title(Query::range("rank").above(1_i64).into()),
        title(Query::range("rank").at_least(1_i64).into()),
        title(Query::range("rank").below(1_i64).into()),
        title(Query::ids(["ab", "c"]).into()),
        title(Query::ids(["a", "bc"]).into()),
        title(Query::bool().must(matches()).into()),
        title(Query::bool().should(matches()).into()),
        title(Query::constant(matches()).into()),
        title(Query::dis_max([matches()]).into()),
        title(matches().into()).with_filter(Query::all()),
        title(matches().into()).with_sort(Sort::by_score()),
        title(matches().into()).with_sort(Sort::by("rank")),
        title(matches().into()).with_sort(Sort::by("rank").descending()),
        title(matches().into()).with_sort(Sort::by("rank").missing_first()),
        title(matches().into()).with_sort(Sort::by("uses")),
    ];
    let schema = schema();
    let prints: Vec<_> = all.iter().map(|request| print(&schema, request)).collect();
    for (at, one) in prints.iter().enumerate() {
        assert!(!prints[..at].contains(one), "{:?}", all[at]);
    }
    let page = all[0].clone().with_size(3).with_projection(crate::Projection::Id);
    assert_eq!(print(&schema, &page), prints[0]);
    let other = Schema::builder().analyzer("whole", Analyzer::whole());
    let other = other.field(Field::text("title").analyzed_by("whole")).build().unwrap();
    assert_ne!(print(&other, &all[0]), prints[0], "the field is another");
}

#[test]
fn fuzz_search_cursors() {
    let (schema, request) = (schema(), request());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/search_cursors");
    let repair = |input: &mut Vec<u8>| {
        input.truncate(input.len().saturating_sub(4));
        // Of this request, so that the values are looked at.
        if let Some(of) = input.get_mut(1..9) {
            of.copy_from_slice(&print(&schema, &request).to_le_bytes());
        }
        let check = format::check(input);
        input.extend(check);
    };
    Target::new(corpus).run(repair, |input| match hex::encode(input).parse::<Cursor>() {
        Err(error) => format!("refused: {}", error.message()),
        Ok(cursor) => {
            assert_eq!(cursor.to_string(), hex::encode(input), "it has one spelling");
            let checked = schema.check_request(&request.clone().with_after(cursor.clone()));
            format!("{} keys, {:?}", cursor.sort.len(), checked.map_err(|error| error.message().to_owned()))
        }
    });
}

//! Unsigned numbers, which the server does not have: their order, ranges and values over many segments.

use statehouse_search::{
    BulkOptions, Field, Operation, Query, Record, Refresh, Schema, SearchIndex as _, SearchIndexExt as _,
    SearchRequest, Sort, Value,
};

use super::Scratch;
use crate::random::Random;

const SEGMENTS: usize = 12;
const PER_SEGMENT: usize = 1_000;
const SIGN: u64 = 1 << 63;
const EXTREMES: [u64; 9] = [0, 1, 7, SIGN - 2, SIGN - 1, SIGN, SIGN + 1, u64::MAX - 1, u64::MAX];

fn schema() -> Schema {
    Schema::builder()
        .field(Field::u64("uses").sortable())
        .field(Field::u64("kept").not_indexed())
        .field(Field::i64("balance").sortable())
        .field(Field::date("day").sortable())
        .build()
        .unwrap()
}

/// The values of `uses` in each document, in the order of the ids. Some segments have none at all.
fn values() -> Vec<Vec<u64>> {
    let mut random = Random::new(0x0004_5eed);
    let mut value = |segment: usize| match random.below(10) {
        _ if segment % 4 == 3 => Vec::new(),
        0 | 1 => Vec::new(),
        2 => vec![EXTREMES[random.below(EXTREMES.len())], EXTREMES[random.below(EXTREMES.len())]],
        3..6 => vec![EXTREMES[random.below(EXTREMES.len())]],
        _ => vec![random.below(1_000_000) as u64],
    };
    (0..SEGMENTS * PER_SEGMENT).map(|at| value(at / PER_SEGMENT)).collect()
}

fn record(at: usize, values: &[u64]) -> Record {
    let mut record = Record::new(format!("{at:05}")).unwrap();
    for value in values {
        record = record.with("uses", *value).with("kept", *value);
        // The same once more in kinds that the server has.
        record =
            record.with("balance", (value ^ SIGN).cast_signed()).with("day", Value::Date((value ^ SIGN).cast_signed()));
    }
    record
}

async fn filled() -> (Scratch, statehouse_search::OpenSearchIndex, Vec<Vec<u64>>) {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let settings = r#"{"index.merge.policy.segments_per_tier":50,"index.merge.policy.max_merge_at_once":50}"#;
    let (status, answer) = scratch.request("PUT", &format!("/{}-000001/_settings", scratch.name), settings).await;
    assert_eq!(status, 200, "{answer}");
    let values = values();
    for segment in 0..SEGMENTS {
        let places = segment * PER_SEGMENT..(segment + 1) * PER_SEGMENT;
        let operations = places.map(|at| Operation::Upsert(record(at, &values[at]))).collect();
        let now = BulkOptions::default().with_refresh(Refresh::Now);
        index.bulk_with(operations, now).await.unwrap().check().unwrap();
    }
    let (_, segments) = scratch.request("GET", &format!("/_cat/segments/{}?h=segment", scratch.name), "").await;
    assert!(segments.lines().count() >= SEGMENTS, "{segments}");
    (scratch, index, values)
}

/// The ids in the order that the contract says, and the value that each was placed by.
fn sorted(values: &[Vec<u64>], descending: bool, missing_first: bool) -> Vec<(String, Option<u64>)> {
    let key = |values: &Vec<u64>| if descending { values.iter().max().copied() } else { values.iter().min().copied() };
    let mut all: Vec<_> = values.iter().enumerate().map(|(at, values)| (format!("{at:05}"), key(values))).collect();
    all.sort_by_key(|(id, value)| {
        let place = if value.is_some() == missing_first { 1 } else { 0 };
        let ordered = value.map(|value| if descending { u64::MAX - value } else { value });
        (place, ordered, id.clone())
    });
    all
}

#[tokio::test]
async fn unsigned_numbers_are_sorted_over_many_segments_with_missing_and_extreme_values() {
    let (scratch, index, values) = filled().await;
    for (descending, missing_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let expected = sorted(&values, descending, missing_first);
        for field in ["uses", "balance", "day"] {
            let sort = Sort::by(field);
            let sort = if descending { sort.descending() } else { sort };
            let sort = if missing_first { sort.missing_first() } else { sort };
            for from in [0, 3_900, 8_000, 9_900] {
                let request = SearchRequest::new(Query::all()).with_sort(sort.clone()).with_from(from).with_size(100);
                let found = index.search(&request).await.unwrap();
                assert_eq!(found.total, values.len() as u64);
                for (hit, (id, value)) in found.hits.iter().zip(&expected[usize::try_from(from).unwrap()..]) {
                    let value = value.map(|value| match field {
                        "uses" => Value::U64(value),
                        "balance" => Value::I64((value ^ SIGN).cast_signed()),
                        _ => Value::Date((value ^ SIGN).cast_signed()),
                    });
                    assert_eq!(
                        (hit.id().as_str(), &hit.sort[0]),
                        (id.as_str(), &value),
                        "{field} {descending} {missing_first}"
                    );
                }
                assert_eq!(found.hits.len(), 100);
            }
        }
    }
    scratch.delete().await;
}

#[tokio::test]
async fn ranges_terms_and_stored_values_of_unsigned_numbers_are_exact_at_their_ends() {
    let (scratch, index, values) = filled().await;
    let count = async |query: Query| index.count(&query).await.unwrap();
    let expected = |fits: &dyn Fn(u64) -> bool| {
        values.iter().filter(|values| values.iter().any(|value| fits(*value))).count() as u64
    };
    for bound in EXTREMES {
        let range = || Query::range("uses");
        assert_eq!(count(range().below(bound).into()).await, expected(&|value| value < bound), "below {bound}");
        assert_eq!(count(range().at_most(bound).into()).await, expected(&|value| value <= bound), "at most {bound}");
        assert_eq!(count(range().above(bound).into()).await, expected(&|value| value > bound), "above {bound}");
        assert_eq!(count(range().at_least(bound).into()).await, expected(&|value| value >= bound), "at least {bound}");
        assert_eq!(count(Query::term("uses", bound).into()).await, expected(&|value| value == bound), "{bound}");
    }
    let ends = [0, u64::MAX];
    assert_eq!(count(Query::terms("uses", ends).into()).await, expected(&|value| ends.contains(&value)));
    let present = values.iter().filter(|values| !values.is_empty()).count() as u64;
    assert_eq!(count(Query::exists("uses").into()).await, present);
    for (at, values) in values.iter().enumerate().step_by(397) {
        let stored = index.get(&format!("{at:05}").as_str().try_into().unwrap()).await.unwrap().unwrap();
        for field in ["uses", "kept"] {
            assert!(
                stored.values(field).eq(&values.iter().map(|value| Value::U64(*value)).collect::<Vec<_>>()),
                "{at} {field}"
            );
        }
    }
    scratch.delete().await;
}

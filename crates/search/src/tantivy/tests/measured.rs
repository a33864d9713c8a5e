//! What is counted of numbers in columns, against what plain counting says.

use std::collections::{BTreeMap, BTreeSet};

use statehouse_core::conformance::rounds;
use tantivy::columnar::MonotonicallyMappableToU64 as _;

use super::columns::filled;
use crate::{Empty, Facet, Histogram, Query, RangeFacet, Record, SearchIndexExt as _, SearchRequest, Stats, Value};

const FIELDS: [&str; 5] = ["u", "i", "f", "b", "all"];

/// A value as a number that compares like it.
fn order(value: &Value) -> i128 {
    match value {
        Value::I64(number) | Value::Date(number) => i128::from(*number),
        Value::U64(number) => i128::from(*number),
        Value::F64(number) => i128::from(number.to_u64()),
        Value::Bool(truth) => i128::from(*truth),
        Value::Text(_) => panic!("no number"),
    }
}

/// How many records have each value, the most frequent first.
fn counted(living: &[&Record], name: &str) -> Vec<(i128, u64)> {
    let mut counts = BTreeMap::<i128, u64>::new();
    for record in living {
        let values: BTreeSet<_> = record.values(name).map(order).collect();
        values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    counts
}

/// A request, and the records that it counts and those that it finds.
fn cases(living: &BTreeMap<String, Record>) -> Vec<(SearchRequest, Vec<&Record>, usize)> {
    let has = |record: &&Record, word: &str| {
        record.values("title").any(|title| title.as_text().is_some_and(|title| title.contains(word)))
    };
    let all: Vec<_> = living.values().collect();
    let common: Vec<_> = living.values().filter(|record| has(record, "common")).collect();
    let small = |records: &[&Record]| {
        let small = records.iter().filter(|r| r.values("all").any(|n| matches!(n, Value::U64(n) if *n <= 40)));
        small.count()
    };
    let request = |query: Query| SearchRequest::new(query).with_post_filter(Query::range("all").at_most(40_u64));
    let matches = |word: &str| Query::from(Query::matches("title", word));
    vec![
        (request(matches("common")), common.clone(), small(&common)),
        (request(Query::all().into()).with_size(0), all.clone(), small(&all)),
        (request(Query::all().into()).with_sort(crate::Sort::by("u")), all.clone(), small(&all)),
        (SearchRequest::new(Query::all()), all.clone(), all.len()),
    ]
}

#[tokio::test]
async fn numbers_are_counted_over_what_matches_beside_what_is_found() {
    for seed in 0..rounds(4, 200) as u64 {
        let (index, living) = filled(seed).await;
        for (request, counts, total) in cases(&living) {
            let (low, high) = (Value::U64(1), Value::U64(41));
            let ranges = RangeFacet::field("u").below(low.clone()).between(low, high.clone()).at_least(high.clone());
            let ranges = ranges.between(high.clone(), high);
            let request = FIELDS.iter().fold(request, |all, name| all.with_facet(Facet::field(*name).with_size(9)));
            let found = index.search(&request.with_ranges(ranges)).await.unwrap();
            assert_eq!(found.total, total as u64, "seed {seed}");
            for name in FIELDS {
                let values: Vec<_> = found.facet(name).iter().map(|value| (order(&value.value), value.count)).collect();
                let expected: Vec<_> = counted(&counts, name).into_iter().take(9).collect();
                assert_eq!(values, expected, "seed {seed}, {name}");
            }
            let within = |from: u64, to: u64| {
                let has = |record: &&&Record| {
                    record.values("u").any(|value| matches!(value, Value::U64(n) if (from..to).contains(n)))
                };
                counts.iter().filter(has).count() as u64
            };
            let last = counts.iter().filter(|record| record.values("u").any(|value| order(value) >= 41)).count() as u64;
            let values: Vec<_> = found.ranges("u").iter().map(|range| range.count).collect();
            assert_eq!(values, [within(0, 1), within(1, 41), last, 0], "seed {seed}");
        }
    }
}

#[tokio::test]
async fn numbers_are_put_into_buckets_and_summed_up_over_what_matches() {
    for seed in 0..rounds(4, 200) as u64 {
        let (index, living) = filled(seed).await;
        for (request, counts, _) in cases(&living) {
            let histogram = Histogram::every("f", 7.5).with_offset(0.25);
            let found = index.search(&request.with_histogram(histogram).with_stats("f")).await.unwrap();
            let floats = |value: &Value| if let Value::F64(number) = value { *number } else { panic!("no float") };
            let of_each = counts.iter().map(|record| record.values("f").map(floats).collect::<Vec<_>>());
            let mut buckets = BTreeMap::<u64, u64>::new();
            for numbers in of_each.clone() {
                let keys = numbers.iter().map(|number| ((number - 0.25) / 7.5).floor() * 7.5 + 0.25);
                let keys: BTreeSet<_> = keys.map(|key| key.to_u64()).collect();
                keys.into_iter().for_each(|key| *buckets.entry(key).or_default() += 1);
            }
            let expected: Vec<_> =
                buckets.into_iter().map(|(key, count)| (Value::F64(f64::from_u64(key)), count)).collect();
            let values: Vec<_> = found.histogram("f").iter().map(|bucket| (bucket.key.clone(), bucket.count)).collect();
            assert_eq!(values, expected, "seed {seed}");
            let all: Vec<_> = of_each.flatten().collect();
            let (min, max) = (all.iter().copied().reduce(f64::min), all.iter().copied().reduce(f64::max));
            let expected = Stats::new(all.len() as u64, min, max, all.iter().sum());
            assert!(found.stats("f").unwrap().is_close_to(&expected), "seed {seed}: {expected:?}");
        }
    }
}

#[tokio::test]
async fn more_buckets_than_there_may_be_are_refused_whether_or_not_they_are_empty() {
    let (index, _) = filled(7).await;
    let refused = async |histogram: Histogram| {
        let request = SearchRequest::new(Query::all()).with_histogram(histogram);
        index.search(&request).await.map(|found| found.histogram("f").len()).map_err(|error| error.kind())
    };
    let histogram = Histogram::every("f", 1.0);
    assert_eq!(histogram.empty, Empty::Omitted);
    assert!(refused(histogram.clone()).await.unwrap() < 100);
    assert_eq!(refused(histogram.with_empty()).await, Err(statehouse_core::ErrorKind::InvalidInput));
}

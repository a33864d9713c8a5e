//! What is read from columns, against what the dictionary says and against plain sorting.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use statehouse_core::conformance::rounds;

use crate::{
    BulkOptions, DocumentId, Facet, Field, MinimumMatch, Operation, Query, RangeQuery, Record, Refresh, Schema,
    SearchIndex as _, SearchIndexExt as _, SearchRequest, Sort, TantivyConfig, TantivyIndex, Value, parity,
};

const EXTREMES: [u64; 7] = [0, 1, 40, 41, u64::MAX / 2, u64::MAX - 1, u64::MAX];

/// Each kind of number twice: with a column, and without one.
fn schema() -> Schema {
    type Kind = fn(&str) -> Field;
    let kinds: [(&str, Kind); 4] = [
        ("u", |name| Field::u64(name)),
        ("i", |name| Field::i64(name)),
        ("f", |name| Field::f64(name)),
        ("b", |name| Field::bool(name)),
    ];
    let builder = kinds.into_iter().fold(Schema::builder(), |builder, (name, field)| {
        builder.field(field(name).sortable()).field(field(&format!("{name}_plain")))
    });
    let builder = builder.field(Field::u64("all").sortable()).field(Field::u64("all_plain"));
    let builder = builder.field(Field::keyword("tag").sortable()).field(Field::keyword("kind").sortable());
    builder.field(Field::text("title")).build().unwrap()
}

/// The same number in every kind.
#[expect(clippy::cast_precision_loss, reason = "what a number becomes does not matter, as long as it is one")]
fn values(number: u64) -> [(&'static str, Value); 4] {
    [
        ("u", Value::U64(number)),
        ("i", Value::I64((number ^ (1 << 63)).cast_signed())),
        ("f", Value::F64(number as f64 - 40.5)),
        ("b", Value::Bool(number % 2 == 1)),
    ]
}

fn number(numbers: &mut parity::Numbers) -> u64 {
    if numbers.below(3) == 0 { EXTREMES[numbers.below(EXTREMES.len())] } else { numbers.below(60) as u64 }
}

/// With none, one or several values, but for `all` and `kind`, of which it has one; some segments have one of each.
fn record(id: usize, several: usize, numbers: &mut parity::Numbers) -> Record {
    let mut record = Record::new(format!("{:04}", id * 7_919 % 10_000)).unwrap();
    let all = number(numbers);
    record = record.with("all", all).with("all_plain", all).with("kind", format!("k{}", numbers.below(12)));
    for _ in 0..numbers.below(several) {
        for (name, value) in values(number(numbers)) {
            record = record.with(format!("{name}_plain"), value.clone()).with(name, value);
        }
        record = record.with("tag", format!("t{}", numbers.below(30)));
    }
    let words = ["common", "rare", "middle middle"];
    let words = words.into_iter().zip([2, 40, 5]).filter(|(_, every)| numbers.below(*every) == 0);
    record.with("title", words.map(|(word, _)| word).collect::<Vec<_>>().join(" "))
}

pub(super) async fn filled(seed: u64) -> (TantivyIndex, BTreeMap<String, Record>) {
    let mut numbers = parity::Numbers::new(seed);
    let index = TantivyConfig::memory().with_threads(1).open(schema()).await.unwrap();
    let mut living = BTreeMap::new();
    let segments = 1 + numbers.below(3);
    for segment in 0..segments {
        let several = if segment % 2 == 0 { 2 } else { 4 };
        let records: Vec<_> = (0..400).map(|at| record(segment * 300 + at, several, &mut numbers)).collect();
        living.extend(records.iter().map(|record| (record.id().as_str().to_owned(), record.clone())));
        let mut operations: Vec<_> = records.into_iter().map(Operation::Upsert).collect();
        for _ in 0..numbers.below(40) {
            let id = format!("{:04}", numbers.below(segment * 300 + 400) * 7_919 % 10_000);
            living.remove(&id);
            operations.push(Operation::Delete { id: DocumentId::new(id).unwrap(), version: None });
        }
        let now = BulkOptions::default().with_refresh(Refresh::Now);
        index.bulk_with(operations, now).await.unwrap().check().unwrap();
    }
    (index, living)
}

fn bounded(name: &str, low: &Value, high: &Value, how: usize) -> Query {
    let range: RangeQuery = Query::range(name);
    match how {
        0 => range.at_least(low.clone()).at_most(high.clone()),
        1 => range.above(low.clone()).below(high.clone()),
        2 => range.above(low.clone()),
        3 => range.below(high.clone()),
        4 => range.at_least(high.clone()).below(low.clone()),
        _ => range.at_most(high.clone()),
    }
    .into()
}

/// A range alone and among others, in every role.
fn trees(range: Query) -> Vec<Query> {
    let title = |word: &str| Query::matches("title", word);
    vec![
        range.clone(),
        Query::bool().must(title("rare")).filter(range.clone()).into(),
        Query::bool().must(title("common")).filter(range.clone()).into(),
        Query::bool().must(title("middle common")).must(range.clone()).into(),
        Query::bool().must(title("common")).must_not(range.clone()).into(),
        Query::bool()
            .should(title("rare"))
            .should(range.clone())
            .should(title("middle"))
            .minimum_match(MinimumMatch::Count(2))
            .into(),
        Query::bool().filter(range.clone()).filter(title("common")).filter(range).into(),
    ]
}

#[tokio::test]
async fn a_range_over_a_column_finds_what_one_over_the_dictionary_finds() {
    for seed in 0..rounds(4, 300) as u64 {
        let (index, _) = filled(seed).await;
        let mut numbers = parity::Numbers::new(seed);
        for how in 0..6 {
            let ends = [number(&mut numbers), number(&mut numbers)];
            let values = |number| values(number).into_iter().take(3).chain([("all", Value::U64(number))]);
            for ((name, low), (_, high)) in values(ends[0].min(ends[1])).zip(values(ends[0].max(ends[1]))) {
                let trees = |name: &str| trees(bounded(name, &low, &high, how));
                for (column, plain) in trees(name).into_iter().zip(trees(&format!("{name}_plain"))) {
                    let found = index.search(&SearchRequest::new(column.clone())).await.unwrap();
                    let expected = index.search(&SearchRequest::new(plain.clone())).await.unwrap();
                    let shown = |found: &crate::SearchResponse| {
                        let hits = found.hits.iter().map(|hit| (hit.id().as_str().to_owned(), hit.score));
                        (found.total, hits.collect::<Vec<_>>())
                    };
                    assert_eq!(shown(&found), shown(&expected), "seed {seed}: {column:?}");
                    assert_eq!(index.count(&column).await.unwrap(), expected.total, "seed {seed}: {column:?}");
                }
            }
        }
    }
}

/// The ids in the order of a key, missing ones at their end, then by id.
fn ordered<K: Ord + Clone>(
    living: &BTreeMap<String, Record>,
    key: impl Fn(&Record) -> Vec<K>,
    (descending, missing_first): (bool, bool),
) -> Vec<String> {
    let mut all: Vec<_> = living.iter().map(|(id, record)| (key(record), id.clone())).collect();
    let beside = |keys: &[K]| keys.is_empty() != missing_first;
    if descending {
        all.sort_by_key(|(keys, id)| (beside(keys), Reverse(keys.iter().max().cloned()), id.clone()));
    } else {
        all.sort_by_key(|(keys, id)| (beside(keys), keys.iter().min().cloned(), id.clone()));
    }
    all.into_iter().map(|(_, id)| id).collect()
}

fn unsigned(name: &str) -> impl Fn(&Record) -> Vec<u64> {
    let number = |value: &Value| if let Value::U64(number) = value { Some(*number) } else { None };
    move |record| record.values(name).filter_map(number).collect()
}

fn keywords(name: &str) -> impl Fn(&Record) -> Vec<String> {
    move |record| record.values(name).filter_map(|value| value.as_text().map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_first_by_a_key_are_the_first_of_all_in_order() {
    for seed in 0..rounds(4, 300) as u64 {
        let (index, living) = filled(seed).await;
        for (descending, missing_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let sort = |name: &str| {
                let sort = Sort::by(name);
                let sort = if descending { sort.descending() } else { sort };
                if missing_first { sort.missing_first() } else { sort }
            };
            let way = (descending, missing_first);
            let by_number = ["u", "all"].map(|name| (name, ordered(&living, unsigned(name), way)));
            let by_keyword = ["tag", "kind"].map(|name| (name, ordered(&living, keywords(name), way)));
            for (name, expected) in by_number.into_iter().chain(by_keyword) {
                for (from, size) in [(0, 1), (0, 10), (5, 200), (0, 2_000), (living.len() as u64 - 3, 10)] {
                    let request = SearchRequest::new(Query::all()).with_from(from).with_size(size);
                    let found = index.search(&request.clone().with_sort(sort(name))).await.unwrap();
                    let wanted = expected.iter().skip(usize::try_from(from).unwrap());
                    let wanted: Vec<_> = wanted.take(usize::try_from(size).unwrap()).map(String::as_str).collect();
                    assert_eq!(found.ids(), wanted, "seed {seed}, {name}, {way:?}, from {from}");
                    assert_eq!(found.total, living.len() as u64);
                    let twice = request.with_sort(sort("b")).with_sort(sort(name));
                    let found = index.search(&twice).await.unwrap();
                    assert_eq!(found.hits.len(), wanted.len(), "seed {seed}");
                }
            }
        }
    }
}

/// How many have each value, the most frequent first.
fn counted(living: &BTreeMap<String, Record>, name: &str) -> Vec<(Reverse<u64>, String)> {
    let mut counts = BTreeMap::<String, u64>::new();
    for record in living.values() {
        let mut values = keywords(name)(record);
        values.sort();
        values.dedup();
        values.into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(value, count)| (Reverse(count), value)).collect();
    counts.sort();
    counts
}

#[tokio::test]
async fn values_are_counted_over_what_matches_beside_any_page() {
    for seed in 0..rounds(4, 300) as u64 {
        let (index, living) = filled(seed).await;
        for (name, size) in [("tag", 1), ("tag", 7), ("tag", 100), ("kind", 1), ("kind", 5), ("kind", 100)] {
            let expected: Vec<_> = counted(&living, name).into_iter().take(size).collect();
            for request in [
                SearchRequest::new(Query::all()).with_size(0),
                SearchRequest::new(Query::all()),
                SearchRequest::new(Query::all()).with_sort(Sort::by("u")),
            ] {
                let found = index.search(&request.with_facet(Facet::field(name).with_size(size))).await.unwrap();
                let found = found
                    .facet(name)
                    .iter()
                    .map(|value| (Reverse(value.count), value.value.as_text().unwrap().to_owned()));
                assert_eq!(found.collect::<Vec<_>>(), expected, "seed {seed}, {name}, {size}");
            }
            let common = SearchRequest::new(Query::matches("title", "common")).with_facet(Facet::field(name));
            let living = living.iter().filter(|(_, record)| keywords("title")(record).concat().contains("common"));
            let living = living.map(|(id, record)| (id.clone(), record.clone())).collect();
            let found = index.search(&common).await.unwrap();
            let found =
                found.facet(name).iter().map(|value| (Reverse(value.count), value.value.as_text().unwrap().to_owned()));
            let expected = counted(&living, name).into_iter().take(Facet::field(name).size);
            assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "seed {seed}, {name}");
        }
    }
}

//! Cases about what is counted beside hits.

use std::sync::Arc;

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, delete, found, put, record, write};
use crate::{
    Facet, Histogram, HitsOptions, Query, RangeFacet, Record, SearchIndex, SearchIndexExt, SearchRequest, Sort, Stats,
    Value,
};

fn lamp(id: &str, title: &str, code: &str, rank: i64) -> Record {
    record(id).with("title", title).with("code", code).with("rank", rank)
}

async fn put_lamps(index: &dyn SearchIndex) {
    put(index, [lamp("a", "lamp", "red", 1), lamp("b", "lamp lamp", "blue", 2), lamp("c", "lamp", "red", 3)]).await;
    put(index, [lamp("d", "lamp lamp lamp", "red", 4), lamp("e", "chair", "red", 5), record("f")]).await;
    write(index, vec![delete("c", None)]).await.check().expect("every write succeeds");
}

async fn values(index: &dyn SearchIndex, request: &SearchRequest, field: &str) -> Vec<(Value, u64)> {
    let response = index.search(request).await.expect("the search succeeds");
    response.facet(field).iter().map(|found| (found.value.clone(), found.count)).collect()
}

/// The total is narrowed with the hits.
pub(super) async fn a_post_filter_narrows_the_hits_and_not_what_is_counted(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_lamps(index).await;
    let lamps = || SearchRequest::new(Query::matches("title", "lamp")).with_facet(Facet::field("code"));
    let red = lamps().with_post_filter(Query::term("code", "red"));
    for request in [red.clone(), red.clone().with_sort(Sort::by("rank")), red.clone().with_size(0)] {
        let response = index.search(&request).await.expect("the search succeeds");
        assert_eq!(response.total, 2);
        assert_eq!(response.hits.len(), if request.size == 0 { 0 } else { 2 });
        let counts = response.facet("code").iter().map(|found| (found.value.as_text(), found.count));
        assert_eq!(counts.collect::<Vec<_>>(), [(Some("red"), 2), (Some("blue"), 1)]);
    }
    assert_eq!(found(index, &red.clone().with_from(1).with_sort(Sort::by("rank"))).await, ["d"]);
    let both = red.clone().with_post_filter(Query::range("rank").below(4_i64));
    assert_eq!(found(index, &both).await, ["a"]);
    assert_eq!(found(index, &SearchRequest { facets: Vec::new(), ..both }).await, ["a"]);
    let filtered = red.with_filter(Query::range("rank").above(1_i64));
    assert_eq!(values(index, &filtered, "code").await, [("blue".into(), 1), ("red".into(), 1)]);
    let none = lamps().with_post_filter(Query::None);
    assert_eq!(index.search(&none).await.expect("the search succeeds").total, 0);
    assert_eq!(values(index, &none, "code").await.len(), 2);
    let refused = index.search(&lamps().with_post_filter(Query::term("rank", "one"))).await.expect_err("no number");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

/// Whether or not something is counted on each page.
pub(super) async fn pages_behind_a_cursor_keep_to_a_post_filter(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let word = |n: usize| if n.is_multiple_of(4) { "word other ".repeat(1 + n % 5) } else { "word ".repeat(1 + n % 3) };
    put(index, (0..40).map(|n| lamp(&format!("{n:02}"), &word(n), ["red", "blue"][n % 2], n as i64 % 7))).await;
    let words = || SearchRequest::new(Query::matches("title", "word other")).with_size(3);
    for request in [words(), words().with_sort(Sort::by("rank").descending())] {
        let plain = request.clone().with_filter(Query::range("rank").below(5_i64));
        let plain = index.search(&plain.with_size(40)).await.expect("the search succeeds");
        let request = request.with_post_filter(Query::range("rank").below(5_i64));
        let (mut read, mut page) = (Vec::new(), request.clone().with_facet(Facet::field("code")));
        loop {
            let response = index.search(&page).await.expect("the search succeeds");
            assert_eq!(response.total, plain.total);
            read.extend(response.ids().into_iter().map(str::to_owned));
            let Some(last) = response.hits.last() else { break };
            let other = if page.facets.is_empty() { vec![Facet::field("code")] } else { Vec::new() };
            page = SearchRequest { facets: other, ..page }.with_after(last.cursor());
        }
        assert_eq!(read, plain.ids());
        let foreign = index.search(&words()).await.expect("the search succeeds").hits[0].cursor();
        let refused = index.search(&request.with_after(foreign)).await.expect_err("of a request without the filter");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

/// As a filter does.
pub(super) async fn all_hits_keep_to_a_post_filter(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_lamps(index).await;
    let red = SearchRequest::new(Query::matches("title", "lamp")).with_post_filter(Query::term("code", "red"));
    let mut hits = index.hits_with(&red, HitsOptions::default().with_page_size(1)).await.expect("a state is held");
    let mut read = Vec::new();
    while let Some(hit) = hits.next().await.expect("the page is there") {
        read.push(hit.id().as_str().to_owned());
    }
    assert_eq!(read, found(index, &red).await);
    assert_eq!(read.len(), 2);
}

/// The most frequent first, equally frequent ones by size; once for each document and value.
pub(super) async fn facets_count_numbers_dates_and_truth_values(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let ranks = |id: &str, ranks: &[i64]| ranks.iter().fold(record(id), |record, rank| record.with("rank", *rank));
    put(index, [ranks("a", &[10, 9, 9]), ranks("b", &[-3, 9]), ranks("c", &[]), ranks("d", &[i64::MIN])]).await;
    put(index, [ranks("e", &[i64::MAX, 10]).with("ratio", 0.1), record("f").with("ratio", -1e300).with("ratio", 0.1)])
        .await;
    put(index, [record("g").with("leaf", true).with("day", Value::Date(-1)), record("h").with("leaf", false)]).await;
    put(index, [record("i").with("leaf", false).with("day", Value::Date(86_400_000)), ranks("j", &[9, 8])]).await;
    write(index, vec![delete("j", None)]).await.check().expect("every write succeeds");
    let all = |facet| SearchRequest::new(Query::all()).with_facet(facet);
    let numbers =
        [(9, 2), (10, 2), (i64::MIN, 1), (-3, 1), (i64::MAX, 1)].map(|(rank, count)| (Value::I64(rank), count));
    assert_eq!(values(index, &all(Facet::field("rank")), "rank").await, numbers);
    assert_eq!(values(index, &all(Facet::field("rank").with_size(3)), "rank").await, numbers[..3]);
    let ratios = [(Value::F64(0.1), 2), (Value::F64(-1e300), 1)];
    assert_eq!(values(index, &all(Facet::field("ratio")), "ratio").await, ratios);
    let leaves = [(Value::Bool(false), 2), (Value::Bool(true), 1)];
    assert_eq!(values(index, &all(Facet::field("leaf")), "leaf").await, leaves);
    let days = [(Value::Date(-1), 1), (Value::Date(86_400_000), 1)];
    assert_eq!(values(index, &all(Facet::field("day")), "day").await, days);
    let filtered = all(Facet::field("rank")).with_filter(Query::term("rank", 10_i64)).with_size(0);
    let two = [(10, 2), (9, 1), (i64::MAX, 1)].map(|(rank, count)| (Value::I64(rank), count));
    assert_eq!(values(index, &filtered, "rank").await, two);
}

/// From a bound on and before the next, in the order asked for, with those that are empty.
pub(super) async fn ranges_are_counted_from_a_bound_on_and_before_the_next(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let ratios =
        |id: &str, ratios: &[f64]| ratios.iter().fold(record(id), |record, ratio| record.with("ratio", *ratio));
    put(index, [ratios("a", &[9.99]), ratios("b", &[10.0]), ratios("c", &[10.0, 49.0, 70.0]), ratios("d", &[])]).await;
    put(index, [ratios("e", &[-5.0]).with("rank", i64::MAX), record("f").with("rank", i64::MAX - 1)]).await;
    put(
        index,
        [record("g").with("day", Value::Date(0)), record("h").with("day", Value::Date(-1)), ratios("i", &[10.0])],
    )
    .await;
    write(index, vec![delete("i", None)]).await.check().expect("every write succeeds");
    let counts = async |facet: RangeFacet| {
        let (field, ranges) = (Arc::clone(&facet.field), facet.ranges.clone());
        let request = SearchRequest::new(Query::all()).with_size(1).with_ranges(facet);
        let response = index.search(&request).await.expect("the search succeeds");
        let counted = response.ranges(&field);
        assert_eq!(counted.iter().map(|counted| counted.range.clone()).collect::<Vec<_>>(), ranges);
        counted.iter().map(|counted| counted.count).collect::<Vec<_>>()
    };
    let prices = RangeFacet::field("ratio").at_least(50.0).named("dear").below(10.0).between(10.0, 50.0);
    let overlapping = prices.clone().between(0.0, 49.5).between(10.0, 10.0).between(100.0, 200.0);
    assert_eq!(counts(prices).await, [1, 2, 2]);
    assert_eq!(counts(overlapping).await, [1, 2, 2, 3, 0, 0]);
    let last = RangeFacet::field("rank").at_least(i64::MAX).below(i64::MAX).below(i64::MIN).at_least(i64::MIN);
    assert_eq!(counts(last).await, [1, 1, 0, 2]);
    let days = RangeFacet::field("day").below(Value::Date(0)).between(Value::Date(0), Value::Date(1));
    assert_eq!(counts(days).await, [1, 1]);
    let unasked = index.search(&SearchRequest::new(Query::all())).await.expect("the search succeeds");
    assert_eq!(unasked.ranges("ratio"), []);
}

/// Before anything is sent.
pub(super) async fn what_cannot_be_counted_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let refusal = async |request: SearchRequest| index.search(&request).await.expect_err("it is refused").kind();
    let all = || SearchRequest::new(Query::all());
    let ratio = || RangeFacet::field("ratio");
    for ranges in [
        ratio(),
        ratio().between(2.0, 1.0),
        ratio().below(f64::NAN),
        ratio().at_least(f64::INFINITY),
        ratio().below(1_i64),
        RangeFacet::field("unknown").below(1.0),
        (0..=RangeFacet::MAX_RANGES).fold(ratio(), |ranges, _| ranges.below(1.0)),
    ] {
        let shown = Arc::clone(&ranges.field);
        assert_eq!(refusal(all().with_ranges(ranges)).await, ErrorKind::InvalidInput, "{shown}");
    }
    for field in ["title", "code", "leaf", "size"] {
        let ranges = RangeFacet::field(field).below("x");
        assert_eq!(refusal(all().with_ranges(ranges)).await, ErrorKind::Unsupported, "{field}");
    }
    let ranged = all().with_ranges(ratio().below(1.0));
    let many = (0..crate::MAX_FACETS).fold(ranged, |request, _| request.with_facet(Facet::field("code")));
    assert_eq!(refusal(many).await, ErrorKind::InvalidInput);
}

async fn buckets(index: &dyn SearchIndex, histogram: Histogram) -> Vec<(Value, u64)> {
    let field = Arc::clone(&histogram.field);
    let request = SearchRequest::new(Query::all()).with_size(0).with_histogram(histogram);
    let response = index.search(&request).await.expect("the search succeeds");
    response.histogram(&field).iter().map(|bucket| (bucket.key.clone(), bucket.count)).collect()
}

/// From where one begins, with those that are empty where they are wanted; a document once in each.
pub(super) async fn histograms_of_numbers_have_buckets_of_one_width(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let ratios =
        |id: &str, ratios: &[f64]| ratios.iter().fold(record(id), |record, ratio| record.with("ratio", *ratio));
    put(index, [ratios("a", &[9.99]), ratios("b", &[10.0, 19.0, 41.0]), ratios("c", &[-0.5]), ratios("d", &[])]).await;
    put(index, [ratios("e", &[0.0]), ratios("f", &[-0.0]), ratios("g", &[15.0]), record("h").with("rank", -7_i64)])
        .await;
    put(index, [record("i").with("rank", 7_i64).with("rank", 8_i64), record("j").with("rank", (1_i64 << 60) + 1)])
        .await;
    write(index, vec![delete("g", None)]).await.check().expect("every write succeeds");
    let numbers =
        |expected: &[(f64, u64)]| expected.iter().map(|(key, count)| (Value::F64(*key), *count)).collect::<Vec<_>>();
    let tens = || Histogram::every("ratio", 10.0);
    let found = numbers(&[(-10.0, 1), (0.0, 3), (10.0, 1), (40.0, 1)]);
    assert_eq!(buckets(index, tens()).await, found);
    let found = numbers(&[(-10.0, 1), (0.0, 3), (10.0, 1), (20.0, 0), (30.0, 0), (40.0, 1)]);
    assert_eq!(buckets(index, tens().with_empty()).await, found);
    let moved = numbers(&[(-5.5, 3), (4.5, 2), (14.5, 1), (34.5, 1)]);
    assert_eq!(buckets(index, tens().with_offset(4.5)).await, moved);
    assert_eq!(buckets(index, tens().with_offset(-25.5)).await, moved);
    let narrow = Histogram::every("ratio", 0.1).with_offset(0.05);
    let key = |value: f64| ((value - 0.05) / 0.1).floor() * 0.1 + 0.05;
    let found = [(-0.5, 1), (0.0, 2), (9.99, 2), (19.0, 1), (41.0, 1)].map(|(value, count)| (key(value), count));
    assert_eq!(buckets(index, narrow.clone()).await, numbers(&found));
    assert!(buckets(index, narrow.with_empty()).await.len() > 400);
    let ranks = numbers(&[(-9.0, 1), (6.0, 1), (((1_i64 << 60) as f64 / 3.0).floor() * 3.0, 1)]);
    assert_eq!(buckets(index, Histogram::every("rank", 3.0)).await, ranks);
    let refused = SearchRequest::new(Query::all()).with_histogram(Histogram::every("rank", 3.0).with_empty());
    assert_eq!(index.search(&refused).await.expect_err("so many buckets").kind(), ErrorKind::InvalidInput);
}

/// By so many of them, and by the calendar, in UTC.
pub(super) async fn histograms_of_dates_have_buckets_of_days_weeks_months_and_years(backend: &impl SearchBackend) {
    const DAY: i64 = 86_400_000;
    let index = &*backend.service().await;
    let days =
        |id: String, days: &[i64]| days.iter().fold(record(&id), |record, day| record.with("day", Value::Date(*day)));
    // The last day of February of 2000, a leap year, and of 1900, which was none; the turn of a year; the epoch and before.
    let leap = 11_016 * DAY;
    let times = [leap - 1, leap, leap + DAY - 1, leap + DAY, -25_508 * DAY, -25_508 * DAY - 1, 10_957 * DAY, -1, 0, 1];
    put(index, times.iter().enumerate().map(|(at, time)| days(at.to_string(), &[*time]))).await;
    put(index, [days("several".into(), &[5, 6, 7]), days("none".into(), &[]), days("gone".into(), &[0])]).await;
    write(index, vec![delete("gone", None)]).await.check().expect("every write succeeds");
    let dates =
        |expected: &[(i64, u64)]| expected.iter().map(|(key, count)| (Value::Date(*key), *count)).collect::<Vec<_>>();
    let old = -25_508 * DAY;
    let by_day = dates(&[
        (old - DAY, 1),
        (old, 1),
        (-DAY, 1),
        (0, 3),
        (10_957 * DAY, 1),
        (leap - DAY, 1),
        (leap, 2),
        (leap + DAY, 1),
    ]);
    assert_eq!(buckets(index, Histogram::every_days("day", 1)).await, by_day);
    let by_week = dates(&[(old - 3 * DAY, 2), (-3 * DAY, 4), (10_952 * DAY, 1), (leap - DAY, 4)]);
    assert_eq!(buckets(index, Histogram::weeks("day")).await, by_week);
    let by_month = [
        (old - 28 * DAY, 1),
        (old, 1),
        (-31 * DAY, 1),
        (0, 3),
        (10_957 * DAY, 1),
        (10_988 * DAY, 3),
        (11_017 * DAY, 1),
    ];
    assert_eq!(buckets(index, Histogram::months("day")).await, dates(&by_month));
    let by_year = dates(&[(old - 59 * DAY, 2), (-365 * DAY, 1), (0, 3), (10_957 * DAY, 5)]);
    assert_eq!(buckets(index, Histogram::years("day")).await, by_year);
    let all = buckets(index, Histogram::years("day").with_empty()).await;
    assert_eq!((all.len(), all.iter().map(|(_, count)| count).sum::<u64>()), (101, 11));
    assert_eq!(buckets(index, Histogram::months("day").with_empty()).await.len(), 1_202);
    let hours = Histogram::every_millis("day", 3_600_000).with_offset_millis(-1);
    let turns = [(old - 1, 2), (-1, 4), (10_957 * DAY - 1, 1), (leap - 1, 2), (leap + DAY - 1, 2)];
    assert_eq!(buckets(index, hours).await, dates(&turns));
}

/// Every value, whatever page is asked for.
pub(super) async fn stats_sum_up_every_value(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let ranks = |id: &str, ranks: &[i64]| ranks.iter().fold(record(id), |record, rank| record.with("rank", *rank));
    put(index, [ranks("a", &[3, 3, -4]), ranks("b", &[]).with("ratio", 0.5), ranks("c", &[10]).with("ratio", -0.25)])
        .await;
    put(index, [ranks("d", &[100]).with("day", Value::Date(1_700_000_000_123)), ranks("e", &[9])]).await;
    write(index, vec![delete("e", None)]).await.check().expect("every write succeeds");
    let stats = async |query: Query, field: &'static str| {
        let request = SearchRequest::new(query).with_size(1).with_stats(field);
        let response = index.search(&request).await.expect("the search succeeds");
        assert_eq!(response.stats("code"), None);
        *response.stats(field).expect("it was asked for")
    };
    let all = || Query::from(Query::all());
    assert_eq!(stats(all(), "rank").await, Stats::new(5, Some(-4.0), Some(100.0), 112.0));
    assert_eq!(stats(all(), "rank").await.average(), Some(22.4));
    assert_eq!(stats(Query::ids(["a"]).into(), "rank").await, Stats::new(3, Some(-4.0), Some(3.0), 2.0));
    assert_eq!(stats(all(), "ratio").await, Stats::new(2, Some(-0.25), Some(0.5), 0.25));
    let day = 1_700_000_000_123.0;
    assert_eq!(stats(all(), "day").await, Stats::new(1, Some(day), Some(day), day));
    assert_eq!(stats(Query::None, "rank").await, Stats::default());
    assert_eq!(stats(Query::None, "rank").await.average(), None);
}

/// Before anything is sent.
pub(super) async fn what_cannot_be_computed_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let refusal = async |request: SearchRequest| index.search(&request).await.expect_err("it is refused").kind();
    let all = || SearchRequest::new(Query::all());
    for histogram in [
        Histogram::every("ratio", 0.0),
        Histogram::every("ratio", -1.0),
        Histogram::every("ratio", f64::NAN),
        Histogram::every("ratio", f64::INFINITY),
        Histogram::every("ratio", 1.0).with_offset(f64::NAN),
        Histogram::every("unknown", 1.0),
        Histogram::every("day", 1.0),
        Histogram::months("rank"),
        Histogram::every_days("day", 0),
        Histogram::every_millis("day", i64::MAX),
        Histogram::every_millis("day", 10).with_offset_millis(10),
    ] {
        let shown = format!("{histogram:?}");
        assert_eq!(refusal(all().with_histogram(histogram)).await, ErrorKind::InvalidInput, "{shown}");
    }
    let several = (0..=Histogram::MAX_HISTOGRAMS).fold(all(), |all, _| all.with_histogram(Histogram::years("day")));
    assert_eq!(refusal(several).await, ErrorKind::InvalidInput);
    for field in ["title", "code", "leaf", "size"] {
        assert_eq!(
            refusal(all().with_histogram(Histogram::every(field, 1.0))).await,
            ErrorKind::Unsupported,
            "{field}"
        );
        assert_eq!(refusal(all().with_stats(field)).await, ErrorKind::Unsupported, "{field}");
    }
    assert_eq!(refusal(all().with_stats("unknown")).await, ErrorKind::InvalidInput);
    let refused = index.hits_with(&all().with_stats("rank"), HitsOptions::default()).await.expect_err("of one page");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

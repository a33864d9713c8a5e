//! Cases about hits that are collapsed by a field.

use std::collections::HashSet;

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, delete, found, put, record, write};
use crate::{Facet, Hit, HitsOptions, Query, Record, SearchIndex, SearchIndexExt, SearchRequest, Sort, Value};

fn visit(n: usize) -> Record {
    let words = "fever ".repeat(1 + n % 3) + &"rest ".repeat(n % 7);
    let visit = record(&format!("{:03}", (n * 37) % 101)).with("title", words).with("day", Value::Date(n as i64 % 11));
    match n % 6 {
        0 => visit.with("rank", n as i64 % 4 - 2),
        1 => visit.with("code", "Aé").with("code", "ae").with("ratio", -0.5),
        _ => visit.with("code", format!("p{}", n % 9)).with("rank", n as i64 % 13).with("ratio", n as f64 / 8.0),
    }
}

/// As searches see them: in several commits, and some of them deleted.
async fn put_visits(index: &dyn SearchIndex) {
    for part in 0..4 {
        put(index, (part * 25..part * 25 + 25).map(visit)).await;
    }
    write(index, ["007", "051", "100"].map(|id| delete(id, None)).into()).await.check().expect("every write succeeds");
}

fn orders() -> [Vec<Sort>; 4] {
    let day = || Sort::by("day");
    [vec![], vec![day().descending()], vec![day(), Sort::by_score()], vec![Sort::by("code").missing_first(), day()]]
}

/// What the field says of each hit: `None` for those without a value, which are one group.
fn group(record: &Record, field: &str) -> Option<String> {
    let value = record.iter().find(|(name, _)| *name == field).map(|(_, value)| value);
    value.map(|value| match value {
        // The suite's keywords are in lower case and without accents.
        Value::Text(text) => text.to_lowercase().replace('é', "e"),
        Value::I64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        _ => String::new(),
    })
}

/// All that a hit says, but for its cursor: that is of another request. Where the order has no part for the score there is none.
fn whole(hit: &Hit) -> (&Record, Option<f32>, &[Option<Value>]) {
    (&hit.record, hit.score, &hit.sort)
}

/// In every order, of texts and numbers, on every page, also where the hits are in several segments.
pub(super) async fn collapsed_hits_are_the_first_of_each_group(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_visits(index).await;
    for sort in orders() {
        let all = SearchRequest::new(Query::matches("title", "fever")).with_size(200);
        let all = SearchRequest { sort, ..all };
        let plain = index.search(&all).await.expect("the search succeeds");
        assert_eq!(plain.total, 97);
        for field in ["code", "rank", "ratio"] {
            let mut seen = HashSet::new();
            let firsts = plain.hits.iter().filter(|hit| seen.insert(group(&hit.record, field)));
            let firsts: Vec<_> = firsts.collect();
            assert!(seen.contains(&None) && firsts.len() > 6, "{field} {firsts:?}");
            let collapsed = all.clone().with_collapse(field);
            for (from, size) in [(0, 200), (0, 1), (0, 3), (3, 3), (5, 100), (firsts.len(), 5)] {
                let page = collapsed.clone().with_from(from as u64).with_size(size as u64);
                let response = index.search(&page).await.expect("the search succeeds");
                let wanted = firsts.iter().skip(from).take(size).map(|hit| whole(hit)).collect::<Vec<_>>();
                let hits = response.hits.iter().map(whole).collect::<Vec<_>>();
                assert_eq!(hits, wanted, "{field} {:?} from {from}, {size}", all.sort);
                assert_eq!(response.total, 97);
            }
        }
    }
}

/// Filters of every kind choose before it, and what is counted is counted before.
pub(super) async fn what_is_counted_is_not_collapsed(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        ["red", "red", "blue", "red"].iter().enumerate().map(|(at, color)| {
            record(&at.to_string()).with("title", "lamp").with("code", *color).with("rank", at as i64)
        }),
    )
    .await;
    let lamps = || SearchRequest::new(Query::matches("title", "lamp")).with_collapse("code");
    let counted = index.search(&lamps().with_facet(Facet::field("code"))).await.expect("the search succeeds");
    let facet: Vec<_> = counted.facet("code").iter().map(|value| (value.value.as_text(), value.count)).collect();
    assert_eq!((counted.total, counted.ids()), (4, vec!["0", "2"]));
    assert_eq!(facet, [(Some("red"), 3), (Some("blue"), 1)]);
    let late = lamps().with_filter(Query::range("rank").at_least(1_i64));
    assert_eq!(found(index, &late).await, ["1", "2"]);
    let last = late.with_post_filter(Query::range("rank").at_least(3_i64)).with_facet(Facet::field("code"));
    let last = index.search(&last).await.expect("the search succeeds");
    assert_eq!((last.total, last.ids(), last.facet("code")[0].count), (1, vec!["3"], 2));
    let none = index.search(&lamps().with_size(0)).await.expect("the search succeeds");
    assert_eq!((none.total, none.hits.len()), (4, 0));
    let unknown = lamps().with_filter(Query::None);
    assert_eq!(index.search(&unknown).await.expect("the search succeeds").total, 0);
}

/// Whether or not that hit would be on the page, and whatever page it is.
pub(super) async fn a_hit_of_several_groups_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        (0..30).map(|n| record(&format!("{n:02}")).with("title", "bed ".repeat(1 + n % 2)).with("rank", n as i64)),
    )
    .await;
    let several = record("99").with("title", format!("bed{}", " rest".repeat(30)));
    let (codes, ranks) = (several.clone().with("code", "x").with("code", "y"), several.clone().with("rank", 5_i64));
    let beds = |field: &str| SearchRequest::new(Query::matches("title", "bed")).with_size(1).with_collapse(field);
    for (record, field) in [(codes, "code"), (ranks.with("rank", 5_i64), "rank")] {
        put(index, [record]).await;
        for request in [beds(field), beds(field).with_from(40), beds(field).with_sort(Sort::by("rank").missing_first())]
        {
            let refused = index.search(&request).await.expect_err("a hit is of two groups");
            assert_eq!(refused.kind(), ErrorKind::Unsupported, "{request:?}: {refused}");
        }
        assert_eq!(index.search(&beds(field).with_size(0)).await.expect("no hit is wanted").total, 31);
        let others = beds(field).with_filter(Query::bool().must_not(Query::ids(["99"])));
        assert_eq!(index.search(&others).await.expect("it is no hit").total, 30);
        let others = beds(field).with_post_filter(Query::bool().must_not(Query::ids(["99"])));
        assert_eq!(index.search(&others).await.expect("it is no hit").total, 30);
    }
    put(index, [several.with("code", "Éa").with("code", "ea").with("code", "EA")]).await;
    let same = index.search(&beds("code").with_size(9)).await.expect("the same text is one group");
    assert_eq!(same.hits.len(), 2);
}

/// Before anything is sent.
pub(super) async fn what_cannot_be_collapsed_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_visits(index).await;
    let all = || SearchRequest::new(Query::all());
    for field in ["title", "tag", "size", "leaf", "day", "note"] {
        let refused = index.search(&all().with_collapse(field)).await.expect_err("it cannot be collapsed");
        assert_eq!((refused.kind(), refused.key()), (ErrorKind::Unsupported, Some(field)));
    }
    let unknown = index.search(&all().with_collapse("nothing")).await.expect_err("there is no such field");
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    let by_code = all().with_collapse("code");
    let hit = index.search(&by_code).await.expect("the search succeeds").hits[0].cursor();
    let behind = index.search(&by_code.clone().with_after(hit.clone())).await.expect_err("no cursors");
    assert_eq!(behind.kind(), ErrorKind::Unsupported);
    let other = index.search(&all().with_after(hit)).await.expect_err("the cursor of another request");
    assert_eq!(other.kind(), ErrorKind::InvalidInput);
    let far = by_code.clone().with_from(SearchRequest::MAX_WINDOW);
    let far = index.search(&far).await.expect_err("it is beyond the window");
    assert_eq!(far.kind(), ErrorKind::InvalidInput);
    assert!(far.message().contains("no cursors"), "no way is shown that does not exist: {far}");
    let read = index.hits_with(&by_code, HitsOptions::default()).await.expect_err("all hits are not collapsed");
    assert_eq!(read.kind(), ErrorKind::Unsupported);
}

/// Instead of returning hits that are not collapsed.
pub(super) async fn who_collapses_no_hits_says_so(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let found = index.search(&SearchRequest::new(Query::all()).with_collapse("code")).await;
    let able = backend.capabilities().await.has(crate::capability::COLLAPSE);
    assert!(found.map_or_else(|error| !able && error.kind() == ErrorKind::Unsupported, |_| able));
}

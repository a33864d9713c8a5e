//! Cases about totals that are counted up to a number.

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, delete, put, record, write};
use crate::{
    Facet, Histogram, HitsOptions, Operator, Query, RangeFacet, Record, SearchIndex, SearchIndexExt, SearchRequest,
    SearchResponse, Sort, Total, TotalRelation, Value, capability,
};

/// Frequent words and rare ones, in texts short and long, under ids that say nothing of when they were written.
fn visit(n: usize) -> Record {
    let words = ["fever ", "cough ", "rest ", "fever cough "][n % 4].repeat(1 + n % 3) + &"ward ".repeat(n % 11);
    let rare = if n.is_multiple_of(97) { "cholera" } else { "" };
    record(&format!("{:03}", (n * 331) % 997))
        .with("title", words + rare)
        .with("code", format!("c{}", n % 9))
        .with("rank", n as i64 % 13)
        .with("day", Value::Date(n as i64 % 7))
}

/// As searches see them: in several commits, and some of them deleted.
async fn put_visits(index: &dyn SearchIndex) {
    for part in [0..300, 300..420, 420..700] {
        put(index, part.map(visit)).await;
    }
    let gone = (0..700).step_by(23).map(|n| delete(&format!("{:03}", (n * 331) % 997), None));
    write(index, gone.collect()).await.check().expect("every write succeeds");
}

fn queries() -> Vec<Query> {
    let matches = |text: &str| Query::matches("title", text);
    vec![
        matches("fever").into(),
        matches("cholera").into(),
        matches("fever cough rest").into(),
        matches("cholera ward").into(),
        matches("fever cough").operator(Operator::And).into(),
        matches("fevr").fuzzy().into(),
        Query::phrase("title", "fever cough").into(),
        Query::phrase("title", "cough fever").slop(3).into(),
        Query::prefix("title.typed", "fe").into(),
        Query::dis_max([Query::from(matches("fever")), matches("rest").boost(3.0).into()]).tie_breaker(0.2).into(),
        Query::constant(matches("cough")).boost(2.0).into(),
        Query::bool().must(matches("fever")).should(matches("ward")).must_not(Query::term("code", "c3")).into(),
        Query::range("rank").at_least(3_i64).at_most(9_i64).into(),
        Query::term("code", "c1").into(),
        Query::all().into(),
        Query::None,
    ]
}

/// What an answer to the same request is, but for its total.
fn rest(mut response: SearchResponse) -> SearchResponse {
    (response.total, response.relation) = (0, TotalRelation::Exact);
    response
}

/// Asks for several totals, below, at and above the real one; says how many match.
async fn same_but_for_the_total(index: &dyn SearchIndex, request: &SearchRequest) -> u64 {
    let exact = index.search(request).await.expect("the search succeeds");
    assert_eq!(exact.relation, TotalRelation::Exact);
    let all = exact.total;
    let exact = rest(exact);
    for most in [0, 1, 10, all.saturating_sub(1), all, all + 1, Total::MAX] {
        let asked = request.clone().with_total(Total::AtLeast(most));
        let found = index.search(&asked).await.expect("the search succeeds");
        let total = if all > most { (most, TotalRelation::AtLeast) } else { (all, TotalRelation::Exact) };
        assert_eq!((found.total, found.relation), total, "of {all}, {asked:?}");
        let found = rest(found);
        assert_eq!(found, exact, "{asked:?}");
    }
    all
}

/// And says of the rest only that there are more: in several segments, where documents were deleted, and whatever is looked for.
pub(super) async fn a_total_is_counted_up_to_a_number(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_visits(index).await;
    let mut totals = Vec::new();
    for query in queries() {
        let request = SearchRequest::new(query);
        totals.push(same_but_for_the_total(index, &request.clone().with_size(0)).await);
        for (from, size) in [(0, 1), (0, 10), (13, 40), (650, 40)] {
            let page = request.clone().with_from(from).with_size(size);
            assert_eq!(Some(&same_but_for_the_total(index, &page).await), totals.last());
        }
    }
    assert_eq!(totals.iter().filter(|total| **total > 200).count(), 10, "{totals:?}");
}

/// Filters of every kind, orders, pages behind a cursor, and one hit of each group.
pub(super) async fn hits_do_not_depend_on_how_far_the_total_is_counted(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_visits(index).await;
    let fever = || SearchRequest::new(Query::matches("title", "fever cough"));
    let mut requests = vec![
        fever().with_filter(Query::range("rank").at_least(4_i64)),
        fever().with_post_filter(Query::term("code", "c2")),
        fever().with_sort(Sort::by("rank").descending()),
        fever().with_sort(Sort::by("code")).with_sort(Sort::by_score()),
        fever().with_sort(Sort::by_score().ascending()),
        fever().with_sort(Sort::by_score()),
    ];
    if backend.capabilities().await.has(capability::COLLAPSE) {
        requests.push(fever().with_collapse("code"));
    }
    for request in requests {
        let all = same_but_for_the_total(index, &request).await;
        assert!(all > 30, "{request:?}");
        if request.collapse.is_some() {
            continue;
        }
        // A page behind a hit of an exact one, which need not count again.
        let first = index.search(&request.clone().with_size(17)).await.expect("the search succeeds");
        let behind = request.with_after(first.hits[16].cursor());
        assert_eq!(same_but_for_the_total(index, &behind).await, all);
    }
}

/// For that, everything that matches is looked at.
pub(super) async fn what_is_counted_besides_is_exact_whatever_the_total(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_visits(index).await;
    let request = SearchRequest::new(Query::matches("title", "fever cough"))
        .with_post_filter(Query::range("rank").at_most(8_i64))
        .with_facet(Facet::field("code"))
        .with_ranges(RangeFacet::field("rank").below(5_i64).at_least(5_i64))
        .with_histogram(Histogram::every("rank", 4.0))
        .with_stats("rank");
    for size in [0, 10] {
        let sized = request.clone().with_size(size);
        assert!(same_but_for_the_total(index, &sized).await > 200);
        let one = index.search(&sized.with_total(Total::AtLeast(1))).await.expect("the search succeeds");
        let counted: u64 = one.facet("code").iter().map(|value| value.count).sum();
        assert!(counted > 300 && one.total == 1, "{counted}");
    }
}

/// They are all there are, whatever is asked of a total that nobody is told.
pub(super) async fn all_hits_come_whatever_the_total(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_visits(index).await;
    let request = SearchRequest::new(Query::matches("title", "fever ward"));
    let exact = index.search(&request.clone().with_size(1_000)).await.expect("the search succeeds");
    for most in [0, 30, Total::MAX] {
        let options = HitsOptions::default().with_page_size(90);
        let asked = request.clone().with_total(Total::AtLeast(most));
        let mut hits = index.hits_with(&asked, options).await.expect("a state is held");
        let mut all = Vec::new();
        while let Some(hit) = hits.next().await.expect("the page is there") {
            all.push(hit);
        }
        assert_eq!(all, exact.hits);
    }
}

/// Alike by everybody, before anything is counted.
pub(super) async fn a_total_over_the_limit_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    for most in [Total::MAX + 1, u64::MAX] {
        let request = SearchRequest::new(Query::all()).with_total(Total::AtLeast(most));
        let refused = index.search(&request).await.expect_err("it is refused");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.message().contains("2147483646"), "{refused}");
        if backend.capabilities().await.has(capability::POINT_IN_TIME) {
            assert_eq!(index.hits(&request).await.expect_err("it is refused").kind(), ErrorKind::InvalidInput);
        }
    }
}

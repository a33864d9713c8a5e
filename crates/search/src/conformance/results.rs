//! Cases about order, pages, what is returned, and what is refused.

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, delete, found, ids, put, put_titles, record, write};
use crate::{
    Facet, FieldBoost, Fuzziness, Highlight, MAX_BOOST, MAX_CLAUSES, MAX_DEPTH, MAX_FACETS, MAX_FUZZY_TERM,
    MAX_FUZZY_TEXT, MAX_HIGHLIGHTS, MAX_POSITIONS, MAX_PROJECTED, MAX_QUERY_TEXT, MAX_REQUEST_TEXT, MAX_SORTS,
    MAX_TERMS, MAX_VALUE_BYTES, MinimumMatch, Operator, Projection, Query, SearchIndex, SearchIndexExt, SearchRequest,
    Sort, Value,
};

/// Whatever order they were written in.
pub(super) async fn ties_are_broken_by_id(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, ["c", "a", "B", "\u{e9}", "b"].map(|name| record(name).with("title", "same"))).await;
    put(index, ["d", "0"].map(|name| record(name).with("title", "same"))).await;
    let expected = ["0", "B", "a", "b", "c", "d", "\u{e9}"];
    assert_eq!(ids(index, Query::matches("title", "same")).await, expected);
    assert_eq!(found(index, &SearchRequest::new(Query::all()).with_sort(Sort::by("rank"))).await, expected);
}

/// In both directions.
pub(super) async fn sort_orders_numbers_keywords_and_dates(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let day = |ms| Value::Date(ms);
    put(
        index,
        [
            record("a")
                .with("rank", 2_i64)
                .with("ratio", -1.5)
                .with("code", "b")
                .with("leaf", true)
                .with("day", day(0)),
            record("b")
                .with("rank", -1_i64)
                .with("ratio", 1e9)
                .with("code", "A")
                .with("leaf", false)
                .with("day", day(-5)),
        ],
    )
    .await;
    put(index, [record("c").with("rank", 10_i64).with("ratio", 0.0).with("code", "\u{e9}").with("day", day(7))]).await;
    for (field, expected) in [
        ("rank", ["b", "a", "c"]),
        ("ratio", ["a", "c", "b"]),
        ("code", ["b", "a", "c"]),
        ("day", ["b", "a", "c"]),
        ("leaf", ["b", "a", "c"]),
    ] {
        let request = SearchRequest::new(Query::all()).with_sort(Sort::by(field));
        assert_eq!(found(index, &request).await, expected, "{field}");
        let response = index.search(&request).await.expect("the search succeeds");
        assert_eq!(response.hits[0].score, None);
        assert!(response.hits[0].sort[0].is_some(), "{field}");
    }
    let descending = SearchRequest::new(Query::all()).with_sort(Sort::by("rank").descending());
    assert_eq!(found(index, &descending).await, ["c", "a", "b"]);
    let then = SearchRequest::new(Query::bool().should(Query::term("leaf", true)).filter(Query::all()))
        .with_sort(Sort::by_score())
        .with_sort(Sort::by("ratio").descending());
    assert_eq!(found(index, &then).await, ["a", "b", "c"]);
}

/// In both directions.
pub(super) async fn sort_puts_missing_values_where_it_is_told(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a"), record("b").with("rank", 1_i64).with("code", "x"), record("c").with("rank", 2_i64)]).await;
    let by = |sort: Sort| SearchRequest::new(Query::all()).with_sort(sort);
    assert_eq!(found(index, &by(Sort::by("rank"))).await, ["b", "c", "a"]);
    assert_eq!(found(index, &by(Sort::by("rank").missing_first())).await, ["a", "b", "c"]);
    assert_eq!(found(index, &by(Sort::by("rank").descending())).await, ["c", "b", "a"]);
    assert_eq!(found(index, &by(Sort::by("rank").descending().missing_first())).await, ["a", "c", "b"]);
    assert_eq!(found(index, &by(Sort::by("code").missing_first())).await, ["a", "c", "b"]);
    let response = index.search(&by(Sort::by("code"))).await.expect("the search succeeds");
    let values: Vec<_> = response.hits.iter().map(|hit| hit.sort[0].clone()).collect();
    assert_eq!(values, [Some(Value::from("x")), None, None]);
}

/// The smallest upwards, the largest downwards.
pub(super) async fn sort_takes_the_least_or_the_largest_of_several_values(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let wide = record("wide").with("rank", 5_i64).with("rank", 1_i64).with("rank", 9_i64);
    put(index, [wide, record("middle").with("rank", 5_i64)]).await;
    let by = |sort: Sort| SearchRequest::new(Query::all()).with_sort(sort);
    assert_eq!(found(index, &by(Sort::by("rank"))).await, ["wide", "middle"]);
    assert_eq!(found(index, &by(Sort::by("rank").descending())).await, ["wide", "middle"]);
    let response = index.search(&by(Sort::by("rank").descending())).await.expect("the search succeeds");
    assert_eq!(response.hits[0].sort, [Some(Value::I64(9))]);
}

/// By score and by field.
pub(super) async fn pages_join_without_gaps_and_totals_are_exact(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        (0..50).map(|n| record(&format!("{n:02}")).with("title", "word ".repeat(n % 7 + 1)).with("rank", n as i64 % 5)),
    )
    .await;
    for sort in [Sort::by_score(), Sort::by("rank").descending()] {
        let request = SearchRequest::new(Query::matches("title", "word")).with_sort(sort);
        let whole = found(index, &request.clone().with_size(100)).await;
        assert_eq!(whole.len(), 50);
        let mut pages = Vec::new();
        for from in (0..50).step_by(7) {
            let page = index.search(&request.clone().with_from(from).with_size(7)).await.expect("the search succeeds");
            assert_eq!(page.total, 50);
            pages.extend(page.ids().into_iter().map(str::to_owned));
        }
        assert_eq!(pages, whole);
    }
    let beyond = SearchRequest::new(Query::all()).with_from(60);
    assert_eq!(found(index, &beyond).await, [""; 0]);
    let none = index.search(&SearchRequest::new(Query::all()).with_size(0)).await.expect("the search succeeds");
    assert_eq!((none.total, none.hits.len()), (50, 0));
}

/// The id is always there.
pub(super) async fn a_projection_returns_only_what_it_names(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a").with_version(3).with("title", "cholera").with("code", "A00").with("rank", 1_i64)]).await;
    let request = SearchRequest::new(Query::matches("title", "cholera"));
    let fields = Projection::Fields(vec!["code".into(), "rank".into()]);
    let response = index.search(&request.clone().with_projection(fields)).await.expect("the search succeeds");
    let names: Vec<_> = response.hits[0].record.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["code", "rank"]);
    let request = request.with_projection(Projection::Id).with_highlight(Highlight::field("title"));
    let response = index.search(&request).await.expect("the search succeeds");
    let hit = &response.hits[0];
    assert_eq!((hit.record.iter().count(), hit.record.version()), (0, Some(3)));
    assert_eq!(hit.highlight("title").len(), 1);
}

/// Stems, similar words, beginnings and phrases, in every value.
pub(super) async fn highlights_mark_what_matched(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [record("a")
            .with("title", "Fractures <of> the f\u{e9}mur & heart attack")
            .with("synonym", "broken leg")
            .with("synonym", "leg broken, badly broken")],
    )
    .await;
    let marked = async |query: Query, field: &'static str| {
        let request = SearchRequest::new(query).with_highlight(Highlight::field(field));
        let response = index.search(&request).await.expect("the search succeeds");
        let fragments = response.hits[0].highlight(field).iter().map(|f| f.to_html("[", "]"));
        fragments.collect::<Vec<_>>()
    };
    let title = |text: &str| vec![text.to_owned()];
    let both = Query::matches("title", "femur fracture").into();
    assert_eq!(marked(both, "title").await, title("[Fractures] &lt;of&gt; the [f\u{e9}mur] &amp; heart attack"));
    let fuzzy = Query::matches("title", "hart atack").fuzzy().into();
    assert_eq!(marked(fuzzy, "title").await, title("Fractures &lt;of&gt; the f\u{e9}mur &amp; [heart] [attack]"));
    let typed = Query::starts_with_words("title", "att").into();
    assert_eq!(marked(typed, "title").await, title("Fractures &lt;of&gt; the f\u{e9}mur &amp; heart [attack]"));
    let typed = Query::matches("title.typed", "hea").into();
    assert_eq!(marked(typed, "title.typed").await, title("Fractures &lt;of&gt; the f\u{e9}mur &amp; [heart] attack"));
    let phrase = Query::phrase("synonym", "broken leg").into();
    assert_eq!(marked(phrase, "synonym").await, ["[broken] [leg]"]);
    let word = Query::matches("synonym", "broken").into();
    assert_eq!(marked(word, "synonym").await, ["leg [broken], badly [broken]", "[broken] leg"]);
    assert_eq!(marked(Query::all().into(), "title").await, [""; 0]);
}

/// After deletes too.
pub(super) async fn count_is_exact(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["cholera", "cholera", "fever", "cholera fever"]).await;
    assert_eq!(index.count(&Query::matches("title", "cholera").into()).await.expect("count succeeds"), 3);
    write(index, vec![delete("0", None)]).await.check().expect("every write succeeds");
    assert_eq!(index.count(&Query::matches("title", "cholera").into()).await.expect("count succeeds"), 2);
    assert_eq!(index.count(&Query::all().into()).await.expect("count succeeds"), 3);
    assert_eq!(index.count(&Query::None).await.expect("count succeeds"), 0);
}

async fn facet(index: &dyn SearchIndex, request: SearchRequest, facet: Facet) -> Vec<(String, u64)> {
    let field = std::sync::Arc::clone(&facet.field);
    let response = index.search(&request.with_facet(facet)).await.expect("the search succeeds");
    response
        .facet(&field)
        .iter()
        .map(|found| (found.value.as_text().expect("a text").to_owned(), found.count))
        .collect()
}

fn counts(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
}

/// Normalized, once for each document, whatever page is asked for.
pub(super) async fn facets_count_the_values_of_all_that_match(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let coded = |id: &str, codes: &[&str]| {
        codes.iter().fold(record(id).with("title", "cholera"), |record, code| record.with("code", *code))
    };
    put(index, [coded("a", &["X", "x", "\u{c9}"]), coded("b", &["x", "y"]), coded("c", &[])]).await;
    put(index, [coded("d", &["y"]), coded("e", &["Y", ""]), record("f").with("title", "fever").with("code", "x")])
        .await;
    let cholera = || SearchRequest::new(Query::matches("title", "cholera"));
    let all = counts(&[("y", 3), ("x", 2), ("", 1), ("e", 1)]);
    assert_eq!(facet(index, cholera(), Facet::field("code")).await, all);
    assert_eq!(facet(index, cholera().with_size(0), Facet::field("code")).await, all);
    assert_eq!(facet(index, cholera().with_from(4).with_size(1), Facet::field("code").with_size(2)).await, all[..2]);
    let filtered = cholera().with_filter(Query::term("code", "x"));
    assert_eq!(facet(index, filtered, Facet::field("code")).await, counts(&[("x", 2), ("e", 1), ("y", 1)]));
    write(index, vec![delete("b", None)]).await.check().expect("every write succeeds");
    assert_eq!(facet(index, cholera(), Facet::field("code").with_size(1)).await, counts(&[("y", 2)]));
    let nothing = SearchRequest::new(Query::matches("title", "plague"));
    assert_eq!(facet(index, nothing, Facet::field("code")).await, []);
    let unasked = index.search(&cholera()).await.expect("the search succeeds");
    assert_eq!(unasked.facet("code"), []);
}

async fn refusal(index: &dyn SearchIndex, request: impl Into<SearchRequest>) -> ErrorKind {
    index.search(&request.into()).await.expect_err("the request is refused").kind()
}

/// Before anything is sent.
pub(super) async fn unknown_fields_and_wrong_types_are_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let queries: [Query; 7] = [
        Query::matches("unknown", "x").into(),
        Query::term("rank", "one").into(),
        Query::terms("size", [1_i64]).into(),
        Query::range("day").above(1_i64).into(),
        Query::exists("unknown").into(),
        Query::matches("title", "x").boost(f32::NAN).into(),
        Query::bool().must(Query::fuzzy("title", "x").fuzziness(Fuzziness::Edits(3))).into(),
    ];
    for query in queries {
        let shown = format!("{query:?}");
        assert_eq!(refusal(index, query.clone()).await, ErrorKind::InvalidInput, "{shown}");
        assert_eq!(index.count(&query).await.expect_err("refused").kind(), ErrorKind::InvalidInput, "{shown}");
    }
    let all = || SearchRequest::new(Query::all());
    assert_eq!(refusal(index, all().with_sort(Sort::by("unknown"))).await, ErrorKind::InvalidInput);
    assert_eq!(refusal(index, all().with_facet(Facet::field("unknown"))).await, ErrorKind::InvalidInput);
    for size in [0, Facet::MAX_SIZE + 1] {
        assert_eq!(
            refusal(index, all().with_facet(Facet::field("code").with_size(size))).await,
            ErrorKind::InvalidInput
        );
    }
}

/// Instead of differing.
pub(super) async fn what_a_field_cannot_do_is_unsupported(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let queries: [Query; 6] = [
        Query::phrase("code", "x y").into(),
        Query::matches("rank", "1").into(),
        Query::matches("code", "x").fuzzy().into(),
        Query::range("title").above("a").into(),
        Query::prefix("rank", "1").into(),
        Query::term("note", "kept").into(),
    ];
    for query in queries {
        let shown = format!("{query:?}");
        assert_eq!(refusal(index, query).await, ErrorKind::Unsupported, "{shown}");
    }
    let all = || SearchRequest::new(Query::all());
    assert_eq!(refusal(index, all().with_sort(Sort::by("title"))).await, ErrorKind::Unsupported);
    for field in ["title", "tag", "size"] {
        assert_eq!(refusal(index, all().with_facet(Facet::field(field))).await, ErrorKind::Unsupported);
    }
    assert_eq!(refusal(index, all().with_highlight(Highlight::field("hidden"))).await, ErrorKind::Unsupported);
    let hidden = Projection::Fields(vec!["hidden".into()]);
    assert_eq!(refusal(index, all().with_projection(hidden)).await, ErrorKind::Unsupported);
}

/// With bounded work.
pub(super) async fn queries_too_deep_or_too_wide_are_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let deep = (0..=MAX_DEPTH).fold(Query::from(Query::all()), |query, _| Query::bool().must(query).into());
    assert_eq!(refusal(index, deep).await, ErrorKind::InvalidInput);
    let wide = (0..=MAX_CLAUSES).fold(Query::bool(), |query, _| query.should(Query::all()));
    assert_eq!(refusal(index, wide).await, ErrorKind::InvalidInput);
    let long = "word ".repeat(3_000);
    assert_eq!(refusal(index, Query::matches("title", long)).await, ErrorKind::InvalidInput);
}

/// How many there are and how many there may be, so that a user can be told.
pub(super) async fn requests_over_a_limit_are_refused_with_the_numbers(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let all = || SearchRequest::new(Query::all());
    let sorted = (0..=MAX_SORTS).fold(all(), |request, _| request.with_sort(Sort::by("rank")));
    let counted = (0..=MAX_FACETS).fold(all(), |request, _| request.with_facet(Facet::field("code")));
    let marked = (0..=MAX_HIGHLIGHTS).fold(all(), |request, _| request.with_highlight(Highlight::field("title")));
    let projected = all().with_projection(Projection::Fields(vec!["code".into(); MAX_PROJECTED + 1]));
    let half = || Query::terms("rank", (0..=MAX_TERMS as i64 / 2).collect::<Vec<_>>());
    let listed = SearchRequest::new(half()).with_filter(half());
    let long = "x".repeat(MAX_FUZZY_TERM + 1);
    let similar = format!("{} four", "twentyfourlettersareaword0123456 ".repeat(MAX_FUZZY_TEXT / 32));
    let texts = (0..11).fold(Query::bool(), |query, _| query.should(Query::phrase("title", "x".repeat(9_999))));
    for (request, found, limit) in [
        (sorted, MAX_SORTS + 1, MAX_SORTS),
        (counted, MAX_FACETS + 1, MAX_FACETS),
        (marked, MAX_HIGHLIGHTS + 1, MAX_HIGHLIGHTS),
        (projected, MAX_PROJECTED + 1, MAX_PROJECTED),
        (listed, MAX_TERMS + 2, MAX_TERMS),
        (Query::fuzzy("title", long.clone()).into(), MAX_FUZZY_TERM + 1, MAX_FUZZY_TERM),
        (Query::matches("title", similar).fuzzy().into(), MAX_FUZZY_TEXT + 4, MAX_FUZZY_TEXT),
        (Query::matches("title", "x".repeat(MAX_QUERY_TEXT + 1)).into(), MAX_QUERY_TEXT + 1, MAX_QUERY_TEXT),
        (texts.into(), 11 * 9_999, MAX_REQUEST_TEXT),
        (Query::phrase("title", "heart attack").slop(MAX_POSITIONS + 1).into(), 1 << 31, MAX_POSITIONS as usize),
        (Query::fuzzy("title", "heart").prefix_length(u32::MAX).into(), u32::MAX as usize, MAX_POSITIONS as usize),
        (Query::matches("title", "heart").fuzzy().prefix_length(1 << 31).into(), 1 << 31, MAX_POSITIONS as usize),
    ] {
        let error = index.search(&request).await.expect_err("the request is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let message = error.message();
        assert!(message.contains(&found.to_string()) && message.contains(&limit.to_string()), "{message}");
    }
    let bytes = MAX_VALUE_BYTES / 512;
    let many = Query::ids((0..=bytes).map(|n| format!("{n:0>512}")));
    assert_eq!(refusal(index, many).await, ErrorKind::TooLarge);
    assert_eq!(found(index, &Query::matches("label", long).fuzziness(Fuzziness::Edits(0)).into()).await, [""; 0]);
    assert_eq!(found(index, &Query::phrase("title", "heart attack").slop(MAX_POSITIONS).into()).await, [""; 0]);
}

/// In every query of the tree, in every field, in the filters.
pub(super) async fn the_terms_of_all_texts_count_together(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let words = |count: usize| "a ".repeat(count);
    let matches = |count| Query::matches("title", words(count));
    // A query counts one too.
    let most = MAX_CLAUSES - 1;
    assert_eq!(found(index, &matches(most).into()).await, [""; 0]);
    assert_eq!(found(index, &Query::phrase("title", words(most)).into()).await, [""; 0]);
    let two = Query::bool().should(matches(most / 2)).should(matches(most / 2));
    let fuzzy = Query::matches("title", "word ".repeat(MAX_CLAUSES / 2)).fuzzy();
    for request in [
        SearchRequest::new(matches(most + 1)),
        Query::phrase("title", words(most + 1)).into(),
        Query::matches_prefix("title", words(most + 1)).into(),
        two.into(),
        Query::multi_match(["title", "synonym"], words(most / 2)).into(),
        SearchRequest::new(matches(most / 2)).with_filter(matches(most / 2 + 1)),
        fuzzy.into(),
    ] {
        let error = index.search(&request).await.expect_err("the request is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.message().contains("1024"), "{error}");
        if request.filters.is_empty() {
            assert_eq!(index.count(&request.query).await.expect_err("refused").kind(), ErrorKind::InvalidInput);
        }
    }
}

/// Boosts also multiplied with those around them.
pub(super) async fn options_out_of_range_are_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let all = |boost| Query::all().boost(boost);
    let queries: [Query; 9] = [
        all(-1.0).into(),
        all(-0.0).into(),
        all(f32::INFINITY).into(),
        all(2.0 * MAX_BOOST).into(),
        Query::bool().must(all(MAX_BOOST)).boost(2.0).into(),
        Query::multi_match([FieldBoost::new("title", MAX_BOOST)], "x").boost(2.0).into(),
        Query::dis_max([all(1.0)]).tie_breaker(1.5).into(),
        Query::matches("title", "a b").minimum_match(MinimumMatch::Percent(101)).into(),
        Query::bool().should(all(1.0)).minimum_match(MinimumMatch::Percent(-101)).into(),
    ];
    for query in queries {
        let shown = format!("{query:?}");
        assert_eq!(refusal(index, query).await, ErrorKind::InvalidInput, "{shown}");
    }
    put_titles(index, &["a"]).await;
    assert_eq!(found(index, &all(MAX_BOOST).into()).await, ["0"]);
    assert_eq!(found(index, &Query::bool().must(all(MAX_BOOST)).boost(1.0 / MAX_BOOST).into()).await, ["0"]);
}

/// Instead of one of them winning, on each backend another.
pub(super) async fn options_that_contradict_each_other_are_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let tag = || Query::term("tag", "x");
    let one = MinimumMatch::Count(1);
    for minimum in [one, MinimumMatch::Count(0), MinimumMatch::Count(-1), MinimumMatch::Percent(50)] {
        let queries: [Query; 7] = [
            Query::matches("title", "heart attack").operator(Operator::And).minimum_match(minimum).into(),
            Query::matches("code", "x").operator(Operator::And).minimum_match(minimum).into(),
            Query::multi_match(["title"], "heart attack").operator(Operator::And).minimum_match(minimum).into(),
            Query::starts_with_words("title", "hea att").minimum_match(minimum).into(),
            Query::bool().must(tag()).minimum_match(minimum).into(),
            Query::bool().must_not(tag()).filter(tag()).minimum_match(minimum).into(),
            Query::constant(Query::bool().minimum_match(minimum)).into(),
        ];
        for query in queries {
            let shown = format!("{query:?}");
            assert_eq!(refusal(index, query).await, ErrorKind::InvalidInput, "{shown}");
        }
    }
}

/// As OpenSearch's `index.max_result_window`.
pub(super) async fn a_window_over_the_limit_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["a"]).await;
    let all = || SearchRequest::new(Query::all());
    assert_eq!(found(index, &all().with_from(9_990)).await, [""; 0]);
    assert_eq!(refusal(index, all().with_from(9_991)).await, ErrorKind::InvalidInput);
    assert_eq!(refusal(index, all().with_size(10_001)).await, ErrorKind::InvalidInput);
    assert_eq!(refusal(index, all().with_from(u64::MAX)).await, ErrorKind::InvalidInput);
}

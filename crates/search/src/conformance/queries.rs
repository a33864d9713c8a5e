//! Cases about what each query finds.

use super::kit::{SearchBackend, id_set, ids, put, put_titles, record, scores};
use crate::{FieldBoost, Fuzziness, MinimumMatch, Operator, Query, SearchIndexExt, SearchRequest, Value};

/// More terms and rarer terms score higher.
pub(super) async fn match_finds_any_of_the_terms_best_first(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["cholera", "typhoid fever", "fever of cholera", "fever", "nothing here"]).await;
    assert_eq!(ids(index, Query::matches("title", "Cholera FEVER")).await, ["2", "0", "3", "1"]);
    assert_eq!(ids(index, Query::matches("title", "of the")).await, [""; 0]);
    assert_eq!(ids(index, Query::matches("title", "  ...  ")).await, [""; 0]);
}

/// In any order.
pub(super) async fn match_with_and_needs_every_term(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["acute heart failure", "heart failure", "failure of the heart, acute"]).await;
    let query = Query::matches("title", "acute failure").operator(Operator::And);
    assert_eq!(id_set(index, query).await, ["0", "2"]);
}

/// Positive, negative, and for a single term not at all.
pub(super) async fn minimum_match_counts_and_takes_shares(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["a b c d", "a b c", "a b", "a"]).await;
    let query = |minimum| Query::matches("title", "a b c d").minimum_match(minimum);
    assert_eq!(id_set(index, query(MinimumMatch::Count(3))).await, ["0", "1"]);
    assert_eq!(id_set(index, query(MinimumMatch::Count(-1))).await, ["0", "1"]);
    assert_eq!(id_set(index, query(MinimumMatch::Percent(60))).await, ["0", "1", "2"]);
    assert_eq!(id_set(index, query(MinimumMatch::Percent(-60))).await, ["0", "1", "2"]);
    assert_eq!(id_set(index, query(MinimumMatch::Count(5))).await, [""; 0]);
    let single = Query::matches("title", "a").minimum_match(MinimumMatch::Count(2));
    assert_eq!(id_set(index, single).await, ["0", "1", "2", "3"]);
}

/// One letter in short words, two in long ones, swapped neighbours as one; the exact word first.
pub(super) async fn fuzzy_match_finds_misspelt_words(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["heart attack", "hart", "heat", "pneumonia", "panic attack"]).await;
    assert_eq!(id_set(index, Query::matches("title", "haert").fuzzy()).await, ["0", "1"]);
    assert_eq!(id_set(index, Query::matches("title", "pnuemonai").fuzzy()).await, ["3"]);
    assert_eq!(id_set(index, Query::matches("title", "hart atack").fuzzy()).await, ["0", "1", "4"]);
    assert_eq!(ids(index, Query::matches("title", "hart").fuzzy()).await[0], "1");
    assert_eq!(id_set(index, Query::fuzzy("title", "hearts").fuzziness(Fuzziness::Edits(1))).await, ["0"]);
    assert_eq!(id_set(index, Query::matches("title", "hart").fuzziness(Fuzziness::Edits(0))).await, ["1"]);
}

/// The first letters must be right.
pub(super) async fn fuzzy_match_keeps_the_prefix_it_is_told(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["heart", "start"]).await;
    let query = Query::matches("title", "hsart").fuzzy();
    assert_eq!(id_set(index, query.clone()).await, ["0"]);
    assert_eq!(id_set(index, query.prefix_length(2)).await, [""; 0]);
}

/// Whatever else the words are similar to: the rank of a term that is found by both does not depend on which was first.
pub(super) async fn fuzzy_words_with_a_similar_term_in_common_add_up(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    // Frequent and rare terms, so that the words are ranked by different frequencies.
    let mut titles = vec!["heart", "hart", "heard", "beard"];
    titles.extend(["beard"; 20]);
    titles.extend(["other words in a title"; 10]);
    put_titles(index, &titles).await;
    let word = |text: &str| Query::matches("title", text).fuzzy();
    let of = async |query: Query| {
        let request = SearchRequest::new(query).with_filter(Query::ids(["0", "1", "2", "3"]));
        let mut found: Vec<_> = index.search(&request).await.expect("the search succeeds").hits;
        found.sort_by(|a, b| a.id().cmp(b.id()));
        found.into_iter().map(|hit| (hit.id().clone(), hit.score.expect("a score"))).collect::<Vec<_>>()
    };
    let (first, second) = (of(word("hearts").into()).await, of(word("bears").into()).await);
    let both = Query::bool().should(word("hearts")).should(word("bears"));
    for query in [word("hearts bears").into(), word("bears hearts").into(), both.into()] {
        for (id, score) in of(query).await {
            let one = |list: &[(_, f32)]| list.iter().find(|(other, _)| *other == id).map_or(0.0, |(_, score)| *score);
            let sum = one(&first) + one(&second);
            assert!((score - sum).abs() < 1e-5 * sum, "{id}: {score} is not {sum}");
        }
    }
}

/// The more words, the fewer similar terms for each, and never an error that depends on what the index holds.
pub(super) async fn many_fuzzy_words_share_the_terms_that_are_allowed(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let names: Vec<_> = (0..60)
        .map(|n| format!("word{}", char::from(b'a' + n % 26).to_string().repeat(1 + usize::from(n) / 26)))
        .collect();
    put(index, names.iter().map(|name| record(name).with("synonym", &**name))).await;
    let text = |count: usize| names.iter().cycle().take(count).map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    // 100 words with at most 8 similar terms each.
    let found = ids(index, Query::matches("synonym", text(100)).fuzzy()).await;
    assert_eq!(found.len(), 60);
    // One word has more than 8 similar terms here.
    assert!(ids(index, Query::matches("synonym", text(1)).fuzzy()).await.len() > 8);
}

/// With boosts.
pub(super) async fn multi_match_takes_the_best_field_or_the_sum(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let both = record("both").with("title", "cholera").with("synonym", "cholera");
    let title = record("title").with("title", "cholera").with("synonym", "other");
    let synonym = record("synonym").with("title", "other").with("synonym", "cholera");
    put(index, [both, title, synonym]).await;
    let fields = |boost| [FieldBoost::new("title", boost), FieldBoost::new("synonym", 1.0)];
    let query = Query::multi_match(fields(3.0), "cholera");
    assert_eq!(ids(index, query.clone()).await, ["both", "title", "synonym"]);
    let best = scores(index, query.clone()).await;
    assert!((best[0] - best[1]).abs() < 1e-6 && best[1] > best[2], "{best:?}");
    let sum = scores(index, query.most_fields()).await;
    assert!((sum[0] - (sum[1] + sum[2])).abs() < 1e-5, "{sum:?}");
    let shared = scores(index, Query::multi_match(fields(1.0), "cholera").tie_breaker(0.5)).await;
    assert!((shared[0] - 1.5 * shared[1]).abs() < 1e-5, "{shared:?}");
}

/// Stop words keep their places.
pub(super) async fn phrase_needs_the_order_and_slop_loosens_it(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["failure of heart", "heart failure", "heart then failure", "failure heart", "heart"]).await;
    assert_eq!(ids(index, Query::phrase("title", "heart failure")).await, ["1"]);
    assert_eq!(id_set(index, Query::phrase("title", "failure of the heart")).await, [""; 0]);
    assert_eq!(id_set(index, Query::phrase("title", "failure of heart")).await, ["0"]);
    assert_eq!(ids(index, Query::phrase("title", "heart failure").slop(1)).await, ["1", "2"]);
    assert_eq!(id_set(index, Query::phrase("title", "heart failure").slop(2)).await, ["1", "2", "3"]);
    assert_eq!(id_set(index, Query::phrase("title", "heart")).await, ["0", "1", "2", "3", "4"]);
}

/// The gap is 100 positions.
pub(super) async fn a_phrase_does_not_cross_values(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let values = record("a").with("synonym", "acute heart").with("synonym", "failure of kidney");
    put(index, [values]).await;
    assert_eq!(ids(index, Query::phrase("synonym", "acute heart")).await, ["a"]);
    assert_eq!(ids(index, Query::phrase("synonym", "failure of kidney")).await, ["a"]);
    assert_eq!(ids(index, Query::phrase("synonym", "heart failure").slop(50)).await, [""; 0]);
    assert_eq!(ids(index, Query::phrase("synonym", "heart failure").slop(100)).await, ["a"]);
}

/// On text and keywords, normalized.
pub(super) async fn prefix_finds_beginnings_of_terms(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("a").with("synonym", "Cholera morbus").with("code", "A00.1"),
            record("b").with("synonym", "morbid").with("code", "A01"),
            record("c").with("synonym", "m\u{f6}rbid").with("code", "B\u{c4}0"),
        ],
    )
    .await;
    assert_eq!(id_set(index, Query::prefix("synonym", "MORB")).await, ["a", "b"]);
    assert_eq!(id_set(index, Query::prefix("code", "a0")).await, ["a", "b"]);
    assert_eq!(id_set(index, Query::prefix("code", "B\u{e4}")).await, ["c"]);
    assert_eq!(id_set(index, Query::prefix("code", "")).await, ["a", "b", "c"]);
    assert_eq!(scores(index, Query::prefix("code", "a").boost(2.0)).await, [2.0, 2.0]);
}

/// A space or dot behind it, or a dropped word, completes it.
pub(super) async fn match_prefix_completes_only_an_open_last_word(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["acute heart failure", "heart", "acute"]).await;
    assert_eq!(id_set(index, Query::matches_prefix("title", "acute hea")).await, ["0", "1", "2"]);
    let all = |text: &str| Query::matches_prefix("title", text).operator(Operator::And);
    assert_eq!(id_set(index, all("acute hea")).await, ["0"]);
    for complete in ["acute hea ", "acute hea.", "acute hea the"] {
        assert_eq!(id_set(index, all(complete)).await, [""; 0], "{complete:?}");
    }
    assert_eq!(id_set(index, Query::matches_prefix("title", "he")).await, ["0", "1"]);
}

/// As clinicians type.
pub(super) async fn starts_with_words_takes_beginnings_in_any_order(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["heart attack", "attack of the heart", "heart failure", "panic attack"]).await;
    assert_eq!(id_set(index, Query::starts_with_words("title", "hea att")).await, ["0", "1"]);
    assert_eq!(id_set(index, Query::starts_with_words("title", "att")).await, ["0", "1", "3"]);
    assert_eq!(scores(index, Query::starts_with_words("title", "hea att")).await, [2.0, 2.0]);
}

/// Beginnings made at index time.
pub(super) async fn a_sub_field_of_beginnings_finds_what_is_being_typed(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["Heart attack", "Cholera"]).await;
    assert_eq!(ids(index, Query::matches("title.typed", "hea")).await, ["0"]);
    assert_eq!(ids(index, Query::matches("title.typed", "hea cho")).await.len(), 2);
    assert_eq!(ids(index, Query::matches("title.typed", "eart")).await, [""; 0]);
}

/// And ranked on text, constant elsewhere.
pub(super) async fn term_is_exact_and_normalized_on_keywords(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("a").with("code", "CAF\u{c9}").with("tag", "x").with("rank", -5_i64).with("leaf", true),
            record("b").with("code", "cafe latte").with("tag", "X").with("size", 5_u64).with("ratio", 0.5),
        ],
    )
    .await;
    assert_eq!(ids(index, Query::term("code", "cafe")).await, ["a"]);
    assert_eq!(ids(index, Query::matches("code", "Caf\u{e9}")).await, ["a"]);
    assert_eq!(ids(index, Query::term("tag", "x")).await, ["a"]);
    assert_eq!(ids(index, Query::term("rank", -5_i64)).await, ["a"]);
    assert_eq!(ids(index, Query::term("size", 5_u64)).await, ["b"]);
    assert_eq!(ids(index, Query::term("ratio", 0.5)).await, ["b"]);
    assert_eq!(ids(index, Query::term("leaf", true)).await, ["a"]);
    assert_eq!(scores(index, Query::term("tag", "x").boost(3.0)).await, [3.0]);
}

/// Scoring 1 however many match.
pub(super) async fn terms_finds_any_of_the_values(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let both = record("both").with("tag", "x").with("tag", "y");
    put(index, [both, record("x").with("tag", "x"), record("z").with("tag", "z")]).await;
    assert_eq!(ids(index, Query::terms("tag", ["x", "y", "unknown"])).await, ["both", "x"]);
    assert_eq!(scores(index, Query::terms("tag", ["x", "y"])).await, [1.0, 1.0]);
    assert_eq!(ids(index, Query::terms("tag", [""; 0])).await, [""; 0]);
}

/// Also where there is no bound.
pub(super) async fn range_has_open_and_closed_ends_on_every_type(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        (-2..=2_i64).map(|n| {
            let name = ["a", "b", "c", "d", "e"][usize::try_from(n + 2).unwrap_or_default()];
            record(name)
                .with("rank", n)
                .with("size", n.unsigned_abs() + 10)
                .with("ratio", n as f64 / 2.0)
                .with("day", Value::Date(n * 86_400_000))
                .with("code", name)
        }),
    )
    .await;
    assert_eq!(id_set(index, Query::range("rank").at_least(-1_i64).below(1_i64)).await, ["b", "c"]);
    assert_eq!(id_set(index, Query::range("rank").above(0_i64)).await, ["d", "e"]);
    assert_eq!(id_set(index, Query::range("rank").at_most(-2_i64)).await, ["a"]);
    assert_eq!(id_set(index, Query::range("size").above(11_u64)).await, ["a", "e"]);
    assert_eq!(id_set(index, Query::range("ratio").at_least(-0.5).at_most(0.5)).await, ["b", "c", "d"]);
    assert_eq!(id_set(index, Query::range("day").above(Value::Date(-1)).below(Value::Date(1))).await, ["c"]);
    assert_eq!(id_set(index, Query::range("code").above("B").at_most("d")).await, ["c", "d"]);
    assert_eq!(id_set(index, Query::range("rank")).await.len(), 5);
    assert_eq!(id_set(index, Query::range("rank").above(1_i64).below(0_i64)).await, [""; 0]);
}

/// A value is a value.
pub(super) async fn exists_finds_values_even_without_terms(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("a").with("title", "cholera").with("tag", "x").with("rank", 0_i64),
            record("b").with("title", "...").with("code", ""),
            record("c").with("size", 1_u64).with("hidden", "text"),
        ],
    )
    .await;
    assert_eq!(id_set(index, Query::exists("title")).await, ["a", "b"]);
    assert_eq!(id_set(index, Query::exists("tag")).await, ["a"]);
    assert_eq!(id_set(index, Query::exists("rank")).await, ["a"]);
    assert_eq!(id_set(index, Query::exists("code")).await, ["b"]);
    assert_eq!(id_set(index, Query::exists("size")).await, ["c"]);
    assert_eq!(id_set(index, Query::exists("hidden")).await, ["c"]);
    assert_eq!(id_set(index, Query::bool().must_not(Query::exists("title"))).await, ["c"]);
}

/// Unknown ones are no error.
pub(super) async fn ids_finds_documents_by_id(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(index, [record("a"), record("b/c d"), record("\u{e9}")]).await;
    assert_eq!(ids(index, Query::ids(["\u{e9}", "b/c d", "unknown"])).await, ["b/c d", "\u{e9}"]);
}

/// Only must and should score.
pub(super) async fn bool_combines_must_should_filter_and_must_not(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("a").with("tag", "m").with("tag", "s"),
            record("b").with("tag", "m"),
            record("c").with("tag", "m").with("tag", "n"),
            record("d").with("tag", "s"),
        ],
    )
    .await;
    let tag = |name: &str| Query::term("tag", name);
    let query = Query::bool().must(tag("m")).should(tag("s").boost(0.5)).must_not(tag("n"));
    assert_eq!(ids(index, query.clone()).await, ["a", "b"]);
    assert_eq!(scores(index, query).await, [1.5, 1.0]);
    let filtered = Query::bool().filter(tag("m")).should(tag("s"));
    assert_eq!(ids(index, filtered.clone()).await, ["a", "b", "c"]);
    assert_eq!(scores(index, filtered).await, [1.0, 0.0, 0.0]);
    assert_eq!(ids(index, Query::bool().must_not(tag("m"))).await, ["d"]);
    assert_eq!(scores(index, Query::bool().must_not(tag("m"))).await, [0.0]);
    assert_eq!(scores(index, Query::bool().filter(tag("n"))).await, [0.0]);
    assert_eq!(ids(index, Query::bool()).await.len(), 4);
}

/// One if there is nothing else.
pub(super) async fn bool_needs_the_minimum_of_should(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("a").with("tag", "x").with("tag", "y").with("tag", "z"),
            record("b").with("tag", "x").with("tag", "y"),
            record("c").with("tag", "x"),
            record("d").with("rank", 1_i64),
        ],
    )
    .await;
    let any = || ["x", "y", "z"].into_iter().fold(Query::bool(), |query, tag| query.should(Query::term("tag", tag)));
    assert_eq!(ids(index, any()).await, ["a", "b", "c"]);
    assert_eq!(ids(index, any().minimum_match(MinimumMatch::Count(2))).await, ["a", "b"]);
    assert_eq!(ids(index, any().minimum_match(MinimumMatch::Percent(100))).await, ["a"]);
    assert_eq!(ids(index, any().filter(Query::all())).await, ["a", "b", "c", "d"]);
    assert_eq!(ids(index, any().filter(Query::all()).minimum_match(MinimumMatch::Count(1))).await, ["a", "b", "c"]);
}

/// Exactly.
pub(super) async fn constant_and_dis_max_score_as_they_say(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["cholera", "cholera cholera", "fever"]).await;
    assert_eq!(scores(index, Query::constant(Query::matches("title", "cholera")).boost(2.5)).await, [2.5, 2.5]);
    let constant = |text: &str, boost| Query::constant(Query::matches("title", text)).boost(boost);
    let best = Query::dis_max([constant("cholera", 2.0), constant("fever", 3.0), constant("choler", 1.0)]);
    assert_eq!(ids(index, best.clone().tie_breaker(0.5)).await, ["2", "0", "1"]);
    assert_eq!(scores(index, best).await[0], 3.0);
}

/// With and without a boost.
pub(super) async fn all_and_none_find_all_and_nothing(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["a", "b"]).await;
    assert_eq!(ids(index, Query::all()).await, ["0", "1"]);
    assert_eq!(scores(index, Query::all().boost(2.0)).await, [2.0, 2.0]);
    assert_eq!(ids(index, Query::None).await, [""; 0]);
}

/// Through the field's analyzer.
pub(super) async fn words_are_found_by_their_stem_and_without_accents(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["Fractures of the f\u{e9}mur", "Fracturing", "added \u{4e2d}\u{6587}"]).await;
    assert_eq!(id_set(index, Query::matches("title", "FRACTURE")).await, ["0", "1"]);
    assert_eq!(id_set(index, Query::matches("title", "femur")).await, ["0"]);
    assert_eq!(id_set(index, Query::matches("title", "add")).await, ["2"]);
    assert_eq!(id_set(index, Query::matches("title", "\u{6587}")).await, ["2"]);
}

pub(super) async fn a_text_may_hold_every_code_point(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let labels: [&[&str]; 5] =
        [&["\u{FFFF}"], &["a\u{FFFF}b"], &["x", "\u{FFFF}2,3 y"], &["\u{FFFE}"], &["\u{0}\u{10FFFF}\u{E000}"]];
    let labelled = |(at, labels): (usize, &&[&str])| {
        labels.iter().fold(record(&at.to_string()), |record, label| record.with("label", *label))
    };
    put(index, labels.iter().enumerate().map(labelled)).await;
    for (at, label) in labels.iter().enumerate().flat_map(|(at, labels)| labels.iter().map(move |label| (at, *label))) {
        let found = [at.to_string()];
        assert_eq!(id_set(index, Query::term("label", label)).await, found, "{label:?}");
        assert_eq!(id_set(index, Query::matches("label", label)).await, found, "{label:?}");
        assert_eq!(id_set(index, Query::phrase("label", label)).await, found, "{label:?}");
    }
    assert_eq!(id_set(index, Query::prefix("label", "\u{FFFF}")).await, ["0", "2"]);
    assert_eq!(id_set(index, Query::starts_with_words("label", "a\u{FFFF}")).await, ["1"]);
    assert_eq!(id_set(index, Query::fuzzy("label", "a\u{FFFE}b")).await, ["1"]);
}

/// By units of UTF-16, as Lucene counts letters: to it one above U+FFFF is two, and not too short for an ending.
pub(super) async fn words_are_stemmed_alike_in_every_script(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_titles(index, &["\u{1D4B3}y", "\u{10428}ies", "\u{E9}y"]).await;
    assert_eq!(id_set(index, Query::matches("title", "\u{1D4B3}i")).await, ["0"]);
    assert_eq!(id_set(index, Query::matches("title", "\u{10428}i")).await, ["1"]);
    assert!(id_set(index, Query::matches("title", "ei")).await.is_empty());
    assert_eq!(id_set(index, Query::matches("title", "ey")).await, ["2"]);
}

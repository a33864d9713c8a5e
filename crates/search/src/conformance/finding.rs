//! Cases about what people type: with signs, with patterns, misspelt.

use statehouse_core::ErrorKind;

use super::kit::{SearchBackend, id_set, ids, put, put_titles, record, scores};
use crate::{Operator, Query, SearchIndexExt as _};

/// With what it says of signs, fields and quotation marks, and warnings for the rest.
pub(super) async fn whatever_a_person_types_is_a_query(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("0").with("title", "acute heart attack").with("code", "I21").with("rank", 1_i64),
            record("1").with("title", "heart failure").with("code", "I50").with("rank", 2_i64),
            record("2").with("title", "attack of the heart").with("code", "I21.1"),
            record("3").with("title", "panic attack").with("synonym", "heartache").with("code", "F41"),
        ],
    )
    .await;
    let parsed = |operator, text: &str| {
        let options = Query::simple_query_string(["title", "synonym"]).operator(operator).field("code").field("rank");
        options.parse(index.schema(), text).expect("any text is a query")
    };
    let any = async |text: &str| id_set(index, parsed(Operator::Or, text)).await;
    let all = async |text: &str| id_set(index, parsed(Operator::And, text)).await;
    assert_eq!(any("heart panic").await, ["0", "1", "2", "3"]);
    assert_eq!(all("attack of heart").await, ["0", "2"]);
    assert_eq!(all("\"heart attack\"").await, ["0"]);
    assert_eq!(all("heart -attack").await, ["1"]);
    assert_eq!(any("failure +attack").await, ["0", "2", "3"]);
    assert_eq!(all("attack panic|acute").await, ["0", "3"]);
    assert_eq!(all("hearta* OR fail*").await, ["1", "3"]);
    assert_eq!(all("haert~ atack~").await, ["0", "2"]);
    assert_eq!(all("code:i21*").await, ["0", "2"]);
    assert_eq!(all("heart rank:2").await, ["1"]);
    assert_eq!(any("-heart").await, ["3"]);
    assert_eq!(any("of").await, [""; 0]);
    let odd = parsed(Operator::And, "\"heart - (attack) OR");
    assert_eq!(odd.warnings.len(), 3, "{:?}", odd.warnings);
    assert_eq!(id_set(index, odd).await, ["0", "2"]);
}

/// However rare the words are that are like it, and however short the documents.
pub(super) async fn an_exact_word_is_before_its_completions_and_misspellings(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let long = "hart of a very long title in which the word stands only once among many others";
    let mut titles = vec!["hartz", "card hart", "hard hard hard", long, "hart", "hard card"];
    titles.extend(["hart of them all"; 20]);
    put_titles(index, &titles).await;
    let first = ids(index, Query::exact_first("title", "hart")).await;
    assert_eq!(first[0], "4", "the best of the exact ones");
    assert!(first[..23].contains(&"3".to_owned()) && first[..23].contains(&"1".to_owned()), "{first:?}");
    assert_eq!(first[23..], ["0", "2", "5"], "the completed one before those misspelt");
    assert_eq!(ids(index, Query::exact_first("title", "card hart")).await[0], "1", "both before one");
    let needed = |text: &str| Query::exact_first("title", text).operator(Operator::And);
    assert_eq!(id_set(index, needed("card hart")).await, ["1", "2", "5"]);
    assert_eq!(ids(index, needed("card hart")).await[..2], ["1", "5"]);
    assert_eq!(ids(index, Query::exact_first("title", "of the")).await, [""; 0]);
    let plain = Query::exact_first("title", "hard").without_completions().without_misspellings();
    assert_eq!(id_set(index, plain).await, ["2", "5"]);
    let many = (0..33).map(|n| format!("w{n} ")).collect::<String>();
    let error = index.count(&Query::exact_first("title", many).into()).await.expect_err("it is over a limit");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// In order, within the slop, whatever is behind the last word; and a single word alone. Stop words keep their places.
pub(super) async fn phrase_prefix_completes_the_last_word_of_a_phrase(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let titles = ["acute heart failure", "acute hearing loss", "heart, acute", "acute pain of hearts", "hear hear"];
    put_titles(index, &titles).await;
    let begun = |text: &str| Query::phrase_prefix("title", text);
    for text in ["acute hea", "acute hea ", "acute hea.", "Acute HEA of the"] {
        assert_eq!(id_set(index, begun(text)).await, ["0", "1"], "{text:?}");
    }
    assert_eq!(id_set(index, begun("acute hea").slop(2)).await, ["0", "1", "2", "3"]);
    assert_eq!(id_set(index, begun("pain of hea")).await, ["3"]);
    assert_eq!(id_set(index, begun("pain hea")).await, [""; 0]);
    assert_eq!(id_set(index, begun("hea")).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(id_set(index, begun("acute kidn").slop(9)).await, [""; 0]);
    assert_eq!(id_set(index, begun("of the")).await, [""; 0]);
    // One word stands at one place, and the other at another one.
    assert_eq!(id_set(index, begun("hear hea").slop(9)).await, ["4"]);
    // The beginning weighs what its terms do together.
    let of = async |query: Query, id| scores(index, Query::bool().must(query).filter(Query::ids([id]))).await[0];
    let phrase = |text: &str| Query::phrase("title", text).into();
    let both = of(phrase("acute heart"), "0").await + of(phrase("acute hear"), "1").await;
    let (expected, found) = (both - of(phrase("acute"), "0").await, of(begun("acute hea").into(), "0").await);
    assert!((found - expected).abs() < 1e-5 * expected, "{found} is not {expected}");
    let single = scores(index, begun("hea")).await;
    assert_eq!(
        scores(index, begun("hea").boost(2.0)).await,
        single.iter().map(|score| 2.0 * score).collect::<Vec<_>>()
    );
    for (refused, kind) in [
        (begun("acute hea").max_expansions(0), ErrorKind::InvalidInput),
        (begun("acute hea").max_expansions(2_000), ErrorKind::InvalidInput),
        (begun("acute hea").slop(u32::MAX), ErrorKind::InvalidInput),
        (Query::phrase_prefix("code", "a"), ErrorKind::Unsupported),
    ] {
        assert_eq!(index.count(&refused.into()).await.expect_err("it cannot be").kind(), kind);
    }
}

/// The first in order; whichever documents have them.
pub(super) async fn phrase_prefix_stands_for_as_many_terms_as_it_is_told(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let words = ["heartache", "heal", "hearing", "heat", "healer"];
    put_titles(index, &words.map(|word| format!("acute {word}")).each_ref().map(String::as_str)).await;
    index.merge().await.expect("the merge succeeds");
    let most = |terms| Query::phrase_prefix("title", "acute hea").max_expansions(terms);
    // Of the stems: heal, healer, hear, heartach, heat.
    for (terms, expected) in [(1, vec!["1"]), (2, vec!["1", "4"]), (3, vec!["1", "2", "4"])] {
        assert_eq!(id_set(index, most(terms)).await, expected);
    }
    assert_eq!(id_set(index, most(4)).await, ["0", "1", "2", "4"]);
    assert_eq!(id_set(index, most(1_000)).await, ["0", "1", "2", "3", "4"]);
}

/// On text and keywords, normalized between the signs, and a backslash makes an ordinary character of one.
pub(super) async fn wildcard_finds_terms_that_fit_a_pattern(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put(
        index,
        [
            record("a").with("synonym", "Cholera morbus").with("code", "A00.1").with("tag", "a*b"),
            record("b").with("synonym", "morbid").with("code", "A01").with("tag", "aXb"),
            record("c").with("synonym", "m\u{f6}rbid").with("code", "B\u{c4}0\u{1F600}").with("tag", "\u{FF0A}b\n"),
        ],
    )
    .await;
    assert_eq!(id_set(index, Query::wildcard("synonym", "M?RB*")).await, ["a", "b", "c"]);
    assert_eq!(id_set(index, Query::wildcard("synonym", "*us")).await, ["a"]);
    assert_eq!(id_set(index, Query::wildcard("code", "A0?")).await, ["b"]);
    assert_eq!(id_set(index, Query::wildcard("code", "a0?.*")).await, ["a"]);
    assert_eq!(id_set(index, Query::wildcard("code", "b\u{c4}0?")).await, ["c"]);
    assert_eq!(id_set(index, Query::wildcard("code", "*")).await, ["a", "b", "c"]);
    assert_eq!(id_set(index, Query::wildcard("code", "")).await, [""; 0]);
    assert_eq!(id_set(index, Query::wildcard("code", "a01")).await, ["b"]);
    assert_eq!(id_set(index, Query::wildcard("tag", "a?b")).await, ["a", "b"]);
    assert_eq!(id_set(index, Query::wildcard("tag", "a\\*b")).await, ["a"]);
    assert_eq!(id_set(index, Query::wildcard("tag", "\u{FF0A}b\n")).await, ["c"]);
    assert_eq!(scores(index, Query::wildcard("code", "*0*").boost(2.0)).await, [2.0; 3]);
    // As much as is allowed, which a server must be able to take.
    let most =
        ["*abcdefghij".repeat(16), format!("*a{}b", "?".repeat(9)), "?".repeat(255), format!("*{}", "ab".repeat(127))];
    for pattern in most {
        assert_eq!(id_set(index, Query::wildcard("code", pattern)).await, [""; 0]);
    }
    for refused in ["a".repeat(256), "*a".repeat(17), format!("*a{}b", "?".repeat(16))] {
        let error = index.count(&Query::wildcard("code", refused).into()).await.expect_err("it is over a limit");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let error = index.count(&Query::wildcard("rank", "*").into()).await.expect_err("no terms of text");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

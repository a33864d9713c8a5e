use statehouse_core::ErrorKind;

use super::Synonyms;
use crate::analysis::{Analyzer, Stemmer};
use crate::{Field, MAX_CLAUSES, Operator, Query, Schema, SearchRequest};

fn schema() -> Schema {
    let stops = Analyzer::standard().lowercase().stop_words(["of", "the", "my"]).stem(Stemmer::Porter2);
    let builder = Schema::builder().analyzer("stops", stops).field(Field::text("title").analyzed_by("stops"));
    let builder =
        builder.analyzer("line", Analyzer::whole().lowercase()).field(Field::text("line").analyzed_by("line"));
    builder.field(Field::keyword("code")).field(Field::text("kept").not_indexed()).build().unwrap()
}

fn parse(rules: &str) -> statehouse_core::Result<Synonyms> {
    Synonyms::parse(&schema(), "title", rules)
}

#[test]
fn what_is_no_rule_is_refused_by_its_line() {
    let many = vec!["a"; 65].join(",");
    let spread: String = (0..65).map(|n| format!("a => b{n}\n")).collect();
    let long = ["word"; 9].join(" ") + ", b";
    let wide = "w".repeat(513) + ", b";
    let words: String = (0..33).map(|n| format!("a => b{n} c d e f g h i\n")).collect();
    for (rules, line) in [
        ("a, b\nc", 2),
        ("a,", 1),
        ("=> a", 1),
        ("# none\n\n a => ", 3),
        ("a => b => c", 1),
        ("a, of", 1),
        ("?, b", 1),
        (&many, 1),
        (&spread, 65),
        (&long, 1),
        (&wide, 1),
        (&words, 33),
    ] {
        let error = parse(rules).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{rules}");
        assert!(error.message().starts_with(&format!("line {line} ")), "{rules}: {error}");
        assert_eq!(error.key(), Some("title"));
    }
    let side = |n: usize| (0..64).map(|at| format!("w{n}x{at}")).collect::<Vec<_>>().join(",");
    let pairs: String = (0..25).map(|n| format!("{}\n", side(n))).collect();
    assert!(parse(&pairs).unwrap_err().message().starts_with("line 25 "));
    let long = "a, b\n".repeat(Synonyms::MAX_BYTES / 5 + 1);
    assert_eq!(parse(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    parse(&"a, b\n".repeat(1_000)).unwrap();
}

#[test]
fn fields_that_have_no_such_words_are_refused() {
    for (field, kind) in
        [("code", ErrorKind::Unsupported), ("kept", ErrorKind::Unsupported), ("nothing", ErrorKind::InvalidInput)]
    {
        assert_eq!(Synonyms::parse(&schema(), field, "a, b").unwrap_err().kind(), kind, "{field}");
    }
}

#[test]
fn a_text_is_a_query_of_its_parts() {
    let synonyms = parse("hearts attack, mi\n1\\,5 mg => dose").unwrap().with_weight(0.5).unwrap();
    let query = |text: &str, operator| synonyms.matches(text, operator).unwrap();
    let all = |text: &str| Query::matches("title", text).operator(Operator::And);
    let group = Query::dis_max([Query::from(all("Heart attacks")), Query::matches("title", "mi").boost(0.5).into()]);
    let whole = Query::bool().must(all("an acute")).must(group).must(all("today"));
    assert_eq!(query("an acute Heart attacks, today!", Operator::And), whole.into());
    let phrase = Query::dis_max([
        Query::from(Query::matches("title", "MI")),
        Query::phrase("title", "hearts attack").boost(0.5).into(),
    ]);
    assert_eq!(query("MI", Operator::Or), Query::bool().should(phrase).into());
    // Words that the field has not are words between.
    assert_eq!(query("heart of attack", Operator::Or), Query::matches("title", "heart of attack").into());
    let held = parse("disease of the heart, cardiopathy").unwrap();
    let group = |typed: &str| Query::dis_max([Query::matches("title", typed), Query::matches("title", "cardiopathy")]);
    let found = held.matches("Of diseases of my hearts of", Operator::Or).unwrap();
    assert_eq!(found, Query::bool().should(group("diseases of my hearts")).into());
    assert_eq!(held.matches("disease heart", Operator::Or).unwrap(), Query::matches("title", "disease heart").into());
    // What is meant in place of what was typed is not less than what was typed.
    let replaced = Query::dis_max([Query::matches("title", "dose")]);
    assert_eq!(query("1,5 mg", Operator::Or), Query::bool().should(replaced).into());
}

/// The words of several alternatives, each of three.
fn wide() -> Synonyms {
    parse(&(0..64).map(|n| format!("x{n} y{n} z{n}")).collect::<Vec<_>>().join(",")).unwrap()
}

fn check(query: impl Into<Query>) -> statehouse_core::Result<()> {
    schema().check_request(&SearchRequest::new(query))
}

/// How many words of a text were replaced by a group.
fn groups(query: &Query) -> usize {
    let Query::Bool(all) = query else { return 0 };
    all.should.iter().filter(|part| matches!(part, Query::DisMax(_))).count()
}

#[test]
fn words_whose_synonyms_are_too_many_stand_for_themselves() {
    let synonyms = wide();
    for times in [1, 2, 4, 100, 300] {
        let text = "x1 y1 z1 and x2 y2 z2 ".repeat(times);
        let query = synonyms.matches(&text, Operator::Or).unwrap();
        assert_eq!(groups(&query), usize::from(times < 100), "{times}");
        // What is beside it has as much again.
        let twice = Query::bool().should(query.clone()).should(query);
        assert_eq!(check(twice).is_ok(), times < 100, "{times}");
    }
    let words = "w ".repeat(MAX_CLAUSES - 2) + "x1 y1";
    assert_eq!(
        synonyms.matches(&words, Operator::And).unwrap(),
        Query::matches("title", &words).operator(Operator::And).into()
    );
    let most = synonyms.matches(&"x1 y1 z1 ".repeat(1_111), Operator::Or).unwrap();
    assert_eq!(groups(&most), 0);
    assert_eq!(synonyms.matches(&"x1".repeat(5_001), Operator::Or).unwrap_err().kind(), ErrorKind::InvalidInput);
    // Bytes count, too, and what is left is left for others that need less.
    let long = |n: usize| format!("{n}{}", "ä".repeat(250));
    let rules = (0..63).map(long).collect::<Vec<_>>().join(",");
    let both = parse(&format!("long, {rules}\nx, y")).unwrap();
    let query = both.matches("long long x", Operator::Or).unwrap();
    assert_eq!(groups(&query), 2);
    let parts = Query::bool().should(query).should(Query::matches("title", "a".repeat(10_000)));
    check(parts).unwrap();
}

#[test]
fn whatever_one_rule_stands_for_is_found() {
    let most = |n: usize| format!("{n} b c d");
    let rules = (0..64).map(most).collect::<Vec<_>>().join(",");
    let synonyms = parse(&format!("a b c d e f g h => {rules}")).unwrap();
    assert_eq!(groups(&synonyms.matches("a b c d e f g h", Operator::Or).unwrap()), 1);
    let long: Vec<_> = (0..64).map(|n| format!("{n:03}{}", "x".repeat(Synonyms::MAX_TEXT - 3))).collect();
    let synonyms = parse(&format!("a => {}", long.join(","))).unwrap();
    let query = synonyms.matches("a", Operator::Or).unwrap();
    assert_eq!(groups(&query), 1);
    check(query).unwrap();
}

#[test]
fn a_weight_is_from_0_to_1() {
    for wrong in [f32::NAN, f32::INFINITY, -0.0, -1.0, 1.01] {
        let refused = parse("a, b").unwrap().with_weight(wrong).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{wrong}");
    }
    for right in [0.0, 1.0] {
        check(parse("a, b").unwrap().with_weight(right).unwrap().matches("a", Operator::Or).unwrap()).unwrap();
    }
}

#[test]
fn a_field_of_whole_texts_has_no_empty_words() {
    let line = |rules: &str| Synonyms::parse(&schema(), "line", rules);
    for wrong in ["a,", "a, ,b", "=> a"] {
        let error = line(wrong).unwrap_err();
        assert!(error.message().starts_with("line 1 "), "{wrong}: {error}");
    }
    let synonyms = line("Heart attack, MI").unwrap();
    assert_eq!(groups(&synonyms.matches("heart ATTACK", Operator::Or).unwrap()), 1);
    for other in ["", "acute heart attack"] {
        assert_eq!(synonyms.matches(other, Operator::Or).unwrap(), Query::matches("line", other).into());
    }
}

#[test]
fn a_mark_of_encoding_is_no_word() {
    let marked = parse("\u{FEFF}# rules\na, b").unwrap();
    assert_eq!(groups(&marked.matches("a", Operator::Or).unwrap()), 1);
}

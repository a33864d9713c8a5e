use std::ops::Range;

use statehouse_core::ErrorKind;

use super::QueryWarningKind::{Fuzziness as Fuzzy, Operator as Sign, TooLong, TooManyClauses, UnclosedQuote};
use super::QueryWarningKind::{UnknownField, Value as Unfit};
use super::{ParsedQuery, QueryWarning, QueryWarningKind};
use crate::analysis::Analyzer;
use crate::{Field, FieldBoost, Fuzziness, Operator, Query, Schema};

pub(super) fn schema() -> Schema {
    let english = Analyzer::standard().lowercase().stop_words(["of", "the", "therapy"]);
    Schema::builder()
        .analyzer("english", english)
        .field(Field::text("title").analyzed_by("english").with_sub_field(Field::text("plain")))
        .field(Field::keyword("code"))
        .field(Field::i64("rank"))
        .field(Field::u64("uses"))
        .field(Field::f64("ratio"))
        .field(Field::bool("leaf"))
        .field(Field::date("day"))
        .field(Field::keyword("kept").not_indexed())
        .build()
        .unwrap()
}

fn parse(text: &str) -> ParsedQuery {
    let options = Query::simple_query_string(["title"]).field("code").field("rank").field("leaf").field("title");
    options.parse(&schema(), text).unwrap()
}

fn word(text: &str) -> crate::MatchQuery {
    Query::matches("title", text).operator(Operator::And)
}

fn any<const N: usize>(queries: [Query; N]) -> Query {
    queries.into_iter().fold(Query::bool(), |any, query| any.should(query)).into()
}

#[test]
fn what_is_understood_means_what_the_table_says() {
    let (a, b, c): (Query, Query, Query) = (word("a").into(), word("b").into(), word("c").into());
    let phrase = || Query::phrase("title", "a b");
    let table: Vec<(&str, Query)> = vec![
        ("", Query::None),
        (" \t\n ", Query::None),
        ("of the", Query::None),
        ("a", a.clone()),
        ("a of b", any([a.clone(), b.clone()])),
        ("+a b", Query::bool().must(a.clone()).should(b.clone()).into()),
        ("a -b", Query::bool().should(a.clone()).must_not(b.clone()).into()),
        ("-a", Query::bool().must_not(a.clone()).into()),
        ("+a", a.clone()),
        (r#""a b""#, phrase().into()),
        (r#""a b"~3"#, phrase().slop(3).into()),
        ("\u{201E}a b\u{201C}", phrase().into()),
        (r#"c"a b""#, any([c.clone(), phrase().into()])),
        ("a OR b", any([any([a.clone(), b.clone()])])),
        ("a|b || c", any([any([a.clone(), b.clone(), c.clone()])])),
        ("a b|c", any([a.clone(), any([b.clone(), c.clone()])])),
        ("a*", Query::matches_prefix("title", "a").operator(Operator::And).into()),
        ("the*", Query::prefix("title", "the").into()),
        ("hart~", word("hart").fuzzy().into()),
        ("hart~1", word("hart").fuzziness(Fuzziness::Edits(1)).into()),
        ("hart~0", word("hart").fuzziness(Fuzziness::Edits(0)).into()),
        ("code:x", Query::term("code", "x").into()),
        ("code:\"x y\"", Query::term("code", "x y").into()),
        ("code:x*", Query::prefix("code", "x").into()),
        ("-rank:-5", Query::bool().must_not(Query::term("rank", -5_i64)).into()),
        ("leaf:true", Query::term("leaf", true).into()),
        ("title:hart~", word("hart").fuzzy().into()),
        ("e-mail", word("e-mail").into()),
        ("10:30", word("10:30").into()),
        ("https://a.b", word("https://a.b").into()),
        ("Note: a", any([word("Note:").into(), a.clone()])),
        (r"\-a", word("-a").into()),
        (r"a\*", word("a*").into()),
        (r"code\:x", word("code:x").into()),
        (r"c:\temp", word(r"c:\temp").into()),
    ];
    for (text, expected) in table {
        let parsed = parse(text);
        let flat = |query: Query| match query {
            // A list of one is its clause.
            Query::Bool(mut all) if all.should.len() == 1 && all.must_not.is_empty() && all.must.is_empty() => {
                all.should.remove(0)
            }
            other => other,
        };
        assert_eq!(parsed.query, flat(expected), "{text:?}");
        let unknown = [r"c:\temp"].contains(&text);
        assert_eq!(parsed.warnings.is_empty(), !unknown, "{text:?} {:?}", parsed.warnings);
    }
}

/// What is told, and where.
type Told = Vec<(Range<usize>, QueryWarningKind)>;

#[test]
fn what_is_not_understood_is_text_and_told() {
    let (a, b): (Query, Query) = (word("a").into(), word("b").into());
    let both = || any([a.clone(), b.clone()]);
    let table: Vec<(&str, Query, Told)> = vec![
        ("a \"b", both(), vec![(2..3, UnclosedQuote)]),
        ("a - b", both(), vec![(2..3, Sign)]),
        ("OR a", a.clone(), vec![(0..2, Sign)]),
        ("a OR", a.clone(), vec![(2..4, Sign)]),
        ("a OR OR b", both(), vec![(2..4, Sign)]),
        ("OR", word("OR").into(), vec![(0..2, Sign)]),
        ("|", Query::None, vec![(0..1, Sign)]),
        ("a OR -b", Query::bool().should(a.clone()).must_not(b.clone()).into(), vec![(2..4, Sign)]),
        ("+a OR b", Query::bool().must(a.clone()).should(b.clone()).into(), vec![(3..5, Sign)]),
        ("* a", a.clone(), vec![(0..1, Sign)]),
        ("~ a", a.clone(), vec![(0..1, Sign)]),
        ("who:x", word("who:x").into(), vec![(0..3, UnknownField)]),
        ("rank:x", word("rank:x").into(), vec![(0..6, Unfit)]),
        ("rank:5*", word("rank:5*").into(), vec![(0..7, Unfit)]),
        ("code:x~", Query::term("code", "x").into(), vec![(0..7, Fuzzy)]),
        ("hart~7", word("hart").fuzzy().into(), vec![(4..6, Fuzzy)]),
        ("har~2", word("har").fuzzy().into(), vec![(0..5, Fuzzy)]),
        ("\"a b\"~99999", Query::phrase("title", "a b").into(), vec![(5..11, Fuzzy)]),
    ];
    for (text, expected, warnings) in table {
        let parsed = parse(text);
        if text != "a OR OR b" {
            assert_eq!(parsed.query, expected, "{text:?}");
        }
        let found: Vec<_> = parsed.warnings.into_iter().map(|warning| (warning.position, warning.kind)).collect();
        assert_eq!(found, warnings, "{text:?}");
    }
}

#[test]
fn words_are_looked_for_in_every_field_that_has_terms_of_them() {
    let options = Query::simple_query_string([FieldBoost::new("title", 2.0), "title.plain".into(), "code".into()]);
    let of = |text: &str| options.parse(&schema(), text).unwrap().query;
    let plain = |text: &str| Query::matches("title.plain", text).operator(Operator::And);
    let three = [word("a").boost(2.0).into(), plain("a").into(), Query::term("code", "a").into()];
    assert_eq!(of("a"), Query::dis_max::<Query>(three).into());
    assert_eq!(of("of"), Query::dis_max::<Query>([plain("of").into(), Query::term("code", "of").into()]).into());
}

#[test]
fn what_is_a_word_in_no_field_leaves_the_others_needed() {
    let options = Query::simple_query_string(["title"]).operator(Operator::And);
    let of = |text: &str| options.parse(&schema(), text).unwrap().query;
    assert_eq!(of("a OR of b"), of("a b"));
}

#[test]
fn of_what_is_excluded_no_part_is() {
    let options = Query::simple_query_string(["title"]).max_len(10_000);
    let parsed = options.parse(&schema(), &format!("a -{}", "\u{4e2d}".repeat(3_000))).unwrap();
    assert_eq!(parsed.query, word("a").into());
    assert_eq!(parsed.warnings[0].kind, TooManyClauses);
}

#[test]
fn an_allowed_name_takes_what_looks_like_an_address() {
    let options = Query::simple_query_string(["title"]).field("code");
    let parsed = options.parse(&schema(), "code:/usr/bin").unwrap();
    assert_eq!((parsed.query, parsed.warnings.len()), (Query::term("code", "/usr/bin").into(), 0));
}

#[test]
fn limits_cut_and_are_told() {
    let long = Query::simple_query_string(["title"]).max_len(9);
    let parsed = long.parse(&schema(), "one two three").unwrap();
    assert_eq!(parsed.query, any([word("one").into(), word("two").into()]));
    assert_eq!(parsed.warnings, [QueryWarning { position: 7..13, kind: TooLong }]);
    assert_eq!(parsed.warnings[0].to_string(), "the text is too long and was cut here (bytes 7 to 13)");
    let one = long.parse(&schema(), "\u{E9}\u{E9}\u{E9}\u{E9}\u{E9}\u{E9}").unwrap();
    assert_eq!(one.query, word("\u{E9}\u{E9}\u{E9}\u{E9}").into());
    let few = Query::simple_query_string(["title"]).max_clauses(2).parse(&schema(), "a b c d").unwrap();
    assert_eq!(few.query, any([word("a").into(), word("b").into()]));
    assert_eq!(few.warnings, [QueryWarning { position: 4..7, kind: TooManyClauses }]);
    // One word of more terms than there may be.
    let words = Query::simple_query_string(["title"]).max_len(10_000);
    let parsed = words.parse(&schema(), &"\u{4e2d}".repeat(3_000)).unwrap();
    assert_eq!(parsed.query, word(&"\u{4e2d}".repeat(375)).into());
    assert_eq!(parsed.warnings, [QueryWarning { position: 0..9_000, kind: TooManyClauses }]);
}

#[test]
fn options_that_do_not_fit_are_refused_whatever_the_text_is() {
    let none: [&str; 0] = [];
    let on = || Query::simple_query_string(["title"]);
    let many = (0..33).fold(on(), |options, n| options.field_as(format!("n{n}"), "code"));
    let refused = [
        Query::simple_query_string(none),
        Query::simple_query_string(["absent"]),
        Query::simple_query_string(["rank"]),
        Query::simple_query_string(["kept"]),
        Query::simple_query_string(["title"; 33]),
        Query::simple_query_string([FieldBoost::new("title", f32::NAN)]),
        on().field("absent"),
        on().field("kept"),
        on().field("day"),
        on().field_as("two words", "code"),
        on().field_as("", "code"),
        on().field_as("2fa", "code"),
        on().max_clauses(257),
        on().max_len(10_001),
        many,
    ];
    for options in refused {
        let kind = options.parse(&schema(), "").unwrap_err().kind();
        assert!([ErrorKind::InvalidInput, ErrorKind::Unsupported].contains(&kind), "{options:?}");
    }
}

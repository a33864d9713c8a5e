use statehouse_testkit::thread_time;

use super::*;
use crate::{Field, Query};

fn schema() -> Schema {
    Schema::builder()
        .analyzer("typed", Analyzer::standard().lowercase().edge_ngram(1, 10))
        .field(
            Field::text("title")
                .with_sub_field(Field::text("typed").analyzed_by("typed").searched_by("standard").without_norms()),
        )
        .build()
        .unwrap()
}

fn marked(query: impl Into<Query>, field: &str, text: &str) -> String {
    let request = SearchRequest::new(query).with_highlight(Highlight::field(field));
    let (schema, stop) = (schema(), Stop::default());
    let record = Record::new("a").unwrap().with("title", text.to_owned());
    let fragments = Marker::new(&schema, &request, &stop).unwrap().mark(&record).unwrap();
    fragments.first().map_or_else(String::new, |(_, fragments)| fragments[0].to_html("[", "]"))
}

#[test]
fn phrases_are_marked_where_they_stand_whole() {
    let phrase = |text: &str| Query::phrase("title", text);
    assert_eq!(marked(phrase("a b"), "title", "a b a c b a b"), "[a] [b] a c b [a] [b]");
    assert_eq!(marked(phrase("a a a"), "title", "a a b a a a a"), "a a b [a] [a] [a] [a]");
    assert_eq!(marked(phrase("a b a"), "title", "a b a b a"), "[a] [b] [a] [b] [a]");
    assert_eq!(marked(phrase("b a"), "title", "a b"), "");
    assert_eq!(marked(phrase("a b"), "title", "a"), "");
    // Over the borders of words of bits, and far behind them.
    for before in [61, 62, 63, 64, 126, 127, 128, 1_000] {
        let filler = "x ".repeat(before);
        assert_eq!(marked(phrase("a b c"), "title", &format!("{filler}a b c")), format!("{filler}[a] [b] [c]"));
        let far = format!("a {filler}b");
        assert_eq!(marked(phrase(&far), "title", &far).matches('[').count(), before + 2);
    }
}

#[test]
fn phrases_that_are_only_begun_are_marked_to_the_end_of_their_last_word() {
    let begun = |text: &str| Query::phrase_prefix("title", text);
    assert_eq!(marked(begun("a b"), "title", "a bc b a c a b"), "[a] [bc] b a c [a] [b]");
    assert_eq!(marked(begun("a"), "title", "ab b abc"), "[ab] b [abc]");
    assert_eq!(marked(begun("a a"), "title", "a ab abc c a"), "[a] [ab] abc c a");
    assert_eq!(marked(begun("é"), "title", "e éa x"), "e [éa] x");
    assert_eq!(marked(begun("a é"), "title", "a e a éa"), "a e [a] [éa]");
    assert_eq!(marked(begun("b a").slop(2), "title", "ab b c"), "[ab] [b] c");
    let two = Query::bool().should(begun("a bc")).should(begun("c b"));
    assert_eq!(marked(two, "title", "a bcd c bd a bd c bcd"), "[a] [bcd] [c] [bd] a bd [c] [bcd]");
}

#[test]
fn beginnings_are_marked_whichever_of_several_they_are() {
    let query =
        ["ab", "abc", "b", "abd"].into_iter().fold(Query::bool(), |q, text| q.should(Query::prefix("title", text)));
    assert_eq!(marked(query, "title", "a ab abcd abx aa bb c"), "a [ab] [abcd] [abx] aa [bb] c");
    assert_eq!(
        marked(Query::wildcard("title", "H*r?"), "title", "heart of hart harp her"),
        "[heart] of [hart] [harp] her"
    );
    assert_eq!(marked(Query::matches("title.typed", "hea"), "title.typed", "heart of hay"), "[heart] of hay");
    assert_eq!(
        marked(Query::matches("title", "hart").fuzzy(), "title", "heart hurt harm cart"),
        "[heart] [hurt] [harm] [cart]"
    );
    assert_eq!(marked(Query::matches("title", "hart").fuzzy().prefix_length(2), "title", "heart hart"), "heart [hart]");
}

/// The work is counted and not timed: a text sixteen times as long must not take more than some thirty times as long, and
/// the square would be 256 times.
#[test]
fn marking_takes_time_in_proportion_to_the_text() {
    let words = |count: usize| "a ".repeat(count);
    let query = Query::bool().must(Query::phrase("title", words(1_000))).must(Query::phrase("title", words(500)));
    let request = SearchRequest::new(query).with_highlight(Highlight::field("title").with_fragment_size(10));
    let (schema, stop) = (schema(), Stop::default());
    let time = |length: usize| {
        let record = Record::new("a").unwrap().with("title", words(length));
        let mut marker = Marker::new(&schema, &request, &stop).unwrap();
        let once = || {
            let start = thread_time();
            assert_eq!(marker.mark(&record).unwrap()[0].1.len(), 5);
            thread_time() - start
        };
        std::iter::repeat_with(once).take(3).min().unwrap()
    };
    let (short, long) = (time(20_000), time(320_000));
    assert!(long < 40 * short, "{short:?} for 20,000 words, {long:?} for 320,000");
}

#[test]
fn marking_ends_when_nobody_waits() {
    let request = SearchRequest::new(Query::matches("title", "a")).with_highlight(Highlight::field("title"));
    let (schema, stop) = (schema(), Stop::set());
    let record = Record::new("a").unwrap().with("title", "a ".repeat(10_000));
    let error = Marker::new(&schema, &request, &stop).unwrap().mark(&record).unwrap_err();
    assert_eq!(error.kind(), statehouse_core::ErrorKind::Timeout);
}

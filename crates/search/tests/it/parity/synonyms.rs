//! A field whose documents have synonyms in the index.

use statehouse_search::analysis::Analyzer;
use statehouse_search::{
    Field, Highlight, MinimumMatch, Operator, Query, Schema, SchemaDiff, SearchIndex as _, SearchIndexExt as _,
    SearchRequest, TantivyConfig,
};

use super::draw::{Kind, Words, beginning, found, misspelt};
use crate::opensearch::Scratch;
use crate::random::Random;

const FIELD: &str = "title.worded";

/// Words of a document, and what the rules have in their place.
const OTHERS: &[(&str, &[&str])] = &[
    ("fracture", &["break", "broken"]),
    ("encounter", &["visit", "visits", "contact"]),
    ("neoplasm", &["tumor", "cancer", "tumors"]),
    ("initial", &["first"]),
    ("left", &["sinister"]),
    ("right", &["dexter"]),
    ("unspecified", &["other", "unknown"]),
    ("malignant", &["cancerous"]),
    ("burn", &["scald", "burns"]),
    ("failure", &["weakness", "insufficiency"]),
    ("heart", &["cardiac", "coronary"]),
];

/// A text in other words, where there are some.
fn said(text: &str, r: &mut Random) -> String {
    let other = |word: &str, r: &mut Random| {
        let bare = word.trim_end_matches(',').to_lowercase();
        let others = OTHERS.iter().find(|(word, _)| *word == bare).map(|(_, others)| *others);
        match others {
            Some(others) if r.below(4) > 0 => others[r.below(others.len())].to_owned(),
            _ => word.to_owned(),
        }
    };
    text.split(' ').map(|word| other(word, r)).collect::<Vec<_>>().join(" ")
}

/// Words that stand behind each other in a document, one of which has synonyms, in other words.
fn run(r: &mut Random, w: &Words, count: usize) -> String {
    loop {
        let text = w.run(r, count);
        let told = said(&text, r);
        if told != text {
            return told;
        }
    }
}

fn marked(query: impl Into<Query>) -> SearchRequest {
    SearchRequest::new(query).with_size(100).with_highlight(Highlight::field(FIELD))
}

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("synonyms in the index", |r, w| {
        let count = 1 + r.below(4);
        let query = Query::matches(FIELD, run(r, w, count));
        match r.below(3) {
            0 => marked(query.operator(Operator::And)),
            1 => marked(query.minimum_match(MinimumMatch::Percent(67))),
            _ => found(query),
        }
    }),
    ("synonyms in the index, other fields", |r, w| {
        let text = run(r, w, 2);
        let all = Query::multi_match([FIELD, "title", "title.plain"], &*text);
        found(if r.below(2) == 0 { all.most_fields() } else { all.tie_breaker(0.4) })
    }),
    ("synonyms in the index, phrase", |r, w| {
        let count = 2 + r.below(3);
        marked(Query::phrase(FIELD, run(r, w, count)))
    }),
    ("synonyms in the index, slop", |r, w| {
        let count = 2 + r.below(2);
        let text = run(r, w, count);
        let mut words: Vec<_> = text.split(' ').collect();
        let (a, b) = (r.below(count), r.below(count));
        words.swap(a, b);
        let twice =
            if r.below(3) == 0 { format!("{} {}", words.join(" "), said(words[0], r)) } else { words.join(" ") };
        found(Query::phrase(FIELD, twice).slop(u32::try_from(1 + r.below(6)).unwrap()))
    }),
    ("synonyms in the index, begun", |r, w| {
        let text = run(r, w, 2);
        let least = text.chars().count() - 1;
        match r.below(3) {
            0 => marked(Query::matches_prefix(FIELD, beginning(&text, r, least))),
            1 => found(Query::phrase_prefix(FIELD, beginning(&text, r, least)).max_expansions(1_000)),
            _ => found(Query::prefix(FIELD, beginning(&run(r, w, 1), r, 3))),
        }
    }),
    ("synonyms in the index, misspelt", |r, w| {
        let text = run(r, w, 1);
        found(Query::matches(FIELD, misspelt(&text, r)).fuzzy())
    }),
];

/// A file of rules is empty until somebody writes the first one, and when the last one is taken out.
#[tokio::test]
async fn an_index_without_rules_is_opened_with_an_empty_file_of_them_on_both() {
    let (scratch, folder) = (Scratch::new().await, tempfile::tempdir().unwrap());
    let words = || Analyzer::standard().lowercase();
    let schema = |documents: Analyzer| {
        let field = Field::text("title").analyzed_by("documents").searched_by(Analyzer::STANDARD);
        Schema::builder().analyzer("documents", documents).field(field).build().unwrap()
    };
    let (bare, none) = (|| schema(words()), || schema(words().synonyms("# none yet\n")));
    for (first, then) in [(bare(), none()), (none(), bare())] {
        let config = TantivyConfig::folder(folder.path().join(if first == bare() { "bare" } else { "none" }));
        let embedded = config.clone().open(first.clone()).await.unwrap();
        assert_eq!(embedded.diff(&then).await.unwrap(), SchemaDiff::Same);
        embedded.close().await.unwrap();
        drop(embedded);
        config.open(then.clone()).await.unwrap().close().await.unwrap();

        let distributed = scratch.open(first).await.unwrap();
        assert_eq!(distributed.diff(&then).await.unwrap(), SchemaDiff::Same);
        scratch.open(then).await.unwrap();
        let (_, made) = scratch.request("GET", &format!("/{}", scratch.name), "").await;
        assert!(!made.contains("synonym"), "{made}");
        scratch.delete().await;
    }
}

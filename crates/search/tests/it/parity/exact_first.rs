//! What is promised of exact words, on a real terminology: whatever is rare or frequent in it, and however it is written.

use std::collections::HashMap;

use statehouse_core::conformance::rounds;
use statehouse_search::{Operator, Projection, Query, SearchIndexExt as _, SearchRequest, TantivyConfig};

use super::draw::{Words, beginning, misspelt};
use super::{SEED, corpus, load};
use crate::random::Random;

const FIELD: &str = "title.plain";

/// As many hits as are looked at.
const WINDOW: u64 = 2_000;

#[tokio::test]
async fn documents_with_more_of_the_words_exactly_are_before_those_with_fewer() {
    let diagnoses = corpus::diagnoses();
    let index = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    load(&index, diagnoses.iter().map(corpus::record).collect()).await;
    let (words, mut random) = (Words::of(&diagnoses), Random::new(SEED));
    let ids = |query: Query| {
        let (index, request) = (&index, SearchRequest::new(query).with_size(WINDOW).with_projection(Projection::Id));
        async move {
            let found = index.search(&request).await.unwrap();
            found.ids().into_iter().map(str::to_owned).collect::<Vec<_>>()
        }
    };
    let mut falls = 0;
    for round in 0..rounds(60, 600) {
        let mut text: Vec<_> = (0..=random.below(4)).map(|_| words.word(&mut random, 4)).collect();
        let last = text.pop().unwrap();
        let (cut, wrong) = (beginning(&last, &mut random, 3), misspelt(&last, &mut random));
        text.extend([last, cut, wrong].into_iter().nth(round % 3));
        let query = Query::exact_first(FIELD, text.join(" "));
        let hits = ids(if round % 2 == 0 { query.into() } else { query.operator(Operator::And).into() }).await;
        let mut exact: HashMap<String, usize> = HashMap::new();
        for word in &text {
            let these = Query::bool().must(Query::matches(FIELD, word)).filter(Query::ids(hits.clone()));
            ids(these.into()).await.into_iter().for_each(|id| *exact.entry(id).or_default() += 1);
        }
        let counts: Vec<_> = hits.iter().map(|id| exact.get(id).copied().unwrap_or_default()).collect();
        assert!(counts.is_sorted_by(|before, behind| before >= behind), "{text:?}: {counts:?}");
        falls += usize::from(counts.first() != counts.last());
        let whole = Query::matches(FIELD, text.join(" ")).operator(Operator::And);
        let whole = index.count(&whole.into()).await.unwrap().min(WINDOW);
        assert_eq!(counts.iter().filter(|count| **count == text.len()).count() as u64, whole, "{text:?}");
    }
    assert!(falls > 10, "in {falls} lists there were exact ones and others");
}

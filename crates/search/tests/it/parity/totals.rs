//! Totals that are counted up to a number: the same on both, and a page that is the same as with an exact one.

use statehouse_core::conformance::rounds;
use statehouse_search::{
    DocumentId, Facet, MinimumMatch, Operation, Operator, Query, SearchIndexExt as _, SearchRequest, SearchResponse,
    TantivyConfig, TantivyIndex, Total, TotalRelation,
};

use super::draw::{Kind, Words, found};
use super::{SEED, corpus, kinds, load};
use crate::random::Random;

/// Around what is asked, what there is, and nothing.
fn some(random: &mut Random) -> Total {
    Total::AtLeast([0, 1, 9, 100, 1_000, 10_000, 100_000, Total::MAX][random.below(8)])
}

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("some of the total, frequent words", |r, w| {
        let query = Query::matches("title", w.words(r, 3));
        found(if r.below(3) == 0 { query.operator(Operator::And) } else { query }).with_total(some(r))
    }),
    ("some of the total, filtered", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2))).with_filter(Query::term("leaf", r.below(2) == 0));
        request.with_post_filter(Query::range("length").at_least(r.below(30) as u64)).with_total(some(r))
    }),
    ("some of the total, no scores", |r, w| {
        let at_least = i64::try_from(r.below(900)).unwrap() - 450;
        let request = match r.below(4) {
            0 => found(Query::range("balance").at_least(at_least)),
            1 => found(Query::prefix("title", w.word(r, 3).chars().take(3).collect::<String>())),
            2 => found(Query::bool().filter(Query::matches("title", w.word(r, 3)))),
            _ => found(Query::all()),
        };
        request.with_from(r.below(30) as u64).with_total(some(r))
    }),
    ("some of the total, no hits", |r, w| {
        found(Query::matches("title", w.words(r, 2))).with_size(0).with_total(some(r))
    }),
    ("some of the total, facets", |r, w| {
        let request = found(Query::matches("title", w.words(r, 2))).with_facet(Facet::field("chapter"));
        request.with_collapse("chapter").with_total(some(r))
    }),
];

/// Queries of terms, which are cut short, in every form: with boosts and terms of several fields.
const CUT_SHORT: &[(&str, Kind)] = &[
    ("one word", |r, w| found(Query::matches("title", w.word(r, 3)))),
    ("many words", |r, w| {
        let count = 2 + r.below(30);
        found(Query::matches("title", w.words(r, count)))
    }),
    ("words of several fields", |r, w| {
        let field = |r: &mut Random| ["title", "title.plain", "terms", "title.start", "title.worded"][r.below(5)];
        let boosts = [0.0, 0.001, 1.0, 3.5, 1e6];
        let clause = |r: &mut Random| Query::matches(field(r), w.word(r, 3)).boost(boosts[r.below(5)]);
        let all = (0..1 + r.below(5)).map(|_| clause(r)).collect::<Vec<_>>();
        let all = all.into_iter().fold(Query::bool(), |all, clause| all.should(clause));
        found(if r.below(3) == 0 { all.must_not(Query::matches("title", w.word(r, 3))) } else { all })
    }),
    ("all of some words, with what they stand beside", |r, w| {
        let query = Query::matches("title", w.run(r, 2)).operator(Operator::And);
        found(query).with_filter(Query::range("length").at_most(10 + r.below(40) as u64))
    }),
    ("most of some words", |r, w| found(Query::matches("title", w.words(r, 4)).minimum_match(MinimumMatch::Count(2)))),
];

/// Of the page, to the last bit of its scores.
fn page(response: &SearchResponse) -> Vec<(&str, Option<u32>)> {
    response.hits.iter().map(|hit| (hit.id().as_str(), hit.score.map(f32::to_bits))).collect()
}

/// What has facets goes through all that matches.
async fn seen_whole(index: &TantivyIndex, request: &SearchRequest) -> SearchResponse {
    let whole = request.clone().with_total(Total::Exact).with_facet(Facet::field("chapter"));
    index.search(&whole).await.unwrap()
}

async fn all_are_cut_short_without_loss(index: &TantivyIndex, words: &Words, runs: usize) {
    let kinds = kinds().chain(CUT_SHORT);
    for (name, kind) in kinds {
        let mut random = Random::new(SEED ^ name.len() as u64);
        for _ in 0..runs {
            let request = kind(&mut random, words);
            let request = if random.below(2) == 0 { request.with_size(10) } else { request };
            let whole = seen_whole(index, &request).await;
            // The first time, nothing is known of a term.
            for total in [some(&mut random), Total::AtLeast(0), Total::Exact, some(&mut random)] {
                let found = index.search(&request.clone().with_total(total)).await.unwrap();
                assert_eq!(
                    (found.total, found.relation),
                    total.of(whole.total),
                    "{name}: {total:?} {:?}",
                    request.query
                );
                assert!(page(&found) == page(&whole), "{name}: {total:?} {:?}", request.query);
            }
            // And behind a hit of it.
            if let Some(last) = whole.hits.get(7).filter(|_| request.from == 0 && request.collapse.is_none()) {
                let behind = request.clone().with_after(last.cursor()).with_size(20);
                let whole = seen_whole(index, &behind).await;
                let found = index.search(&behind.with_total(Total::AtLeast(5))).await.unwrap();
                assert!(page(&found) == page(&whole), "{name}: behind a hit, {:?}", request.query);
                assert_eq!((found.total, found.relation), Total::AtLeast(5).of(whole.total));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_the_same_however_far_the_total_is_counted() {
    let diagnoses = corpus::diagnoses();
    let words = Words::of(&diagnoses);
    let index = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    load(&index, diagnoses.iter().map(corpus::record).collect()).await;
    all_are_cut_short_without_loss(&index, &words, rounds(3, 100)).await;
    index.merge().await.unwrap();
    all_are_cut_short_without_loss(&index, &words, rounds(6, 200)).await;
    // What was written last is in front, and a third is gone.
    let gone = diagnoses.iter().step_by(3).map(|row| DocumentId::new(&row.code).unwrap());
    index.bulk(gone.map(|id| Operation::Delete { id, version: None }).collect()).await.unwrap().check().unwrap();
    let again = diagnoses.iter().rev().step_by(6).map(|row| corpus::record(row).with_version(9));
    load(&index, again.collect()).await;
    all_are_cut_short_without_loss(&index, &words, rounds(3, 100)).await;
    let all = index.search(&SearchRequest::new(Query::all()).with_total(Total::AtLeast(1_000))).await.unwrap();
    assert_eq!((all.total, all.relation), (1_000, TotalRelation::AtLeast));
}

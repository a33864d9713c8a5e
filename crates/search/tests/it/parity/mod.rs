//! The promise: equal hits in equal order, embedded and distributed, on a real terminology.
//!
//! Up to 300 queries of every kind, drawn with a fixed seed from the words of 46,498 diagnoses, go to tantivy and to a real
//! OpenSearch. Totals must be equal, the first hundred hits must be equal in order, and so must what is marked in them.
//! Scores within 1e-5 of each other count as equal, and hits with equal scores are ordered by id.

mod begun;
mod compare;
pub(crate) mod corpus;
mod counted;
mod draw;
mod exact_first;
mod functions;
mod reading;
mod suggest;
mod synonyms;
mod totals;
mod trees;

use std::fmt::Write as _;
use std::sync::Arc;

use statehouse_core::conformance::rounds;
use statehouse_search::{
    BulkOptions, Operation, Refresh, SearchIndex, SearchIndexExt as _, SearchRequest, SearchResponse, TantivyConfig,
    TantivyIndex,
};
use statehouse_search::{OpenSearchIndex, conformance, parity};

use crate::opensearch::Scratch;
use crate::random::Random;
use compare::Tally;

const SEED: u64 = 0x1cd1_0c9a_2025_0401;

/// How many requests are under way at a time.
const LANES: usize = 6;

fn kinds() -> impl Iterator<Item = &'static (&'static str, draw::Kind)> {
    draw::KINDS.iter().chain(begun::KINDS).chain(functions::KINDS).chain(synonyms::KINDS).chain(totals::KINDS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_kind_of_query_has_the_same_hits_in_the_same_order_on_both() {
    let scratch = Scratch::new().await;
    let diagnoses = corpus::diagnoses();
    assert_eq!(diagnoses.len(), 46_498);
    let embedded = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    let distributed = Arc::new(scratch.open(corpus::schema()).await.unwrap());
    let records = || diagnoses.iter().map(corpus::record).collect::<Vec<_>>();
    tokio::join!(load(&embedded, records()), load(&*distributed, records()));
    distributed.merge().await.unwrap();

    let words = draw::Words::of(&diagnoses);
    all_are_equal(&embedded, &distributed, &words, kinds().chain(begun::OF_ONE_SEGMENT), rounds(60, 300)).await;
    scratch.delete().await;
}

/// Of a fresh index nothing is merged: each engine cuts it into segments of its own, and finds the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_segments_have_the_same_hits_in_the_same_order_on_both() {
    let scratch = Scratch::new().await;
    let diagnoses: Vec<_> = corpus::diagnoses().into_iter().step_by(7).collect();
    let embedded = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    let distributed = Arc::new(scratch.open(corpus::schema()).await.unwrap());
    let refresh = || BulkOptions::default().with_refresh(Refresh::Now);
    for (at, part) in diagnoses.chunks(1_000).enumerate() {
        let operations = || part.iter().map(corpus::record).map(Operation::Upsert).collect();
        // Other borders on each side.
        distributed.bulk_with(operations(), refresh()).await.unwrap().check().unwrap();
        let refresh = if at % 2 == 0 { refresh() } else { BulkOptions::default() };
        embedded.bulk_with(operations(), refresh).await.unwrap().check().unwrap();
    }
    embedded.refresh().await.unwrap();
    let words = draw::Words::of(&diagnoses);
    all_are_equal(&embedded, &distributed, &words, kinds().chain(draw::EXTREMES), 30).await;
    scratch.delete().await;
}

/// Whatever was replaced and deleted. Before the merge the server counts what it no longer has, and we do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_merge_what_was_replaced_and_deleted_shows_on_neither() {
    let scratch = Scratch::new().await;
    let embedded = TantivyConfig::memory().open(conformance::schema()).await.unwrap();
    let distributed = scratch.open(conformance::schema()).await.unwrap();
    let mut worn = conformance::Worn::new(SEED);
    for round in 0..rounds(1, 20) {
        for _ in 0..20 {
            let operations = worn.commit(50);
            let refresh = || BulkOptions::default().with_refresh(Refresh::Now);
            embedded.bulk_with(operations.clone(), refresh()).await.unwrap().check().unwrap();
            distributed.bulk_with(operations, refresh()).await.unwrap().check().unwrap();
        }
        let requests = conformance::requests(&worn.living(), 30, round as u64);
        let before = parity::compare(&embedded, &distributed, &requests).await.unwrap();
        let (ours, theirs) = tokio::join!(embedded.merge(), distributed.merge());
        ours.unwrap();
        theirs.unwrap();
        let after = parity::compare(&embedded, &distributed, &requests).await.unwrap();
        let (was, runs) = (before.equal + before.tied, after.runs);
        crate::report(&format!("round {round}: of {runs} answers {was} were equal before the merge"));
        assert_eq!(after.differences, [], "round {round}");
        assert_eq!(after.equal + after.tied, runs);
    }
    scratch.delete().await;
}

async fn load(index: &dyn SearchIndex, records: Vec<statehouse_search::Record>) {
    let mut records = records.into_iter().map(Operation::Upsert).peekable();
    while records.peek().is_some() {
        let part = records.by_ref().take(4_000).collect();
        index.bulk(part).await.unwrap().check().unwrap();
    }
    let none = index.bulk_with(Vec::new(), BulkOptions::default().with_refresh(Refresh::Now)).await.unwrap();
    assert!(none.outcomes.is_empty());
    index.refresh().await.unwrap();
}

async fn all_are_equal(
    embedded: &TantivyIndex,
    distributed: &Arc<OpenSearchIndex>,
    words: &draw::Words,
    kinds: impl Iterator<Item = &'static (&'static str, draw::Kind)>,
    runs: usize,
) {
    let mut table = String::from("\nkind                                  runs totals order  exact marks  found\n");
    let mut all_equal = true;
    for (name, kind) in kinds {
        let tally = compare_kind(embedded, distributed, words, *kind, runs).await;
        writeln!(table, "{name:<36} {tally}").unwrap();
        all_equal &= tally.is_equal();
    }
    crate::report(&table);
    assert!(all_equal, "seed {SEED:#x}: {table}");
}

async fn compare_kind(
    embedded: &TantivyIndex,
    distributed: &Arc<OpenSearchIndex>,
    words: &draw::Words,
    kind: draw::Kind,
    runs: usize,
) -> Tally {
    let mut random = Random::new(SEED);
    let requests: Vec<_> = (0..runs).map(|_| kind(&mut random, words)).collect();
    let lane = |part: &[SearchRequest]| tokio::spawn(ask(embedded.clone(), Arc::clone(distributed), part.to_vec()));
    let lanes: Vec<_> = requests.chunks(runs.div_ceil(LANES)).map(lane).collect();
    let mut tally = Tally::default();
    for lane in lanes {
        for (request, ours, theirs) in lane.await.unwrap() {
            tally.add(&request, &ours, &theirs);
        }
    }
    tally
}

async fn ask(
    embedded: TantivyIndex,
    distributed: Arc<OpenSearchIndex>,
    requests: Vec<SearchRequest>,
) -> Vec<(SearchRequest, SearchResponse, SearchResponse)> {
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        let ours = embedded.search(&request).await.unwrap();
        let theirs = distributed.search(&request).await.unwrap();
        answers.push((request, ours, theirs));
    }
    answers
}

//! Totals that are counted up to a number: what is left out, and that nothing is lost by it.

use statehouse_core::conformance::rounds;

use crate::conformance::{Worn, requests, schema};
use crate::size::Size;
use crate::tantivy::best::Best;
use crate::tantivy::shape::Known;
use crate::tantivy::sought::find;
use crate::tantivy::sparing::{Count, Sparing};
use crate::work::Stop;
use crate::{
    BulkOptions, Facet, Field, Operation, Operator, Query, Record, Refresh, Schema, SearchIndex, SearchIndexExt,
    SearchRequest, SearchResponse, TantivyConfig, TantivyIndex, Total, parity,
};

async fn write(index: &TantivyIndex, operations: Vec<Operation>) {
    let options = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with(operations, options).await.unwrap().check().unwrap();
}

/// To the last bit of the scores.
fn page(response: &SearchResponse) -> Vec<(&str, Option<u32>)> {
    response.hits.iter().map(|hit| (hit.id().as_str(), hit.score.map(f32::to_bits))).collect()
}

/// Whatever was replaced, deleted and merged: beside what goes through all that matches, for it has a facet.
#[tokio::test]
async fn what_is_left_out_is_on_no_page() {
    for seed in 0..rounds(6, 600) as u64 {
        let mut numbers = parity::Numbers::new(seed);
        let config = TantivyConfig::memory().with_threads(1 + numbers.below(3)).with_memory(48_000_000);
        let (index, mut worn) = (config.open(schema()).await.unwrap(), Worn::new(seed));
        for _ in 0..1 + numbers.below(8) {
            write(&index, worn.commit(1 + numbers.below(400))).await;
            if numbers.below(6) == 0 {
                index.merge().await.unwrap();
            }
        }
        for request in requests(&worn.living(), 4, seed) {
            let request = request.with_size(1 + numbers.below(30) as u64).with_from(numbers.below(20) as u64);
            let whole = index.search(&request.clone().with_facet(Facet::field("code"))).await.unwrap();
            let some = Total::AtLeast(numbers.below(60) as u64);
            // The first time, nothing is known of a term.
            for total in [some, Total::AtLeast(0), Total::Exact, some] {
                let found = index.search(&request.clone().with_total(total)).await.unwrap();
                assert_eq!(
                    (found.total, found.relation),
                    total.of(whole.total),
                    "seed {seed} {total:?} {:?}",
                    request.query
                );
                assert_eq!(page(&found), page(&whole), "seed {seed} {total:?} {:?}", request.query);
            }
        }
    }
}

fn texts() -> Schema {
    Schema::builder().field(Field::text("title")).field(Field::keyword("code").sortable()).build().unwrap()
}

/// Every document has the first word, every second the second one; those that score most come first.
async fn many() -> TantivyIndex {
    let index = TantivyConfig::memory().with_threads(1).open(texts()).await.unwrap();
    let title = |n: usize| {
        let words = if n.is_multiple_of(2) { "fever cough " } else { "fever ache " };
        words.to_owned() + &"rest ".repeat(if n < 100 { 0 } else { 3 + n % 5 })
    };
    let record = |n: usize| Record::new(format!("{n:05}")).unwrap().with("title", title(n)).with("code", "x");
    write(&index, (0..40_000).map(record).map(Operation::Upsert).collect()).await;
    index.merge().await.unwrap();
    index
}

/// How many documents a search has counted that is told a total.
fn counted(index: &TantivyIndex, request: &SearchRequest, known: impl Fn(Known) -> Known) -> u64 {
    let (snapshot, stop) = (index.client().unwrap().snapshot(), Stop::default());
    let terms = snapshot.mapping.schema.terms_of_request(request, Size::of_request(request).unwrap()).unwrap();
    let sought = find(&snapshot, request, terms, &stop).unwrap().ranked(&snapshot, &stop).unwrap();
    let sparing = Sparing::new(&snapshot, &sought.weight, &stop);
    let mut count = Count::new(request.total, known(Known::of(&sought.weight, &snapshot, &stop).unwrap()));
    if request.size == 0 {
        sparing.count(0, &mut count).unwrap();
    } else {
        let mut best = Best::new(&snapshot.segments[0], 10, None, f32::NEG_INFINITY).unwrap();
        sparing.look(0, &mut best, &mut count).unwrap();
        assert_eq!(best.found(0).count(), 10);
    }
    count.total()
}

#[tokio::test]
async fn counting_ends_when_enough_were_counted() {
    let index = many().await;
    let title = |text: &str| SearchRequest::new(Query::matches("title", text)).with_total(Total::AtLeast(1_000));
    let nothing = |_: Known| Known::Nothing;
    for (size, text) in [(0, "fever"), (0, "cough ache"), (10, "fever"), (10, "cough ache")] {
        let few = counted(&index, &title(text).with_size(size), nothing);
        assert!((1_001..=6_000).contains(&few), "{few}");
        assert_eq!(counted(&index, &title(text).with_size(size).with_total(Total::Exact), nothing), 40_000);
    }
    // Of a term it is known without counting, and of any of several, that there are enough.
    assert_eq!(counted(&index, &title("fever").with_total(Total::Exact), |known| known), 40_000);
    assert_eq!(counted(&index, &title("cough ache"), |known| known), 20_000);
}

#[tokio::test]
async fn what_cannot_come_onto_the_page_is_left_unread() {
    use crate::tantivy::run;
    use crate::tantivy::shape::Shape;

    let index = many().await;
    let (snapshot, stop) = (index.client().unwrap().snapshot(), Stop::default());
    let and = Query::matches("title", "fever cough").operator(Operator::And);
    let queries: [Query; 4] = [
        Query::matches("title", "fever").into(),
        Query::matches("title", "fever cough").into(),
        and.clone().into(),
        Query::bool().must(and).filter(Query::term("code", "x")).into(),
    ];
    for query in queries {
        let request = SearchRequest::new(query);
        let terms = snapshot.mapping.schema.terms_of_request(&request, Size::of_request(&request).unwrap()).unwrap();
        let sought = find(&snapshot, &request, terms, &stop).unwrap().ranked(&snapshot, &stop).unwrap();
        let Some(Shape::Terms(terms)) = Shape::of(&sought.weight) else { panic!("{:?}", request.query) };
        // What is searched for once is not looked at twice.
        let pruned = || run::pruned(&terms, (&snapshot, 0), &stop).unwrap();
        let mut pruned = pruned().or_else(pruned).unwrap();
        let mut best = Best::new(&snapshot.segments[0], 10, None, f32::NEG_INFINITY).unwrap();
        let mut handed_out = 0;
        while pruned.doc() < 40_000 {
            let (floor, end) = best.floor(pruned.doc());
            pruned.pass(end, floor, &mut |doc, score| {
                handed_out += 1;
                best.offer(doc, score);
            });
        }
        assert!((10..=2_100).contains(&handed_out), "{handed_out} {:?}", request.query);
        let mut found: Vec<_> = best.found(0).map(|found| found.ordinal).collect();
        found.sort_unstable();
        let step = found[1];
        assert!(step <= 2 && found == (0..10).map(|n| n * step).collect::<Vec<_>>(), "{found:?}");
    }
}

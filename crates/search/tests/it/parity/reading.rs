//! Reading on, on both: behind cursors, and all hits of one state, further than pages by number reach.

use statehouse_core::conformance::rounds;
use statehouse_search::{
    HitsOptions, Projection, Query, SearchIndex, SearchIndexExt as _, SearchRequest, Sort, TantivyConfig,
};

use super::{corpus, load};
use crate::opensearch::Scratch;

/// More than a page by number can reach.
const MANY: usize = 11_000;

fn by_fields() -> Vec<SearchRequest> {
    let all = || SearchRequest::new(Query::all()).with_projection(Projection::Id);
    let mut requests = Vec::new();
    for field in ["length", "weight", "balance", "share", "since", "leaf", "parent"] {
        for sort in [Sort::by(field), Sort::by(field).descending()] {
            requests.push(all().with_sort(sort.clone()));
            requests.push(all().with_sort(sort.missing_first()));
        }
    }
    requests.push(all().with_sort(Sort::by("chapter").descending()).with_sort(Sort::by("length")));
    requests
}

fn by_score() -> Vec<SearchRequest> {
    let matches = |text: &str| SearchRequest::new(Query::matches("title", text)).with_projection(Projection::Id);
    vec![
        matches("fracture initial encounter unspecified"),
        matches("left subsequent").with_sort(Sort::by_score().ascending()),
        matches("right fracture").with_sort(Sort::by("leaf")).with_sort(Sort::by_score()),
    ]
}

/// An id, and the bits of its score.
type Placed = (String, Option<u32>);

async fn all_hits(index: &dyn SearchIndex, request: &SearchRequest, page: u64) -> Vec<Placed> {
    let mut hits = index.hits_with(request, HitsOptions::default().with_page_size(page)).await.unwrap();
    let mut all = Vec::new();
    while let Some(hit) = hits.next().await.unwrap() {
        all.push((hit.id().as_str().to_owned(), hit.score.map(f32::to_bits)));
    }
    all
}

async fn read_on(index: &dyn SearchIndex, request: &SearchRequest, page: u64) -> Vec<Placed> {
    let (mut all, mut request) = (Vec::new(), request.clone().with_size(page));
    loop {
        let found = index.search(&request).await.unwrap();
        all.extend(found.hits.iter().map(|hit| (hit.id().as_str().to_owned(), hit.score.map(f32::to_bits))));
        let Some(last) = found.hits.last() else { return all };
        request = request.with_after(last.cursor());
    }
}

/// The same by each way to read on, and by number as far as that reaches.
async fn in_order(index: &dyn SearchIndex, request: &SearchRequest) -> Vec<Placed> {
    let all = all_hits(index, request, 700).await;
    assert!(read_on(index, request, 900).await == all, "{:?}", request.sort);
    let first = index.search(&request.clone().with_size(10_000)).await.unwrap();
    assert_eq!(first.total, all.len() as u64);
    let ids: Vec<_> = all.iter().take(10_000).map(|(id, _)| id.as_str()).collect();
    assert!(first.ids() == ids, "{:?}", request.sort);
    all
}

/// By fields the same on both, also behind each other's cursors. By score each is in the order that it gives pages by number
/// in, to the last bit, and the two differ by no more than ties.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reading_on_gives_the_same_on_both_and_what_pages_by_number_give() {
    let scratch = Scratch::new().await;
    let diagnoses: Vec<_> = corpus::diagnoses().into_iter().step_by(4).take(MANY).collect();
    let embedded = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    let distributed = scratch.open(corpus::schema()).await.unwrap();
    let records = || diagnoses.iter().map(corpus::record).collect::<Vec<_>>();
    tokio::join!(load(&embedded, records()), load(&distributed, records()));
    // In the short form every seventh.
    for request in by_fields().into_iter().step_by(rounds(7, 1)) {
        let (ours, theirs) =
            tokio::join!(all_hits(&embedded, &request, 1_000), all_hits(&distributed, &request, 3_000));
        assert_eq!(ours.len(), MANY);
        assert!(ours == theirs, "{:?}", request.sort);
        assert!(read_on(&embedded, &request, 4_000).await == ours, "{:?}", request.sort);
        let window = request.clone().with_size(60);
        for at in (0..MANY).step_by(3_001) {
            // A cursor of the one in the other.
            let from = embedded.search(&window.clone().with_from(at as u64 % 9_900)).await.unwrap();
            let behind = window.clone().with_after(from.hits[19].cursor());
            let found = distributed.search(&behind).await.unwrap();
            assert_eq!(found.ids()[..40], from.ids()[20..], "{:?}", request.sort);
        }
    }
    for request in by_score() {
        let (mut ours, mut theirs) = tokio::join!(in_order(&embedded, &request), in_order(&distributed, &request));
        let close = |(a, b): (&Placed, &Placed)| {
            let [a, b] = [a, b].map(|(_, score)| f32::from_bits(score.unwrap()));
            (a - b).abs() <= 1e-5 * a.abs().max(b.abs())
        };
        assert!(ours.len() > 500 && ours.iter().zip(&theirs).all(close), "{:?}", request.sort);
        ours.iter_mut().chain(&mut theirs).for_each(|hit| hit.1 = None);
        ours.sort();
        theirs.sort();
        assert!(ours == theirs, "the same documents, each once");
    }
    scratch.delete().await;
}

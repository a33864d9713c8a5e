//! What is counted beside hits, over several shards, several segments, and what was replaced and deleted.

use statehouse_core::ErrorKind;
use statehouse_search::{
    BulkOptions, DocumentId, Facet, Histogram, OpenSearchIndex, Operation, Query, RangeFacet, Refresh,
    SearchIndex as _, SearchIndexExt as _, SearchRequest, Sort, TantivyConfig, Value, parity,
};

use super::corpus;
use crate::opensearch::{Scratch, config};

fn requests() -> Vec<SearchRequest> {
    let day = |days: i64| Value::Date(days * 86_400_000);
    let since = || RangeFacet::field("since").below(day(0)).between(day(-50), day(50)).at_least(day(100));
    let texts = ["fracture", "unspecified", "initial encounter left", "tuberculosis"];
    let queries = texts.into_iter().map(|text| Query::from(Query::matches("title", text))).chain([Query::all().into()]);
    let count = |query: Query| {
        let request = SearchRequest::new(query).with_size(0).with_ranges(since());
        let request = ["chapter", "length", "weight", "balance", "share", "since", "leaf"]
            .into_iter()
            .fold(request, |request, field| request.with_facet(Facet::field(field).with_size(1_000)));
        let request = ["balance", "share", "since"].into_iter().fold(request, SearchRequest::with_stats);
        let request = request.with_histogram(Histogram::every("share", 1.7).with_offset(0.3).with_empty());
        request.with_histogram(Histogram::months("since").with_empty()).with_histogram(Histogram::weeks("since"))
    };
    let all: Vec<_> = queries.map(count).collect();
    let chosen = all.iter().map(|request| request.clone().with_post_filter(Query::term("leaf", true)));
    all.iter().cloned().chain(chosen).collect()
}

/// What the server brings together of the groups of its shards.
fn collapsed(scored: bool) -> Vec<SearchRequest> {
    let fields = ["chapter", "parent", "length", "weight", "balance", "share"];
    let orders = [vec![Sort::by("length").descending()], vec![Sort::by("balance"), Sort::by("parent").descending()]];
    let orders: Vec<_> = if scored { vec![vec![], vec![Sort::by_score()]] } else { orders.into() };
    let request = |field: &str, from: u64, order: &[Sort]| {
        let request = SearchRequest::new(Query::matches("title", "unspecified fracture")).with_collapse(field);
        order.iter().cloned().fold(request.with_from(from).with_size(40), SearchRequest::with_sort)
    };
    let all = fields.into_iter().flat_map(|field| [(field, 0), (field, 7)]);
    all.flat_map(|(field, from)| orders.iter().map(move |order| request(field, from, order))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_counted_is_the_same_over_several_shards_and_whatever_was_replaced_and_deleted() {
    let scratch = Scratch::new().await;
    let diagnoses: Vec<_> = corpus::diagnoses().into_iter().step_by(9).collect();
    let embedded = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    let sharded = config(scratch.node.address(), "&shards=3");
    let distributed = OpenSearchIndex::open(sharded, &scratch.name, corpus::schema()).await.unwrap();
    let requests = requests();
    for (round, part) in diagnoses.chunks(2_000).enumerate() {
        // What was there is replaced by another row under its id, or deleted.
        let before = diagnoses.iter().take(round * 1_000).step_by(3).enumerate().map(|(at, row)| {
            let id = DocumentId::new(&row.code).unwrap();
            if at % 2 == 0 {
                return Operation::Delete { id, version: None };
            }
            let other = corpus::record(&diagnoses[(at * 31 + round) % diagnoses.len()]);
            let mut record = statehouse_search::Record::new(&row.code).unwrap();
            other.iter().for_each(|(field, value)| record.push(field.to_owned(), value.clone()));
            Operation::Upsert(record)
        });
        let fresh = part.iter().map(|row| {
            let mut record = statehouse_search::Record::new(&row.code).unwrap();
            corpus::record(row).iter().for_each(|(field, value)| record.push(field.to_owned(), value.clone()));
            Operation::Upsert(record)
        });
        let operations: Vec<_> = before.chain(fresh).collect();
        let now = || BulkOptions::default().with_refresh(Refresh::Now);
        embedded.bulk_with(operations.clone(), now()).await.unwrap().check().unwrap();
        distributed.bulk_with(operations, now()).await.unwrap().check().unwrap();
        let report = parity::compare(&embedded, &distributed, &requests).await.unwrap();
        assert_eq!(report.differences, [], "round {round}");
        // Scores are those of living documents alone as long as nothing was replaced.
        let report = parity::compare(&embedded, &distributed, &collapsed(round == 0)).await.unwrap();
        assert_eq!(report.differences, [], "collapsed, round {round}");
    }
    scratch.delete().await;
}

/// Whether the server counts to the end and it is too much, or it gives up itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_buckets_than_there_may_be_are_refused_on_both() {
    let scratch = Scratch::new().await;
    let embedded = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
    let distributed = scratch.open(corpus::schema()).await.unwrap();
    let record = |n: i64| statehouse_search::Record::new(n.to_string()).unwrap().with("balance", n);
    tokio::join!(
        super::load(&embedded, (0..70_000).map(record).collect()),
        super::load(&distributed, (0..70_000).map(record).collect())
    );
    for below in [9_999, 10_000, 10_001, 70_000_i64] {
        let request = SearchRequest::new(Query::range("balance").below(below)).with_size(0);
        let request = request.with_histogram(Histogram::every("balance", 1.0));
        let (ours, theirs) = tokio::join!(embedded.search(&request), distributed.search(&request));
        if below <= 10_000 {
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            assert_eq!(ours.histogram("balance").len(), usize::try_from(below).unwrap());
            assert!(ours.histogram("balance") == theirs.histogram("balance"), "{below}");
        } else {
            let kinds = [ours, theirs].map(|answer| answer.unwrap_err().kind());
            assert_eq!(kinds, [ErrorKind::InvalidInput; 2], "{below}");
        }
    }
    scratch.delete().await;
}

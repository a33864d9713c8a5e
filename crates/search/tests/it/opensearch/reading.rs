//! All hits of one state of the server, and what becomes of it.

use std::time::Duration;

use statehouse_core::ErrorKind;
use statehouse_search::{BulkOptions, OpenSearchIndex};
use statehouse_search::{
    Hits, HitsOptions, Operation, Query, Record, Refresh, SearchIndex as _, SearchIndexExt as _, SearchRequest, Sort,
};

use super::stub::{Received, Stub};
use super::stubbed::{everything, index, text};
use super::{Scratch, config, document, schema};

const CLOSED: &str = r#"{"pits":[{"successful":true,"pit_id":"p1"}]}"#;

fn hit(id: &str, score: &str) -> String {
    format!(r#"{{"_id":"{id}","_version":1,"_score":{score},"_source":{{"_sid":"{id}"}},"sort":[{score},"{id}"]}}"#)
}

fn page(total: u64, hits: &[String]) -> (u16, String) {
    let hits = hits.join(",");
    let page = format!(
        r#"{{"pit_id":"p1","timed_out":false,"_shards":{{"total":1,"successful":1,"failed":0}},
        "hits":{{"total":{{"value":{total},"relation":"eq"}},"hits":[{hits}]}}}}"#
    );
    (200, page)
}

/// A server that opens and closes points in time, and answers pages by `answer`.
async fn server(answer: impl Fn(&Received, usize) -> (u16, String) + Send + Sync + 'static) -> (Stub, OpenSearchIndex) {
    index("", move |request, before| match request.target.split_once("/_search") {
        Some(("", "/point_in_time")) => (200, text(CLOSED)),
        Some((_, rest)) if rest.starts_with("/point_in_time?") => {
            (200, text(r#"{"pit_id":"p1","_shards":{"total":1,"successful":1,"failed":0},"creation_time":1}"#))
        }
        _ => answer(request, before),
    })
    .await
}

fn shown() -> BulkOptions {
    BulkOptions::default().with_refresh(Refresh::Now)
}

fn two_at_a_time() -> HitsOptions {
    HitsOptions::default().with_page_size(2)
}

/// Until the server was told so often that nobody needs the point in time any more.
async fn told(stub: &Stub, times: usize) {
    let ends = |request: &Received| request.body == r#"{"pit_id":["p1"]}"#;
    for _ in 0..6_000 {
        if stub.received("/_search/point_in_time").iter().filter(|request| ends(request)).count() >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody has told the server");
}

async fn ids(hits: &mut Hits) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(hit) = hits.next().await.unwrap() {
        ids.push(hit.id().as_str().to_owned());
    }
    ids
}

/// As a number whose nearest single is the one that the server has.
#[tokio::test]
async fn a_page_begins_behind_the_exact_score_and_the_id_of_the_last() {
    let (stub, index) = server(|_, before| match before {
        0 => page(3, &[hit("a", "1.5"), hit("b", "0.1")]),
        _ => page(3, &[hit("c", "0.1")]),
    })
    .await;
    let mut hits = index.hits_with(&everything(), two_at_a_time()).await.unwrap();
    assert_eq!(ids(&mut hits).await, ["a", "b", "c"]);
    let asked = stub.received("/_search?");
    assert!(
        asked.iter().all(|request| request.body.contains(r#""pit":{"id":"p1","keep_alive":"60000ms"}"#)
            || request.body.contains(r#""pit":{"keep_alive":"60000ms","id":"p1"}"#)),
        "{asked:?}"
    );
    assert!(asked[1].body.contains(r#""search_after":[0.10000000149011612,"b"]"#), "{}", asked[1].body);
    // It was closed at the end.
    told(&stub, 1).await;
}

#[tokio::test]
async fn a_point_in_time_is_closed_by_whoever_stops_early_or_does_not_come_back() {
    for way in ["drop", "close", "expiry", "mid-page"] {
        let slow = way == "mid-page";
        let (stub, index) = server(move |_, before| match (slow, before) {
            (true, 1..) => (200, text(super::stub::DRIP)),
            _ => page(9, &[hit("a", "1.5"), hit("b", "1.5")]),
        })
        .await;
        let keep_alive = Duration::from_millis(if way == "expiry" { 50 } else { 60_000 });
        let mut hits = index.hits_with(&everything(), two_at_a_time().with_keep_alive(keep_alive)).await.unwrap();
        let _ = hits.next().await;
        match way {
            "drop" => drop(hits),
            "close" => hits.close().await.unwrap(),
            "mid-page" => {
                hits.next().await.unwrap();
                let late = tokio::time::timeout(Duration::from_millis(50), hits.next()).await;
                assert!(late.is_err());
                drop(hits);
            }
            // Nobody asks, and it is still there.
            _ => {}
        }
        told(&stub, 1).await;
    }
}

/// The server may have heard it before, and may not.
#[tokio::test]
async fn a_close_that_was_cut_off_or_failed_is_told_once_more() {
    for answer in [(200, super::stub::DRIP), (400, "{}")] {
        let (stub, index) = index("", move |request, before| match request.target.split_once("/_search") {
            Some(("", "/point_in_time")) if before == 0 => (answer.0, text(answer.1)),
            Some(("", "/point_in_time")) => (200, text(CLOSED)),
            _ => (200, text(r#"{"pit_id":"p1","_shards":{"total":1,"successful":1,"failed":0},"creation_time":1}"#)),
        })
        .await;
        let hits = index.hits_with(&everything(), two_at_a_time()).await.unwrap();
        tokio::select! {
            closed = hits.close() => assert!(closed.is_err()),
            () = told(&stub, 1) => {}
        }
        told(&stub, 2).await;
    }
}

#[tokio::test]
async fn a_point_in_time_that_lacks_a_shard_is_none() {
    let (stub, index) = index("", |request, _| match request.target.ends_with("/_search/point_in_time") {
        true => (200, text(CLOSED)),
        false => (200, text(r#"{"pit_id":"p1","_shards":{"total":2,"successful":1,"failed":0}}"#)),
    })
    .await;
    assert_eq!(index.hits(&everything()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    told(&stub, 1).await;
}

#[tokio::test]
async fn an_answer_of_another_state_is_none() {
    let (_stub, index) = server(|_, before| page(3 + before as u64, &[hit("a", "1.5"), hit("b", "0.1")])).await;
    let mut hits = index.hits_with(&everything(), two_at_a_time()).await.unwrap();
    hits.next().await.unwrap();
    hits.next().await.unwrap();
    assert_eq!(hits.next().await.unwrap_err().kind(), ErrorKind::Unexpected);
}

/// A failure of a page loses nothing: the next call asks for it again.
#[tokio::test]
async fn a_page_that_failed_may_be_asked_for_again() {
    let (_stub, index) = server(|_, before| match before {
        0 => page(3, &[hit("a", "1.5"), hit("b", "0.1")]),
        1 => (400, text("{}")),
        _ => page(3, &[hit("c", "0.1")]),
    })
    .await;
    let mut hits = index.hits_with(&everything(), two_at_a_time()).await.unwrap();
    for _ in 0..2 {
        hits.next().await.unwrap();
    }
    hits.next().await.unwrap_err();
    assert_eq!(ids(&mut hits).await, ["c"]);
}

/// As behind a restart of the server.
#[tokio::test]
async fn a_state_that_the_server_has_lost_is_a_conflict() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    index.bulk_with(["a", "b", "c"].map(|id| document(id, "Fever")).into(), shown()).await.unwrap().check().unwrap();
    let mut hits = index.hits_with(&everything(), two_at_a_time()).await.unwrap();
    hits.next().await.unwrap();
    hits.next().await.unwrap();
    for verb in ["_close", "_open?wait_for_active_shards=1"] {
        assert_eq!(scratch.request("POST", &format!("/{}-000001/{verb}", scratch.name), "").await.0, 200);
    }
    let lost = hits.next().await.unwrap_err();
    assert_eq!((lost.kind(), lost.is_retryable()), (ErrorKind::Conflict, false), "{lost}");
    scratch.delete().await;
}

/// Closed, deleted, and made again under its name.
#[tokio::test]
async fn a_state_whose_index_is_gone_is_a_conflict() {
    for ways in [&["close"][..], &["delete"], &["delete", "make"]] {
        let scratch = Scratch::new().await;
        let index = scratch.open(schema()).await.unwrap();
        index
            .bulk_with(["a", "b", "c"].map(|id| document(id, "Fever")).into(), shown())
            .await
            .unwrap()
            .check()
            .unwrap();
        let mut hits = index.hits_with(&everything(), two_at_a_time()).await.unwrap();
        hits.next().await.unwrap();
        hits.next().await.unwrap();
        for way in ways {
            match *way {
                "close" => {
                    let (status, _) = scratch.request("POST", &format!("/{}-000001/_close", scratch.name), "").await;
                    assert_eq!(status, 200);
                }
                "delete" => scratch.delete().await,
                _ => drop(scratch.open(schema()).await.unwrap()),
            }
        }
        for _ in 0..2 {
            let lost = hits.next().await.unwrap_err();
            assert_eq!((lost.kind(), lost.is_retryable()), (ErrorKind::Conflict, false), "{ways:?}: {lost}");
        }
        if *ways != ["delete"] {
            scratch.delete().await;
        }
    }
}

/// Term statistics of all shards, and documents that tie over them.
#[tokio::test]
async fn all_hits_of_several_shards_come_in_the_order_of_pages() {
    let scratch = Scratch::new().await;
    let config = config(scratch.node.address(), "&shards=3");
    let index = OpenSearchIndex::open(config, &scratch.name, schema()).await.unwrap();
    let record = |n: u64| {
        let record = Record::new(format!("d{n:02}")).unwrap().with("uses", n % 4);
        Operation::Upsert(record.with("title", if n.is_multiple_of(3) { "rare word" } else { "word word" }))
    };
    index.bulk_with((0..40).map(record).collect(), shown()).await.unwrap().check().unwrap();
    let words = || SearchRequest::new(Query::matches("title", "rare word"));
    for request in [words(), words().with_sort(Sort::by("uses")), words().with_sort(Sort::by_score().ascending())] {
        let whole = index.search(&request.clone().with_size(100)).await.unwrap();
        assert_eq!(whole.hits.len(), 40);
        for size in [1, 7, 40] {
            let mut hits = index.hits_with(&request, HitsOptions::default().with_page_size(size)).await.unwrap();
            let mut read = Vec::new();
            while let Some(hit) = hits.next().await.unwrap() {
                read.push(hit);
            }
            assert!(read == whole.hits, "pages of {size}, {:?}", request.sort);
            let behind = ids_behind_cursors(&index, request.clone().with_size(size)).await;
            assert_eq!(behind, whole.ids(), "pages of {size}");
        }
    }
    scratch.delete().await;
}

/// Page by page, until one has no hits.
async fn ids_behind_cursors(index: &OpenSearchIndex, mut request: SearchRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = index.search(&request).await.unwrap();
        let Some(last) = page.hits.last() else { return ids };
        assert!(ids.len() < 100, "it goes round");
        request = request.with_after(last.cursor());
        ids.extend(page.hits.iter().map(|hit| hit.id().as_str().to_owned()));
    }
}

/// However many stand together, they neither end it nor are they in it.
#[tokio::test]
async fn what_something_else_has_written_is_skipped_and_counted_once() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let uses = |n: u64| n.cast_signed() ^ i64::MIN;
    let record = |n: u64| Operation::Upsert(Record::new(format!("{n}")).unwrap().with("uses", n));
    index.bulk((0..9).filter(|n| !(2..7).contains(n)).map(record).collect()).await.unwrap().check().unwrap();
    for n in 2..7 {
        let path = format!("/{}-000001/_doc/foreign{n}", scratch.name);
        assert_eq!(scratch.request("PUT", &path, &format!(r#"{{"uses":{}}}"#, uses(n))).await.0, 201);
    }
    let path = format!("/{}-000001/_doc/last?refresh=true", scratch.name);
    assert_eq!(scratch.request("PUT", &path, &format!(r#"{{"uses":{}}}"#, uses(20))).await.0, 201);
    let request = SearchRequest::new(Query::all()).with_sort(Sort::by("uses"));
    for size in [1, 2, 3, 100] {
        let mut hits = index.hits_with(&request, HitsOptions::default().with_page_size(size)).await.unwrap();
        assert_eq!(ids(&mut hits).await, ["0", "1", "7", "8"]);
        assert_eq!(hits.skipped(), 6, "pages of {size}");
        assert_eq!(ids_behind_cursors(&index, request.clone().with_size(size)).await, ["0", "1", "7", "8"]);
    }
    scratch.delete().await;
}

/// Those have no place of their own to the server: neither do they hide each other, nor one of ours whose id they have.
#[tokio::test]
async fn what_something_else_has_written_in_one_place_hides_nothing() {
    let scratch = Scratch::new().await;
    let index = scratch.open(schema()).await.unwrap();
    let uses = |n: u64| n.cast_signed() ^ i64::MIN;
    let record = |n: u64| Operation::Upsert(Record::new(format!("{n}")).unwrap().with("uses", n));
    // First in the shard.
    let copy = format!(r#"{{"_sid":"4","uses":{}}}"#, uses(4));
    let path = |id: &str| format!("/{}-000001/_doc/{id}?refresh=true", scratch.name);
    let (status, answer) = scratch.request("PUT", &path("copy"), &copy).await;
    assert_eq!(status, 201, "{answer}");
    index.bulk((0..9).filter(|n| *n != 3).map(record).collect()).await.unwrap().check().unwrap();
    for n in 0..5 {
        assert_eq!(
            scratch.request("PUT", &path(&format!("foreign{n}")), &format!(r#"{{"uses":{}}}"#, uses(3))).await.0,
            201
        );
    }
    index.refresh().await.unwrap();
    let request = SearchRequest::new(Query::all()).with_sort(Sort::by("uses"));
    for size in [1, 2, 3, 4, 100] {
        let mut hits = index.hits_with(&request, HitsOptions::default().with_page_size(size)).await.unwrap();
        assert_eq!(ids(&mut hits).await, ["0", "1", "2", "4", "5", "6", "7", "8"], "pages of {size}");
        assert_eq!(hits.skipped(), 6, "pages of {size}");
        let behind = ids_behind_cursors(&index, request.clone().with_size(size)).await;
        assert_eq!(behind, ["0", "1", "2", "4", "5", "6", "7", "8"], "pages of {size}");
    }
    scratch.delete().await;
}

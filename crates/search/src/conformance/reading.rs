//! Cases about reading on: behind a cursor, and all hits of one state.

use std::time::Duration;

use statehouse_core::{Error, ErrorKind};

use super::generations::{load, reindex};
use super::kit::{SearchBackend, delete, found, put, record, write};
use crate::{
    Cursor, Facet, GenerationOptions, Highlight, Hits, HitsOptions, Operation, Projection, Query, Record, SearchIndex,
    SearchIndexExt, SearchRequest, Sort, Value,
};

/// Ties, missing values and several of them, in every field that can be sorted by.
fn ward(n: usize) -> Record {
    let mut ward = record(&format!("{n:02}")).with("title", "word ".repeat(n % 3 + 1)).with("tag", "x");
    for nth in 0..n % 4 {
        ward.push("rank", (n as i64 * 7 + nth as i64 * 5) % 6 - 2);
        ward.push("code", format!("c{}", (n + 3 * nth) % 5));
    }
    if !n.is_multiple_of(3) {
        // Some of which another number stands beside that almost reads the same.
        ward.push("ratio", [-0.0, 0.0, 1e300, -2.5, 0.1 + 0.2, 5e-324, 1.0 / 3.0, f64::MAX][n % 8]);
        ward.push("leaf", n.is_multiple_of(2));
    }
    if !n.is_multiple_of(5) {
        ward.push("day", Value::Date([i64::MIN, -1, i64::MAX][n % 3]));
    }
    ward
}

/// In several segments, with some deleted.
async fn put_wards(index: &dyn SearchIndex) {
    for part in [0..20, 20..45, 45..64] {
        put(index, part.map(ward)).await;
    }
    let deleted = [3, 21, 50, 63].map(|n| delete(&format!("{n:02}"), None));
    write(index, deleted.into()).await.check().expect("every write succeeds");
}

fn orders() -> Vec<SearchRequest> {
    let words = || SearchRequest::new(Query::matches("title", "word"));
    let mut orders =
        vec![words(), words().with_sort(Sort::by_score()), words().with_sort(Sort::by_score().ascending())];
    for field in ["rank", "code", "ratio", "leaf", "day"] {
        for sort in [Sort::by(field), Sort::by(field).descending()] {
            orders.push(words().with_sort(sort.clone()));
            orders.push(words().with_sort(sort.missing_first()));
        }
    }
    orders
        .push(words().with_sort(Sort::by("leaf").descending()).with_sort(Sort::by_score()).with_sort(Sort::by("code")));
    orders.push(words().with_sort(Sort::by("code").missing_first()).with_sort(Sort::by("rank").descending()));
    orders
}

/// Pages of a size behind one another.
async fn read_on(index: &dyn SearchIndex, request: &SearchRequest, size: u64) -> Vec<String> {
    let (mut all, mut request) = (Vec::new(), request.clone().with_size(size));
    loop {
        let page = index.search(&request).await.expect("the search succeeds");
        assert_eq!(page.total, 60, "of all, not of those behind");
        all.extend(page.ids().into_iter().map(str::to_owned));
        assert!(all.len() <= 60, "it goes round and round");
        match page.hits.last() {
            Some(last) => request = request.with_after(last.cursor()),
            None => return all,
        }
    }
}

/// By score and by every kind of field, in both directions, missing values first and last, and where hits tie.
pub(super) async fn pages_behind_a_cursor_are_those_that_from_gives(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    for request in orders() {
        let whole = found(index, &request.clone().with_size(100)).await;
        assert_eq!(whole.len(), 60);
        for size in [1, 7] {
            assert_eq!(read_on(index, &request, size).await, whole, "{:?}", request.sort);
        }
    }
}

/// With another size, projection and marks, and behind a hit that is gone.
pub(super) async fn a_cursor_is_a_place_that_may_travel_as_text(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    for request in [&orders()[0], &orders()[8]] {
        let whole = index.search(&request.clone().with_size(100)).await.expect("the search succeeds");
        let text = whole.hits[20].cursor().to_string();
        let cursor: Cursor = text.parse().expect("it is one");
        let other = request.clone().with_after(cursor).with_size(3).with_projection(Projection::Id);
        let page = index.search(&other.with_highlight(Highlight::field("title"))).await.expect("the search succeeds");
        assert_eq!(page.ids(), whole.ids()[21..24]);
    }
    let by_code = orders()[8].clone().with_size(100);
    let whole = index.search(&by_code).await.expect("the search succeeds");
    let gone = delete(whole.hits[20].id().as_str(), None);
    write(index, vec![gone]).await.check().expect("every write succeeds");
    let behind = by_code.with_after(whole.hits[20].cursor());
    assert_eq!(found(index, &behind).await, whole.ids()[21..]);
    // Who wants no hit learns how many there are.
    let none = index.search(&behind.with_size(0)).await.expect("the search succeeds");
    assert_eq!((none.total, none.hits.len(), none.skipped), (59, 0, 0));
}

/// Of another query, filter or order; and a page that begins at two places.
pub(super) async fn a_cursor_of_another_request_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    let by_code = || SearchRequest::new(Query::matches("title", "word")).with_sort(Sort::by("code"));
    let first = index.search(&by_code()).await.expect("the search succeeds");
    let cursor = first.hits[0].cursor();
    let others = [
        SearchRequest::new(Query::matches("title", "fever")).with_sort(Sort::by("code")),
        SearchRequest::new(Query::matches("title", "word")),
        by_code().with_filter(Query::term("tag", "x")),
        by_code().with_sort(Sort::by_score()),
        SearchRequest::new(Query::matches("title", "word")).with_sort(Sort::by("code").descending()),
        SearchRequest::new(Query::matches("title", "word")).with_sort(Sort::by("rank")),
        by_code().with_from(1),
        by_code().with_size(SearchRequest::MAX_WINDOW + 1),
    ];
    for other in others {
        let refused = index.search(&other.clone().with_after(cursor.clone())).await.expect_err("it is refused");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{other:?}");
    }
    assert_eq!(index.search(&by_code().with_after(cursor)).await.expect("it is of this one").hits.len(), 10);
}

async fn rest(hits: &mut Hits) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(hit) = hits.next().await.expect("the page is there") {
        ids.push(hit.id().as_str().to_owned());
    }
    assert!(hits.next().await.expect("it stays so").is_none());
    ids
}

fn pages(size: u64) -> HitsOptions {
    HitsOptions::default().with_page_size(size)
}

/// Whatever size a page has, from the start and behind a cursor.
pub(super) async fn all_hits_come_once_and_in_order(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    for request in orders() {
        let whole = index.search(&request.clone().with_size(100)).await.expect("the search succeeds");
        for size in [7, 60, 1_000] {
            let mut hits = index.hits_with(&request, pages(size)).await.expect("a state is held");
            assert_eq!(rest(&mut hits).await, whole.ids(), "{:?}", request.sort);
            assert_eq!(hits.skipped(), 0);
        }
        let mut hits = index.hits(&request.clone().with_after(whole.hits[41].cursor())).await.expect("a state is held");
        let hit = hits.next().await.expect("the page is there").expect("there is one");
        assert_eq!(hit, whole.hits[42], "with its fields, its score and its cursor");
        assert_eq!(rest(&mut hits).await, whole.ids()[43..]);
    }
    let nothing = SearchRequest::new(Query::None);
    assert_eq!(rest(&mut index.hits(&nothing).await.expect("a state is held")).await, [""; 0]);
}

/// Replaced, deleted, added and merged.
pub(super) async fn writes_meanwhile_show_in_nothing_that_is_read(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    for request in [&orders()[0], &orders()[3]] {
        let whole = index.search(&request.clone().with_size(100)).await.expect("the search succeeds");
        // A merge may take a server its time.
        let options = pages(5).with_keep_alive(Duration::from_secs(1_200));
        let mut hits = index.hits_with(request, options).await.expect("a state is held");
        let mut read = vec![hits.next().await.expect("the page is there").expect("there is one")];
        let operations = (0..64).map(|n| match n % 3 {
            0 => delete(&format!("{n:02}"), None),
            1 => Operation::Upsert(ward(n + 1).retain(|_| false).with("title", "word")),
            _ => Operation::Upsert(record(&format!("new{n}")).with("title", "word word word word").with("rank", 0_i64)),
        });
        write(index, operations.collect()).await.check().expect("every write succeeds");
        read.extend(hits.next().await.expect("the page is there"));
        if request.sort.is_empty() {
            index.merge().await.expect("a merge");
        }
        while let Some(hit) = hits.next().await.expect("the page is there") {
            read.push(hit);
        }
        assert!(read == whole.hits, "{:?}", request.sort);
        assert_ne!(found(index, &request.clone().with_size(100)).await, whole.ids(), "searches see it");
        write(index, (0..64).map(|n| delete(&format!("new{n}"), None)).collect()).await.check().expect("deleted");
        put_wards(index).await;
    }
}

/// Nor does it when the one that it reads is dropped.
pub(super) async fn a_change_of_generations_shows_in_nothing_that_is_read(backend: &impl SearchBackend) {
    let old = backend.service().await;
    load(&*old, 30).await;
    let all = SearchRequest::new(Query::all());
    let mut hits = old.hits_with(&all, pages(4)).await.expect("a state is held");
    let first = hits.next().await.expect("the page is there").expect("there is one");
    let done = reindex(&old).run().await.expect("a reindex");
    done.index.drop_generation_with(1, GenerationOptions::default()).await.expect("it is dropped");
    assert_eq!((first.id().as_str(), rest(&mut hits).await.len()), ("0000", 29));
}

/// Instead of another state.
pub(super) async fn a_state_that_is_no_longer_held_is_a_conflict(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    let pause = Duration::from_secs(1);
    let mut hits = index.hits_with(&orders()[0], pages(2).with_keep_alive(pause)).await.expect("a state is held");
    let first = hits.next().await;
    backend.pass_time(2 * pause).await;
    // Of the page that it has.
    let second = if first.is_ok() { hits.next().await } else { first };
    assert!(second.map_or_else(|error| error.kind() == ErrorKind::Conflict, |hit| hit.is_some()));
    for _ in 0..2 {
        let late = hits.next().await.expect_err("it is no longer held");
        assert_eq!((late.kind(), late.is_retryable()), (ErrorKind::Conflict, false), "{late}");
    }
    hits.close().await.expect("there is nothing to let go of");
}

/// The deadline is that of each page.
pub(super) async fn who_reads_may_pause_for_longer_than_a_page_may_take(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    let deadline = Duration::from_millis(500);
    let options = pages(20).with_deadline(deadline);
    let (mut read, mut late) = (0, 0);
    // What was late may be asked for again.
    let mut again = |error: Error| {
        late += 1;
        assert!(error.kind() == ErrorKind::Timeout && late < 100, "{error}");
    };
    let mut hits = loop {
        match index.hits_with(&orders()[0], options.clone()).await {
            Ok(hits) => break hits,
            Err(error) => again(error),
        }
    };
    loop {
        match hits.next().await {
            Ok(Some(_)) => read += 1,
            Ok(None) => break,
            Err(error) => again(error),
        }
        if read % 20 == 19 {
            backend.pass_time(2 * deadline).await;
        }
    }
    assert_eq!(read, 60);
}

/// Before anything is held.
pub(super) async fn what_does_not_fit_all_hits_is_refused(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let all = || SearchRequest::new(Query::all());
    let keep = |time| HitsOptions::default().with_keep_alive(time);
    for (request, options) in [
        (all().with_from(1), pages(10)),
        (all().with_facet(Facet::field("code")), pages(10)),
        (all().with_sort(Sort::by("unknown")), pages(10)),
        (all(), pages(0)),
        (all(), pages(SearchRequest::MAX_WINDOW + 1)),
        (all(), keep(Duration::ZERO)),
        (all(), keep(HitsOptions::MAX_KEEP_ALIVE + Duration::from_secs(1))),
    ] {
        let refused = index.hits_with(&request, options.clone()).await.expect_err("it is refused");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{options:?}");
    }
    index.hits_with(&all(), pages(SearchRequest::MAX_WINDOW)).await.expect("it fits").close().await.expect("closed");
}

/// Never an end before the end.
pub(super) async fn all_hits_of_a_closed_index_say_so(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    put_wards(index).await;
    let mut hits = index.hits_with(&orders()[0], pages(1)).await.expect("a state is held");
    assert!(hits.next().await.expect("the page is there").is_some());
    index.close().await.expect("close succeeds");
    assert_eq!(hits.next().await.expect_err("it is closed").kind(), ErrorKind::Unavailable);
    assert_eq!(index.hits(&orders()[0]).await.expect_err("it is closed").kind(), ErrorKind::Unavailable);
}

/// Instead of reading what changes.
pub(super) async fn who_holds_no_state_says_so(backend: &impl SearchBackend) {
    let index = &*backend.service().await;
    let held = index.hits(&SearchRequest::new(Query::all())).await;
    let able = backend.capabilities().await.has(crate::capability::POINT_IN_TIME);
    assert!(held.map_or_else(|error| !able && error.kind() == ErrorKind::Unsupported, |_| able));
}

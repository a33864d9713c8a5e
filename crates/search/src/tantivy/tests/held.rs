//! All hits of a snapshot that is held.

use statehouse_core::layer::Faults;

use super::*;
use crate::{HitsOptions, LayeredIndex, Sort};

async fn of_many(count: usize) -> Arc<TantivyIndex> {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    let document = |n: usize| {
        let record = Record::new(format!("{n:05}")).unwrap().with("title", "fever ".repeat(n % 3 + 1));
        Operation::Upsert(record.with("code", format!("{:02}", n % 17)))
    };
    index.bulk((0..count).map(document).collect()).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();
    Arc::new(index)
}

async fn of_two(opened: statehouse_core::Result<TantivyIndex>) -> TantivyIndex {
    let index = opened.unwrap();
    index.bulk(vec![upsert("a", "fever"), upsert("b", "fever")]).await.unwrap().check().unwrap();
    index.refresh().await.unwrap();
    index
}

/// Though the store has handed it out, and is further already.
#[tokio::test]
async fn a_page_whose_answer_was_lost_is_asked_for_again() {
    let index = of_many(200).await;
    let faulty = LayeredIndex::new(
        Arc::<TantivyIndex>::clone(&index),
        Faults::seeded(3).with_lost_answers(0.4).with_refused_calls(0.1),
    );
    let request = SearchRequest::new(Query::matches("title", "fever")).with_sort(Sort::by("code"));
    let whole = index.search(&request.clone().with_size(200)).await.unwrap();
    let mut opened = faulty.hits_with(&request, HitsOptions::default().with_page_size(7)).await;
    while opened.is_err() {
        opened = faulty.hits_with(&request, HitsOptions::default().with_page_size(7)).await;
    }
    let (mut hits, mut read, mut failed) = (opened.unwrap(), Vec::new(), 0);
    loop {
        match hits.next().await {
            Ok(Some(hit)) => read.push(hit),
            Ok(None) => break,
            Err(_) => failed += 1,
        }
    }
    assert!(failed > 5, "{failed} pages failed");
    assert!(read == whole.hits);
}

async fn read_by(index: &TantivyIndex, request: &SearchRequest, page_size: u64) -> Vec<String> {
    let mut hits = index.hits_with(request, HitsOptions::default().with_page_size(page_size)).await.unwrap();
    let mut read = Vec::new();
    while let Some(hit) = hits.next().await.unwrap() {
        read.push(hit.id().as_str().to_owned());
    }
    read
}

/// The places of more hits are found at a time than a page has; there are still more.
#[tokio::test]
async fn hits_are_found_ahead_and_joined_without_gaps() {
    let index = of_many(20_003).await;
    for (request, parts) in [
        (SearchRequest::new(Query::matches("title", "fever")), 3),
        (SearchRequest::new(Query::all()).with_sort(Sort::by("code").descending()), 17),
    ] {
        let request = request.with_projection(crate::Projection::Id);
        // The more often it has the word the better, and the same of the greater code; of equals by their ids.
        let mut all: Vec<usize> = (0..20_003).collect();
        all.sort_by_key(|n| (std::cmp::Reverse(n % parts), *n));
        let all: Vec<_> = all.into_iter().map(|n| format!("{n:05}")).collect();
        for page_size in [3_000, 700] {
            let read = read_by(&index, &request, page_size).await;
            let other = read.iter().zip(&all).position(|(read, all)| read != all);
            assert_eq!((other, read.len()), (None, 20_003), "pages of {page_size}, {:?}", request.sort);
        }
    }
}

/// Another handle has dropped the index, and the folder can be opened anew.
#[tokio::test]
async fn a_state_that_is_held_keeps_no_folder_locked_that_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TantivyConfig::folder(folder.path()).open(schema());
    let index = of_two(open().await).await;
    let request = SearchRequest::new(Query::matches("title", "fever"));
    let mut hits = index.hits_with(&request, HitsOptions::default().with_page_size(1)).await.unwrap();
    assert!(hits.next().await.unwrap().is_some());
    index.close().await.unwrap();
    drop(index);
    let anew = open().await.unwrap();
    assert_eq!(hits.next().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(anew.search(&request).await.unwrap().total, 2);
}

/// Nobody has waited for the page, and still the state was asked for.
#[tokio::test]
async fn a_page_that_nobody_waited_for_holds_the_state_on() {
    let index = of_many(20).await;
    let options = HitsOptions::default().with_page_size(1).with_keep_alive(Duration::from_secs(60));
    let mut hits = index.hits_with(&SearchRequest::new(Query::matches("title", "fever")), options).await.unwrap();
    assert!(hits.next().await.unwrap().is_some());
    tokio::time::pause();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        tokio::select! {
            biased;
            _ = hits.next() => {}
            () = std::future::ready(()) => {}
        }
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(hits.next().await.unwrap().is_some());
}

/// When the time is over that it is held for, all of the index goes with the state.
#[tokio::test]
async fn a_reader_who_was_forgotten_keeps_no_folder_locked() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TantivyConfig::folder(folder.path()).open(schema());
    let index = of_two(open().await).await;
    let request = SearchRequest::new(Query::matches("title", "fever"));
    let options = HitsOptions::default().with_page_size(1).with_keep_alive(Duration::from_secs(60));
    let mut hits = index.hits_with(&request, options).await.unwrap();
    assert!(hits.next().await.unwrap().is_some());
    drop(index);
    assert_eq!(open().await.unwrap_err().kind(), ErrorKind::Unavailable, "it is read");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(open().await.unwrap().search(&request).await.unwrap().total, 2);
    assert_eq!(hits.next().await.unwrap_err().kind(), ErrorKind::Conflict);
}

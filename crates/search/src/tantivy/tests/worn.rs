//! Indexes that were written to for long: replaced, deleted and merged.

use std::path::Path;
use std::time::Duration;

use statehouse_core::conformance::rounds;
use statehouse_core::{ErrorKind, Result};

use crate::conformance::{Worn, requests, schema};
use crate::{
    BulkOptions, DocumentId, Durability, MergeOptions, Operation, Query, Record, Refresh, SearchIndex, SearchIndexExt,
    SearchRequest, TantivyConfig, TantivyIndex, parity,
};

async fn write(index: &TantivyIndex, operations: Vec<Operation>) {
    let options = BulkOptions::default().with_refresh(Refresh::Now);
    index.bulk_with(operations, options).await.unwrap().check().unwrap();
}

/// Ids and the bits of scores.
async fn answers(index: &TantivyIndex, requests: &[SearchRequest]) -> Result<Vec<(u64, Vec<(String, u32)>)>> {
    let mut answers = Vec::new();
    for request in requests {
        let found = index.search(request).await?;
        let hit = |hit: &crate::Hit| (hit.id().as_str().to_owned(), hit.score.unwrap_or_default().to_bits());
        answers.push((found.total, found.hits.iter().map(hit).collect()));
    }
    Ok(answers)
}

/// To the last bit of every score, whatever was replaced, deleted and merged in whatever order.
#[tokio::test]
async fn scores_are_those_of_a_fresh_index_in_every_state() {
    for seed in 0..rounds(6, 1_000) as u64 {
        let mut numbers = parity::Numbers::new(seed);
        let config = TantivyConfig::memory().with_threads(1 + numbers.below(3)).with_memory(48_000_000);
        let (index, mut worn) = (config.open(schema()).await.unwrap(), Worn::new(seed));
        for _ in 0..2 + numbers.below(20) {
            write(&index, worn.commit(1 + numbers.below(60))).await;
            if numbers.below(8) == 0 {
                index.merge().await.unwrap();
            }
        }
        let living = worn.living();
        let fresh = TantivyConfig::memory().open(schema()).await.unwrap();
        parity::load(&fresh, living.clone()).await.unwrap();
        let requests = requests(&living, 6, seed);
        let expected = answers(&fresh, &requests).await.unwrap();
        // Asked twice: the second time, frequencies are remembered.
        for _ in 0..2 {
            let found = answers(&index, &requests).await.unwrap();
            for ((found, expected), request) in found.iter().zip(&expected).zip(&requests) {
                assert_eq!(found, expected, "seed {seed}: {:?}", request.query);
            }
        }
        index.merge().await.unwrap();
        assert_eq!(index.client().unwrap().snapshot().segments.len(), 1);
        assert_eq!(answers(&index, &requests).await.unwrap(), expected, "seed {seed}, merged");
    }
}

/// Of all files but those of the versions of deletes, which stay for their time.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let segments = entries.filter(|path| !path.to_string_lossy().contains("/deletes-"));
    segments.map(|path| if path.is_dir() { size_of(&path) } else { path.metadata().map_or(0, |file| file.len()) }).sum()
}

fn rows(from: u32, to: u32) -> impl Iterator<Item = Operation> {
    (from..to).map(|n| {
        Operation::Upsert(Record::new(n.to_string()).unwrap().with("title", format!("cholera {n} {}", n % 977)))
    })
}

fn deletes(from: u32, to: u32) -> Vec<Operation> {
    (from..to).map(|n| Operation::Delete { id: DocumentId::new(n.to_string()).unwrap(), version: None }).collect()
}

/// One segment alone, which tantivy would keep as it is for good.
#[tokio::test]
async fn a_segment_of_which_a_quarter_was_deleted_is_rewritten_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyConfig::folder(folder.path()).open(schema()).await.unwrap();
    write(&index, rows(0, 20_000).collect()).await;
    let before = size_of(folder.path());
    write(&index, deletes(0, 16_000)).await;
    let smaller = async {
        while size_of(folder.path()) > before / 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), smaller).await.expect("what was deleted is reclaimed");
    write(&index, deletes(16_000, 16_001)).await;
    let snapshot = index.client().unwrap().snapshot();
    assert!(snapshot.segments.iter().all(|segment| segment.reader.max_doc() < 5_000), "{snapshot:?}");
    assert_eq!(index.count(&Query::matches("title", "cholera").into()).await.unwrap(), 3_999);
}

/// Writes go on while it merges, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_and_writes_do_not_wait_for_each_other() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    for part in 0..10 {
        write(&index, rows(part * 1_000, (part + 1) * 1_000).collect()).await;
    }
    let merging = tokio::spawn({
        let index = index.clone();
        async move { index.merge().await }
    });
    let mut written = 10_000;
    while !merging.is_finished() {
        let queued = BulkOptions::default().with_durability(Durability::Queued);
        let operations = rows(written, written + 10).chain(deletes(written - 10_000, written - 9_999)).collect();
        index.bulk_with(operations, queued).await.unwrap().check().unwrap();
        written += 10;
    }
    merging.await.unwrap().unwrap();
    index.refresh().await.unwrap();
    let deleted = u64::from((written - 10_000) / 10);
    assert_eq!(index.count(&Query::matches("title", "cholera").into()).await.unwrap(), u64::from(written) - deleted);
}

#[tokio::test]
async fn a_merge_that_is_late_leaves_the_index_as_good_as_before() {
    let index = TantivyConfig::memory().open(schema()).await.unwrap();
    for part in 0..4 {
        write(&index, rows(part * 2_000, (part + 1) * 2_000).collect()).await;
    }
    let late = index.merge_with(MergeOptions::default().with_deadline(Duration::from_micros(1))).await;
    let error = late.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("search.merge")));
    assert_eq!(index.count(&Query::matches("title", "cholera").into()).await.unwrap(), 8_000);
    index.merge().await.unwrap();
    assert_eq!(index.client().unwrap().snapshot().segments.len(), 1);
}

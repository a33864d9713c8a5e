//! Queued writes are committed on their own, whatever becomes of who made them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use statehouse_core::{Clock, ManualClock, Timestamp};
use tokio::runtime::Builder;

use super::{schema, upsert};
use crate::{BulkOptions, Durability, Query, SearchIndex, SearchIndexExt, TantivyConfig, TantivyIndex};

fn queued() -> BulkOptions {
    BulkOptions::default().with_durability(Durability::Queued)
}

async fn shown(index: &TantivyIndex, documents: u64) {
    let shown = async {
        while index.count(&Query::all().into()).await.unwrap() < documents {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap();
}

#[test]
fn a_runtime_that_ends_keeps_no_later_write_from_its_commit() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let config = TantivyConfig::memory().with_commit_interval(Duration::from_millis(200));
    let index = first.block_on(config.open(schema())).unwrap();
    first.block_on(index.bulk_with(vec![upsert("a", "cholera")], queued())).unwrap().check().unwrap();
    drop(first);
    second.block_on(async {
        index.bulk_with(vec![upsert("b", "cholera")], queued()).await.unwrap().check().unwrap();
        shown(&index, 2).await;
    });
}

/// A clock that holds up who looks at it, once it is told to.
#[derive(Clone, Debug, Default)]
struct Holding(ManualClock, Arc<Mutex<Option<Hold>>>);

/// That somebody looks, and that they may go on.
type Hold = (Sender<()>, Receiver<()>);

impl Clock for Holding {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        if let Some((looked, go_on)) = self.1.lock().unwrap().take() {
            looked.send(()).unwrap();
            go_on.recv().unwrap();
        }
        self.0.elapsed()
    }
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_is_committed() {
    let clock = Holding::default();
    let config = TantivyConfig::memory().with_commit_interval(Duration::from_millis(5)).with_clock(clock.clone());
    let index = config.open(schema()).await.unwrap();
    let ((looked, looks), (go_on, goes_on)) = (channel(), channel());
    *clock.1.lock().unwrap() = Some((looked, goes_on));
    let handle = index.clone();
    let write = tokio::spawn(async move { handle.bulk_with(vec![upsert("a", "cholera")], queued()).await });
    // It has begun: it is finished, though nobody waits.
    tokio::task::spawn_blocking(move || looks.recv()).await.unwrap().unwrap();
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    shown(&index, 1).await;
}

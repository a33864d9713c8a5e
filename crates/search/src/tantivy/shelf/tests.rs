use std::sync::mpsc::channel;
use std::time::Duration;

use statehouse_core::{ErrorKind, Fence, Key, Version};
use tokio::runtime::Builder;

use super::*;
use crate::work::Stop;
use crate::{
    BeginOptions, BulkOptions, DocumentId, Field, GenerationOptions, Operation, Record, SearchIndex as _,
    SearchIndexExt as _, TantivyIndex,
};

fn schema(size: Field) -> Arc<Schema> {
    Arc::new(Schema::builder().field(Field::text("title")).field(size).build().unwrap())
}

fn upsert(name: &str) -> Vec<Operation> {
    vec![Operation::Upsert(Record::new(name).unwrap().with("title", "cholera"))]
}

async fn index(two: bool) -> TantivyIndex {
    let index = TantivyConfig::memory().open(Schema::clone(&schema(Field::u64("size")))).await.unwrap();
    if two {
        index.begin_with(schema(Field::keyword("size")), BeginOptions::default()).await.unwrap();
    }
    index
}

/// Once it is its turn, which comes behind that of later ones or before it.
#[test]
fn a_write_that_waited_beyond_its_deadline_is_not_made() {
    // What is late and what comes behind it have one thread between them.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    for two in [false, true] {
        let index = runtime.block_on(index(two));
        let soon = Duration::from_millis(20);
        let late = |write: &dyn Fn() -> Result<()>, order: bool| {
            let alone = order.then(|| index.shelf.order.write().unwrap());
            let one = (!order).then(|| index.shelf.mirror.lock().unwrap());
            assert_eq!(write().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
            drop((alone, one));
        };
        let write = |name: &'static str| {
            let options = BulkOptions::default().with_deadline(soon);
            let index = &index;
            let runtime = &runtime;
            move || runtime.block_on(index.bulk_with(upsert(name), options.clone())).map(drop)
        };
        late(&write("a"), true);
        if two {
            late(&write("b"), false);
            let other = GenerationOptions::default().with_deadline(soon);
            late(&|| runtime.block_on(index.drop_generation_with(2, other.clone())), true);
        } else {
            let begin = BeginOptions::default().with_deadline(soon);
            let wanted = schema(Field::keyword("size"));
            late(&|| runtime.block_on(index.begin_with(Arc::clone(&wanted), begin.clone())).map(drop), true);
        }
        assert_eq!(runtime.block_on(index.generations()).unwrap().len(), if two { 2 } else { 1 });
        for name in ["a", "b"] {
            let found = runtime.block_on(index.get(&DocumentId::new(name).unwrap())).unwrap();
            assert!(found.is_none(), "{name} was written, two generations: {two}");
        }
    }
}

fn fence(token: u64) -> Fence {
    Fence::new(Key::new("loading").unwrap(), Version::new(token))
}

/// So that the next holder need not wait for it.
#[tokio::test]
async fn a_fenced_write_that_waits_holds_no_mark() {
    for two in [false, true] {
        let index = index(two).await;
        let shelf = &*index.shelf;
        let alone = shelf.order.write().unwrap();
        std::thread::scope(|scope| {
            let write = scope.spawn(|| {
                let options = BulkOptions { fence: Some(fence(5)), ..BulkOptions::default() };
                shelf.bulk(1, &schema(Field::u64("size")), upsert("a"), (&options, &Stop::default()))
            });
            // Long enough for it to wait, which nothing tells.
            std::thread::sleep(Duration::from_millis(100));
            let (told, raised) = channel();
            scope.spawn(move || told.send(shelf.marks.raise(&fence(4)).and_then(|()| shelf.marks.raise(&fence(9)))));
            let raised = raised.recv_timeout(Duration::from_secs(5));
            drop(alone);
            raised.expect("the mark is held").expect("the mark had risen");
            assert_eq!(write.join().unwrap().unwrap_err().kind(), ErrorKind::Fenced);
        });
    }
}

/// However long what is before it takes.
#[tokio::test(start_paused = true)]
async fn what_has_no_deadline_of_its_own_ends_all_the_same() {
    let index = index(false).await;
    let (shelf, (taken, takes), (free, frees)) = (Arc::clone(&index.shelf), channel(), channel::<()>());
    let holder = std::thread::spawn(move || {
        let _alone = shelf.order.write().unwrap();
        taken.send(()).unwrap();
        frees.recv().unwrap_err();
    });
    takes.recv().unwrap();
    // No time passes on its own while a blocking thread works.
    let (done, ()) = tokio::join!(index.bulk(upsert("a")), tokio::time::advance(Duration::from_secs(3_600)));
    assert_eq!(done.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    drop(free);
    holder.join().unwrap();
}
